//! Tokens are renewed while they still work.

use std::time::Duration;

use tower_credentials::standing::Health;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;

pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// Stores an account whose token expires this long from now, by this clock.
pub(super) async fn put(vault: &MemoryVault, label: &str, clock: &Clock, life: Duration) {
    let tokens = OAuthTokens::new(format!("{label}-1"))
        .refresh(format!("refresh-{label}"))
        .expires_at(clock.now().after(life));
    let mut credential = Credential::new(key(), label, tokens);
    credential.metadata.updated_at = clock.now();
    vault.put(credential).await.unwrap();
}

/// A token endpoint whose tokens live this long. Records every exchange and its time.
#[derive(Clone)]
pub(super) struct Server {
    clock: Clock,
    life: Duration,
    pub(super) asked: Journal<(String, Timestamp)>,
}

impl Server {
    pub(super) fn new(clock: &Clock, life: Duration) -> Self {
        Self { clock: clock.clone(), life, asked: Journal::new() }
    }

    pub(super) fn refresher(&self) -> Refresher {
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

/// Waits for entries that take hours on the paused clock.
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
    // Not every second, since days pass here.
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
async fn the_new_token_is_saved_and_used_and_a_restarted_pool_knows_when_it_is_due() {
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
async fn a_server_whose_tokens_arrive_expired_is_not_asked_again_at_once() {
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
async fn failed_renewals_are_retried_with_growing_pauses_and_leave_no_trace() {
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
async fn an_account_that_needs_a_sign_in_is_not_tried_again_until_it_has_one() {
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
    let id = id_of(&pool, "a");
    vault.replace_secret(&key(), id, Generation::FIRST, new).await.unwrap();
    reaches(&tries, 2).await;
    // A new sign-in clears the verdict; the next verdict is about the new token.
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
async fn a_token_that_another_process_renewed_is_not_renewed_again() {
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
    // About one an hour in all.
    let asked = server.asked.all().len();
    assert!((10..=11).contains(&asked), "{asked} exchanges");
    let generations: Vec<_> = opened.iter().map(|pool| pool.status()[0].credential.generation).collect();
    assert!(generations.windows(2).all(|pair| pair[0] == pair[1]), "{generations:?}");
}

#[tokio::test(start_paused = true)]
async fn an_explicit_call_renews_a_token_that_still_works() {
    let clock = tokio_clock();
    let vault = MemoryVault::new();
    put(&vault, "a", &clock, HOUR).await;
    let server = Server::new(&clock, HOUR);
    let pool = builder(vault.clone()).clock(clock.clone()).open().await.unwrap();
    let id = pool.status()[0].credential.id;
    tokio::time::advance(seconds(120)).await;
    assert!(pool.renew(id, server.refresher()).await.unwrap());
    let stored = vault.get(&key(), id).await.unwrap();
    assert_eq!(stored.metadata.generation, Generation::FIRST.next());
    assert_eq!(server.asked.all().len(), 1);
    let stranger = CredentialId::random();
    assert!(pool.renew(stranger, server.refresher()).await.is_err());
}
