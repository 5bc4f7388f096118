//! A host whose clock is set while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use tower_credentials::vault::{BatchId, BatchOrigin, VaultExt, VaultRequest};
use tower_service::Service;

use super::*;
use crate::hosts::notices_until;
use crate::vault_contract::{cooled, pool, put_all};

/// A clock that can be set.
#[derive(Clone, Default)]
struct Set(Arc<AtomicI64>);

impl Set {
    /// Sets it ahead by this many hours; below zero, behind.
    fn to(&self, hours: i64) {
        self.0.store(hours, Ordering::Release);
    }

    fn clock(&self) -> Clock {
        let hours = self.0.clone();
        Clock::from_fn(move || {
            let hours = hours.load(Ordering::Acquire);
            let by = HOUR * u32::try_from(hours.unsigned_abs()).unwrap();
            if hours < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
        })
    }
}

#[tokio::test]
async fn a_host_whose_clock_is_set_acts_on_the_limits_of_others_and_they_on_its_own() {
    let Some(engine) = Server::start(&[]) else { return };
    for hours in [1, -1, 24, -24] {
        engine.tell::<()>(&["FLUSHALL"]);
        let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
        let set = Set::default();
        let clocks = [set.clock(), Clock::system()];
        let hosts = hosts_with(&engine, &server, clocks.clone()).await;
        let [_, right] = &hosts;
        right.meet_limit();
        assert_eq!(right.ask(1).await, "200", "with bob");
        for hours in [0, hours, 0] {
            set.to(hours);
            for (host, clock) in hosts.iter().zip(&clocks) {
                host.pool.sync().await.unwrap();
                is_limited(host, clock, &format!("set to {hours} h"));
                assert_eq!(host.ask(3).await, "200", "with bob");
                host.pool.save().await.unwrap();
            }
        }
        right.pool.reset(alice(right).credential.id).await.unwrap();
        right.pool.save().await.unwrap();
        let [wrong, _] = &hosts;
        set.to(hours);
        wrong.pool.sync().await.unwrap();
        assert_eq!(alice_until(wrong), None);
        wrong.meet_limit();
        assert_eq!(wrong.ask(1).await, "200", "with bob");
        for (host, clock) in hosts.iter().zip(&clocks) {
            host.pool.sync().await.unwrap();
            is_limited(host, clock, &format!("met when set to {hours} h"));
        }
    }
}

#[tokio::test]
async fn those_who_watch_are_told_that_the_clock_was_set() {
    let Some(engine) = Server::start(&[]) else { return };
    let (key, set) = (VaultKey::generate(), Set::default());
    let vault = vault(&engine, &key, set.clock());
    put_all(&vault, ["a"]).await;
    let known = vault.load_pool(pool()).await.unwrap().revision;
    let mut watch = vault.watch(pool()).await.unwrap().unwrap();
    // What is told at first.
    assert!(watch.changed().await);
    set.to(1);
    notices_until(&mut watch, async || vault.revision(pool()).await.unwrap() != known).await;
    assert!(vault.changes(pool(), known).await.unwrap().is_none(), "the pool must be loaded");
}

#[tokio::test]
async fn a_batch_that_is_sent_again_after_the_clock_was_set_counts_once() {
    let Some(engine) = Server::start(&[]) else { return };
    let (key, set) = (VaultKey::generate(), Set::default());
    let mut vault = vault(&engine, &key, set.clock());
    let [id] = put_all(&vault, ["a"]).await;
    let batch = BatchId { origin: BatchOrigin::random(), number: 1 };
    let now = set.clock().now().as_millis();
    for hours in [0, 1, -1] {
        set.to(hours);
        let outcomes = vec![cooled(id, now + 60_000, now, false)];
        let request = VaultRequest::Record { pool: pool(), outcomes, batch };
        vault.call(request).await.unwrap();
    }
    set.to(0);
    let standing = &vault.load_pool(pool()).await.unwrap().standings.credentials[&id];
    assert_eq!(standing.failures, 1);
    assert_eq!(standing.cooldown(None).unwrap().until.as_millis(), now + 60_000);
}
