//! New secrets, and refreshes that begin and end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::standing::{Change, Health, Outcome};
use crate::vault::call;
use crate::vault::{FailedRefresh, Replaced, Vault, VaultError, VaultExt, VaultRequest, VaultResponse};
use crate::{Generation, Secret, Timestamp};

use super::fixtures::{PLANTED, account, cooled, order, pool, put_all, token, until};

/// A new secret gets the next generation and changes no other record.
pub async fn a_new_secret_is_on_the_right_record_of_several(vault: impl Vault) {
    let [a, b, c] = put_all(&vault, ["a", "b", "c"]).await;
    let before = vault.get(&pool(), b).await.unwrap().metadata;
    let replaced =
        vault.replace_secret(&pool(), b, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    assert!(matches!(replaced, Replaced::Swapped(generation) if generation == Generation::new(2)));
    let after = vault.get(&pool(), b).await.unwrap().metadata;
    assert_eq!(after.generation, Generation::new(2));
    assert!(after.updated_at >= before.updated_at);
    assert_eq!(after.created_at, before.created_at);
    assert_eq!(token(&vault, a).await, format!("{PLANTED}-a"));
    assert_eq!(token(&vault, b).await, "new");
    assert_eq!(token(&vault, c).await, format!("{PLANTED}-c"));
    assert_eq!(order(&vault).await, ["a", "b", "c"]);
}

/// Attributes change together with a secret, and stay if the request has none.
pub async fn attributes_change_with_a_secret_alone(vault: impl Vault) {
    let put = account("work").attribute("host", "old").attribute("plan", "free");
    let id = vault.put(put.clone()).await.unwrap().id;
    vault.replace_secret(&pool(), id, Generation::FIRST, Secret::api_key("second")).await.unwrap();
    assert_eq!(vault.get(&pool(), id).await.unwrap().metadata.attributes, put.metadata.attributes);

    let new = BTreeMap::from([("host".to_owned(), "new".to_owned())]);
    let second = Generation::FIRST.next();
    let replaced =
        vault.replace(&pool(), id, second, Secret::api_key("third"), new.clone()).await.unwrap();
    assert!(matches!(replaced, Replaced::Swapped(generation) if generation == second.next()));
    let stored = vault.get(&pool(), id).await.unwrap();
    assert_eq!((stored.metadata.attributes, stored.secret.token().expose()), (new.clone(), "third"));

    // The one that comes too late changes neither.
    let lost =
        vault.replace(&pool(), id, second, Secret::api_key("lost"), BTreeMap::new()).await.unwrap();
    assert!(matches!(lost, Replaced::Conflict(_)), "{lost:?}");
    let stored = vault.load_pool(pool()).await.unwrap().credentials.pop().unwrap();
    assert_eq!((stored.metadata.attributes, stored.secret.token().expose()), (new, "third"));
}

/// A compare and swap of another generation, older or newer, stores nothing and returns what is stored.
pub async fn a_lost_race_for_a_new_secret_returns_what_is_stored(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    vault.replace_secret(&pool(), id, Generation::FIRST, Secret::api_key("winner")).await.unwrap();
    for stale in [Generation::FIRST, Generation::new(3)] {
        match vault.replace_secret(&pool(), id, stale, Secret::api_key("loser")).await.unwrap() {
            Replaced::Conflict(stored) => {
                assert_eq!(stored.secret.token().expose(), "winner");
                assert_eq!(stored.metadata.generation, Generation::new(2));
            }
            swapped => panic!("{swapped:?}"),
        }
    }
    assert_eq!(token(&vault, id).await, "winner");
}

/// Of many that replace the same generation at once one wins, and the others get its secret.
pub async fn of_many_who_replace_one_generation_one_wins(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let vault = vault.clone();
            let secret = Secret::api_key(format!("{number}"));
            let replace =
                async move { vault.replace_secret(&pool(), id, Generation::FIRST, secret).await };
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

/// `Record` never touches a secret, even if its sender has loaded an older one.
pub async fn a_saved_standing_never_rolls_back_a_newer_secret(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    let slow = vault.clone();
    let loaded_early = slow.load_pool(pool()).await.unwrap();
    vault.replace_secret(&pool(), id, Generation::FIRST, Secret::api_key("newer")).await.unwrap();
    assert_eq!(loaded_early.credentials[0].metadata.generation, Generation::FIRST);
    slow.record(pool(), vec![cooled(id, 5_000, 1, true)]).await.unwrap();
    assert_eq!(token(&vault, id).await, "newer");
    assert_eq!(vault.get(&pool(), id).await.unwrap().metadata.generation, Generation::new(2));
    assert_eq!(until(&vault, id).await, Some(5_000));
}

/// `Reseal` keeps generation, revision and metadata, and stores nothing at another generation.
pub async fn a_resealed_secret_makes_no_new_revision(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    let before = vault.revision(pool()).await.unwrap();
    let stored = vault.get(&pool(), id).await.unwrap();
    let reseal = async |expected| {
        let request = VaultRequest::Reseal { pool: pool(), id, expected, secret: stored.secret.clone() };
        call(vault.clone(), request).await.unwrap()
    };
    let response = reseal(Generation::FIRST).await;
    assert!(
        matches!(response, VaultResponse::Replaced(Replaced::Swapped(Generation::FIRST))),
        "{response:?}"
    );
    let other = reseal(Generation::new(7)).await;
    assert!(matches!(other, VaultResponse::Replaced(Replaced::Conflict(_))), "{other:?}");
    assert_eq!(vault.revision(pool()).await.unwrap(), before);
    assert_eq!(vault.get(&pool(), id).await.unwrap().metadata, stored.metadata);
}

/// `BeginRefresh` says when an earlier refresh of the same generation began, until a new secret or a refusal has ended it.
pub async fn a_refresh_that_begins_again_learns_that_an_earlier_one_did_not_finish(vault: impl Vault) {
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    let began = Timestamp::from(std::time::SystemTime::now());
    let first = vault.begin_refresh(&pool(), a, Generation::FIRST).await.unwrap();
    assert_eq!(first.record.secret.token().expose(), format!("{PLANTED}-a"));
    assert_eq!(first.unfinished, None);
    let again = vault.begin_refresh(&pool(), a, Generation::FIRST).await.unwrap();
    assert!(again.unfinished.is_some_and(|at| at >= began), "{:?}", again.unfinished);
    assert_eq!(vault.begin_refresh(&pool(), b, Generation::FIRST).await.unwrap().unfinished, None);
    let Ok(Replaced::Swapped(second)) =
        vault.replace_secret(&pool(), a, Generation::FIRST, Secret::api_key("new")).await
    else {
        panic!("not replaced");
    };
    // Storing a secret has ended it.
    assert_eq!(vault.begin_refresh(&pool(), a, second).await.unwrap().unfinished, None);
    // The vendor's refusal ends it, too, but not a refusal of another secret.
    for (generation, is_over) in [(Generation::FIRST, false), (second, true)] {
        let health = Health::NeedsSignIn { reason: "revoked".into(), generation, cause: None };
        let outcome = Outcome { id: a, change: Change::Health(health) };
        vault.record(pool(), vec![outcome]).await.unwrap();
        let unfinished = vault.begin_refresh(&pool(), a, second).await.unwrap().unfinished;
        assert_eq!(unfinished.is_none(), is_over, "{generation}: {unfinished:?}");
    }
    vault.remove(&pool(), a).await.unwrap();
    assert!(matches!(vault.begin_refresh(&pool(), a, second).await, Err(VaultError::NotFound(_))));
}

/// `RefreshFailed` ends a refresh, and the next `BeginRefresh` returns how it failed, unless the vendor has refused it since.
pub async fn a_refresh_that_is_known_to_have_failed_is_not_unfinished(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    let begin = async || vault.begin_refresh(&pool(), id, Generation::FIRST).await.unwrap();
    begin().await;
    for in_a_row in 1..3 {
        let failed = FailedRefresh { wait: Duration::ZERO, in_a_row, reason: "503".into() };
        vault.refresh_failed(&pool(), id, Generation::FIRST, failed.clone()).await.unwrap();
        let begun = begin().await;
        assert_eq!((begun.unfinished, begun.failed), (None, Some(failed)));
    }
    // Nothing tells how the last one ended.
    let begun = begin().await;
    assert!(begun.unfinished.is_some() && begun.failed.is_some(), "{begun:?}");
    // The vendor's refusal ends both.
    let (reason, generation) = ("revoked".into(), Generation::FIRST);
    let health = Health::NeedsSignIn { reason, generation, cause: None };
    vault.record(pool(), vec![Outcome { id, change: Change::Health(health) }]).await.unwrap();
    let begun = begin().await;
    assert_eq!((begun.unfinished, begun.failed), (None, None));
}

/// `BeginRefresh` of an older generation notes nothing and returns what is stored.
pub async fn a_refresh_of_an_old_secret_does_not_begin(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    vault.replace_secret(&pool(), id, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    let begun = vault.begin_refresh(&pool(), id, Generation::FIRST).await.unwrap();
    assert_eq!(begun.record.secret.token().expose(), "new");
    assert_eq!(begun.record.metadata.generation, Generation::FIRST.next());
    let begun = vault.begin_refresh(&pool(), id, Generation::FIRST.next()).await.unwrap();
    assert_eq!(begun.unfinished, None, "the old one was noted");
}
