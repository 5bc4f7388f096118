//! An API key from an environment variable, in a pool that has none stored.

#![cfg(feature = "providers")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower::Layer;
use tower_credentials::standing::{Change, Cooldown, Health, Outcome, Reason};
use tower_credentials::vault::{
    EnvironmentLayer, EnvironmentVault, FailedRefresh, MemoryVault, Replaced, VaultError, VaultExt,
};
use tower_credentials::{
    Credential, CredentialId, CredentialsLayer, Generation, Kind, OAuthTokens, PoolKey, Secret,
    SecretString, Timestamp,
};

use crate::support::{
    Canned, Plan, Planned, Upstream, ask, builder, cools, key, order, post, seconds, stack, status_of,
    tokio_clock,
};

/// An environment variable that a test can change.
#[derive(Clone)]
struct Variable(Arc<Mutex<Option<&'static str>>>);

impl Variable {
    fn new(value: impl Into<Option<&'static str>>) -> Self {
        Self(Arc::new(Mutex::new(value.into())))
    }

    fn set(&self, value: impl Into<Option<&'static str>>) {
        *self.0.lock().unwrap() = value.into();
    }

    fn over<V>(&self, vault: V) -> EnvironmentVault<V> {
        let value = self.0.clone();
        let read = move || value.lock().unwrap().map(SecretString::from);
        EnvironmentLayer::new(key(), "X_API_KEY", read).layer(vault)
    }
}

async fn id_of(vault: &EnvironmentVault<MemoryVault>) -> CredentialId {
    vault.load_pool(key()).await.unwrap().credentials[0].metadata.id
}

fn cooled(id: CredentialId, until: u64) -> Outcome {
    let cooldown = Cooldown {
        until: Timestamp::from_millis(until),
        set_at: Timestamp::from_millis(1),
        reason: Reason::Limited,
        scope: None,
        generation: None,
        cause: None,
    };
    Outcome { id, change: Change::CooledDown { cooldown, failure: true, to_back: true } }
}

#[tokio::test]
async fn a_pool_without_a_key_has_the_variables() {
    let variable = Variable::new("planted");
    let vault = variable.over(MemoryVault::new());
    let pool = vault.load_pool(key()).await.unwrap();
    let [credential] = &pool.credentials[..] else { panic!() };
    assert_eq!(credential.metadata.label.as_ref(), "$X_API_KEY");
    assert_eq!((credential.metadata.kind, credential.metadata.pool.clone()), (Kind::WellKnown, key()));
    assert_eq!(credential.secret.token().expose(), "planted");
    assert_eq!(pool.standings.order, [credential.metadata.id]);
    assert!(!format!("{pool:?} {vault:?}").contains("planted"));
    let got = vault.get(&credential.metadata.pool, credential.metadata.id).await.unwrap();
    assert_eq!(got.secret.token().expose(), "planted");
}

#[tokio::test]
async fn the_id_is_made_of_the_variables_name() {
    let first = id_of(&Variable::new("a").over(MemoryVault::new())).await;
    let again = id_of(&Variable::new("b").over(MemoryVault::new())).await;
    assert_eq!(first, again);
    let other = EnvironmentLayer::new(key(), "Y_API_KEY", || Some("a".into())).layer(MemoryVault::new());
    assert_ne!(id_of(&other).await, first);
}

#[tokio::test]
async fn a_stored_key_goes_before_the_variables_and_an_account_does_not() {
    for (secret, expected) in [
        (Secret::api_key("k"), 1),
        (Secret::WellKnown { variable: "V".into(), token: "k".into() }, 1),
        (OAuthTokens::new("t").into(), 2),
        (Secret::Mcp(OAuthTokens::new("t")), 2),
    ] {
        let vault = Variable::new("planted").over(MemoryVault::new());
        let kind = secret.kind();
        vault.put(Credential::new(key(), "a", secret)).await.unwrap();
        assert_eq!(vault.load_pool(key()).await.unwrap().credentials.len(), expected, "{kind}");
    }
}

#[tokio::test]
async fn no_value_and_an_empty_one_are_no_credential() {
    for value in [None, Some("")] {
        let set = Variable::new("planted");
        let vault = set.over(MemoryVault::new());
        let id = id_of(&vault).await;
        set.set(value);
        assert!(vault.load_pool(key()).await.unwrap().credentials.is_empty());
        assert!(matches!(vault.get(&key(), id).await, Err(VaultError::NotFound(_))));
        assert!(matches!(vault.lease_refresh(&key(), id).await, Err(VaultError::NotFound(_))));
        let replaced = vault.replace_secret(&key(), id, Generation::FIRST, Secret::api_key("k")).await;
        assert!(matches!(replaced, Err(VaultError::NotFound(_))));
    }
}

#[tokio::test]
async fn a_value_that_is_not_a_key_is_damage_with_the_variables_name() {
    for value in
        ["\"planted\"", "'planted'", "Bearer planted", "bearer planted", "\u{feff}planted", "plan\nted"]
            .into_iter()
            .chain([
                "plan\rted",
                "plan\u{1b}ted",
                "plan\0ted",
                "plan ted",
                "plän",
                "plan\u{200b}ted",
                "\u{feff}",
            ])
    {
        let variable = Variable::new("planted");
        let vault = variable.over(MemoryVault::new());
        let id = id_of(&vault).await;
        variable.set(value);
        let pool = vault.load_pool(key()).await.unwrap();
        let [damage] = &pool.damaged[..] else { panic!("{value:?}: {pool:?}") };
        assert!(pool.credentials.is_empty());
        assert_eq!((damage.id, damage.kind), (Some(id), Some(Kind::WellKnown)));
        assert!(damage.record.contains("X_API_KEY"), "{damage}");
        assert!(!format!("{damage} {damage:?}").contains("plan"), "{damage:?}");
        assert!(matches!(vault.get(&key(), id).await, Err(VaultError::Damaged(_))));
        assert!(matches!(vault.lease_refresh(&key(), id).await, Err(VaultError::Damaged(_))));
        // A stored key takes precedence, and then nothing is wrong.
        vault.put(Credential::new(key(), "a", Secret::api_key("k"))).await.unwrap();
        assert!(vault.load_pool(key()).await.unwrap().damaged.is_empty());
    }
    let vault = Variable::new(" planted\r\n").over(MemoryVault::new());
    let pool = vault.load_pool(key()).await.unwrap();
    assert_eq!(pool.credentials[0].secret.token().expose(), "planted");
}

#[tokio::test]
async fn other_pools_and_other_credentials_pass_through() {
    let inner = MemoryVault::new();
    let vault = Variable::new("planted").over(inner.clone());
    let other = PoolKey::new("other");
    assert!(vault.load_pool(other.clone()).await.unwrap().credentials.is_empty());
    let stored = vault.put(Credential::new(other.clone(), "a", Secret::api_key("k"))).await.unwrap();
    vault.relabel(&stored.pool, stored.id, "b").await.unwrap();
    vault.move_to(&stored.pool, stored.id, 0).await.unwrap();
    vault.record(other.clone(), vec![cooled(stored.id, 5)]).await.unwrap();
    let Replaced::Swapped(_) = vault
        .replace_secret(&stored.pool, stored.id, stored.generation, Secret::api_key("l"))
        .await
        .unwrap()
    else {
        panic!()
    };
    drop(vault.lease_refresh(&stored.pool, stored.id).await.unwrap());
    let pool = inner.load_pool(other.clone()).await.unwrap();
    assert_eq!(pool.credentials[0].secret.token().expose(), "l");
    assert_eq!(pool.standings.credentials[&stored.id].failures, 1);
    assert_eq!(vault.revision(other.clone()).await.unwrap(), pool.revision);
    assert_eq!(vault.list().await.unwrap().credentials.len(), 1);
    vault.remove(&stored.pool, stored.id).await.unwrap();
    assert!(inner.load_pool(other).await.unwrap().credentials.is_empty());
}

#[tokio::test]
async fn its_credential_is_in_no_other_pool() {
    let inner = MemoryVault::new();
    let vault = Variable::new("planted").over(inner.clone());
    let (id, other, first) = (id_of(&vault).await, PoolKey::new("other"), Generation::FIRST);
    let before = vault.revision(key()).await.unwrap();
    let failed = FailedRefresh { wait: Duration::ZERO, in_a_row: 1, reason: "503".into() };
    vault.begin_refresh(&key(), id, first).await.unwrap();
    for refused in [
        vault.get(&other, id).await.map(drop),
        vault.relabel(&other, id, "b").await.map(drop),
        vault.move_to(&other, id, 0).await,
        vault.replace_secret(&other, id, first, well_known("b")).await.map(drop),
        vault.lease_refresh(&other, id).await.map(drop),
        vault.begin_refresh(&other, id, first).await.map(drop),
        vault.refresh_failed(&other, id, first, failed).await,
        vault.remove(&other, id).await,
    ] {
        assert!(matches!(refused, Err(VaultError::NotFound(missing)) if missing == id), "{refused:?}");
    }
    assert_eq!(vault.revision(key()).await.unwrap(), before);
    let begun = vault.begin_refresh(&key(), id, first).await.unwrap();
    assert_eq!(begun.record.secret.token().expose(), "planted");
    assert!(begun.unfinished.is_some(), "its refresh was not ended");
}

#[tokio::test]
async fn outcomes_of_both_go_where_each_belongs() {
    let inner = MemoryVault::new();
    let vault = Variable::new("planted").over(inner.clone());
    let account = vault.put(Credential::new(key(), "a", OAuthTokens::new("t"))).await.unwrap();
    let id = vault.load_pool(key()).await.unwrap().credentials[1].metadata.id;
    vault.record(key(), vec![cooled(id, 7), cooled(account.id, 9), cooled(id, 8)]).await.unwrap();
    let standings = vault.load_pool(key()).await.unwrap().standings;
    assert_eq!(standings.credentials[&id].failures, 2);
    assert_eq!(standings.credentials[&id].cooldown(None).unwrap().until, Timestamp::from_millis(8));
    assert_eq!(standings.credentials[&account.id].failures, 1);
    let below = inner.load_pool(key()).await.unwrap().standings;
    assert_eq!(below.credentials.keys().collect::<Vec<_>>(), [&account.id]);
    assert_eq!(below.order, [account.id]);
}

#[tokio::test]
async fn the_revision_changes_only_with_the_variable_its_standing_and_the_vault() {
    let inner = MemoryVault::new();
    let variable = Variable::new(None);
    let vault = variable.over(inner.clone());
    let mut seen = vec![vault.revision(key()).await.unwrap()];
    let changed = async |seen: &mut Vec<_>, what: &str| {
        let revision = vault.revision(key()).await.unwrap();
        assert!(!seen.contains(&revision), "{what}");
        assert_eq!(vault.revision(key()).await.unwrap(), revision, "{what}");
        assert_eq!(vault.load_pool(key()).await.unwrap().revision, revision, "{what}");
        seen.push(revision);
    };
    variable.set("a");
    changed(&mut seen, "set").await;
    let id = id_of(&vault).await;
    variable.set("b");
    changed(&mut seen, "changed").await;
    let recorded = vault.record(key(), vec![cooled(id, 9)]).await.unwrap();
    changed(&mut seen, "cooled down").await;
    assert_eq!(seen.last(), Some(&recorded));
    inner.put(Credential::new(key(), "s", OAuthTokens::new("t"))).await.unwrap();
    changed(&mut seen, "stored").await;
    vault.replace_secret(&key(), id, Generation::new(2), well_known("c")).await.unwrap();
    changed(&mut seen, "replaced").await;
    variable.set(None);
    changed(&mut seen, "unset").await;
    assert_eq!(seen.len(), 7);
}

fn well_known(token: &str) -> Secret {
    Secret::WellKnown { variable: "X_API_KEY".into(), token: token.into() }
}

#[tokio::test]
async fn a_new_value_is_a_new_generation_and_ends_a_verdict_on_the_old_one() {
    let variable = Variable::new("a");
    let vault = variable.over(MemoryVault::new());
    let first = vault.load_pool(key()).await.unwrap().credentials.remove(0).metadata;
    let dead = |generation| {
        let stopped = Health::NeedsSignIn { reason: "revoked".into(), generation, cause: None };
        Outcome { id: first.id, change: Change::Health(stopped) }
    };
    vault.record(key(), vec![dead(first.generation)]).await.unwrap();
    let health =
        async || vault.load_pool(key()).await.unwrap().standings.credentials[&first.id].health.clone();
    assert!(matches!(health().await, Health::NeedsSignIn { .. }));
    variable.set("b");
    assert_eq!(health().await, Health::Good);
    let second = vault.get(&first.pool, first.id).await.unwrap();
    assert_eq!(second.metadata.generation, first.generation.next());
    assert_eq!(second.secret.token().expose(), "b");
    // A verdict that was found before and arrives after it, and one on a secret that was replaced.
    vault.record(key(), vec![dead(first.generation)]).await.unwrap();
    assert_eq!(health().await, Health::Good);
    vault.record(key(), vec![dead(second.metadata.generation)]).await.unwrap();
    assert_ne!(health().await, Health::Good);
    vault
        .replace_secret(&first.pool, first.id, second.metadata.generation, well_known("c"))
        .await
        .unwrap();
    assert_eq!(health().await, Health::Good);
    let second = vault.get(&first.pool, first.id).await.unwrap();
    variable.set(None);
    vault.load_pool(key()).await.unwrap();
    variable.set("b");
    assert_eq!(
        vault.get(&first.pool, first.id).await.unwrap().metadata.generation,
        second.metadata.generation.next()
    );
}

#[tokio::test]
async fn a_replaced_secret_is_used_until_the_variable_changes() {
    let variable = Variable::new("a");
    let inner = MemoryVault::new();
    let vault = variable.over(inner.clone());
    let id = id_of(&vault).await;
    let generation = vault.get(&key(), id).await.unwrap().metadata.generation;
    let swapped = vault.replace_secret(&key(), id, generation, well_known("new")).await.unwrap();
    assert!(matches!(swapped, Replaced::Swapped(now) if now == generation.next()));
    assert_eq!(vault.get(&key(), id).await.unwrap().secret.token().expose(), "new");
    let Replaced::Conflict(theirs) =
        vault.replace_secret(&key(), id, generation, well_known("late")).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(theirs.secret.token().expose(), "new");
    let wrong = vault.replace_secret(&key(), id, generation.next(), Secret::api_key("k")).await;
    assert!(matches!(wrong, Err(VaultError::WrongKind { .. })));
    variable.set("b");
    assert_eq!(vault.get(&key(), id).await.unwrap().secret.token().expose(), "b");
    assert!(inner.list().await.unwrap().credentials.is_empty());
}

#[tokio::test]
async fn an_unsupported_operation_says_what_to_do_instead() {
    let inner = MemoryVault::new();
    let vault = Variable::new("a").over(inner.clone());
    let id = id_of(&vault).await;
    for error in [
        vault.relabel(&key(), id, "b").await.unwrap_err(),
        vault.move_to(&key(), id, 0).await.unwrap_err(),
        vault.remove(&key(), id).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("the environment variable X_API_KEY"), "{error}");
    }
    let mut same = Credential::new(key(), "b", Secret::api_key("k"));
    same.metadata.id = id;
    assert!(matches!(vault.put(same).await, Err(VaultError::Exists(_))));
}

#[tokio::test]
async fn only_one_caller_at_a_time_holds_its_refresh_lease() {
    let vault = Variable::new("a").over(MemoryVault::new());
    let (key, id) = (key(), id_of(&vault).await);
    let held = vault.lease_refresh(&key, id).await.unwrap();
    let mut second = std::pin::pin!(vault.lease_refresh(&key, id));
    assert!(futures_poll(second.as_mut()).is_pending());
    drop(held);
    second.await.unwrap();
}

#[tokio::test]
async fn an_unfinished_earlier_refresh_is_reported() {
    let inner = MemoryVault::new();
    let vault = Variable::new("a").over(inner.clone());
    let credential = vault.load_pool(key()).await.unwrap().credentials.remove(0).metadata;
    let (id, generation) = (credential.id, credential.generation);
    assert!(vault.begin_refresh(&key(), id, generation).await.unwrap().unfinished.is_none());
    assert!(vault.begin_refresh(&key(), id, generation).await.unwrap().unfinished.is_some());
    vault.replace_secret(&key(), id, generation, well_known("b")).await.unwrap();
    let late = vault.begin_refresh(&key(), id, generation).await.unwrap();
    assert_eq!((late.record.metadata.generation, late.unfinished), (generation.next(), None));
    assert!(vault.begin_refresh(&key(), id, generation.next()).await.unwrap().unfinished.is_none());
    assert!(inner.begin_refresh(&key(), id, generation).await.is_err());
}

fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test]
async fn outcomes_that_a_failing_vault_refused_are_repeated_and_count_once() {
    let inner = MemoryVault::new();
    let account = inner.put(Credential::new(key(), "a", OAuthTokens::new("t"))).await.unwrap();
    let planned = Planned::new(&inner, |kind, before| match (kind, before) {
        ("record", 0) => Plan::Fail,
        _ => Plan::Pass,
    });
    let vault = Variable::new("planted").over(planned);
    let id = vault.load_pool(key()).await.unwrap().credentials[1].metadata.id;
    let outcomes = vec![cooled(id, 7), cooled(account.id, 9)];
    vault.record(key(), outcomes.clone()).await.unwrap_err();
    vault.record(key(), outcomes).await.unwrap();
    let standings = vault.load_pool(key()).await.unwrap().standings;
    assert_eq!(standings.credentials[&id].failures, 1);
    assert_eq!(standings.credentials[&account.id].failures, 1);
}

#[tokio::test(start_paused = true)]
async fn a_pool_uses_it_and_keeps_its_cooldown_while_the_process_lives() {
    let inner = MemoryVault::new();
    let vault = Variable::new("planted").over(inner.clone());
    let clock = tokio_clock();
    let pool = builder(vault.clone()).clock(clock.clone()).open().await.unwrap();
    assert_eq!(order(&pool), ["$X_API_KEY"]);
    let upstream = Upstream::new().answers("planted", [Canned::limited(60), Canned::ok()]);
    let service = stack(CredentialsLayer::new(pool.clone()), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 429);
    assert_eq!(cools(&pool, "$X_API_KEY"), seconds(60));
    pool.save().await.unwrap();
    // Another pool of the same layer sees it, and the vault underneath does not.
    let other = builder(vault).clock(clock).open().await.unwrap();
    assert_eq!(cools(&other, "$X_API_KEY"), seconds(60));
    assert!(inner.load_pool(key()).await.unwrap().standings.credentials.is_empty());
    tokio::time::advance(seconds(60)).await;
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(status_of(&pool, "$X_API_KEY").standing.failures, 0);
}

#[tokio::test(start_paused = true)]
async fn a_pool_takes_over_a_new_value_and_a_stored_key() {
    let inner = MemoryVault::new();
    let variable = Variable::new("old");
    let pool = builder(variable.over(inner.clone())).open().await.unwrap();
    let upstream = Upstream::new();
    let service = stack(CredentialsLayer::new(pool.clone()), upstream.clone());
    ask(&service, post()).await;
    variable.set("new");
    pool.sync().await.unwrap();
    ask(&service, post()).await;
    inner.put(Credential::new(key(), "stored", Secret::api_key("stored"))).await.unwrap();
    pool.sync().await.unwrap();
    ask(&service, post()).await;
    assert_eq!(upstream.tokens(), ["old", "new", "stored"]);
    assert_eq!(order(&pool), ["stored"]);
}
