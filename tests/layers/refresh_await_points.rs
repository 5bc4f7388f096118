//! A refresh that is cut off at any point: the new token is saved, or the vault knows that it may be lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use tokio::task::yield_now;
use tower::{Layer, ServiceExt};
use tower_credentials::standing::Health;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;

/// A server whose refresh tokens work once, or with grace once more if the new ones were not used.
#[derive(Clone, Default)]
struct Server {
    exchanges: Arc<AtomicUsize>,
    grace: bool,
}

impl Server {
    fn refresher(&self) -> Refresher {
        let server = self.clone();
        Refresher::new(move |credential: Credential| {
            let server = server.clone();
            async move {
                // The request is on its way, has arrived, and its response is on its way back.
                yield_now().await;
                let before = server.exchanges.fetch_add(1, Ordering::SeqCst);
                yield_now().await;
                match before == 0 || server.grace {
                    true => Ok(renewed(&credential.metadata)),
                    false => Err(RefreshError::rejected("invalid_grant: used before")),
                }
            }
        })
    }

    fn exchanges(&self) -> usize {
        self.exchanges.load(Ordering::SeqCst)
    }
}

/// Polls a request this many times, then drops it. Returns whether that was before its end.
async fn dropped_after(polls: usize, pool: &Pool, refresher: Refresher) -> bool {
    let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
    let service = CredentialsLayer::new(pool.clone()).refresher(refresher).layer(upstream);
    let mut request = Box::pin(service.oneshot(post()));
    for _ in 0..polls {
        if std::future::poll_fn(|cx| Poll::Ready(request.as_mut().poll(cx).is_ready())).await {
            return false;
        }
        yield_now().await;
    }
    true
}

async fn token(vault: &MemoryVault) -> String {
    let stored = vault.load_pool(key()).await.unwrap().credentials.remove(0);
    stored.secret.token().expose().to_owned()
}

#[tokio::test]
async fn a_request_dropped_at_any_point_loses_no_token() {
    let (mut points, mut exchanged) = (0, 0);
    for polls in 0.. {
        let vault = accounts(["a"]).await;
        let pool = builder(vault.clone()).open().await.unwrap();
        let server = Server::default();
        let is_dropped = dropped_after(polls, &pool, server.refresher()).await;
        // Everything that began in the background ends.
        for _ in 0..100 {
            yield_now().await;
        }
        match server.exchanges() {
            0 => assert_eq!(token(&vault).await, "a-1"),
            1 => assert_eq!(token(&vault).await, "a-2", "the new token was lost after {polls} polls"),
            more => panic!("{more} exchanges"),
        }
        exchanged += server.exchanges();
        points += 1;
        if !is_dropped {
            break;
        }
    }
    assert!(points >= 3 && exchanged >= 1 && exchanged < points, "{points} points, {exchanged}");
}

/// Runs a process that ends after this many polls of its tasks. Returns whether it was cut off.
fn ended_after(steps: usize, vault: &MemoryVault, server: &Server) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let done = runtime.block_on(async {
        let pool = builder(vault.clone()).sync_every(None).open().await.unwrap();
        let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
        let service = CredentialsLayer::new(pool).refresher(server.refresher()).layer(upstream);
        let request = tokio::spawn(service.oneshot(post()));
        for _ in 0..steps {
            yield_now().await;
        }
        request.is_finished()
    });
    // Drops all of its tasks where they are.
    drop(runtime);
    done
}

#[test]
fn a_process_that_ends_at_any_point_leaves_a_token_that_works_or_says_why_not() {
    for grace in [false, true] {
        let mut outcomes = [0; 3];
        for steps in 0.. {
            let server = Server { grace, ..Server::default() };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let vault = runtime.block_on(accounts(["a"]));
            let is_done = ended_after(steps, &vault, &server);
            let before = server.exchanges();
            assert!(before <= 1);

            // Another process comes, and needs a new token.
            runtime.block_on(async {
                let stored = token(&vault).await;
                let pool = builder(vault.clone()).open().await.unwrap();
                let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
                let service =
                    CredentialsLayer::new(pool.clone()).refresher(server.refresher()).layer(upstream);
                let status = service.oneshot(post()).await.unwrap().status();
                let health = status_of(&pool, "a").standing.health;
                match (before, stored.as_str()) {
                    // Never exchanged: nothing has happened.
                    (0, "a-1") => outcomes[0] += 1,
                    // Saved.
                    (1, "a-2") => outcomes[1] += 1,
                    // Exchanged but not saved: the only possible loss, unless the server has grace.
                    (1, "a-1") => {
                        outcomes[2] += 1;
                        if !grace {
                            assert_eq!(status, 401);
                            let Health::NeedsSignIn { reason, .. } = health else {
                                panic!("{health:?} after {steps} steps");
                            };
                            assert!(reason.contains("invalid_grant"), "{reason}");
                            assert!(reason.contains("before its new token was saved"), "{reason}");
                            return;
                        }
                    }
                    other => panic!("{other:?} after {steps} steps"),
                }
                assert_eq!(status, 200);
                assert_eq!(health, Health::Good);
                assert_eq!(token(&vault).await, "a-2");
            });
            if is_done {
                break;
            }
        }
        assert!(outcomes.iter().all(|count| *count > 0), "not every outcome was seen: {outcomes:?}");
    }
}

#[tokio::test]
async fn a_vault_that_cannot_be_written_loses_no_token() {
    for broken in ["lease_client", "lease", "begin"] {
        let vault = accounts(["a"]).await;
        let planned =
            Planned::new(&vault, move |kind, _| if kind == broken { Plan::Fail } else { Plan::Pass });
        let pool = builder(planned).open().await.unwrap();
        let server = Server::default();
        let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
        let service = CredentialsLayer::new(pool.clone()).refresher(server.refresher()).layer(upstream);
        assert_eq!(service.oneshot(post()).await.unwrap().status(), 401);
        assert_eq!(server.exchanges(), 0, "{broken}");
        assert_eq!(status_of(&pool, "a").standing.health, Health::Good);
    }
}
