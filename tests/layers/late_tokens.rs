//! A new token that expires before it is stored: the process was suspended while it came, or the vault could not store
//! it for hours.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tower_credentials::standing::Health;
use tower_credentials::vault::VaultExt;
use tower_credentials::*;

use crate::support::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A vendor that refuses `a`'s tokens of generations up to `dead`, since they have expired.
fn upstream(dead: u32) -> Upstream {
    (1..=dead).fold(Upstream::new(), |upstream, generation| {
        upstream.answers(&format!("a-{generation}"), vec![Canned::status(401); 1000])
    })
}

/// Makes tokens that live for an hour from the request. The first responses take this long, one after another, and the
/// later ones no time.
fn renewing_after(clock: &Clock, waits: &[Duration], asked: &Journal<u64>) -> Refresher {
    let (clock, waits, asked) = (clock.clone(), Arc::<[_]>::from(waits), asked.clone());
    Refresher::new(move |credential: Credential| {
        let generation = credential.metadata.generation.next();
        asked.push(generation.get());
        let wait = waits.get(asked.all().len() - 1).copied().unwrap_or_default();
        let expiry = clock.now().after(HOUR);
        async move {
            tokio::time::sleep(wait).await;
            let tokens =
                OAuthTokens::new(format!("a-{generation}")).refresh(format!("refresh-{generation}"));
            Ok::<_, RefreshError>(Secret::from(tokens.expires_at(expiry)))
        }
    })
}

/// As after a night with the laptop closed: the response is in the socket, and its token has long expired.
#[tokio::test(start_paused = true)]
async fn a_token_that_arrives_expired_is_renewed_once_more_before_anyone_uses_it() {
    let clock = tokio_clock();
    let vault = with_an_expired_one(&clock).await;
    let asked = Journal::new();
    let refresher = renewing_after(&clock, &[8 * HOUR], &asked);
    let upstream = upstream(2);
    let mut services = Vec::new();
    let mut pools = Vec::new();
    // Another process waits for the lease meanwhile.
    for _ in 0..2 {
        let pool =
            builder(vault.clone()).clock(clock.clone()).renewal_patience(None).open().await.unwrap();
        let layer = CredentialsLayer::new(pool.clone()).refresher(refresher.clone());
        services.push(stack(layer, upstream.clone()));
        pools.push(pool);
    }
    let requests: Vec<_> =
        services.iter().cycle().take(20).map(|service| tokio::spawn(ask(service, post()))).collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), (200, "a-3".into()));
    }
    assert_eq!(asked.all(), [2, 3]);
    assert_eq!(upstream.tokens(), ["a-3"; 20], "nobody has used the other one");
    for pool in &pools {
        is_blameless(pool, &vault, "").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expires_before_it_is_saved_is_renewed_once_more() {
    let clock = tokio_clock();
    let vault = with_an_expired_one(&clock).await;
    let is_full = Arc::new(AtomicUsize::new(1));
    let planned = is_full.clone();
    let spy = Planned::new(&vault, move |kind, _| match kind {
        "replace" if planned.load(Ordering::SeqCst) == 1 => Plan::Fail,
        _ => Plan::Pass,
    });
    let pool = builder(spy).clock(clock.clone()).open().await.unwrap();
    let asked = Journal::new();
    let refresher = renewing_after(&clock, &[], &asked);
    let upstream = upstream(2);
    let service = stack(CredentialsLayer::new(pool.clone()).refresher(refresher), upstream.clone());
    assert_eq!(ask(&service, post()).await, (200, "b-1".into()));
    tokio::time::sleep(2 * HOUR).await;
    is_full.store(0, Ordering::SeqCst);
    pool.renewed().await;
    assert_eq!(ask(&service, post()).await, (200, "a-3".into()));
    assert_eq!((asked.all(), upstream.count("a-2")), (vec![2, 3], 0));
    is_blameless(&pool, &vault, "").await;
}

/// Otherwise a server that is that slow would be asked forever.
#[tokio::test(start_paused = true)]
async fn a_token_that_arrives_expired_twice_is_used_as_it_is() {
    let clock = tokio_clock();
    let vault = with_an_expired_one(&clock).await;
    let asked = Journal::new();
    let refresher = renewing_after(&clock, &[2 * HOUR; 9], &asked);
    let pool = builder(vault).clock(clock.clone()).renewal_patience(None).open().await.unwrap();
    let service = stack(CredentialsLayer::new(pool).refresher(refresher), upstream(0));
    assert_eq!(ask(&service, post()).await, (200, "a-3".into()));
    assert_eq!(asked.all(), [2, 3]);
}

/// The vendor's verdict is about the second token.
#[tokio::test(start_paused = true)]
async fn a_verdict_on_the_token_that_arrived_expired_is_kept() {
    let clock = tokio_clock();
    let vault = with_an_expired_one(&clock).await;
    let slow = clock.clone();
    let refresher = Refresher::new(move |credential: Credential| {
        let expiry = slow.now().after(HOUR);
        async move {
            if credential.metadata.generation > Generation::FIRST {
                return Err(RefreshError::rejected("revoked"));
            }
            tokio::time::sleep(2 * HOUR).await;
            Ok(Secret::from(OAuthTokens::new("a-2").refresh("refresh-2").expires_at(expiry)))
        }
    });
    let pool = builder(vault.clone()).clock(clock.clone()).open().await.unwrap();
    let service = stack(CredentialsLayer::new(pool.clone()).refresher(refresher), upstream(2));
    assert_eq!(ask(&service, post()).await, (200, "b-1".into()));
    pool.renewed().await;
    let stored = vault.load_pool(key()).await.unwrap().standings.credentials;
    let health = &stored[&id_of(&pool, "a")].health;
    assert!(matches!(health, Health::NeedsSignIn { reason, .. } if reason == "revoked"), "{health:?}");
}
