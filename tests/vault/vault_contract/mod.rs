//! What every vault promises, whatever keeps it: a test for each promise, over `VaultExt`.
#![allow(dead_code, reason = "each file of tests uses a part")]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tower::ServiceExt;
use tower_credentials::standing::{
    Change, Cooldown, Health, LastResponse, Outcome, Reason, Scope, Standing,
};
use tower_credentials::vault::{Replaced, Vault, VaultError, VaultExt, VaultRequest, VaultResponse};
use tower_credentials::{
    BoxError, Credential, CredentialId, Generation, Kind, OAuthTokens, PoolKey, Secret, Timestamp,
};

pub(crate) const PLANTED: &str = "sk-planted-0123456789-abcdefghijklmnop";

/// Makes a test of each promise for the vaults that `$new` makes; `$new` returns a vault and what must live as
/// long.
macro_rules! every_promise {
    ($new:expr) => {
        $crate::vault_contract::every_promise!($new;
            a_credential_comes_back_as_it_was_put,
            every_kind_of_secret_comes_back_whole,
            credentials_come_back_in_the_order_they_were_put,
            a_taken_label_gets_the_next_free_number,
            a_taken_label_of_full_length_still_gets_a_number,
            a_label_is_free_in_another_pool_and_namespace,
            a_taken_id_is_refused_and_nothing_changes,
            a_secret_of_another_kind_is_refused,
            a_key_that_no_header_takes_is_refused,
            names_that_cannot_be_stored_are_refused,
            relabel_refuses_a_taken_label,
            keys_of_a_configuration_are_put_once_and_exchanged_where_they_are,
            move_changes_the_order_and_past_the_end_is_the_back,
            a_reset_restores_the_place_that_was_set_explicitly,
            remove_forgets_the_credential_and_its_standing,
            what_is_missing_is_not_found,
            a_new_secret_is_on_the_right_record_of_several,
            attributes_change_with_a_secret_alone,
            a_lost_race_for_a_new_secret_returns_what_is_stored,
            of_many_who_replace_one_generation_one_wins,
            a_later_shorter_deadline_never_shortens_a_longer_one,
            outcomes_at_once_are_all_kept,
            an_outcome_of_a_credential_that_is_gone_is_dropped,
            an_outcome_sent_to_another_pool_is_dropped,
            a_saved_standing_never_rolls_back_a_newer_secret,
            to_the_back_and_health_are_kept,
            a_verdict_on_an_older_secret_is_void_and_one_on_the_newest_is_not,
            a_pause_and_the_last_response_are_kept_through_a_reset_and_a_new_secret,
            every_change_makes_a_new_revision_and_reading_makes_none,
            a_resealed_secret_makes_no_new_revision,
            a_lease_waits_until_the_other_is_dropped,
            a_lease_of_another_credential_does_not_wait,
            a_dropped_wait_for_a_lease_does_not_keep_it_from_others,
            a_clients_lease_is_held_by_one_and_is_not_anothers,
            a_refresh_that_begins_again_learns_that_an_earlier_one_did_not_end,
            a_refresh_of_an_old_secret_does_not_begin,
            debug_shows_no_secret,
        );
    };
    ($new:expr; $($promise:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $promise() {
                let (vault, _alive) = $new().await;
                $crate::vault_contract::$promise(vault).await;
            }
        )*
    };
}

pub(crate) use every_promise;

pub(crate) fn pool() -> PoolKey {
    PoolKey::new("example")
}

pub(crate) fn account(label: &str) -> Credential {
    Credential::new(pool(), label, Secret::api_key(format!("{PLANTED}-{label}")))
}

/// Puts accounts with these labels and returns their ids.
pub(crate) async fn put_all<const N: usize>(vault: &impl Vault, labels: [&str; N]) -> [CredentialId; N] {
    let mut ids = [CredentialId::from_bytes([0; 16]); N];
    for (id, label) in ids.iter_mut().zip(labels) {
        *id = vault.put(account(label)).await.unwrap().id;
    }
    ids
}

pub(crate) async fn order(vault: &impl Vault) -> Vec<String> {
    let pool = vault.load_pool(pool()).await.unwrap();
    pool.credentials.iter().map(|credential| credential.metadata.label.to_string()).collect()
}

pub(crate) fn cooled(id: CredentialId, until: u64, set_at: u64, to_back: bool) -> Outcome {
    let cooldown = Cooldown {
        until: Timestamp::from_millis(until),
        set_at: Timestamp::from_millis(set_at),
        reason: Reason::Limited,
        scope: None,
        generation: None,
        cause: None,
    };
    Outcome { id, change: Change::CooledDown { cooldown, failure: true, to_back } }
}

pub(crate) async fn until(vault: &impl Vault, id: CredentialId) -> Option<u64> {
    let pool = vault.load_pool(pool()).await.unwrap();
    Some(pool.standings.credentials.get(&id)?.cooldown(None)?.until.as_millis())
}

pub(crate) async fn token(vault: &impl Vault, id: CredentialId) -> String {
    vault.get(id).await.unwrap().secret.token().expose().to_owned()
}

pub(crate) async fn a_credential_comes_back_as_it_was_put(vault: impl Vault) {
    let put = account("work").attribute("host", "api.example.com");
    let stored = vault.put(put.clone()).await.unwrap();
    assert_eq!(stored, put.metadata);
    assert_eq!(stored.generation, Generation::FIRST);

    let got = vault.get(stored.id).await.unwrap();
    assert_eq!(got.metadata, put.metadata);
    assert_eq!(got.secret.token().expose(), format!("{PLANTED}-work"));
    let loaded = vault.load_pool(pool()).await.unwrap();
    assert_eq!(loaded.credentials.len(), 1);
    assert_eq!(loaded.credentials[0].metadata, put.metadata);
    assert_eq!(loaded.credentials[0].secret.token().expose(), format!("{PLANTED}-work"));
    assert!(loaded.damaged.is_empty());
    assert_eq!(vault.list().await.unwrap().credentials, [put.metadata]);
}

pub(crate) async fn every_kind_of_secret_comes_back_whole(vault: impl Vault) {
    let mut tokens = OAuthTokens::new("access \"quoted\" \\u0001 é")
        .refresh("refresh")
        .expires_at(Timestamp::from_millis(1_700_000_000_123));
    tokens.extra.insert("id_token".into(), "extra".into());
    let secrets = [
        Secret::OAuth(tokens.clone()),
        Secret::api_key(""),
        Secret::WellKnown { variable: "TOKEN".into(), token: "known".into() },
        Secret::Mcp(tokens),
    ];
    for secret in secrets {
        let stored = vault.put(Credential::new(pool(), "kind", secret.clone())).await.unwrap();
        assert_eq!(stored.kind, secret.kind());
        let got = vault.get(stored.id).await.unwrap().secret;
        match (&got, &secret) {
            (Secret::OAuth(got), Secret::OAuth(put)) | (Secret::Mcp(got), Secret::Mcp(put)) => {
                assert_eq!(got.access.expose(), put.access.expose());
                assert_eq!(got.refresh.as_ref().unwrap().expose(), "refresh");
                assert_eq!(got.expires_at, put.expires_at);
                assert_eq!(got.extra["id_token"].expose(), "extra");
            }
            (Secret::Api { key }, Secret::Api { .. }) => assert!(key.is_empty()),
            (Secret::WellKnown { variable, token }, Secret::WellKnown { .. }) => {
                assert_eq!((variable.as_str(), token.expose()), ("TOKEN", "known"));
            }
            _ => panic!("{got:?} came back for {secret:?}"),
        }
    }
}

pub(crate) async fn credentials_come_back_in_the_order_they_were_put(vault: impl Vault) {
    put_all(&vault, ["c", "a", "d", "b"]).await;
    assert_eq!(order(&vault).await, ["c", "a", "d", "b"]);
    let listed = vault.list().await.unwrap().credentials;
    assert_eq!(listed.iter().map(|metadata| &*metadata.label).collect::<Vec<_>>(), ["c", "a", "d", "b"]);
}

pub(crate) async fn a_taken_label_gets_the_next_free_number(vault: impl Vault) {
    put_all(&vault, ["work", "work", "work", "work-2"]).await;
    assert_eq!(order(&vault).await, ["work", "work-2", "work-3", "work-2-2"]);
}

pub(crate) async fn a_taken_label_of_full_length_still_gets_a_number(vault: impl Vault) {
    let label = "é".repeat(100);
    put_all(&vault, [&label, &label]).await;
    let second = order(&vault).await.remove(1);
    assert!(second.len() <= 200, "{} bytes", second.len());
    assert_eq!(second, format!("{}-2", "é".repeat(99)));
}

pub(crate) async fn a_label_is_free_in_another_pool_and_namespace(vault: impl Vault) {
    for pool in [pool(), PoolKey::new("other"), PoolKey::with_namespace("example", "team")] {
        let stored =
            vault.put(Credential::new(pool.clone(), "work", Secret::api_key("k"))).await.unwrap();
        assert_eq!(&*stored.label, "work");
        assert_eq!(vault.load_pool(pool).await.unwrap().credentials.len(), 1);
    }
    let listed = vault.list().await.unwrap().credentials;
    let pools: Vec<_> = listed.iter().map(|metadata| metadata.pool.to_string()).collect();
    assert_eq!(pools, ["example/default", "example/team", "other/default"]);
}

pub(crate) async fn a_taken_id_is_refused_and_nothing_changes(vault: impl Vault) {
    let [id] = put_all(&vault, ["first"]).await;
    let revision = vault.revision(pool()).await.unwrap();
    let mut second = account("second");
    second.metadata.id = id;
    assert!(matches!(vault.put(second).await, Err(VaultError::Exists(taken)) if taken == id));
    assert_eq!(token(&vault, id).await, format!("{PLANTED}-first"));
    assert_eq!(vault.revision(pool()).await.unwrap(), revision);
}

pub(crate) async fn a_secret_of_another_kind_is_refused(vault: impl Vault) {
    let [id] = put_all(&vault, ["key"]).await;
    let refused = vault.replace_secret(id, Generation::FIRST, OAuthTokens::new("t")).await;
    assert!(matches!(
        refused,
        Err(VaultError::WrongKind { expected: Kind::Api, given: Kind::OAuth, .. })
    ));
    assert_eq!(token(&vault, id).await, format!("{PLANTED}-key"));

    let mut mixed = account("mixed");
    mixed.metadata.kind = Kind::Mcp;
    assert!(matches!(vault.put(mixed).await, Err(VaultError::WrongKind { .. })));
    assert_eq!(order(&vault).await, ["key"]);
}

pub(crate) async fn a_key_that_no_header_takes_is_refused(vault: impl Vault) {
    let [id] = put_all(&vault, ["work"]).await;
    let unusable = || Secret::api_key(format!("{PLANTED}\n"));
    for refused in [
        vault.put(Credential::new(pool(), "other", unusable())).await.map(drop),
        vault.ensure(Credential::new(pool(), "work", unusable())).await.map(drop),
        vault.replace_secret(id, Generation::FIRST, unusable()).await.map(drop),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, VaultError::InvalidSecret { field: "API key", .. }), "{error:?}");
        assert!(!error.to_string().contains(PLANTED), "{error}");
    }
    assert_eq!(token(&vault, id).await, format!("{PLANTED}-work"));
    assert_eq!(order(&vault).await, ["work"]);
}

pub(crate) async fn names_that_cannot_be_stored_are_refused(vault: impl Vault) {
    let long = "x".repeat(201);
    for (provider, namespace, label, field) in [
        ("", "n", "l", "provider"),
        ("p", "a\nb", "l", "namespace"),
        ("p", "n", long.as_str(), "label"),
        ("p", "n", "\0", "label"),
    ] {
        let pool = PoolKey::with_namespace(provider, namespace);
        let refused = vault.put(Credential::new(pool, label, Secret::api_key("k"))).await;
        match refused {
            Err(VaultError::InvalidName { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{other:?}"),
        }
    }
    let [id] = put_all(&vault, ["work"]).await;
    assert!(matches!(vault.relabel(id, "").await, Err(VaultError::InvalidName { field: "label", .. })));
    assert_eq!(vault.list().await.unwrap().credentials.len(), 1);
}

pub(crate) async fn relabel_refuses_a_taken_label(vault: impl Vault) {
    let [one, _] = put_all(&vault, ["one", "two"]).await;
    match vault.relabel(one, "two").await {
        Err(VaultError::LabelTaken(label)) => assert_eq!(&*label, "two"),
        other => panic!("{other:?}"),
    }
    assert_eq!(&*vault.relabel(one, "one").await.unwrap().label, "one");
    assert_eq!(&*vault.relabel(one, "uno").await.unwrap().label, "uno");
    assert_eq!(order(&vault).await, ["uno", "two"]);
    assert_eq!(token(&vault, one).await, format!("{PLANTED}-one"));
}

pub(crate) async fn keys_of_a_configuration_are_put_once_and_exchanged_where_they_are(
    vault: impl Vault,
) {
    let key = |label: &str, secret: &str| Credential::new(pool(), label, Secret::api_key(secret));
    for _ in 0..2 {
        let both = futures_of(&vault, [key("one", "sk-1"), key("two", "sk-2")]).await;
        assert_eq!(both.iter().map(|known| &*known.label).collect::<Vec<_>>(), ["one", "two"]);
    }
    assert_eq!(order(&vault).await, ["one", "two"]);
    // The same key under another label is the same account.
    assert_eq!(&*vault.ensure(key("uno", "sk-1")).await.unwrap().label, "one");
    let exchanged = vault.ensure(key("two", "sk-3")).await.unwrap();
    assert_eq!(exchanged.generation, Generation::FIRST.next());
    assert_eq!(vault.get(exchanged.id).await.unwrap().secret.token().expose(), "sk-3");
    assert_eq!(order(&vault).await, ["one", "two"]);
    // A sign-in of the same label is another account.
    vault.put(Credential::new(pool(), "three", OAuthTokens::new("token"))).await.unwrap();
    assert_eq!(&*vault.ensure(key("three", "sk-4")).await.unwrap().label, "three-2");
    assert_eq!(order(&vault).await, ["one", "two", "three", "three-2"]);
}

/// All at once, as several processes would.
async fn futures_of<const N: usize>(
    vault: &impl Vault,
    keys: [Credential; N],
) -> Vec<tower_credentials::Metadata> {
    let mut all = Vec::new();
    for task in keys.map(|key| {
        let vault = vault.clone();
        tokio::spawn(async move { vault.ensure(key).await.unwrap() })
    }) {
        all.push(task.await.unwrap());
    }
    all
}

pub(crate) async fn move_changes_the_order_and_past_the_end_is_the_back(vault: impl Vault) {
    let [a, _, c] = put_all(&vault, ["a", "b", "c"]).await;
    vault.move_to(c, 0).await.unwrap();
    assert_eq!(order(&vault).await, ["c", "a", "b"]);
    vault.move_to(c, usize::MAX).await.unwrap();
    assert_eq!(order(&vault).await, ["a", "b", "c"]);
    vault.move_to(a, 1).await.unwrap();
    assert_eq!(order(&vault).await, ["b", "a", "c"]);
}

pub(crate) async fn a_reset_restores_the_place_that_was_set_explicitly(vault: impl Vault) {
    let [a, b, c] = put_all(&vault, ["a", "b", "c"]).await;
    vault.move_to(c, 1).await.unwrap();
    assert_eq!(order(&vault).await, ["a", "c", "b"]);
    let reset = |id| Outcome { id, change: Change::Reset };
    vault.record(pool(), vec![cooled(a, 10, 1, true), cooled(c, 10, 1, true)]).await.unwrap();
    assert_eq!(order(&vault).await, ["b", "a", "c"]);
    vault.record(pool(), vec![reset(c)]).await.unwrap();
    assert_eq!(order(&vault).await, ["c", "b", "a"]);
    vault.record(pool(), vec![reset(a), reset(b)]).await.unwrap();
    assert_eq!(order(&vault).await, ["a", "c", "b"]);
    let tier = Outcome { id: b, change: Change::Tier { tier: Some(3) } };
    vault.record(pool(), vec![tier, reset(b)]).await.unwrap();
    let stored = vault.load_pool(pool()).await.unwrap();
    assert_eq!(stored.standings.preferred, [a, c, b]);
    assert_eq!(stored.standings.credentials[&b].tier, Some(3), "a reset changes no tier");
}

pub(crate) async fn remove_forgets_the_credential_and_its_standing(vault: impl Vault) {
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    vault.record(pool(), vec![cooled(a, 100, 1, false)]).await.unwrap();
    vault.remove(a).await.unwrap();
    let loaded = vault.load_pool(pool()).await.unwrap();
    assert_eq!(loaded.standings.order, [b]);
    assert!(loaded.standings.credentials.is_empty());
    assert!(matches!(vault.get(a).await, Err(VaultError::NotFound(gone)) if gone == a));
    assert_eq!(order(&vault).await, ["b"]);
}

pub(crate) async fn what_is_missing_is_not_found(vault: impl Vault) {
    let id = CredentialId::random();
    let secret = Secret::api_key("k");
    let errors = [
        vault.get(id).await.unwrap_err(),
        vault.relabel(id, "x").await.unwrap_err(),
        vault.move_to(id, 0).await.unwrap_err(),
        vault.remove(id).await.unwrap_err(),
        vault.replace_secret(id, Generation::FIRST, secret).await.unwrap_err(),
        vault.lease_refresh(id).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, VaultError::NotFound(missing) if missing == id), "{error:?}");
    }
    assert!(vault.load_pool(pool()).await.unwrap().credentials.is_empty());
}

pub(crate) async fn a_new_secret_is_on_the_right_record_of_several(vault: impl Vault) {
    let [a, b, c] = put_all(&vault, ["a", "b", "c"]).await;
    let before = vault.get(b).await.unwrap().metadata;
    let replaced = vault.replace_secret(b, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    assert!(matches!(replaced, Replaced::Swapped(generation) if generation == Generation::new(2)));
    let after = vault.get(b).await.unwrap().metadata;
    assert_eq!(after.generation, Generation::new(2));
    assert!(after.updated_at >= before.updated_at);
    assert_eq!(after.created_at, before.created_at);
    assert_eq!(token(&vault, a).await, format!("{PLANTED}-a"));
    assert_eq!(token(&vault, b).await, "new");
    assert_eq!(token(&vault, c).await, format!("{PLANTED}-c"));
    assert_eq!(order(&vault).await, ["a", "b", "c"]);
}

pub(crate) async fn attributes_change_with_a_secret_alone(vault: impl Vault) {
    let put = account("work").attribute("host", "old").attribute("plan", "free");
    let id = vault.put(put.clone()).await.unwrap().id;
    vault.replace_secret(id, Generation::FIRST, Secret::api_key("second")).await.unwrap();
    assert_eq!(vault.get(id).await.unwrap().metadata.attributes, put.metadata.attributes);

    let new = BTreeMap::from([("host".to_owned(), "new".to_owned())]);
    let second = Generation::FIRST.next();
    let replaced = vault.replace(id, second, Secret::api_key("third"), new.clone()).await.unwrap();
    assert!(matches!(replaced, Replaced::Swapped(generation) if generation == second.next()));
    let stored = vault.get(id).await.unwrap();
    assert_eq!((stored.metadata.attributes, stored.secret.token().expose()), (new.clone(), "third"));

    // Who comes too late changes neither.
    let lost = vault.replace(id, second, Secret::api_key("lost"), BTreeMap::new()).await.unwrap();
    assert!(matches!(lost, Replaced::Conflict(_)), "{lost:?}");
    let stored = vault.load_pool(pool()).await.unwrap().credentials.pop().unwrap();
    assert_eq!((stored.metadata.attributes, stored.secret.token().expose()), (new, "third"));
}

pub(crate) async fn a_lost_race_for_a_new_secret_returns_what_is_stored(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    vault.replace_secret(id, Generation::FIRST, Secret::api_key("winner")).await.unwrap();
    for stale in [Generation::FIRST, Generation::new(3)] {
        match vault.replace_secret(id, stale, Secret::api_key("loser")).await.unwrap() {
            Replaced::Conflict(stored) => {
                assert_eq!(stored.secret.token().expose(), "winner");
                assert_eq!(stored.metadata.generation, Generation::new(2));
            }
            swapped => panic!("{swapped:?}"),
        }
    }
    assert_eq!(token(&vault, id).await, "winner");
}

pub(crate) async fn of_many_who_replace_one_generation_one_wins(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let vault = vault.clone();
            let secret = Secret::api_key(format!("{number}"));
            let replace = async move { vault.replace_secret(id, Generation::FIRST, secret).await };
            (number, tokio::spawn(replace))
        })
        .collect();
    let mut winners = Vec::new();
    let mut losers_saw = Vec::new();
    for (number, task) in tasks {
        match task.await.unwrap().unwrap() {
            Replaced::Swapped(generation) => winners.push((number, generation)),
            Replaced::Conflict(stored) => losers_saw.push(stored.secret.token().expose().to_owned()),
        }
    }
    let [(winner, generation)] = winners[..] else { panic!("{} won", winners.len()) };
    assert_eq!(generation, Generation::new(2));
    assert_eq!(losers_saw, vec![winner.to_string(); 19]);
    assert_eq!(token(&vault, id).await, winner.to_string());
}

pub(crate) async fn a_later_shorter_deadline_never_shortens_a_longer_one(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    vault.record(pool(), vec![cooled(id, 9_000, 1, false)]).await.unwrap();
    vault.record(pool(), vec![cooled(id, 5_000, 2, false)]).await.unwrap();
    assert_eq!(until(&vault, id).await, Some(9_000));
    let succeeded = Change::Succeeded { set_until: Timestamp::from_millis(0), scope: None };
    vault.record(pool(), vec![Outcome { id, change: succeeded }]).await.unwrap();
    assert_eq!(until(&vault, id).await, Some(9_000), "it began before the cooldown was set");
    let reset = Outcome { id, change: Change::Reset };
    vault.record(pool(), vec![reset, cooled(id, 5_000, 3, false)]).await.unwrap();
    assert_eq!(until(&vault, id).await, Some(5_000), "a person has reset it in between");
}

pub(crate) async fn outcomes_at_once_are_all_kept(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let vault = vault.clone();
            let cooldown = Cooldown {
                until: Timestamp::from_millis(number),
                set_at: Timestamp::from_millis(1),
                reason: Reason::UsedUp,
                scope: Some(Scope::new(format!("model-{number}"))),
                generation: None,
            };
            let change = Change::CooledDown { cooldown, failure: true, to_back: false };
            tokio::spawn(async move { vault.record(pool(), vec![Outcome { id, change }]).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let standings = vault.load_pool(pool()).await.unwrap().standings;
    assert_eq!(standings.credentials[&id].failures, 20);
    assert_eq!(standings.credentials[&id].cooldowns.len(), 20);
}

pub(crate) async fn an_outcome_of_a_credential_that_is_gone_is_dropped(vault: impl Vault) {
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    vault.remove(a).await.unwrap();
    let before = vault.revision(pool()).await.unwrap();
    let revision = vault.record(pool(), vec![cooled(a, 5_000, 1, true)]).await.unwrap();
    assert_eq!(revision, before, "nothing changed");
    vault.record(pool(), vec![cooled(a, 5_000, 1, true), cooled(b, 6_000, 1, false)]).await.unwrap();
    let standings = vault.load_pool(pool()).await.unwrap().standings;
    assert_eq!(standings.order, [b]);
    assert_eq!(standings.credentials.keys().collect::<Vec<_>>(), [&b]);
}

pub(crate) async fn an_outcome_sent_to_another_pool_is_dropped(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    let other = PoolKey::new("other");
    vault.record(other.clone(), vec![cooled(id, 5_000, 1, true)]).await.unwrap();
    let loaded = vault.load_pool(other).await.unwrap();
    assert!(loaded.standings.order.is_empty() && loaded.standings.credentials.is_empty());
    assert_eq!(until(&vault, id).await, None);
}

pub(crate) async fn a_saved_standing_never_rolls_back_a_newer_secret(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    let slow = vault.clone();
    let loaded_early = slow.load_pool(pool()).await.unwrap();
    vault.replace_secret(id, Generation::FIRST, Secret::api_key("newer")).await.unwrap();
    assert_eq!(loaded_early.credentials[0].metadata.generation, Generation::FIRST);
    slow.record(pool(), vec![cooled(id, 5_000, 1, true)]).await.unwrap();
    assert_eq!(token(&vault, id).await, "newer");
    assert_eq!(vault.get(id).await.unwrap().metadata.generation, Generation::new(2));
    assert_eq!(until(&vault, id).await, Some(5_000));
}

pub(crate) async fn to_the_back_and_health_are_kept(vault: impl Vault) {
    let [a, _, _] = put_all(&vault, ["a", "b", "c"]).await;
    let health =
        Health::NeedsSignIn { reason: "revoked".into(), generation: Generation::FIRST, cause: None };
    let outcomes =
        vec![cooled(a, 5_000, 1, true), Outcome { id: a, change: Change::Health(health.clone()) }];
    vault.record(pool(), outcomes).await.unwrap();
    assert_eq!(order(&vault).await, ["b", "c", "a"]);
    let standings = vault.load_pool(pool()).await.unwrap().standings;
    assert_eq!(standings.credentials[&a].health, health);
    assert_eq!(standings.credentials[&a].failures, 1);
}

pub(crate) async fn a_verdict_on_an_older_secret_is_void_and_one_on_the_newest_is_not(
    vault: impl Vault,
) {
    let [id] = put_all(&vault, ["a"]).await;
    let dead = |generation| {
        let health = Health::NeedsSignIn { reason: "revoked".into(), generation, cause: None };
        vec![cooled(id, 5_000, 1, false), Outcome { id, change: Change::Health(health) }]
    };
    let is_dead = async || {
        let standings = vault.load_pool(pool()).await.unwrap().standings;
        assert_eq!(standings.credentials[&id].failures, 1, "the rest stays");
        standings.credentials[&id].health != Health::Good
    };
    let (first, second) = (Generation::FIRST, Generation::FIRST.next());
    vault.record(pool(), dead(first)).await.unwrap();
    assert!(is_dead().await);
    vault.replace_secret(id, first, Secret::api_key("new")).await.unwrap();
    assert!(!is_dead().await);
    // Also one that comes late: whoever found it had not seen the new secret.
    vault.record(pool(), dead(first).split_off(1)).await.unwrap();
    assert!(!is_dead().await);
    vault.record(pool(), dead(second).split_off(1)).await.unwrap();
    assert!(is_dead().await);
}

pub(crate) async fn a_pause_and_the_last_response_are_kept_through_a_reset_and_a_new_secret(
    vault: impl Vault,
) {
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    let response = |at| LastResponse { at: Timestamp::from_millis(at), status: 200 };
    let changes = [Change::Answered(response(7)), Change::Paused, Change::Answered(response(6))];
    let outcomes = changes.map(|change| Outcome { id: a, change });
    vault.record(pool(), outcomes.to_vec()).await.unwrap();
    let expected = Standing { paused: true, last_response: Some(response(7)), ..Standing::default() };
    let standing = || async {
        let mut standings = vault.load_pool(pool()).await.unwrap().standings.credentials;
        assert_eq!(standings.get(&b).cloned().unwrap_or_default(), Standing::default());
        standings.remove(&a).unwrap()
    };
    assert_eq!(standing().await, expected);
    vault.record(pool(), vec![Outcome { id: a, change: Change::Reset }]).await.unwrap();
    vault.replace_secret(a, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    assert_eq!(standing().await, expected);
    vault.record(pool(), vec![Outcome { id: a, change: Change::Resumed }]).await.unwrap();
    assert_eq!(standing().await, Standing { paused: false, ..expected });
}

pub(crate) async fn every_change_makes_a_new_revision_and_reading_makes_none(vault: impl Vault) {
    let mut seen = vec![vault.revision(pool()).await.unwrap()];
    let [a, _] = put_all(&vault, ["a", "b"]).await;
    seen.push(vault.revision(pool()).await.unwrap());
    vault.relabel(a, "c").await.unwrap();
    seen.push(vault.revision(pool()).await.unwrap());
    vault.move_to(a, 1).await.unwrap();
    seen.push(vault.revision(pool()).await.unwrap());
    vault.replace_secret(a, Generation::FIRST, Secret::api_key("n")).await.unwrap();
    seen.push(vault.revision(pool()).await.unwrap());
    for set_at in 0..20 {
        seen.push(vault.record(pool(), vec![cooled(a, 5, set_at, false)]).await.unwrap());
    }
    vault.remove(a).await.unwrap();
    seen.push(vault.revision(pool()).await.unwrap());
    assert!(seen.is_sorted_by(|earlier, later| earlier < later), "{seen:?}");

    let last = *seen.last().unwrap();
    assert_eq!(vault.load_pool(pool()).await.unwrap().revision, last);
    vault.list().await.unwrap();
    vault.record(pool(), Vec::new()).await.unwrap();
    vault.put(Credential::new(PoolKey::new("other"), "x", Secret::api_key("k"))).await.unwrap();
    assert_eq!(vault.revision(pool()).await.unwrap(), last);
}

pub(crate) async fn a_resealed_secret_makes_no_new_revision(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    let before = vault.revision(pool()).await.unwrap();
    let stored = vault.get(id).await.unwrap();
    let reseal = async |expected| {
        let request = VaultRequest::Reseal { id, expected, secret: stored.secret.clone() };
        vault.clone().oneshot(request).await.map_err(Into::<BoxError>::into).unwrap()
    };
    let response = reseal(Generation::FIRST).await;
    assert!(
        matches!(response, VaultResponse::Replaced(Replaced::Swapped(Generation::FIRST))),
        "{response:?}"
    );
    let other = reseal(Generation::new(7)).await;
    assert!(matches!(other, VaultResponse::Replaced(Replaced::Conflict(_))), "{other:?}");
    assert_eq!(vault.revision(pool()).await.unwrap(), before);
    assert_eq!(vault.get(id).await.unwrap().metadata, stored.metadata);
}

pub(crate) async fn a_lease_waits_until_the_other_is_dropped(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    let lease = vault.lease_refresh(id).await.unwrap();
    let mut second = pin!(vault.lease_refresh(id));
    for _ in 0..50 {
        assert!(poll_once(second.as_mut()).is_pending(), "two hold the lease");
        tokio::task::yield_now().await;
    }
    let record = vault.record(pool(), vec![cooled(id, 1, 1, false)]);
    record.await.expect("a lease holds up nothing else");
    assert!(poll_once(second.as_mut()).is_pending(), "two hold the lease");
    drop(lease);
    let second = second.await.unwrap();
    drop(second);
    vault.lease_refresh(id).await.unwrap();
}

pub(crate) async fn a_lease_of_another_credential_does_not_wait(vault: impl Vault) {
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    let _one = vault.lease_refresh(a).await.unwrap();
    let _other = vault.lease_refresh(b).await.unwrap();
}

pub(crate) async fn a_dropped_wait_for_a_lease_does_not_keep_it_from_others(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    let lease = vault.lease_refresh(id).await.unwrap();
    let mut second = Box::pin(vault.lease_refresh(id));
    assert!(poll_once(second.as_mut()).is_pending());
    let mut third = Box::pin(vault.lease_refresh(id));
    assert!(poll_once(third.as_mut()).is_pending());
    let mut fourth = Box::pin(vault.lease_refresh(id));
    assert!(poll_once(fourth.as_mut()).is_pending());
    // The second leaves before its turn comes, the third once it has come.
    drop(second);
    drop(lease);
    drop(third);
    drop(fourth.await.unwrap());
    vault.lease_refresh(id).await.unwrap();
}

pub(crate) async fn a_clients_lease_is_held_by_one_and_is_not_anothers(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    let long = "c".repeat(1000);
    for client in ["app", "App", "../app", "a/b", long.as_str(), &id.to_string()] {
        let lease = vault.lease_client(client.into()).await.unwrap();
        let mut second = pin!(vault.lease_client(client.into()));
        for _ in 0..20 {
            assert!(poll_once(second.as_mut()).is_pending(), "two hold the lease of {client}");
            tokio::task::yield_now().await;
        }
        // Neither a credential's, nor that of another client.
        vault.lease_refresh(id).await.unwrap();
        vault.lease_client(format!("{client}x").into()).await.unwrap();
        drop(lease);
        second.await.unwrap();
    }
}

pub(crate) async fn a_refresh_that_begins_again_learns_that_an_earlier_one_did_not_end(
    vault: impl Vault,
) {
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    let began = Timestamp::from(std::time::SystemTime::now());
    let first = vault.begin_refresh(a, Generation::FIRST).await.unwrap();
    assert_eq!(first.record.secret.token().expose(), format!("{PLANTED}-a"));
    assert_eq!(first.unfinished, None);
    let again = vault.begin_refresh(a, Generation::FIRST).await.unwrap();
    assert!(again.unfinished.is_some_and(|at| at >= began), "{:?}", again.unfinished);
    assert_eq!(vault.begin_refresh(b, Generation::FIRST).await.unwrap().unfinished, None);
    let Ok(Replaced::Swapped(second)) =
        vault.replace_secret(a, Generation::FIRST, Secret::api_key("new")).await
    else {
        panic!("not replaced");
    };
    // What was stored has ended it.
    assert_eq!(vault.begin_refresh(a, second).await.unwrap().unfinished, None);
    // So does the vendor's refusal, but not one of another secret.
    for (generation, is_over) in [(Generation::FIRST, false), (second, true)] {
        let health = Health::NeedsSignIn { reason: "revoked".into(), generation, cause: None };
        let outcome = Outcome { id: a, change: Change::Health(health) };
        vault.record(pool(), vec![outcome]).await.unwrap();
        let unfinished = vault.begin_refresh(a, second).await.unwrap().unfinished;
        assert_eq!(unfinished.is_none(), is_over, "{generation}: {unfinished:?}");
    }
    vault.remove(a).await.unwrap();
    assert!(matches!(vault.begin_refresh(a, second).await, Err(VaultError::NotFound(_))));
}

pub(crate) async fn a_refresh_of_an_old_secret_does_not_begin(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    vault.replace_secret(id, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    let begun = vault.begin_refresh(id, Generation::FIRST).await.unwrap();
    assert_eq!(begun.record.secret.token().expose(), "new");
    assert_eq!(begun.record.metadata.generation, Generation::FIRST.next());
    let begun = vault.begin_refresh(id, Generation::FIRST.next()).await.unwrap();
    assert_eq!(begun.unfinished, None, "the old one was noted");
}

pub(crate) async fn debug_shows_no_secret(vault: impl Vault + std::fmt::Debug) {
    let [id] = put_all(&vault, ["a"]).await;
    let mut shown = format!("{vault:?} {:?}", vault.get(id).await.unwrap());
    shown += &format!("{:?}", vault.load_pool(pool()).await.unwrap());
    let conflict = vault.replace_secret(id, Generation::new(9), Secret::api_key(PLANTED)).await;
    shown += &format!("{:?} {:?}", conflict.unwrap(), vault.lease_refresh(id).await.unwrap());
    assert!(shown.contains(&id.to_string()), "{shown}");
    assert!(!shown.contains("planted"), "{shown}");
}

pub(crate) fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
