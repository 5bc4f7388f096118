//! A person takes an account out of use, and puts it to use again: no request takes it meanwhile, whatever
//! the policy, the wish and the order of the layers, and nothing but a person's word ends that.

#![cfg(all(feature = "file", feature = "providers"))]

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::Notify;
use tower::{Layer, ServiceExt};
use tower_credentials::policy::{
    LeastRecentlyUsed, MostHeadroom, Policy, RoundRobin, SoonestReset, Sticky, Weighted,
};
use tower_credentials::standing::{Change, Health, Outcome, Scope, Standing};
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{EnvironmentLayer, MemoryVault, VaultError, VaultExt};
use tower_credentials::*;

use crate::support::*;

fn id(pool: &Pool, label: &str) -> CredentialId {
    status_of(pool, label).credential.id
}

fn is_paused(pool: &Pool, label: &str) -> bool {
    status_of(pool, label).standing.paused
}

async fn pause<const N: usize>(pool: &Pool, labels: [&str; N]) {
    for label in labels {
        pool.pause(id(pool, label)).await.unwrap();
    }
}

fn with<T: Clone + Send + Sync + 'static>(wish: T) -> Asked {
    let mut request = post();
    request.extensions_mut().insert(wish);
    request
}

/// The pin that a request was refused for, if it was for a pause.
async fn refused(service: &Stack, request: Asked) -> Option<String> {
    let error = service.clone().oneshot(request).await.unwrap_err();
    let Some(Error::Paused { pin, .. }) = error.downcast_ref() else { panic!("{error:?}") };
    let text = error.to_string();
    assert!(text.contains("paused") && text.contains("Pool::resume"), "{text}");
    assert_eq!(text.contains("pinned"), pin.is_some(), "{text}");
    pin.clone()
}

#[tokio::test(start_paused = true)]
async fn no_policy_takes_a_paused_credential_until_it_is_resumed() {
    fn policy(number: usize) -> Box<dyn FnOnce(PoolBuilder) -> PoolBuilder> {
        fn with(policy: impl Policy) -> Box<dyn FnOnce(PoolBuilder) -> PoolBuilder> {
            Box::new(|builder| builder.policy(policy))
        }
        match number {
            0 => with(Sticky),
            1 => with(RoundRobin),
            2 => with(LeastRecentlyUsed),
            3 => with(Weighted::by(|_| 3)),
            4 => with(SoonestReset),
            5 => with(MostHeadroom.then(RoundRobin)),
            _ => Box::new(|builder| builder.max_in_flight(NonZeroU32::MIN)),
        }
    }
    for number in 0..7 {
        let upstream = Upstream::new();
        let open = policy(number)(builder(keys(["a", "b", "c"]).await));
        let pool = open.clock(tokio_clock()).open().await.unwrap();
        let service = stack(four(&pool, &no_refresh()), upstream.clone());
        for _ in 0..4 {
            ask(&service, post()).await;
        }
        pause(&pool, ["a"]).await;
        let before = upstream.count("a");
        for _ in 0..8 {
            assert_eq!(ask(&service, post()).await.0, 200);
        }
        pause(&pool, ["b"]).await;
        for _ in 0..4 {
            assert_eq!(ask(&service, post()).await.1, "c");
        }
        assert_eq!(upstream.count("a"), before, "policy {number}");
        pool.resume(id(&pool, "a")).await.unwrap();
        pause(&pool, ["c"]).await;
        assert_eq!(ask(&service, post()).await.1, "a", "policy {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_order_of_the_layers_takes_it_first_or_next_or_as_the_soonest_of_all() {
    for order in ORDERS {
        let upstream = Upstream::new().answers("a", [Canned::limited(10)]);
        let pool = builder(keys(["a", "b", "c"]).await).clock(tokio_clock()).open().await.unwrap();
        let service = order(&pool, upstream.clone());
        pause(&pool, ["b"]).await;
        assert_eq!(ask(&service, post()).await.1, "c", "not next");
        upstream.set("c", [Canned::limited(20)]);
        assert_eq!(ask(&service, post()).await.0, 429);
        pause(&pool, ["a"]).await;
        assert_eq!(ask(&service, post()).await.0, 429, "a is ready sooner, but is paused");
        assert_eq!(upstream.tokens(), ["a", "c", "c", "c"]);
        pause(&pool, ["c"]).await;
        assert_eq!(refused(&service, post()).await, None);
        assert_eq!(upstream.tokens().len(), 4, "nothing was sent");
    }
}

#[tokio::test(start_paused = true)]
async fn an_affinity_moves_away_from_it() {
    let upstream = Upstream::new();
    let pool = builder(keys(["a", "b"]).await).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let chat = || with(Affinity::new("chat"));
    assert_eq!(ask(&service, chat()).await.1, "a");
    pause(&pool, ["a"]).await;
    assert_eq!(ask(&service, chat()).await.1, "b");
    pool.resume(id(&pool, "a")).await.unwrap();
    assert_eq!(ask(&service, chat()).await.1, "b", "it stays where it has moved to");
}

#[tokio::test(start_paused = true)]
async fn a_pin_to_it_is_an_error_that_says_how_to_resume_it() {
    let upstream = Upstream::new();
    let pool = builder(keys(["a", "b"]).await).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    pause(&pool, ["b"]).await;
    assert_eq!(refused(&service, with(Pin::label("b"))).await.as_deref(), Some("\"b\""));
    let b = id(&pool, "b");
    assert_eq!(refused(&service, with(Pin::id(b))).await, Some(b.to_string()));
    assert!(upstream.tokens().is_empty());
    assert_eq!(ask(&service, with(Pin::label("a"))).await.1, "a");
    pool.resume(b).await.unwrap();
    assert_eq!(ask(&service, with(Pin::label("b"))).await.1, "b");
}

#[tokio::test(start_paused = true)]
async fn where_the_others_need_a_sign_in_the_error_is_about_them() {
    let vault = keys(["a", "b"]).await;
    let pool = builder(vault.clone()).open().await.unwrap();
    let health =
        Health::NeedsSignIn { reason: "revoked".into(), generation: Generation::FIRST, cause: None };
    let outcome = Outcome { id: id(&pool, "a"), change: Change::Health(health) };
    vault.record(key(), vec![outcome]).await.unwrap();
    pool.sync().await.unwrap();
    pause(&pool, ["b"]).await;
    let service = stack(four(&pool, &no_refresh()), Upstream::new());
    let error = service.clone().oneshot(post()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::NeedsSignIn { .. })), "{error:?}");
    assert!(error.to_string().contains("not paused"), "{error}");
    pause(&pool, ["a"]).await;
    assert_eq!(refused(&service, post()).await, None);
}

#[tokio::test(start_paused = true)]
async fn to_pause_the_last_account_bills_no_key_instead() {
    let vault = keys(["key"]).await;
    vault.put(account("sub")).await.unwrap();
    let upstream = Upstream::new();
    let pool = builder(vault).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    pause(&pool, ["sub"]).await;
    assert_eq!(refused(&service, post()).await, None);
    assert!(upstream.tokens().is_empty());
}

#[tokio::test(start_paused = true)]
async fn neither_a_reset_nor_a_success_nor_a_new_sign_in_nor_a_restart_resumes_it() {
    let vault = accounts(["a", "b"]).await;
    let release = Arc::new(Notify::new());
    let held = release.clone();
    let slow = Canned::ok().after(move || {
        let held = held.clone();
        async move { held.notified().await }
    });
    let upstream = Upstream::new().answers("a-1", [slow]);
    let pool = builder(vault.clone()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let under_way = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(1).await;
    let a = id(&pool, "a");
    pause(&pool, ["a"]).await;
    release.notify_one();
    assert_eq!(under_way.await.unwrap().0, 200, "what is under way goes on");
    assert!(is_paused(&pool, "a"));

    pool.reset(a).await.unwrap();
    assert!(is_paused(&pool, "a"));
    vault.replace_secret(a, Generation::FIRST, OAuthTokens::new("a-2")).await.unwrap();
    pool.sync().await.unwrap();
    assert_eq!(status_of(&pool, "a").credential.generation, Generation::new(2));
    assert!(is_paused(&pool, "a"));
    assert_eq!(ask(&service, post()).await.1, "b-1");

    let again = builder(vault).open().await.unwrap();
    assert!(is_paused(&again, "a"));
    assert_eq!(ask(&stack(four(&again, &no_refresh()), upstream), post()).await.1, "b-1");
    again.resume(a).await.unwrap();
    assert_eq!(learnt(&status_of(&again, "a").standing), Standing::default());
}

#[tokio::test(start_paused = true)]
async fn a_pause_leaves_the_cooldown_as_it_was() {
    let upstream = Upstream::new().answers("a", [Canned::limited(100)]);
    let pool = builder(keys(["a", "b"]).await).clock(tokio_clock()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream);
    ask(&service, post()).await;
    let before = status_of(&pool, "a").standing;
    pause(&pool, ["a"]).await;
    assert_eq!(status_of(&pool, "a").standing, Standing { paused: true, ..before.clone() });
    pool.resume(id(&pool, "a")).await.unwrap();
    assert_eq!(status_of(&pool, "a").standing, before);
    assert_eq!(ask(&service, post()).await.1, "b", "it still cools down");
}

#[tokio::test(start_paused = true)]
async fn it_is_saved_at_once_and_told_once_and_of_no_effect_on_a_stranger() {
    let vault = keys(["a"]).await;
    let events = Journal::new();
    let pool = builder(vault.clone()).on_event(events.observer()).open().await.unwrap();
    let a = id(&pool, "a");
    let saved = || async { vault.load_pool(key()).await.unwrap().standings.credentials[&a].paused };
    for _ in 0..2 {
        pool.pause(a).await.unwrap();
        assert!(saved().await);
    }
    for _ in 0..2 {
        pool.resume(a).await.unwrap();
        assert!(!saved().await);
    }
    assert_eq!((events.count("Paused"), events.count("Resumed")), (1, 1), "{:?}", events.all());
    let stranger = CredentialId::random();
    for response in [pool.pause(stranger).await, pool.resume(stranger).await] {
        assert!(matches!(response, Err(VaultError::NotFound(id)) if id == stranger), "{response:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_known_here_already_is_passed_on_all_the_same() {
    let vault = keys(["a"]).await;
    let [first, second] = [builder(vault.clone()), builder(vault.clone())];
    let first = first.sync_every(None).open().await.unwrap();
    let second = second.sync_every(None).open().await.unwrap();
    let a = id(&first, "a");
    first.pause(a).await.unwrap();
    second.sync().await.unwrap();
    second.resume(a).await.unwrap();
    first.pause(a).await.unwrap();
    assert!(vault.load_pool(key()).await.unwrap().standings.credentials[&a].paused);
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_for_it_are_told() {
    let upstream = Upstream::new().answers("a", [Canned::limited(1000)]);
    let pool = builder(keys(["a"]).await)
        .clock(tokio_clock())
        .when_all_cooling_down(WhenAllCoolingDown::WaitUpTo(seconds(5000)))
        .open()
        .await
        .unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream);
    ask(&service, post()).await;
    let waiting = service.clone();
    let waiting = tokio::spawn(async move { refused(&waiting, post()).await });
    tokio::time::sleep(seconds(1)).await;
    assert!(!waiting.is_finished());
    let before = pool.now();
    pause(&pool, ["a"]).await;
    assert_eq!(waiting.await.unwrap(), None);
    assert_eq!(pool.now(), before, "at once");
}

#[tokio::test(start_paused = true)]
async fn a_paused_account_is_not_renewed_ahead_and_a_resumed_one_is_at_once() {
    let clock = tokio_clock();
    let vault = MemoryVault::new();
    for label in ["a", "b"] {
        let tokens = OAuthTokens::new(format!("{label}-1"))
            .refresh(format!("refresh-{label}"))
            .expires_at(clock.now().after(seconds(3600)));
        let mut credential = Credential::new(key(), label, tokens);
        credential.metadata.updated_at = clock.now();
        vault.put(credential).await.unwrap();
    }
    let renewed = Journal::new();
    let open = builder(vault).clock(clock.clone()).refresher(renewing(&renewed));
    let pool = open.sync_every(seconds(60)).open().await.unwrap();
    pause(&pool, ["a"]).await;
    tokio::time::sleep(seconds(7200)).await;
    assert_eq!(renewed.all(), ["b"]);
    let before = clock.now();
    pool.resume(id(&pool, "a")).await.unwrap();
    renewed.reaches(2).await;
    assert_eq!(renewed.all(), ["b", "a"]);
    assert_eq!(clock.now(), before);
}

#[tokio::test(start_paused = true)]
async fn an_environment_variables_key_is_paused_in_memory() {
    let stored = MemoryVault::new();
    let layer = EnvironmentLayer::new(key(), "X_API_KEY", || Some("from-environment".into()));
    let vault = layer.layer(stored.clone());
    let pool = builder(vault.clone()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), Upstream::new());
    assert_eq!(ask(&service, post()).await.1, "from-environment");
    pause(&pool, ["$X_API_KEY"]).await;
    assert_eq!(refused(&service, post()).await, None);
    // Another pool over the same vault.
    let other = builder(vault).open().await.unwrap();
    assert!(is_paused(&other, "$X_API_KEY"));
    pool.resume(id(&pool, "$X_API_KEY")).await.unwrap();
    assert_eq!(ask(&service, post()).await.1, "from-environment");
    assert!(stored.load_pool(key()).await.unwrap().standings.credentials.is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_pool_of_the_vault_knows_of_it_within_a_second() {
    let vault = keys(["a", "b"]).await;
    let first = builder(vault.clone()).open().await.unwrap();
    let second = builder(vault).open().await.unwrap();
    let service = stack(four(&second, &no_refresh()), Upstream::new());
    pause(&first, ["a"]).await;
    tokio::time::sleep(Duration::from_millis(1001)).await;
    assert_eq!(ask(&service, post()).await.1, "b");
    first.resume(id(&first, "a")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1001)).await;
    assert_eq!(ask(&service, post()).await.1, "a");
}

#[tokio::test]
async fn two_openings_of_one_directory_know_of_each_others_pauses() {
    let directory = tempfile::tempdir().unwrap();
    let key_ = VaultKey::generate();
    let open = async || {
        let vault = FileVault::open(directory.path(), &key_).await.unwrap();
        (vault.clone(), builder(vault).sync_every(None).open().await.unwrap())
    };
    let (vault, first) = open().await;
    for label in ["a", "b"] {
        vault.put(Credential::new(key(), label, Secret::api_key(label))).await.unwrap();
    }
    first.sync().await.unwrap();
    let (_, second) = open().await;
    pause(&first, ["a"]).await;
    pause(&second, ["b"]).await;
    for pool in [&first, &second] {
        pool.sync().await.unwrap();
        assert!(is_paused(pool, "a") && is_paused(pool, "b"));
    }
    second.resume(id(&second, "a")).await.unwrap();
    first.sync().await.unwrap();
    let service = stack(four(&first, &no_refresh()), Upstream::new());
    assert_eq!(ask(&service, post()).await.1, "a");
    let (_, reopened) = open().await;
    assert!(is_paused(&reopened, "b") && !is_paused(&reopened, "a"));
}

/// Something that a person, a caller or an upstream does.
#[derive(Clone, Debug)]
enum Step {
    Pause(usize),
    Resume(usize),
    Reset(usize),
    /// Another pool of the same vault does it.
    Elsewhere(usize, bool),
    Sync,
    Pass(u64),
    /// A credential's responses from now on.
    Canned(usize, u16),
    Ask,
    Pinned(usize),
    Kept(u8),
    Scoped(u8),
}

const LABELS: [&str; 4] = ["a", "b", "c", "d"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..LABELS.len();
    let step = prop_oneof![
        3 => which.clone().prop_map(Step::Pause),
        2 => which.clone().prop_map(Step::Resume),
        1 => which.clone().prop_map(Step::Reset),
        1 => (which.clone(), any::<bool>()).prop_map(|(which, paused)| Step::Elsewhere(which, paused)),
        1 => Just(Step::Sync),
        1 => (0_u64..60).prop_map(Step::Pass),
        2 => (which.clone(), prop::sample::select(vec![200, 429, 401, 500]))
            .prop_map(|(which, status)| Step::Canned(which, status)),
        4 => Just(Step::Ask),
        1 => which.prop_map(Step::Pinned),
        2 => (0_u8..3).prop_map(Step::Kept),
        2 => (0_u8..2).prop_map(Step::Scoped),
    ];
    prop::collection::vec(step, 1..40)
}

/// Whatever happens, no request is sent with a credential that the pool knows to be paused, and each is sent
/// or refused for what the pauses say.
async fn run(steps: Vec<Step>, order: usize, moves: bool) {
    let vault = keys(LABELS).await;
    let upstream = Upstream::new();
    // Synced by the steps alone.
    let open = builder(vault.clone()).clock(tokio_clock()).sync_every(None);
    let open = if moves { open.policy(RoundRobin) } else { open };
    let pool = open.open().await.unwrap();
    let elsewhere = builder(vault.clone()).sync_every(None).open().await.unwrap();
    let service = ORDERS[order](&pool, upstream.clone());
    let ids = LABELS.map(|label| id(&pool, label));
    let (mut known, mut stored) = (BTreeSet::new(), BTreeSet::new());
    for step in steps {
        let mut asked = None;
        match step {
            Step::Pause(which) => {
                pool.pause(ids[which]).await.unwrap();
                known.insert(which);
                stored.insert(which);
            }
            Step::Resume(which) => {
                pool.resume(ids[which]).await.unwrap();
                known.remove(&which);
                stored.remove(&which);
            }
            Step::Reset(which) => pool.reset(ids[which]).await.unwrap(),
            Step::Elsewhere(which, true) => {
                elsewhere.pause(ids[which]).await.unwrap();
                stored.insert(which);
            }
            Step::Elsewhere(which, false) => {
                elsewhere.resume(ids[which]).await.unwrap();
                stored.remove(&which);
            }
            Step::Sync => {
                pool.sync().await.unwrap();
                known = stored.clone();
            }
            Step::Pass(time) => tokio::time::advance(seconds(time)).await,
            Step::Canned(which, status) => upstream.set(LABELS[which], [Canned::status(status)]),
            Step::Ask => asked = Some((post(), None)),
            Step::Pinned(which) => asked = Some((with(Pin::id(ids[which])), Some(which))),
            Step::Kept(chat) => asked = Some((with(Affinity::new(chat.to_string())), None)),
            Step::Scoped(model) => asked = Some((with(Scope::new(model.to_string())), None)),
        }
        if let Some((request, pin)) = asked {
            let before = upstream.tokens().len();
            match pin {
                Some(which) if known.contains(&which) => {
                    assert_eq!(refused(&service, request).await, Some(ids[which].to_string()));
                }
                None if known.len() == LABELS.len() => {
                    assert_eq!(refused(&service, request).await, None);
                }
                _ => drop(service.clone().oneshot(request).await.unwrap()),
            }
            for token in upstream.tokens().split_off(before) {
                let which = LABELS.iter().position(|label| *label == token).unwrap();
                assert!(!known.contains(&which), "{token} is paused");
                assert!(pin.is_none_or(|pin| pin == which), "{token} is not what it is pinned to");
            }
        }
        let paused: BTreeSet<_> = (0..4).filter(|which| is_paused(&pool, LABELS[*which])).collect();
        assert_eq!(paused, known);
        let saved = vault.load_pool(key()).await.unwrap().standings.credentials;
        let is_saved = |which: &usize| saved.get(&ids[*which]).is_some_and(|known| known.paused);
        assert_eq!((0..4).filter(is_saved).collect::<BTreeSet<_>>(), stored);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_happens_no_request_takes_a_paused_credential(
        steps in steps(),
        order in 0..ORDERS.len(),
        moves in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(steps, order, moves));
    }
}
