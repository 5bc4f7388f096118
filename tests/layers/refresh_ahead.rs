//! Tokens are renewed while they still work, and one that has expired before it is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use tokio::sync::Notify;
use tower::ServiceExt;
use tower_credentials::standing::Health;
use tower_credentials::vault::{MemoryVault, Replaced, VaultExt};
use tower_credentials::*;

use crate::support::*;

const HOUR: Duration = Duration::from_secs(3600);

/// An account whose token lives for so long from now on, by this clock.
async fn put(vault: &MemoryVault, label: &str, clock: &Clock, life: Duration) {
    let tokens = OAuthTokens::new(format!("{label}-1"))
        .refresh(format!("refresh-{label}"))
        .expires_at(clock.now().after(life));
    let mut credential = Credential::new(key(), label, tokens);
    credential.metadata.updated_at = clock.now();
    vault.put(credential).await.unwrap();
}

/// Exchanges of tokens for others that live for so long, and when each was made.
#[derive(Clone)]
struct Server {
    clock: Clock,
    life: Duration,
    asked: Journal<(String, Timestamp)>,
}

impl Server {
    fn new(clock: &Clock, life: Duration) -> Self {
        Self { clock: clock.clone(), life, asked: Journal::new() }
    }

    fn refresher(&self) -> Refresher {
        let server = self.clone();
        Refresher::new(move |credential: Credential| {
            let Metadata { label, generation, .. } = credential.metadata;
            let now = server.clock.now();
            server.asked.push((label.to_string(), now));
            let tokens = OAuthTokens::new(format!("{label}-{}", generation.next()))
                .refresh(format!("refresh-{label}"))
                .expires_at(now.after(server.life));
            async move { Ok::<_, RefreshError>(Secret::from(tokens)) }
        })
    }

    fn times(&self, label: &str) -> Vec<Timestamp> {
        self.asked.all().into_iter().filter(|(asked, _)| asked == label).map(|(_, at)| at).collect()
    }
}

/// Waits for what takes hours on the paused clock.
async fn reaches<T: Clone>(journal: &Journal<T>, length: usize) {
    for _ in 0..100_000 {
        let waited = journal.until(|items| items.len() >= length);
        if tokio::time::timeout(seconds(30), waited).await.is_ok() {
            return;
        }
    }
    panic!("it has not happened in a month");
}

fn renewing_pool(vault: &MemoryVault, clock: &Clock, refresher: Refresher) -> PoolBuilder {
    // Not every second: days pass here.
    builder(vault.clone()).clock(clock.clone()).refresher(refresher).sync_every(seconds(60))
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_in_the_last_five_minutes_of_its_life_or_the_last_tenth() {
    let clock = tokio_clock();
    for (life, margin) in [(HOUR, 300), (24 * HOUR, 300), (10 * 60 * seconds(1), 60)] {
        let vault = MemoryVault::new();
        put(&vault, "a", &clock, life).await;
        let began = clock.now();
        let server = Server::new(&clock, life);
        let pool = renewing_pool(&vault, &clock, server.refresher()).open().await.unwrap();
        reaches(&server.asked, 3).await;
        drop(pool);
        let times = server.times("a");
        for (before, at) in std::iter::once(&began).chain(&times).zip(&times) {
            let left = before.after(life).since(*at);
            assert!((seconds(margin) / 2..=seconds(margin)).contains(&left), "{left:?} of {life:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn renewals_of_many_accounts_are_spread() {
    let clock = tokio_clock();
    let vault = MemoryVault::new();
    for number in 0..50 {
        put(&vault, &format!("account-{number}"), &clock, HOUR).await;
    }
    let server = Server::new(&clock, 24 * HOUR);
    let _pool = renewing_pool(&vault, &clock, server.refresher()).open().await.unwrap();
    reaches(&server.asked, 50).await;
    let mut seconds: Vec<_> = server.asked.all().iter().map(|(_, at)| at.as_millis() / 1000).collect();
    seconds.dedup();
    assert!(seconds.len() > 25, "at {} times", seconds.len());
}

#[tokio::test(start_paused = true)]
async fn the_new_token_is_saved_and_used_and_a_restart_knows_when_it_is_due() {
    let clock = tokio_clock();
    let vault = MemoryVault::new();
    put(&vault, "a", &clock, HOUR).await;
    let server = Server::new(&clock, HOUR);
    let pool = renewing_pool(&vault, &clock, server.refresher()).open().await.unwrap();
    reaches(&server.asked, 1).await;
    while pool.counters().refreshes == 0 {
        tokio::task::yield_now().await;
    }
    let stored = vault.load_pool(key()).await.unwrap().credentials.remove(0);
    assert_eq!(stored.secret.token().expose(), "a-2");
    let upstream = Upstream::new();
    ask(&stack(CredentialsLayer::new(pool.clone()), upstream.clone()), post()).await;
    assert_eq!(upstream.tokens(), ["a-2"]);
    drop(pool);

    let _restarted = renewing_pool(&vault, &clock, server.refresher()).open().await.unwrap();
    reaches(&server.asked, 2).await;
    let times = server.times("a");
    assert!(times[1].since(times[0]) >= HOUR - seconds(300));
}

#[tokio::test(start_paused = true)]
async fn keys_and_tokens_without_an_expiry_or_a_refresh_token_are_left_alone() {
    let clock = tokio_clock();
    let vault = accounts(["endless"]).await;
    vault.put(Credential::new(key(), "key", Secret::api_key("key"))).await.unwrap();
    let alone = OAuthTokens::new("alone").expires_at(clock.now().after(HOUR));
    vault.put(Credential::new(key(), "alone", alone)).await.unwrap();
    let server = Server::new(&clock, HOUR);
    let _pool = renewing_pool(&vault, &clock, server.refresher()).open().await.unwrap();
    tokio::time::sleep(30 * 24 * HOUR).await;
    assert_eq!(server.asked.all(), []);
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_tokens_are_dead_when_they_come_is_not_asked_again_at_once() {
    let clock = tokio_clock();
    let vault = MemoryVault::new();
    put(&vault, "a", &clock, Duration::ZERO).await;
    let server = Server::new(&clock, Duration::ZERO);
    let _pool = renewing_pool(&vault, &clock, server.refresher()).open().await.unwrap();
    tokio::time::sleep(seconds(600)).await;
    let asked = server.asked.all().len();
    assert!((15..=21).contains(&asked), "{asked} times in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn after_failures_it_is_tried_again_later_each_time_and_goes_on_as_if_nothing_had_been() {
    let clock = tokio_clock();
    let vault = MemoryVault::new();
    put(&vault, "a", &clock, HOUR).await;
    let tries = Journal::new();
    let server = Server::new(&clock, HOUR);
    let (noted, now) = (tries.clone(), clock.clone());
    let refresher = Refresher::new(move |credential: Credential| {
        noted.push(now.now());
        let fails = noted.all().len() <= 12;
        let renewed =
            Secret::from(OAuthTokens::new("a-2").refresh("refresh-a").expires_at(now.now().after(HOUR)));
        async move {
            drop(credential);
            if fails { Err(BoxError::from("no network")) } else { Ok(renewed) }
        }
    });
    let events = Journal::new();
    let pool =
        renewing_pool(&vault, &clock, refresher).on_event(events.observer()).open().await.unwrap();
    reaches(&tries, 13).await;
    while pool.counters().refreshes == 0 {
        tokio::task::yield_now().await;
    }
    let times = tries.all();
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    for (number, pause) in pauses.iter().enumerate() {
        let grown = seconds(1 << number.min(16)).min(seconds(300));
        let bound = grown + grown / 2 + seconds(1);
        assert!((grown..=bound).contains(pause), "pause {number}: {pause:?}");
    }
    assert_eq!(events.count("RefreshFailed"), 12);
    assert_eq!(status_of(&pool, "a").standing, standing::Standing::default());
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn one_that_needs_a_new_sign_in_is_not_tried_again_until_it_has_one() {
    let clock = tokio_clock();
    let vault = MemoryVault::new();
    put(&vault, "a", &clock, HOUR).await;
    let tries = Journal::new();
    let noted = tries.clone();
    let refresher = Refresher::new(move |_: Credential| {
        noted.push(());
        async { Err::<Secret, _>(RefreshError::rejected("revoked")) }
    });
    let pool = renewing_pool(&vault, &clock, refresher).open().await.unwrap();
    reaches(&tries, 1).await;
    tokio::time::sleep(24 * HOUR).await;
    assert_eq!(tries.all().len(), 1);
    let health = status_of(&pool, "a").standing.health;
    assert!(matches!(&health, Health::NeedsSignIn { reason, .. } if reason == "revoked"), "{health:?}");

    let new = OAuthTokens::new("signed-in").refresh("again").expires_at(clock.now().after(HOUR));
    let id = status_of(&pool, "a").credential.id;
    vault.replace_secret(id, Generation::FIRST, new).await.unwrap();
    reaches(&tries, 2).await;
    // A new sign-in makes the verdict void; the next one is on the new token.
    tokio::time::sleep(HOUR).await;
    assert_eq!(tries.all().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_pool() {
    let clock = tokio_clock();
    let vault = MemoryVault::new();
    put(&vault, "a", &clock, HOUR).await;
    let server = Server::new(&clock, HOUR);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let pool = renewing_pool(&vault, &clock, server.refresher()).sync_every(None).open().await.unwrap();
    assert_eq!(tasks(), before + 1);
    drop(pool);
    while tasks() > before {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(2 * HOUR).await;
    assert_eq!(server.asked.all(), []);
}

#[tokio::test(start_paused = true)]
async fn what_another_process_has_renewed_is_not_renewed_again() {
    let clock = tokio_clock();
    let vault = MemoryVault::new();
    put(&vault, "a", &clock, HOUR).await;
    let server = Server::new(&clock, HOUR);
    let pools = [(); 8].map(|()| renewing_pool(&vault, &clock, server.refresher()).open());
    let mut opened = Vec::new();
    for pool in pools {
        opened.push(pool.await.unwrap());
    }
    tokio::time::sleep(10 * HOUR).await;
    // About one an hour, whoever makes it.
    let asked = server.asked.all().len();
    assert!((10..=11).contains(&asked), "{asked} exchanges");
    let generations: Vec<_> = opened.iter().map(|pool| pool.status()[0].credential.generation).collect();
    assert!(generations.windows(2).all(|pair| pair[0] == pair[1]), "{generations:?}");
}

// Before it is sent

/// A request that can be sent only once.
fn once() -> Request<SendOnce<http_body_util::Full<bytes::Bytes>>> {
    post().map(SendOnce::new)
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_renewed_before_the_request_leaves_whatever_the_order() {
    let clock = tokio_clock();
    for order in 0..4 {
        let vault = MemoryVault::new();
        put(&vault, "a", &clock, HOUR).await;
        tokio::time::advance(2 * HOUR).await;
        let server = Server::new(&clock, HOUR);
        let pool = builder(vault).clock(clock.clone()).open().await.unwrap();
        let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
        let refresher = server.refresher();
        let (rotate, refresh, auth, persist) = four(&pool, &refresher);
        let nothing = tower::util::MapRequestLayer::new(|request: Request<_>| request);
        let inner = upstream.clone();
        let status = match order {
            0 => {
                let layers = (rotate, refresh, auth, persist);
                tower::Layer::layer(&layers, inner).oneshot(once()).await.unwrap().status()
            }
            1 => {
                let layers = (auth, persist, refresh, rotate);
                tower::Layer::layer(&layers, inner).oneshot(once()).await.unwrap().status()
            }
            2 => {
                let layers = (auth, nothing, refresh, rotate);
                tower::Layer::layer(&layers, inner).oneshot(once()).await.unwrap().status()
            }
            _ => {
                let all = CredentialsLayer::new(pool.clone()).refresher(refresher);
                tower::Layer::layer(&all, inner).oneshot(once()).await.unwrap().status()
            }
        };
        assert_eq!(status, 200);
        assert_eq!(upstream.tokens(), ["a-2"], "order {order}");
        assert_eq!(server.asked.all().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn of_200_requests_with_an_expired_token_one_renews_it_and_none_is_sent_with_the_old() {
    let clock = tokio_clock();
    let vault = MemoryVault::new();
    put(&vault, "a", &clock, HOUR).await;
    tokio::time::advance(HOUR).await;
    let server = Server::new(&clock, HOUR);
    let pool = builder(vault).clock(clock.clone()).open().await.unwrap();
    let upstream = Upstream::new();
    let all = CredentialsLayer::new(pool).refresher(server.refresher());
    let service = stack(all, upstream.clone());
    let requests: Vec<_> = (0..200).map(|_| tokio::spawn(ask(&service, post()))).collect();
    for request in requests {
        assert_eq!(request.await.unwrap().0, 200);
    }
    assert_eq!(server.asked.all().len(), 1);
    assert_eq!(upstream.count("a-2"), 200);
}

#[tokio::test(start_paused = true)]
async fn where_it_cannot_be_renewed_the_old_token_is_tried_since_the_clock_may_be_wrong() {
    let clock = tokio_clock();
    let vault = MemoryVault::new();
    put(&vault, "a", &clock, HOUR).await;
    tokio::time::advance(2 * HOUR).await;
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let refresher = Refresher::new(move |_: Credential| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Err::<Secret, _>(BoxError::from("no network")) }
    });
    let pool = builder(vault).clock(clock.clone()).open().await.unwrap();
    let upstream = Upstream::new();
    let service = stack(CredentialsLayer::new(pool).refresher(refresher), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens(), ["a-1"]);
    // Nor is the token endpoint asked again for each request.
    for _ in 0..10 {
        assert_eq!(ask(&service, post()).await.0, 200);
    }
    assert_eq!(tries.load(Ordering::SeqCst), 1);
    tokio::time::advance(seconds(1)).await;
    ask(&service, post()).await;
    assert_eq!(tries.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_token_is_used_for_its_first_half_minute_whatever_is_said_of_its_expiry() {
    for life in [Duration::ZERO, seconds(1), seconds(29)] {
        let clock = tokio_clock();
        let vault = MemoryVault::new();
        put(&vault, "a", &clock, HOUR).await;
        tokio::time::advance(2 * HOUR).await;
        let server = Server::new(&clock, life);
        // The vault writes down when by the system's clock.
        let pool = builder(vault).clock(clock.clone()).sync_every(None).open().await.unwrap();
        let upstream = Upstream::new().answers("a-3", [Canned::status(200), Canned::status(401)]);
        let layer = CredentialsLayer::new(pool).refresher(server.refresher());
        let service = stack(layer, upstream.clone());
        for _ in 0..5 {
            assert_eq!(ask(&service, post()).await.0, 200);
            tokio::time::advance(seconds(5)).await;
        }
        assert_eq!(upstream.tokens(), ["a-2"; 5], "{life:?}");
        assert_eq!(server.asked.all().len(), 1, "{life:?}");
        // After that it is renewed before it is sent, and for a 401 at once.
        tokio::time::advance(seconds(5)).await;
        assert_eq!(ask(&service, post()).await.0, 200);
        assert_eq!(ask(&service, post()).await.0, 200);
        assert_eq!(upstream.tokens()[5..], ["a-3", "a-3", "a-4"], "{life:?}");
        assert_eq!(server.asked.all().len(), 3, "{life:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_stored_after_its_expiry_is_renewed_before_it_is_sent() {
    let clock = tokio_clock();
    let vault = MemoryVault::new();
    put(&vault, "a", &clock, Duration::ZERO).await;
    let server = Server::new(&clock, HOUR);
    let pool = builder(vault).clock(clock.clone()).open().await.unwrap();
    let upstream = Upstream::new();
    let service = stack(CredentialsLayer::new(pool).refresher(server.refresher()), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens(), ["a-2"]);
}

// Taking turns, and patience

/// Exchanges that end when told to; how many are under way at once, at most.
fn gated(gate: &Arc<Notify>, most: &Arc<AtomicUsize>, begun: &Journal<String>) -> Refresher {
    let (gate, most, begun) = (gate.clone(), most.clone(), begun.clone());
    let under_way = Arc::new(AtomicUsize::new(0));
    Refresher::new(move |credential: Credential| {
        let (gate, most, under_way) = (gate.clone(), most.clone(), under_way.clone());
        begun.push(credential.metadata.label.to_string());
        async move {
            most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gate.notified().await;
            under_way.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, RefreshError>(renewed(&credential.metadata))
        }
    })
}

#[tokio::test(start_paused = true)]
async fn refreshes_of_one_client_are_made_one_at_a_time_unless_told_otherwise() {
    type Set = fn(Refresher) -> Refresher;
    let cases: [(Set, usize); 3] = [
        (|refresher| refresher, 1),
        (|refresher| refresher.client("app"), 1),
        (|refresher| refresher.concurrent(), 3),
    ];
    for (set, at_once) in cases {
        let (gate, most, begun) =
            (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)), Journal::new());
        let refresher = set(gated(&gate, &most, &begun));
        let pool = builder(accounts(["a", "b", "c"]).await).clock(tokio_clock()).open().await.unwrap();
        let responses = |upstream: Upstream, label: &&str| {
            upstream.answers(&format!("{label}-1"), [Canned::status(401)])
        };
        let upstream = ["a", "b", "c"].iter().fold(Upstream::new(), responses);
        let service = stack(CredentialsLayer::new(pool).refresher(refresher), upstream.clone());
        let requests = ["a", "b", "c"].map(|label| {
            let mut request = post();
            request.extensions_mut().insert(Pin::label(label));
            tokio::spawn(ask(&service, request))
        });
        begun.reaches(at_once).await;
        for done in 1..=3 {
            gate.notify_one();
            begun.reaches((done + at_once).min(3)).await;
        }
        for request in requests {
            assert_eq!(request.await.unwrap().0, 200);
        }
        assert_eq!(most.load(Ordering::SeqCst), at_once);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_half_a_minute_goes_on_and_the_exchange_too() {
    let (gate, most, begun) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)), Journal::new());
    let vault = accounts(["a", "b"]).await;
    let pool = builder(vault.clone()).clock(tokio_clock()).open().await.unwrap();
    let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
    let all = CredentialsLayer::new(pool.clone()).refresher(gated(&gate, &most, &begun));
    let service = stack(all, upstream.clone());
    let began = tokio::time::Instant::now();
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(began.elapsed(), seconds(30));
    assert_eq!(upstream.tokens(), ["a-1", "b-1"]);
    assert!(cools(&pool, "a") > Duration::ZERO);

    gate.notify_one();
    while pool.counters().refreshes == 0 {
        tokio::task::yield_now().await;
    }
    let id = status_of(&pool, "a").credential.id;
    assert_eq!(vault.get(id).await.unwrap().secret.token().expose(), "a-2");
    // It had cooled down for want of a refresh.
    assert_eq!(cools(&pool, "a"), Duration::ZERO);
    let again = vault.replace_secret(id, Generation::FIRST, OAuthTokens::new("x")).await.unwrap();
    assert!(matches!(again, Replaced::Conflict(_)));
    assert_eq!(begun.all().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_secret_that_can_never_be_stored_holds_up_no_other_refresh() {
    let pool = builder(accounts(["a", "b"]).await).clock(tokio_clock()).open().await.unwrap();
    let refresher = Refresher::new(|credential: Credential| async move {
        Ok::<_, RefreshError>(match &*credential.metadata.label {
            "a" => Secret::api_key("not an account's"),
            _ => renewed(&credential.metadata),
        })
    });
    let refused = || [Canned::status(401)];
    let upstream = Upstream::new().answers("a-1", refused()).answers("b-1", refused());
    let service = stack(CredentialsLayer::new(pool.clone()).refresher(refresher), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens(), ["a-1", "b-1", "b-2"]);
}

#[tokio::test(start_paused = true)]
async fn an_older_vault_that_was_put_in_place_gets_the_newer_token_and_that_is_what_is_renewed() {
    let vault = accounts(["a"]).await;
    let events = Journal::new();
    let pool =
        builder(vault.clone()).clock(tokio_clock()).on_event(events.observer()).open().await.unwrap();
    let backup = vault.load_pool(key()).await.unwrap().credentials.remove(0);
    let id = backup.metadata.id;
    let mut generation = backup.metadata.generation;
    for token in ["a-2", "a-3", "a-4"] {
        let tokens = OAuthTokens::new(token).refresh(format!("r-{token}"));
        let replaced = vault.replace_secret(id, generation, tokens);
        let Replaced::Swapped(next) = replaced.await.unwrap() else { panic!("somebody else's") };
        generation = next;
    }
    pool.sync().await.unwrap();
    vault.remove(id).await.unwrap();
    vault.put(backup).await.unwrap();

    let presented = Journal::new();
    let noted = presented.clone();
    let refresher = Refresher::new(move |credential: Credential| {
        noted.push(credential.secret.refresh_token().unwrap().expose().to_owned());
        async move { Ok::<_, RefreshError>(renewed(&credential.metadata)) }
    });
    let upstream = Upstream::new().answers("a-4", [Canned::status(401)]);
    let all = CredentialsLayer::new(pool.clone()).refresher(refresher);
    assert_eq!(ask(&stack(all, upstream.clone()), post()).await.0, 200);
    assert_eq!(presented.all(), ["r-a-4"], "never the one of the older vault, which is spent");
    assert_eq!(events.count("OlderVault"), 1);
    // At the second generation the newer one was put back, at the third it is renewed.
    assert_eq!(upstream.tokens(), ["a-4", "a-3"]);
    assert_eq!(vault.get(id).await.unwrap().secret.token().expose(), "a-3");
}

#[tokio::test(start_paused = true)]
async fn an_older_vault_gets_the_newer_token_as_soon_as_the_pool_looks_but_not_over_a_new_sign_in() {
    for signed_in_since in [false, true] {
        let vault = accounts(["a"]).await;
        let pool = builder(vault.clone()).clock(tokio_clock()).open().await.unwrap();
        let mut backup = vault.load_pool(key()).await.unwrap().credentials.remove(0);
        let id = backup.metadata.id;
        let newer = OAuthTokens::new("a-9").refresh("r-9");
        let Replaced::Swapped(second) =
            vault.replace_secret(id, Generation::FIRST, newer).await.unwrap()
        else {
            panic!("somebody else's")
        };
        vault.replace_secret(id, second, OAuthTokens::new("a-10").refresh("r-10")).await.unwrap();
        pool.sync().await.unwrap();
        if signed_in_since {
            backup.metadata.updated_at = backup.metadata.updated_at.after(HOUR);
        }
        vault.remove(id).await.unwrap();
        vault.put(backup).await.unwrap();
        pool.sync().await.unwrap();
        tokio::time::sleep(seconds(5)).await;
        let stored = vault.get(id).await.unwrap().secret;
        assert_eq!(stored.token().expose(), if signed_in_since { "a-1" } else { "a-10" });
    }
}
