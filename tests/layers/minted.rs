//! Secrets that a refresher makes without a refresh token: when it is called, how often, and what is never sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tower::ServiceExt;
use tower::util::MapRequestLayer;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A server that makes tokens of an hour, as long as it works.
#[derive(Clone)]
struct Mint {
    clock: Clock,
    asked: Journal<String>,
    is_down: Arc<AtomicBool>,
}

impl Mint {
    fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), asked: Journal::new(), is_down: Arc::default() }
    }

    fn refresher(&self) -> Refresher {
        let mint = self.clone();
        Refresher::new(move |credential: Credential| {
            let mint = mint.clone();
            async move {
                let Metadata { label, generation, kind, .. } = credential.metadata;
                mint.asked.push(label.to_string());
                // Other requests come while it is made.
                tokio::time::sleep(seconds(1)).await;
                if mint.is_down.load(Ordering::SeqCst) {
                    return Err(BoxError::from("no network"));
                }
                let token = format!("{label}-{}", generation.next());
                Ok(match kind {
                    Kind::Api => Secret::api_key(token),
                    _ => OAuthTokens::new(token).expires_at(mint.clock.now().after(HOUR)).into(),
                })
            }
        })
        .mints()
    }

    fn count(&self) -> usize {
        self.asked.all().len()
    }
}

async fn vault<const N: usize>(accounts: [(&str, Secret); N]) -> MemoryVault {
    let vault = MemoryVault::new();
    for (label, secret) in accounts {
        vault.put(Credential::new(key(), label, secret)).await.unwrap();
    }
    vault
}

fn empty() -> Secret {
    OAuthTokens::new("").into()
}

fn plain(token: &str) -> Secret {
    OAuthTokens::new(token).into()
}

async fn open(vault: &MemoryVault, clock: &Clock) -> Pool {
    builder(vault.clone()).clock(clock.clone()).open().await.unwrap()
}

/// The layers in several orders, alone and with something of the user's in between, and as one.
fn arrangements(pool: &Pool, refresher: &Refresher, upstream: &Upstream) -> Vec<Stack> {
    let four = || four(pool, refresher);
    let user = || MapRequestLayer::new(|request: Asked| request);
    let (rotate, refresh, auth, persist) = four();
    let mut stacks = vec![
        stack((rotate, refresh, auth, persist), upstream.clone()),
        stack(CredentialsLayer::new(pool.clone()).refresher(refresher.clone()), upstream.clone()),
    ];
    let (rotate, refresh, auth, persist) = four();
    stacks.push(stack((rotate, user(), auth, user(), refresh, user(), persist), upstream.clone()));
    let (rotate, refresh, auth, persist) = four();
    stacks.push(stack((persist, auth, user(), rotate, user(), refresh), upstream.clone()));
    let (rotate, refresh, auth, persist) = four();
    stacks.push(stack((refresh, user(), persist, rotate, user(), auth), upstream.clone()));
    stacks
}

const ARRANGEMENTS: usize = 5;

/// Sends a request through each of these services at once.
async fn at_once(services: impl IntoIterator<Item = &Stack>) -> Vec<(u16, String)> {
    let asked: JoinSet<_> = services.into_iter().map(|service| ask(service, post())).collect();
    asked.join_all().await
}

async fn fails(service: &Stack, request: Asked) -> String {
    service.clone().oneshot(request).await.map(|_| ()).unwrap_err().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_401_mints_once_for_all_requests_at_once() {
    for number in 0..ARRANGEMENTS {
        for secret in [plain("old"), Secret::api_key("old")] {
            let clock = tokio_clock();
            let vault = vault([("a", secret)]).await;
            let (pool, mint) = (open(&vault, &clock).await, Mint::new(&clock));
            let upstream = Upstream::new().answers("old", [Canned::status(401)]);
            let service = &arrangements(&pool, &mint.refresher(), &upstream)[number];
            let responses = at_once([service; 20]).await;
            assert!(
                responses.iter().all(|(status, body)| (*status, &**body) == (200, "a-2")),
                "{number}"
            );
            assert_eq!(mint.count(), 1, "{number}");
            let stored = vault.load_pool(key()).await.unwrap().credentials.remove(0);
            assert_eq!(stored.secret.token().expose(), "a-2");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_secret_is_minted_before_the_first_request_is_sent() {
    for number in 0..ARRANGEMENTS {
        for secret in [empty(), plain(" "), Secret::api_key("")] {
            let clock = tokio_clock();
            let vault = vault([("a", secret)]).await;
            let (pool, mint) = (open(&vault, &clock).await, Mint::new(&clock));
            let upstream = Upstream::new();
            let service = &arrangements(&pool, &mint.refresher(), &upstream)[number];
            let responses = at_once([service; 20]).await;
            assert!(
                responses.iter().all(|(status, body)| (*status, &**body) == (200, "a-2")),
                "{number}"
            );
            assert_eq!((mint.count(), upstream.count("a-2"), upstream.tokens().len()), (1, 20, 20));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_minted_again_before_it_is_sent() {
    for number in 0..ARRANGEMENTS {
        let clock = tokio_clock();
        let vault = vault([("a", empty())]).await;
        let (pool, mint) = (open(&vault, &clock).await, Mint::new(&clock));
        let upstream = Upstream::new();
        let service = &arrangements(&pool, &mint.refresher(), &upstream)[number];
        for _ in 0..3 {
            ask(service, post()).await;
            tokio::time::sleep(HOUR).await;
        }
        assert_eq!(upstream.tokens(), ["a-2", "a-3", "a-4"], "{number}");
        assert_eq!(mint.count(), 3, "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn if_nothing_can_be_minted_nothing_is_sent_and_failures_delay_the_next_try() {
    for number in 0..ARRANGEMENTS {
        let clock = tokio_clock();
        let vault = vault([("a", empty())]).await;
        let (pool, mint) = (open(&vault, &clock).await, Mint::new(&clock));
        mint.is_down.store(true, Ordering::SeqCst);
        let upstream = Upstream::new();
        let service = &arrangements(&pool, &mint.refresher(), &upstream)[number];
        for _ in 0..5 {
            let error = fails(service, post()).await;
            assert!(error.contains("the account a of pool x/default has no access token"), "{error}");
        }
        assert_eq!((mint.count(), upstream.tokens().len()), (1, 0), "{number}");
        mint.is_down.store(false, Ordering::SeqCst);
        tokio::time::sleep(seconds(2)).await;
        assert_eq!(ask(service, post()).await.0, 200);
        assert_eq!((mint.count(), upstream.tokens()), (2, vec!["a-2".to_owned()]), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_without_a_minted_token_is_skipped() {
    for number in 0..ARRANGEMENTS {
        let clock = tokio_clock();
        let vault = vault([("a", empty()), ("b", plain("b-1"))]).await;
        let (pool, mint) = (open(&vault, &clock).await, Mint::new(&clock));
        mint.is_down.store(true, Ordering::SeqCst);
        let upstream = Upstream::new();
        let service = &arrangements(&pool, &mint.refresher(), &upstream)[number];
        assert_eq!(ask(service, post()).await, (200, "b-1".to_owned()), "{number}");
        let pinned = pinned("a");
        assert!(fails(service, pinned).await.contains("the account a"), "{number}");
        assert_eq!((mint.count(), upstream.tokens().len()), (1, 1), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_account_is_minted_before_a_rotation_to_it() {
    for (number, is_down) in (0..ARRANGEMENTS).flat_map(|number| [(number, false), (number, true)]) {
        let clock = tokio_clock();
        let vault = vault([("a", plain("a-1")), ("b", empty()), ("c", plain("c-1"))]).await;
        let (pool, mint) = (open(&vault, &clock).await, Mint::new(&clock));
        mint.is_down.store(is_down, Ordering::SeqCst);
        let upstream = Upstream::new().answers("a-1", [Canned::status(429)]);
        let service = &arrangements(&pool, &mint.refresher(), &upstream)[number];
        let next = if is_down { "c-1" } else { "b-2" };
        assert_eq!(ask(service, post()).await, (200, next.to_owned()), "{number}");
        assert_eq!((mint.count(), upstream.tokens()), (1, vec!["a-1".to_owned(), next.to_owned()]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_with_a_minting_refresher_mints_before_the_first_request_and_ahead_of_expiry() {
    let clock = tokio_clock();
    let vault = vault([("a", empty())]).await;
    let mint = Mint::new(&clock);
    let pool = builder(vault.clone()).clock(clock.clone()).refresher(mint.refresher());
    let pool = pool.open().await.unwrap();
    mint.asked.until(|asked| asked.len() == 1).await;
    tokio::time::sleep(2 * HOUR).await;
    let upstream = Upstream::new();
    assert_eq!(ask(&stack(CredentialsLayer::new(pool), upstream.clone()), post()).await.0, 200);
    let minted = mint.count();
    assert!((3..=4).contains(&minted), "{minted}");
    assert_eq!(upstream.tokens(), [format!("a-{}", minted + 1)]);
}

#[tokio::test(start_paused = true)]
async fn pools_of_one_vault_mint_one_token_together() {
    let clock = tokio_clock();
    let vault = vault([("a", empty())]).await;
    let (mint, upstream) = (Mint::new(&clock), Upstream::new());
    let mut services = Vec::new();
    for _ in 0..3 {
        let pool = open(&vault, &clock).await;
        let layer = CredentialsLayer::new(pool).refresher(mint.refresher());
        services.push(stack(layer, upstream.clone()));
    }
    at_once(&services).await;
    assert_eq!((mint.count(), upstream.count("a-2")), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn without_a_minting_refresher_an_empty_token_is_refused_and_named() {
    let calls = Journal::new();
    for number in 0..ARRANGEMENTS {
        let clock = tokio_clock();
        let vault = vault([("a", empty())]).await;
        let pool = open(&vault, &clock).await;
        let upstream = Upstream::new();
        let service = &arrangements(&pool, &renewing(&calls), &upstream)[number];
        let error = fails(service, post()).await;
        assert!(error.contains("the account a of pool x/default has no access token"), "{error}");
        let service = stack(AuthHeaderLayer::new(pool), upstream.clone());
        assert!(fails(&service, post()).await.contains("Refresher::mints"));
        assert_eq!(upstream.tokens(), [""; 0]);
    }
    assert_eq!(calls.all(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn without_a_minting_refresher_keys_and_plain_tokens_are_left_alone() {
    let calls = Journal::new();
    let clock = tokio_clock();
    let expired = OAuthTokens::new("b-1").expires_at(Timestamp::default());
    let vault = vault([("a", Secret::api_key("a-1")), ("b", expired.into())]).await;
    for number in 0..ARRANGEMENTS {
        for (mode, token) in [(Mode::Api, "a-1"), (Mode::Subscription, "b-1")] {
            let pool = builder(vault.clone()).clock(clock.clone()).mode(mode).open().await.unwrap();
            let upstream = Upstream::new().answers(token, [Canned::status(401)]);
            let service = &arrangements(&pool, &renewing(&calls), &upstream)[number];
            assert_eq!(ask(service, post()).await.0, 401);
            assert_eq!(upstream.tokens(), [token], "{number}");
        }
    }
    assert_eq!(calls.all(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_empty_but_has_a_refresh_token_is_renewed_before_it_is_sent() {
    for number in 0..ARRANGEMENTS {
        let calls = Journal::new();
        let clock = tokio_clock();
        let vault = vault([("a", OAuthTokens::new("").refresh("refresh").into())]).await;
        let pool = open(&vault, &clock).await;
        let upstream = Upstream::new();
        let service = &arrangements(&pool, &renewing(&calls), &upstream)[number];
        assert_eq!(ask(service, post()).await, (200, "a-2".to_owned()));
        assert_eq!(upstream.tokens(), ["a-2"], "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_token_that_no_header_can_hold_is_a_failure_whose_refresh_token_is_kept() {
    let clock = tokio_clock();
    let old = OAuthTokens::new("a-1").refresh("refresh-1").expires_at(clock.now());
    let vault = vault([("a", old.into())]).await;
    let calls = Journal::new();
    let noted = calls.clone();
    let refresher = Refresher::new(move |credential: Credential| {
        let presented = credential.secret.refresh_token().unwrap().expose().to_owned();
        noted.push(presented.clone());
        async move {
            Ok::<_, RefreshError>(match presented.as_str() {
                "refresh-1" => OAuthTokens::new("planted\n").refresh("refresh-2"),
                _ => OAuthTokens::new("a-3").refresh("refresh-3"),
            })
        }
    });
    let events = Journal::new();
    let reported = events.clone();
    let observe = move |event: &events::Event| {
        if let events::EventKind::RefreshFailed { error, .. } = &event.kind {
            reported.push(error.to_string());
        }
    };
    let pool = builder(vault.clone()).clock(clock.clone()).on_event(observe).open().await.unwrap();
    let upstream = Upstream::new();
    let service = stack(CredentialsLayer::new(pool.clone()).refresher(refresher), upstream.clone());
    // As after any renewal that does not help, the old one is sent: the clock may be wrong.
    assert_eq!(ask(&service, post()).await, (200, "a-1".to_owned()));
    let reported = events.all().join("; ");
    assert!(reported.contains("no header takes") && !reported.contains("planted"), "{reported}");
    // The old refresh token is spent: the next renewal uses the new one.
    tokio::time::sleep(seconds(60)).await;
    assert_eq!(ask(&service, post()).await, (200, "a-3".to_owned()));
    assert_eq!(calls.all(), ["refresh-1", "refresh-2"]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_new_token_is_a_failure() {
    let calls = Journal::new();
    let noted = calls.clone();
    let nothing = Refresher::new(move |_: Credential| {
        noted.push(());
        async { Ok::<_, RefreshError>(Secret::from(OAuthTokens::new(""))) }
    });
    let clock = tokio_clock();
    let vault = vault([("a", empty())]).await;
    let pool = open(&vault, &clock).await;
    let upstream = Upstream::new();
    let layer = CredentialsLayer::new(pool.clone()).refresher(nothing.mints());
    let service = stack(layer, upstream.clone());
    for _ in 0..3 {
        fails(&service, post()).await;
    }
    assert_eq!((calls.all().len(), upstream.tokens().len()), (1, 0));
    assert_eq!(status_of(&pool, "a").credential.generation, Generation::FIRST);
}
