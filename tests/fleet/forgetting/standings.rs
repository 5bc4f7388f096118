//! An engine that has forgotten is given back limits, and what a person has set.

use futures_util::future::join_all;
use tower_credentials::standing::{Change, Outcome, Quota, QuotaName};
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::seal::Seal;
use tower_credentials::vault::{BatchId, BatchOrigin, Revision, VaultRequest};
use tower_service::Service;

use super::*;
use crate::children::eventually;
use crate::proxy::{Line, Proxy};
use crate::server::sealed;

fn outcome(id: CredentialId, change: Change) -> Outcome {
    Outcome { id, change }
}

/// Loads the pool, and returns its revision.
async fn revision_of_loaded(vault: &impl Vault) -> Revision {
    vault.load_pool(pool()).await.unwrap().revision
}

/// Sets everything that a person can set, and meets a limit.
async fn set_all(vault: &impl Vault, [a, b, c]: [CredentialId; 3]) {
    let acme = Quota::Shared(QuotaName::new("acme").unwrap());
    let outcomes = vec![
        outcome(a, Change::Paused),
        outcome(b, Change::Resumed),
        outcome(b, Change::Tier { tier: Some(3) }),
        outcome(c, Change::Quota { quota: Some(acme) }),
        cooled(c, 5_000, 1, true),
    ];
    vault.record(pool(), outcomes).await.unwrap();
    vault.move_to(&pool(), c, 0).await.unwrap();
}

/// Three accounts, of which one is paused, and hosts that know that.
async fn hosts_that_know<const N: usize>(
    server: &Server,
) -> ([Seal<RedisBackend>; N], [CredentialId; 3]) {
    let hosts = hosts::<N>(server).await;
    let ids = put_all(&hosts[0], ["a", "b", "c"]).await;
    hosts[0].record(pool(), vec![outcome(ids[1], Change::Paused)]).await.unwrap();
    for host in &hosts {
        host.load_pool(pool()).await.unwrap();
    }
    (hosts, ids)
}

#[tokio::test]
async fn an_engine_that_was_emptied_is_given_back_what_a_person_has_set_and_limits() {
    let Some(server) = Server::start(&[]) else { return };
    let ([one, other], ids) = hosts_that_know(&server).await;
    set_all(&one, ids).await;
    let before = standings(&one).await;
    server.tell::<()>(&["FLUSHALL"]);
    assert_eq!(standings(&one).await, before);
    assert_eq!(standings(&other).await, before);
}

#[tokio::test]
async fn an_engine_with_an_older_file_is_given_back_what_a_person_has_set_and_limits() {
    let Some(server) = Server::start(&[]) else { return };
    let ([one, other], ids) = hosts_that_know(&server).await;
    let restore = backup(&server);
    set_all(&one, ids).await;
    let before = standings(&one).await;
    restore();
    assert_eq!(standings(&one).await, before);
    assert_eq!(standings(&other).await, before);
}

#[tokio::test]
async fn what_was_changed_since_the_engine_has_forgotten_is_kept() {
    let Some(server) = Server::start(&[]) else { return };
    let ([one, fresh], ids @ [a, b, c]) = hosts_that_know(&server).await;
    let restore = backup(&server);
    set_all(&one, ids).await;
    standings(&one).await;
    restore();
    // Of what the engine had before, this host knows nothing.
    let since = vec![
        outcome(a, Change::Resumed),
        outcome(b, Change::Tier { tier: None }),
        cooled(c, 6_000, 2, false),
    ];
    once_it_is_back(async || fresh.record(pool(), since.clone()).await).await.unwrap();
    let now = standings(&one).await;
    let of = |id| &now.credentials[&id];
    assert!(!of(a).paused && !of(b).paused, "{now:?}");
    assert_eq!((of(b).tier, of(c).failures), (None, 2));
    assert_eq!(of(c).cooldown(None).unwrap().until.as_millis(), 6_000);
    assert!(matches!(of(c).quota, Some(Quota::Shared(_))));
    assert_eq!(now.preferred[0], c);
    assert_eq!(standings(&fresh).await, now);
}

#[tokio::test]
async fn ten_hosts_at_once_give_back_standings_once() {
    let Some(server) = Server::start(&[]) else { return };
    let (hosts, ids) = hosts_that_know::<10>(&server).await;
    let restore = backup(&server);
    set_all(&hosts[0], ids).await;
    let before = standings(&hosts[0]).await;
    join_all(hosts.iter().map(standings)).await;
    restore();
    for now in join_all(hosts.iter().map(standings)).await {
        assert_eq!(now, before);
    }
    let log = "tower-credentials:{example/default}:log";
    let entries: Vec<(String, Vec<String>)> = server.tell(&["XRANGE", log, "-", "+"]);
    assert_eq!(entries.iter().filter(|(_, fields)| fields[1] == "g").count(), 1, "{entries:?}");
}

#[tokio::test]
async fn a_host_that_knows_more_gives_it_back_after_one_that_knows_less() {
    let Some(server) = Server::start(&[]) else { return };
    let ([one, other], ids @ [_, b, _]) = hosts_that_know(&server).await;
    let restore = backup(&server);
    one.record(pool(), vec![outcome(b, Change::Tier { tier: Some(2) })]).await.unwrap();
    let less = standings(&other).await;
    set_all(&one, ids).await;
    let more = standings(&one).await;
    restore();
    assert_eq!(standings(&other).await, less);
    assert_eq!(standings(&one).await, more);
    assert_eq!(standings(&other).await, more);
}

#[tokio::test]
async fn standings_are_not_given_back_to_an_engine_that_was_restored_on_purpose() {
    let Some(server) = Server::start(&[]) else { return };
    let ([one, other], ids) = hosts_that_know(&server).await;
    let before = standings(&one).await;
    let restore = backup(&server);
    set_all(&one, ids).await;
    standings(&one).await;
    restore();
    let backend = server.builder().build().unwrap();
    once_it_is_back(async || backend.restored().await).await.unwrap();
    assert_eq!(standings(&one).await, before);
    assert_eq!(standings(&other).await, before);
}

#[tokio::test]
async fn a_batch_counts_once_whether_it_is_sent_again_before_or_after_it_is_given_back() {
    let Some(server) = Server::start(&[]) else { return };
    for is_sent_first in [true, false] {
        server.tell::<()>(&["FLUSHALL"]);
        let ([one, other], [a, ..]) = hosts_that_know(&server).await;
        let restore = backup(&server);
        let batch = BatchId { origin: BatchOrigin::random(), number: 7 };
        let send = async |host: &Seal<RedisBackend>| {
            let outcomes = vec![cooled(a, 5_000, 1, false)];
            host.clone().call(VaultRequest::Record { pool: pool(), outcomes, batch }).await
        };
        send(&other).await.unwrap();
        // It has seen the batch; its sender had no response.
        assert_eq!(standings(&one).await.credentials[&a].failures, 1);
        restore();
        if is_sent_first {
            once_it_is_back(async || send(&other).await).await.unwrap();
        }
        assert_eq!(standings(&one).await.credentials[&a].failures, 1);
        send(&other).await.unwrap();
        for host in [&one, &other] {
            assert_eq!(standings(host).await.credentials[&a].failures, 1, "{is_sent_first}");
        }
    }
}

#[tokio::test]
async fn of_a_log_that_goes_on_behind_a_watching_host_nothing_is_mixed_with_what_it_knows() {
    let Some(server) = Server::start(&[]) else { return };
    let (line, key) = (Proxy::start(server.port()).await, VaultKey::generate());
    let one = sealed(RedisBackend::builder(line.url()).build().unwrap(), &key);
    let other = sealed(server.builder().build().unwrap(), &key);
    let [a] = put_all(&other, ["a"]).await;
    one.load_pool(pool()).await.unwrap();
    let _watch = one.watch(pool()).await.unwrap().unwrap();
    let restore = backup(&server);
    one.record(pool(), vec![cooled(a, 5_000, 1, false)]).await.unwrap();
    assert_eq!(standings(&one).await.credentials[&a].failures, 1);
    line.set(Line::Breaks);
    restore();
    // The log is as long as it was when the host comes back, and its last entry is another one.
    let record = async || other.record(pool(), vec![cooled(a, 6_000, 1, false)]).await;
    once_it_is_back(record).await.unwrap();
    line.set(Line::Works);
    let follows =
        async || server.tell::<String>(&["CLIENT", "LIST"]).contains("cmd=xread").then_some(());
    eventually("it follows the log again", follows).await;
    let mut next = one.watch(pool()).await.unwrap().unwrap();
    record().await.unwrap();
    assert!(timeout(SOON, next.changed()).await.expect("it reads the next entry"));
    for host in [&one, &other] {
        assert_eq!(standings(host).await.credentials[&a].failures, 3);
    }
}

#[tokio::test]
async fn a_host_that_follows_a_log_which_is_trimmed_still_knows_what_came_before() {
    let Some(server) = Server::start(&[]) else { return };
    let ([one, other], ids) = hosts_that_know(&server).await;
    let restore = backup(&server);
    set_all(&one, ids).await;
    let before = standings(&one).await;
    // The log is trimmed when it is quiet, so whoever loads the pool finds its last entry only.
    let _watch = one.watch(pool()).await.unwrap().unwrap();
    let log = "tower-credentials:{example/default}:log";
    let is_trimmed = async || (server.tell::<u64>(&["XLEN", log]) <= 1).then_some(());
    timeout(SOON, eventually("the log is trimmed", is_trimmed)).await.expect("it is never trimmed");
    one.record(pool(), vec![cooled(ids[0], 7_000, 7, false)]).await.unwrap();
    let before = Standings { credentials: standings(&one).await.credentials, ..before };
    restore();
    assert_eq!(standings(&one).await, before);
    assert_eq!(standings(&other).await, before);
}

#[tokio::test]
async fn a_host_that_loads_a_later_snapshot_still_knows_what_came_before() {
    let Some(server) = Server::start(&[]) else { return };
    let ([one, other], ids @ [a, ..]) = hosts_that_know(&server).await;
    let restore = backup(&server);
    set_all(&one, ids).await;
    let known = revision_of_loaded(&one).await;
    let mut until = 10_000;
    let mut record = async || {
        until += 1;
        one.record(pool(), vec![cooled(a, until, 1, false)]).await.unwrap();
    };
    for _ in 0..500 {
        record().await;
    }
    standings(&other).await;
    // A snapshot is stored, and of the log only the last entries stay: also the last one that the other host has read.
    let log = "tower-credentials:{example/default}:log";
    let is_trimmed = async || {
        record().await;
        one.changes(pool(), known).await.unwrap();
        (server.tell::<u64>(&["XLEN", log]) < 500).then_some(())
    };
    timeout(SOON, eventually("the log is trimmed", is_trimmed)).await.expect("it is never trimmed");
    let before = standings(&other).await;
    restore();
    assert_eq!(standings(&other).await, before);
    assert_eq!(standings(&one).await, before);
}
