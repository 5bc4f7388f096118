//! A credential of a stored document that can't be read.

use serde_json::{Value, json};
use tower_credentials::vault::{
    BatchId, PoolDocument, StoredPool, VaultError, VaultRequest, VaultResponse,
};
use tower_credentials::{CredentialId, Generation, Kind, Secret};

use super::{apply, changes, put, read, record, stored, two, value};
use crate::vault_contract::{PLANTED, account, cooled, pool};

/// Returns a document whose first account can't be read, as this has changed it, and what is stored of that account.
fn damaged(damage: impl FnOnce(&mut Value)) -> (PoolDocument, [CredentialId; 2], Value) {
    let (document, ids) = two();
    let mut value = value(&document);
    let credential = &mut value["credentials"][ids[0].to_string()];
    damage(credential);
    let credential = credential.clone();
    (read(value), ids, credential)
}

fn no_secret(credential: &mut Value) {
    credential["record"]["secret"] = json!({ "type": "api", "key": 7 });
}

fn load(document: &mut PoolDocument) -> StoredPool {
    match apply(document, VaultRequest::Load(pool())).unwrap().response {
        VaultResponse::Pool(pool) => pool,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_credential_that_cannot_be_read_is_told_and_written_back_as_it_was() {
    for damage in [
        no_secret as fn(&mut Value),
        |credential| *credential = json!("{"),
        |credential| *credential = json!(null),
        |credential| credential["record"] = json!([1.5, { "deep": [null] }]),
        |credential| credential["record"]["metadata"]["id"] = json!(CredentialId::random()),
        |credential| credential["record"]["metadata"]["pool"]["provider"] = json!("other"),
        |credential| credential["standing"]["health"] = json!({ "state": "from_a_later_version" }),
        |credential| credential["refresh"] = json!("now"),
    ] {
        let (mut document, [a, b], credential) = damaged(damage);
        for _ in 0..2 {
            let loaded = load(&mut document);
            assert_eq!(loaded.credentials.len(), 1, "{credential}");
            assert_eq!(loaded.credentials[0].metadata.id, b);
            assert_eq!(loaded.standings.order, [a, b], "it keeps its place");
            let [damage] = &loaded.damaged[..] else { panic!("{loaded:?}") };
            assert_eq!((&damage.record, damage.id), (&a.to_string(), Some(a)));
            assert!(damage.is_removable && !damage.to_string().contains(PLANTED), "{damage}");
            assert_eq!(document.listing().damaged, loaded.damaged);
            assert!(matches!(document.get(a), Err(VaultError::Damaged(named)) if named == *damage));
            // A change of another account stores the document.
            record(&mut document, b, 6_000);
            document = stored(&document);
        }
        assert_eq!(value(&document)["credentials"][a.to_string()], credential);
    }
}

#[test]
fn the_kind_is_told_if_it_can_be_read() {
    let (document, ..) = damaged(no_secret);
    assert_eq!(document.listing().damaged[0].kind, Some(Kind::Api));
    let (document, ..) = damaged(|credential| credential["record"]["metadata"]["kind"] = json!("new"));
    assert_eq!(document.listing().damaged[0].kind, None);
}

#[test]
fn a_credential_that_cannot_be_read_keeps_its_id_and_its_label() {
    let (mut document, [a, b], _) = damaged(no_secret);
    let mut taken = account("other");
    taken.metadata.id = a;
    let error = apply(&mut document, VaultRequest::Put(taken)).unwrap_err();
    assert!(matches!(error, VaultError::Exists(id) if id == a), "{error:?}");
    let third = put(&mut document, "a");
    assert_eq!(&*document.get(third).unwrap().metadata.label, "a-2");
    let relabel = VaultRequest::Relabel { pool: pool(), id: b, label: "a".into() };
    let error = apply(&mut document, relabel).unwrap_err();
    assert!(matches!(error, VaultError::LabelTaken(_)), "{error:?}");
}

#[test]
fn a_credential_that_cannot_be_read_is_changed_by_nothing_but_outcomes_and_a_removal() {
    let (mut document, [id, _], _) = damaged(no_secret);
    let (expected, secret) = (Generation::FIRST, Secret::api_key("new"));
    for request in [
        VaultRequest::Get { pool: pool(), id },
        VaultRequest::Move { pool: pool(), id, place: 1 },
        VaultRequest::Relabel { pool: pool(), id, label: "new".into() },
        VaultRequest::Reseal { pool: pool(), id, expected, secret: secret.clone() },
        VaultRequest::ReplaceSecret { pool: pool(), id, expected, secret, attributes: None },
        VaultRequest::BeginRefresh { pool: pool(), id, expected },
    ] {
        let (name, before) = (request.name(), value(&document));
        let error = apply(&mut document, request).unwrap_err();
        assert!(matches!(error, VaultError::Damaged(_)), "{name}: {error:?}");
        assert_eq!(value(&document), before, "{name}");
    }
    record(&mut document, id, 9_000);
    let mut document = stored(&document);
    let standing = &load(&mut document).standings.credentials[&id];
    assert_eq!((standing.failures, standing.cooldowns[0].until.as_millis()), (2, 9_000));
    assert!(apply(&mut document, VaultRequest::Remove { pool: pool(), id }).unwrap().is_changed);
    let loaded = load(&mut stored(&document));
    assert!(loaded.damaged.is_empty() && !loaded.standings.order.contains(&id), "{loaded:?}");
    let again = put(&mut document, "a");
    assert_eq!(&*document.get(again).unwrap().metadata.label, "a", "its label is free");
}

#[test]
fn an_outcome_replaces_no_standing_that_cannot_be_read() {
    let paused = json!({ "paused": true, "health": { "state": "from_a_later_version" } });
    let (mut document, [id, _], _) = damaged(|credential| credential["standing"] = paused.clone());
    let outcomes = vec![cooled(id, 9_000, 1, false)];
    let request = VaultRequest::Record { pool: pool(), outcomes, batch: BatchId::unique() };
    let before = document.revision();
    assert!(apply(&mut document, request).unwrap().is_changed, "the batch has come");
    assert_eq!(document.revision(), before);
    assert_eq!(value(&document)["credentials"][id.to_string()]["standing"], paused);
}

#[test]
fn changes_are_not_known_if_a_changed_credential_cannot_be_read() {
    let (document, [a, b]) = two();
    let (since, mut document) = (document.revision(), stored(&document));
    let relabel = VaultRequest::Relabel { pool: pool(), id: a, label: "new".into() };
    assert!(apply(&mut document, relabel).unwrap().is_changed);
    record(&mut document, b, 6_000);
    assert_eq!(changes(&mut document, since).unwrap().credentials.len(), 1);
    let mut value = value(&document);
    no_secret(&mut value["credentials"][a.to_string()]);
    assert!(changes(&mut read(value), since).is_none());
}

#[test]
fn a_name_that_is_no_id_is_damage_of_no_credential() {
    let (document, _) = two();
    let mut value = value(&document);
    value["credentials"]["work"] = json!({ "record": 1 });
    let mut document = read(value);
    let loaded = load(&mut document);
    assert_eq!((loaded.credentials.len(), loaded.standings.order.len()), (2, 2));
    assert_eq!((&*loaded.damaged[0].record, loaded.damaged[0].id), ("work", None));
    assert!(!loaded.damaged[0].is_removable, "no request names it");
    put(&mut document, "c");
    assert_eq!(super::value(&document)["credentials"]["work"], json!({ "record": 1 }));
}

#[test]
fn a_credential_that_the_order_does_not_have_comes_last_and_one_that_is_gone_has_no_place() {
    let (document, [a, b]) = two();
    let mut value = value(&document);
    (value["order"], value["preferred"]) = (json!([CredentialId::random(), b, b]), json!([b]));
    let standings = load(&mut read(value)).standings;
    assert_eq!((standings.order, standings.preferred), (vec![b, a], vec![b, a]));
}
