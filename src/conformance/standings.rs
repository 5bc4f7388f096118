//! Cooldowns, health and other outcomes, and the revisions that announce them.

use std::collections::HashSet;

use crate::standing::{Change, Cooldown, Health, LastResponse, Outcome, Reason, Scope, Standing};
use crate::vault::{Vault, VaultExt};
use crate::{Credential, Generation, PoolKey, Secret, Timestamp};

use super::fixtures::{cooled, order, pool, put_all, until};

/// A reset moves a credential back to the place that a person has given it.
pub async fn a_reset_restores_the_place_that_was_set_explicitly(vault: impl Vault) {
    let [a, b, c] = put_all(&vault, ["a", "b", "c"]).await;
    vault.move_to(&pool(), c, 1).await.unwrap();
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

/// Cooldowns are merged: a shorter one never replaces a longer one, nor does an earlier success.
pub async fn a_later_shorter_deadline_never_shortens_a_longer_one(vault: impl Vault) {
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

/// Outcomes that are recorded at once are all kept.
pub async fn outcomes_at_once_are_all_kept(vault: impl Vault) {
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
                cause: None,
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

/// An outcome of a credential that was removed makes no new revision and does not bring it back.
pub async fn an_outcome_of_a_credential_that_is_gone_is_dropped(vault: impl Vault) {
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    vault.remove(&pool(), a).await.unwrap();
    let before = vault.revision(pool()).await.unwrap();
    let revision = vault.record(pool(), vec![cooled(a, 5_000, 1, true)]).await.unwrap();
    assert_eq!(revision, before, "nothing changed");
    vault.record(pool(), vec![cooled(a, 5_000, 1, true), cooled(b, 6_000, 1, false)]).await.unwrap();
    let standings = vault.load_pool(pool()).await.unwrap().standings;
    assert_eq!(standings.order, [b]);
    assert_eq!(standings.credentials.keys().collect::<Vec<_>>(), [&b]);
}

/// An outcome counts only in the pool of its credential.
pub async fn an_outcome_sent_to_another_pool_is_dropped(vault: impl Vault) {
    let [id] = put_all(&vault, ["a"]).await;
    let other = PoolKey::new("other");
    vault.record(other.clone(), vec![cooled(id, 5_000, 1, true)]).await.unwrap();
    let loaded = vault.load_pool(other).await.unwrap();
    assert!(loaded.standings.order.is_empty() && loaded.standings.credentials.is_empty());
    assert_eq!(until(&vault, id).await, None);
}

/// The outcomes of one batch are merged in order, into standings and order.
pub async fn to_the_back_and_health_are_kept(vault: impl Vault) {
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

/// A verdict on an older secret is not shown, whenever it was recorded.
pub async fn a_verdict_on_an_older_secret_is_void_and_one_on_the_newest_is_not(vault: impl Vault) {
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
    vault.replace_secret(&pool(), id, first, Secret::api_key("new")).await.unwrap();
    assert!(!is_dead().await);
    // Also a late verdict: it was found without the new secret.
    vault.record(pool(), dead(first).split_off(1)).await.unwrap();
    assert!(!is_dead().await);
    vault.record(pool(), dead(second).split_off(1)).await.unwrap();
    assert!(is_dead().await);
}

/// A pause and the last response stay through a reset and a new secret.
pub async fn a_pause_and_the_last_response_are_kept_through_a_reset_and_a_new_secret(vault: impl Vault) {
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
    vault.replace_secret(&pool(), a, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    assert_eq!(standing().await, expected);
    vault.record(pool(), vec![Outcome { id: a, change: Change::Resumed }]).await.unwrap();
    assert_eq!(standing().await, Standing { paused: false, ..expected });
}

/// Each change makes a revision that was never there before. Reading, an empty batch and another pool make none.
pub async fn every_change_makes_a_new_revision_and_reading_makes_none(vault: impl Vault) {
    let mut seen = vec![vault.revision(pool()).await.unwrap()];
    let [a, _] = put_all(&vault, ["a", "b"]).await;
    seen.push(vault.revision(pool()).await.unwrap());
    vault.relabel(&pool(), a, "c").await.unwrap();
    seen.push(vault.revision(pool()).await.unwrap());
    vault.move_to(&pool(), a, 1).await.unwrap();
    seen.push(vault.revision(pool()).await.unwrap());
    vault.replace_secret(&pool(), a, Generation::FIRST, Secret::api_key("n")).await.unwrap();
    seen.push(vault.revision(pool()).await.unwrap());
    for set_at in 0..20 {
        seen.push(vault.record(pool(), vec![cooled(a, 5, set_at, false)]).await.unwrap());
    }
    vault.remove(&pool(), a).await.unwrap();
    seen.push(vault.revision(pool()).await.unwrap());
    let different: HashSet<_> = seen.iter().collect();
    assert_eq!(different.len(), seen.len(), "{seen:?}");

    let last = *seen.last().unwrap();
    assert_eq!(vault.load_pool(pool()).await.unwrap().revision, last);
    vault.list().await.unwrap();
    vault.record(pool(), Vec::new()).await.unwrap();
    vault.put(Credential::new(PoolKey::new("other"), "x", Secret::api_key("k"))).await.unwrap();
    assert_eq!(vault.revision(pool()).await.unwrap(), last);
}
