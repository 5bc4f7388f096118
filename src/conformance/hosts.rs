//! What a stored vault promises if several hosts use it: a function for each promise, over any [`Hosts`].
//!
//! A host is what uses the vault through a handle of its own, usually a process. What is promised here between two hosts
//! is promised in one as well, by [the other promises](super::promises).

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::fixtures::{account, cooled, order, poll_once, pool, put_all, token, until};
use super::reader::Reader;
use super::run::block_on;
use crate::vault::call;
use crate::vault::{
    BatchId, BatchOrigin, RefreshLease, Replaced, Vault, VaultError, VaultExt, VaultRequest,
};

use crate::{CredentialId, Generation, Secret};

pub use super::watches::*;

/// How long a lease or a notice may take if nothing holds it up.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// The hosts of one stored vault.
///
/// ```
/// use tower_credentials::conformance::Hosts;
/// use tower_credentials::vault::MemoryVault;
///
/// struct Clones(MemoryVault);
///
/// impl Hosts for Clones {
///     type Vault = MemoryVault;
///
///     async fn open(&self) -> MemoryVault {
///         self.0.clone()
///     }
/// }
/// ```
pub trait Hosts: Send + Sync + 'static {
    /// A host's handle.
    type Vault: Vault;

    /// Opens the stored vault as another host does, with nothing in common but what is stored. A
    /// [`Seal`](crate::vault::seal::Seal) has the same key for all hosts.
    ///
    /// # Panics
    /// If it can't be opened.
    fn open(&self) -> impl Future<Output = Self::Vault>;

    /// Ends a host without a word, with the lease that it holds. The host was opened in a runtime of its own, which has ended
    /// with all its tasks. Defaults to dropping both, which is right if the lease is a lock that the system frees when the
    /// process ends. If dropping the lease tells others, [forget](std::mem::forget) both: a process that is killed tells
    /// nobody.
    fn crash(&self, host: Self::Vault, lease: RefreshLease) {
        drop((host, lease));
    }

    /// How long the lease of a host that has crashed may keep others out. Defaults to nothing.
    fn lapse(&self) -> Duration {
        Duration::ZERO
    }
}

pub(super) async fn two<H: Hosts>(hosts: &H) -> [H::Vault; 2] {
    [hosts.open().await, hosts.open().await]
}

/// Whatever one host writes, another reads, at the same revision.
pub async fn what_one_host_writes_another_reads(hosts: impl Hosts) {
    let [one, other] = two(&hosts).await;
    let [a, b, c] = put_all(&one, ["a", "b", "c"]).await;
    assert_eq!(order(&other).await, ["a", "b", "c"]);
    one.relabel(&pool(), a, "uno").await.unwrap();
    one.move_to(&pool(), c, 0).await.unwrap();
    assert_eq!(order(&other).await, ["c", "uno", "b"]);
    one.replace_secret(&pool(), a, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    assert_eq!(token(&other, a).await, "new");
    let revision = one.record(pool(), vec![cooled(a, 5_000, 1, true)]).await.unwrap();
    assert_eq!(other.revision(pool()).await.unwrap(), revision);
    assert_eq!(until(&other, a).await, Some(5_000));
    one.remove(&pool(), b).await.unwrap();
    assert!(matches!(other.get(&pool(), b).await, Err(VaultError::NotFound(gone)) if gone == b));
    let [read, known] = [other.load_pool(pool()).await.unwrap(), one.load_pool(pool()).await.unwrap()];
    assert_eq!((read.revision, &read.standings), (known.revision, &known.standings));
    assert_eq!(order(&other).await, ["c", "uno"]);
}

/// A label that two hosts put at once is taken once, and both credentials are stored.
pub async fn of_two_hosts_that_put_one_label_each_gets_its_own(hosts: impl Hosts) {
    let [one, other] = two(&hosts).await;
    for round in 0..10 {
        let label = format!("label {round}");
        let (host, first) = (one.clone(), account(&label));
        let task = tokio::spawn(async move { host.put(first).await });
        let second = other.put(account(&label)).await.unwrap().label;
        let mut labels = [task.await.unwrap().unwrap().label, second].map(|label| label.to_string());
        labels.sort();
        assert_eq!(labels, [label.clone(), format!("{label}-2")]);
    }
    assert_eq!(order(&one).await.len(), 20);
}

/// A batch counts once, whichever host it is sent from again. A vault whose batches are only ever sent again through the same
/// handle may leave this out: a pool keeps its handle, but a network may put another one in its place.
pub async fn a_batch_that_another_host_sends_again_counts_once(hosts: impl Hosts) {
    let [one, other] = two(&hosts).await;
    let [id] = put_all(&one, ["a"]).await;
    let batch = BatchId { origin: BatchOrigin::random(), number: 1 };
    for host in [&one, &other, &one] {
        let outcomes = vec![cooled(id, 10, 1, false)];
        let request = VaultRequest::Record { pool: pool(), outcomes, batch };
        call(host.clone(), request).await.unwrap();
    }
    let standings = other.load_pool(pool()).await.unwrap().standings;
    assert_eq!(standings.credentials[&id].failures, 1);
}

/// Outcomes that two hosts record at once are all kept.
pub async fn outcomes_of_two_hosts_are_all_kept(hosts: impl Hosts) {
    let [one, other] = two(&hosts).await;
    let [id] = put_all(&one, ["a"]).await;
    for round in 0..10 {
        let (one, outcomes) = (one.clone(), vec![cooled(id, round, 1, false)]);
        let same = outcomes.clone();
        let task = tokio::spawn(async move { one.record(pool(), same).await });
        other.record(pool(), outcomes).await.unwrap();
        task.await.unwrap().unwrap();
    }
    let standings = other.load_pool(pool()).await.unwrap().standings;
    assert_eq!(standings.credentials[&id].failures, 20);
}

/// Of two hosts that replace the same generation at once one wins, and the other gets its secret.
pub async fn of_two_hosts_that_replace_one_generation_one_wins(hosts: impl Hosts) {
    let [one, other] = two(&hosts).await;
    let [id] = put_all(&one, ["a"]).await;
    let mut expected = Generation::FIRST;
    for round in 0..10 {
        let key = |host| Secret::api_key(format!("{host}-{round}"));
        let of_one = {
            let (one, secret) = (one.clone(), key("one"));
            tokio::spawn(async move { one.replace_secret(&pool(), id, expected, secret).await })
        };
        let of_other = other.replace_secret(&pool(), id, expected, key("other")).await.unwrap();
        let (winner, stored) = match (of_one.await.unwrap().unwrap(), of_other) {
            (Replaced::Swapped(_), Replaced::Conflict(stored)) => ("one", stored),
            (Replaced::Conflict(stored), Replaced::Swapped(_)) => ("other", stored),
            both => panic!("{both:?}"),
        };
        expected = expected.next();
        assert_eq!(stored.metadata.generation, expected);
        assert_eq!(stored.secret.token().expose(), format!("{winner}-{round}"));
    }
}

/// Asks for a lease again and again, between requests of both hosts, and never gets it.
async fn is_kept_out(
    mut waiting: std::pin::Pin<&mut impl Future<Output = Result<RefreshLease, VaultError>>>,
    hosts: [&impl Vault; 2],
) {
    for _ in 0..20 {
        assert!(poll_once(waiting.as_mut()).is_pending(), "two hosts hold the lease");
        for host in hosts {
            host.revision(pool()).await.expect("a lease holds up nothing else");
        }
    }
}

/// A lease that one host holds keeps the others out until it is dropped: that of a credential, and that of a client.
pub async fn a_lease_of_one_host_keeps_another_out_until_it_is_dropped(hosts: impl Hosts) {
    let [one, other] = two(&hosts).await;
    let (key, [id]) = (pool(), put_all(&one, ["a"]).await);
    let lease = one.lease_refresh(&key, id).await.unwrap();
    let mut waiting = pin!(other.lease_refresh(&key, id));
    is_kept_out(waiting.as_mut(), [&one, &other]).await;
    drop(lease);
    timeout(SOON, waiting).await.expect("the lease is free").unwrap();

    let lease = one.lease_client("app".into()).await.unwrap();
    let mut waiting = pin!(other.lease_client("app".into()));
    is_kept_out(waiting.as_mut(), [&one, &other]).await;
    drop(lease);
    timeout(SOON, waiting).await.expect("the lease is free").unwrap();
}

/// The lease of a host that crashes lets another in within [the time](Hosts::lapse) that is stated, which then learns that a
/// refresh has begun and did not finish.
pub async fn a_host_that_crashes_with_a_lease_lets_another_in(hosts: impl Hosts) {
    let hosts = Arc::new(hosts);
    let other = hosts.open().await;
    let [id] = put_all(&other, ["a"]).await;
    crash(hosts.clone(), id).await;
    let lease = timeout(SOON + hosts.lapse(), other.lease_refresh(&pool(), id)).await;
    let _lease = lease.expect("the lease of a host that has crashed does not end").unwrap();
    let begun = other.begin_refresh(&pool(), id, Generation::FIRST).await.unwrap();
    assert!(begun.unfinished.is_some(), "{begun:?}");
}

/// Opens a host in a thread and a runtime of its own, which ends after the host has begun a refresh.
async fn crash<H: Hosts>(hosts: Arc<H>, id: CredentialId) {
    let (crashed, is_over) = oneshot::channel();
    let dying = std::thread::spawn(move || {
        let mut left = None;
        block_on(async {
            let host = hosts.open().await;
            let lease = host.lease_refresh(&pool(), id).await.unwrap();
            host.begin_refresh(&pool(), id, Generation::FIRST).await.unwrap();
            left = Some((host, lease));
        });
        let (host, lease) = left.expect("it has begun");
        hosts.crash(host, lease);
        let _ = crashed.send(());
    });
    // It is dropped if the thread panics, which has said why.
    is_over.await.expect("the other host has failed");
    dying.join().expect("it is over");
}

/// Changes that other hosts make lead a host to what a load shows.
pub async fn changes_by_one_host_lead_another_to_what_a_load_shows(hosts: impl Hosts) {
    let [one, other] = two(&hosts).await;
    let [a, b] = put_all(&one, ["a", "b"]).await;
    let mut reader = Reader::new(&other).await;
    one.record(pool(), vec![cooled(a, 10, 1, true)]).await.unwrap();
    let read = reader.catch_up(&other).await;
    assert!(read.standings.iter().any(|(id, _)| *id == a), "{read:?}");
    other.record(pool(), vec![cooled(b, 10, 1, true)]).await.unwrap();
    one.replace_secret(&pool(), a, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    let read = reader.catch_up(&other).await;
    assert!(read.credentials.iter().any(|credential| credential.metadata.id == a), "{read:?}");
    one.remove(&pool(), b).await.unwrap();
    assert_eq!(reader.catch_up(&other).await.removed, [b]);
    let [c] = put_all(&one, ["c"]).await;
    reader.catch_up(&other).await;
    assert!(reader.credentials.contains_key(&c), "it was added");
}
