//! Refreshes that fail or wait without being refused: what is reported, which account cools down, and when the token
//! endpoint is asked again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use http::Request;
use tokio::sync::Notify;
use tokio::time::Instant;
use tower_credentials::vault::{MemoryVault, VaultError, VaultExt};
use tower_credentials::*;

use crate::support::*;

/// A refresher that fails this many times, with this error, and then works. Records the time of every exchange.
fn failing(
    times: usize,
    with: impl Fn() -> RefreshError + Send + Sync + 'static,
) -> (Refresher, Journal<Instant>) {
    let asked = Journal::new();
    let noted = asked.clone();
    let with = Arc::new(with);
    let refresher = Refresher::new(move |credential: Credential| {
        noted.push(Instant::now());
        let response = match noted.all().len() <= times {
            true => Err(with()),
            false => Ok(renewed(&credential.metadata)),
        };
        async move { response }
    });
    (refresher, asked)
}

fn refused(label: &str) -> Upstream {
    Upstream::new().answers(&format!("{label}-1"), vec![Canned::status(401); 1000])
}

async fn open(vault: impl vault::Vault) -> Pool {
    builder(vault).clock(tokio_clock()).open().await.unwrap()
}

// Closing

#[tokio::test(start_paused = true)]
async fn renewed_waits_for_renewals_and_their_saves_and_nothing_else() {
    let go = Arc::new(Notify::new());
    let vault = accounts(["a"]).await;
    let hold = go.clone();
    let spy = Planned::new(&vault, move |kind, _| match kind {
        "replace" => Plan::Hold(hold.clone()),
        _ => Plan::Pass,
    });
    let pool = open(spy.clone()).await;
    pool.renewed().await;
    let calls = Journal::new();
    let layers = CredentialsLayer::new(pool.clone()).refresher(renewing(&calls));
    let service = stack(layers, refused("a"));
    let asked = tokio::spawn(ask(&service, post()));
    spy.calls.until(|calls| calls.contains(&"replace")).await;
    assert_eq!(pool.renewing().len(), 1);
    let waits = pool.clone();
    let waiting = tokio::spawn(async move { waits.renewed().await });
    settle().await;
    assert!(!waiting.is_finished());
    go.notify_one();
    waiting.await.unwrap();
    assert!(pool.renewing().is_empty());
    assert_eq!(asked.await.unwrap().0, 200);
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_the_exchange_and_its_save_and_begins_no_other() {
    let (begun, go) = (Journal::new(), Arc::new(Notify::new()));
    let (noted, gate) = (begun.clone(), go.clone());
    let refresher = Refresher::new(move |credential: Credential| {
        noted.push(credential.metadata.label.to_string());
        let gate = gate.clone();
        async move {
            gate.notified().await;
            Ok::<_, RefreshError>(renewed(&credential.metadata))
        }
    });
    let vault = accounts(["a", "b"]).await;
    let pool = open(vault.clone()).await;
    let upstream = Upstream::new()
        .answers("a-1", vec![Canned::status(401); 9])
        .answers("b-1", vec![Canned::status(401); 9]);
    let service = stack(CredentialsLayer::new(pool.clone()).refresher(refresher), upstream);
    assert!(pool.renewing().is_empty());
    let first = tokio::spawn(ask(&service, post()));
    begun.reaches(1).await;
    // This one waits for its turn, so it loses nothing.
    let other = pinned("b");
    let second = tokio::spawn(ask(&service, other));
    settle().await;

    let unfinished = pool.close(seconds(5)).await.unwrap_err();
    let names: Vec<_> = unfinished.renewals.iter().map(|account| &*account.label).collect();
    assert_eq!(names, ["a"]);
    assert!(
        unfinished.to_string().contains("a has not ended: its new token may be lost"),
        "{unfinished}"
    );
    assert_eq!(second.await.unwrap().0, 401, "no exchange is begun any more");

    go.notify_one();
    pool.close(seconds(60)).await.unwrap();
    assert_eq!(first.await.unwrap(), (200, "a-2".into()));
    let id = id_of(&pool, "a");
    assert_eq!(vault.get(&key(), id).await.unwrap().secret.token().expose(), "a-2");
    assert_eq!(begun.all(), ["a"]);
    let late = pinned("b");
    assert_eq!(ask(&service, late).await.0, 401);
    assert_eq!(begun.all(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn close_saves_what_was_recorded_and_reports_what_it_could_not_save() {
    for fails in [0, 3, usize::MAX] {
        let spy = Planned::new(&keys(["a", "b"]).await, move |kind, before| match kind {
            "record" if before < fails => Plan::Fail,
            _ => Plan::Pass,
        });
        let pool = open(spy).await;
        let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
        ask(&stack(four(&pool, &no_refresh()), upstream), post()).await;
        let closed = pool.close(seconds(10)).await;
        assert_eq!(closed.is_ok(), fails < usize::MAX);
        if let Err(unfinished) = closed {
            assert!(unfinished.unsaved && unfinished.renewals.is_empty(), "{unfinished:?}");
        }
    }
}

// Waiting

#[tokio::test(start_paused = true)]
async fn waiting_for_the_lease_of_a_stopped_process_cools_no_account_down() {
    let vault = accounts(["a", "b"]).await;
    let pool = open(vault.clone()).await;
    let held = vault.lease_refresh(&key(), id_of(&pool, "a")).await.unwrap();
    let (refresher, asked) = failing(0, || unreachable!());
    let service = stack(CredentialsLayer::new(pool.clone()).refresher(refresher), refused("a"));
    for _ in 0..3 {
        assert_eq!(ask(&service, post()).await, (200, "b-1".into()));
        assert_eq!(cools(&pool, "a"), Duration::ZERO);
        assert_eq!(status_of(&pool, "a").standing.failures, 0);
    }
    drop(held);
    asked.reaches(1).await;
    settle().await;
    assert_eq!(ask(&service, post()).await, (200, "a-2".into()));
}

#[tokio::test(start_paused = true)]
async fn ten_accounts_that_take_turns_at_a_slow_endpoint_stay_in_use() {
    let labels: Vec<String> = (0..10).map(|number| format!("account{number}")).collect();
    let vault = MemoryVault::new();
    for label in &labels {
        let tokens = OAuthTokens::new(format!("{label}-1")).refresh("r");
        vault.put(Credential::new(key(), label.as_str(), tokens)).await.unwrap();
    }
    let pool = open(vault).await;
    let refresher = Refresher::new(|credential: Credential| async move {
        tokio::time::sleep(seconds(10)).await;
        Ok::<_, RefreshError>(renewed(&credential.metadata))
    });
    let upstream = labels.iter().fold(Upstream::new(), |upstream, label| {
        upstream.answers(&format!("{label}-1"), vec![Canned::status(401); 100])
    });
    let service = stack(CredentialsLayer::new(pool.clone()).refresher(refresher), upstream);
    let requests = labels.iter().map(|label| {
        let request = pinned(label.as_str());
        tokio::spawn(ask(&service, request))
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.unwrap();
    }
    for label in &labels {
        assert_eq!(cools(&pool, label), Duration::ZERO, "{label}");
    }
    pool.close(seconds(200)).await.unwrap();
}

// The vault's own trouble

#[tokio::test(start_paused = true)]
async fn trouble_of_the_vault_cools_no_account_down_and_is_reported() {
    for broken in ["lease_client", "lease", "revision", "begin", "replace"] {
        let vault = accounts(["a", "b"]).await;
        let spy = Planned::new(&vault, move |kind, before| match kind {
            kind if kind == broken && before < 5 => Plan::Fail,
            _ => Plan::Pass,
        });
        let events = Journal::new();
        let pool = builder(spy).clock(tokio_clock()).sync_every(None).on_event(events.observer());
        let pool = pool.open().await.unwrap();
        let (refresher, asked) = failing(0, || unreachable!());
        let service = stack(CredentialsLayer::new(pool.clone()).refresher(refresher), refused("a"));
        for _ in 0..20 {
            assert_eq!(ask(&service, post()).await.0, 200, "{broken}");
            assert_eq!(cools(&pool, "a"), Duration::ZERO, "{broken}");
            assert_eq!(status_of(&pool, "a").standing.failures, 0, "{broken}");
            tokio::time::sleep(seconds(2)).await;
        }
        assert!(events.count("RefreshFailed") + events.count("SecretNotSaved") >= 3, "{broken}");
        assert_eq!(asked.all().len(), 1, "{broken}: it works in the end");
        assert_eq!(status_of(&pool, "a").credential.generation, Generation::FIRST.next(), "{broken}");
        let stored = vault.load_pool(key()).await.unwrap().standings.credentials;
        assert!(stored.values().all(|standing| standing.cooldowns.is_empty()), "{stored:?}");
    }
}

// Times that the token endpoint names

#[tokio::test(start_paused = true)]
async fn no_process_asks_a_token_endpoint_again_before_the_time_that_it_named() {
    let vault = accounts(["a", "b"]).await;
    let (refresher, asked) =
        failing(1, || RefreshError::AskAgain { after: seconds(600), error: "busy".into() });
    let mut services = Vec::new();
    for _ in 0..4 {
        let pool = open(vault.clone()).await;
        let layer = CredentialsLayer::new(pool).refresher(refresher.clone());
        services.push(stack(layer, refused("a")));
    }
    let pinned = || {
        let mut request: Request<_> = post();
        request.extensions_mut().insert(Pin::label("a"));
        request
    };
    let began = Instant::now();
    while began.elapsed() < seconds(599) {
        for service in &services {
            assert_eq!(ask(service, pinned()).await.0, 401);
        }
        tokio::time::sleep(seconds(10)).await;
    }
    assert_eq!(asked.all().len(), 1);
    tokio::time::sleep(seconds(20)).await;
    assert_eq!(ask(&services[3], pinned()).await.0, 200);
    assert_eq!(asked.all().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn processes_share_the_pause_after_failures_and_their_count() {
    let vault = accounts(["a"]).await;
    let (refresher, asked) = failing(6, || RefreshError::Failed("no network".into()));
    let mut services = Vec::new();
    for _ in 0..6 {
        let pool = open(vault.clone()).await;
        services.push(stack(CredentialsLayer::new(pool).refresher(refresher.clone()), refused("a")));
    }
    while asked.all().len() < 7 {
        for service in &services {
            ask(service, post()).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let times = asked.all();
    for (number, pair) in times.windows(2).enumerate() {
        assert!(pair[1] - pair[0] >= seconds(1 << number), "{number}: {:?}", pair[1] - pair[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_delays_no_refresh() {
    // 400 days ahead while an exchange fails.
    let ahead = Arc::new(AtomicU64::new(400));
    let days = ahead.clone();
    let clock = Clock::from_fn(move || {
        UNIX_EPOCH + Duration::from_secs(4_000_000_000 + 86_400 * days.load(Ordering::SeqCst))
    });
    let vault = accounts(["a"]).await;
    let pool = builder(vault).clock(clock).open().await.unwrap();
    let (refresher, asked) = failing(1, || RefreshError::Failed("no network".into()));
    let service = stack(CredentialsLayer::new(pool).refresher(refresher), refused("a"));
    assert_eq!(ask(&service, post()).await.0, 401);
    ahead.store(0, Ordering::SeqCst);
    assert_eq!(ask(&service, post()).await.0, 401);
    assert_eq!(asked.all().len(), 1);
    tokio::time::sleep(seconds(2)).await;
    assert_eq!(ask(&service, post()).await.0, 200);
}

// Explicit calls

#[tokio::test(start_paused = true)]
async fn an_explicit_call_is_saved_or_fails_with_the_vaults_error() {
    let vault = keys(["a", "b"]).await;
    let fails = Arc::new(AtomicUsize::new(1));
    let planned = fails.clone();
    let spy = Planned::new(&vault, move |kind, _| match kind {
        "record" if planned.load(Ordering::SeqCst) == 1 => Plan::Fail,
        _ => Plan::Pass,
    });
    let pool = open(spy).await;
    let a = id_of(&pool, "a");
    let is_saved_as_paused = async || {
        let stored = vault.load_pool(key()).await.unwrap().standings.credentials;
        stored.get(&a).is_some_and(|standing| standing.paused)
    };
    for again in 0..3 {
        let response = match again {
            0 => pool.pause(a).await,
            1 => pool.reset(a).await,
            _ => pool.save().await,
        };
        assert!(matches!(response, Err(VaultError::Key(_))), "{response:?}");
    }
    // In this pool it counts all the same.
    assert!(status_of(&pool, "a").standing.paused);
    assert!(!is_saved_as_paused().await);
    // Once the call succeeds, it is saved.
    fails.store(0, Ordering::SeqCst);
    pool.save().await.unwrap();
    assert!(is_saved_as_paused().await);
    pool.resume(a).await.unwrap();
    assert!(!is_saved_as_paused().await);
    fails.store(1, Ordering::SeqCst);
    assert!(matches!(pool.resume(a).await, Err(VaultError::Key(_))));
}
