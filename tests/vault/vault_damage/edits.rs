//! What an edit of a record can change, and what it cannot.

use std::fs;

use serde_json::{Value, json};
use tower_credentials::vault::{Replaced, VaultError, VaultExt};
use tower_credentials::{Generation, Secret};

use super::{assert_others_work, assert_refused, is_same_place, new, token};
use crate::three_records::id;
use crate::vault_contract::pool;

#[tokio::test]
async fn metadata_that_the_seal_binds_cannot_be_edited() {
    type Edit = (&'static str, fn(&mut Value));
    let edits: [Edit; 9] = [
        ("it holds the record", |json| json["metadata"]["id"] = json!(id(9).to_string())),
        ("does not open", |json| json["metadata"]["pool"]["provider"] = json!("examplf")),
        ("does not open", |json| json["metadata"]["pool"]["provider"] = json!("../../x")),
        ("does not open", |json| json["metadata"]["pool"]["namespace"] = json!("other")),
        ("does not open", |json| json["metadata"]["kind"] = json!("oauth")),
        ("does not open", |json| json["metadata"]["generation"] = json!(2)),
        ("does not open", |json| json["metadata"]["attributes"]["host"] = json!("b.example")),
        ("does not open", |json| json["metadata"]["attributes"]["more"] = json!("")),
        ("does not open", |json| {
            json["metadata"].as_object_mut().unwrap().remove("attributes").unwrap();
        }),
    ];
    for (reason, edit) in edits {
        let (place, vault) = new().await;
        place.edit(&place.record(1), edit);
        assert_refused(&place, &vault, reason).await;
        let above = fs::read_dir(place.temporary.path()).unwrap().count();
        assert_eq!(above, 1, "nothing is written beside the vault");
    }
}

#[tokio::test]
async fn blobs_that_two_records_have_exchanged_open_in_neither() {
    let (place, vault) = new().await;
    let mut blobs = [Value::Null, Value::Null];
    for (blob, number) in blobs.iter_mut().zip([1, 2]) {
        place.edit(&place.record(number), |json| *blob = json["secret"].clone());
    }
    place.edit(&place.record(1), |json| json["secret"] = blobs[1].clone());
    place.edit(&place.record(2), |json| json["secret"] = blobs[0].clone());
    for number in [1, 2] {
        match vault.get(&pool(), id(number)).await {
            Err(VaultError::Damaged(damage)) => {
                assert_eq!(damage.record, place.record(number).display().to_string());
                assert!(damage.reason.contains("restore the record from a backup"), "{damage}");
            }
            other => panic!("{other:?}"),
        }
    }
    let loaded = vault.load_pool(pool()).await.unwrap();
    assert_eq!((loaded.credentials.len(), loaded.damaged.len()), (0, 2));
    // Put back, they open again: nothing else was changed.
    place.edit(&place.record(1), |json| json["secret"] = blobs[0].clone());
    place.edit(&place.record(2), |json| json["secret"] = blobs[1].clone());
    assert_others_work(&vault, None, "put back").await;
}

#[tokio::test]
async fn an_old_record_put_back_whole_opens_as_what_it_was() {
    // Nothing can tell, since its metadata is as old as its secret. Only a lost race for a new secret can.
    let (place, vault) = new().await;
    let old = fs::read(place.record(1)).unwrap();
    vault.replace_secret(&pool(), id(1), Generation::FIRST, Secret::api_key("new")).await.unwrap();
    let new = fs::read(place.record(1)).unwrap();
    let blob = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap()["secret"].clone();
    place.edit(&place.record(1), |json| json["secret"] = blob(&old));
    assert_refused(&place, &vault, "does not open").await;
    fs::write(place.record(1), &old).unwrap();
    place.edit(&place.record(1), |json| json["secret"] = blob(&new));
    assert_refused(&place, &vault, "does not open").await;
    fs::write(place.record(1), &old).unwrap();
    assert_others_work(&vault, None, "the old one whole").await;
}

#[tokio::test]
async fn label_and_times_are_not_bound_and_decide_nothing() {
    for (field, value) in
        [("label", json!("other")), ("created_at", json!(7)), ("updated_at", json!(u64::MAX))]
    {
        let (place, vault) = new().await;
        let before = vault.get(&pool(), id(1)).await.unwrap().metadata;
        place.edit(&place.record(1), |json| json["metadata"][field] = value.clone());
        let known = vault.get(&pool(), id(1)).await.unwrap();
        assert_eq!(known.secret.token().expose(), token(1));
        assert!(is_same_place(&known.metadata, &before), "{field}");
        assert_eq!(serde_json::to_value(&known.metadata).unwrap()[field], value);
        for vault in [vault.clone(), place.open().await] {
            let loaded = vault.load_pool(pool()).await.unwrap();
            assert_eq!((loaded.credentials.len(), loaded.damaged.len()), (2, 0));
        }
        let new = Secret::api_key(token(1));
        let swapped = vault.replace_secret(&pool(), id(1), Generation::FIRST, new).await.unwrap();
        assert!(matches!(swapped, Replaced::Swapped(_)));
        assert_others_work(&vault, None, field).await;
    }
}

#[tokio::test]
async fn a_stored_label_that_could_not_be_put_is_refused_by_the_files_name() {
    let long = "x".repeat(10_000);
    for label in [long.as_str(), "\u{1b}[2Jevil", "a\nb", "\0", ""] {
        let (place, vault) = new().await;
        place.edit(&place.record(1), |json| json["metadata"]["label"] = json!(label));
        assert_refused(&place, &vault, "the label").await;
        place.edit(&place.record(1), |json| json["metadata"]["label"] = json!("l1"));
        assert_others_work(&vault, None, "corrected").await;
    }
}

#[tokio::test]
async fn a_record_that_is_far_too_long_is_named_and_kept() {
    let (place, vault) = new().await;
    place.edit(&place.record(1), |json| {
        json["metadata"]["attributes"]["host"] = json!("x".repeat(5 << 20))
    });
    assert_refused(&place, &vault, "too long to be a file of this vault; restore it").await;
    fs::write(place.record(1), vec![b' '; 5 << 20]).unwrap();
    assert_refused(&place, &vault, "too long").await;
}
