//! A path that a request takes, and the variants of stacks that it is measured with.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower_credentials::Pool;
use tower_credentials::vault::MemoryVault;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;

use crate::counting_vault::CountingVault;
use crate::same_job::{self, Accounts};
use crate::sample::{Meter, Sample};
use crate::support::{self, Client, Upstream, at_once};

/// The variants of one path.
pub(crate) struct Path {
    pub(crate) name: &'static str,
    runtime: Rc<Runtime>,
    upstreams: fn() -> Upstream,
    pub(crate) variants: Vec<Variant>,
    base: usize,
    /// Where some variants keep their accounts.
    directories: Vec<TempDir>,
}

/// A way to send a request.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    /// Which variant's cost is not its own: the bare one's, by index.
    pub(crate) base: usize,
    pub(crate) run: Box<dyn FnMut(u64) -> Sample>,
}

/// What there is to measure about a pool.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum How {
    Saved,
    /// Driven outside of a runtime, in which there is nobody to save.
    Unsaved,
    /// Saved, and each account is good as new.
    NeverLimited,
}

impl Path {
    pub(crate) fn new(name: &'static str, runtime: &Rc<Runtime>, upstreams: fn() -> Upstream) -> Self {
        let runtime = runtime.clone();
        Self { name, runtime, upstreams, variants: Vec::new(), base: 0, directories: Vec::new() }
    }

    pub(crate) fn rotates(&self) -> bool {
        self.upstream().answered().is_some()
    }

    pub(crate) fn upstream(&self) -> Upstream {
        (self.upstreams)()
    }

    /// What the variants that follow are compared with.
    pub(crate) fn bare<C: Client + 'static>(&mut self, name: &'static str, client: C) {
        self.base = self.variants.len();
        self.sends_once(name, client);
    }

    /// One that sends nothing again: if the first response is a 429, the caller sends twice.
    pub(crate) fn sends_once<C: Client + 'static>(&mut self, name: &'static str, mut client: C) {
        let (runtime, template) = (self.runtime.clone(), C::template());
        let each = if self.rotates() { 2 } else { 1 };
        self.push(name, move |requests| {
            runtime.block_on(send_all(&mut client, &template, each * requests))
        });
    }

    /// One without accounts that sends a limited request again.
    pub(crate) fn sends_again<C: Client + 'static>(
        &mut self,
        name: &'static str,
        stack: impl Fn(Upstream) -> C,
    ) {
        let runtime = self.runtime.clone();
        let send = move |client: &mut C, template: &C::Request, requests| {
            runtime.block_on(send_all(client, template, requests))
        };
        self.stack(name, stack, send, || |_| ());
    }

    /// What does the same job by hand.
    pub(crate) fn same_job(&mut self, name: &'static str) {
        let directory = directory();
        let path = directory.path().join("accounts.json");
        let tokens: Vec<_> = (0..4).map(support::access_token).collect();
        let open = || Accounts::open(&path, &tokens, Duration::ZERO).expect("accounts");
        let accounts = open();
        self.check(&|upstream| same_job::stack(&accounts, upstream));
        if self.rotates() {
            assert_eq!(open().order(), accounts.order(), "what is in the file");
        }
        let stack = {
            let accounts = accounts.clone();
            move |upstream| same_job::stack(&accounts, upstream)
        };
        self.directories.push(directory);
        let (runtime, saves) = (self.runtime.clone(), u64::from(self.rotates()));
        self.stack(
            name,
            stack,
            move |client, template, requests| runtime.block_on(send_all(client, template, requests)),
            move || {
                let (accounts, before) = (accounts.clone(), accounts.saves());
                move |requests| assert_eq!(accounts.saves() - before, saves * requests, "saves")
            },
        );
    }

    /// One over a pool of four accounts in a vault in memory.
    pub(crate) fn pooled<C: Client + 'static>(
        &mut self,
        name: &'static str,
        stack: fn(&Pool, Upstream) -> C,
        how: How,
    ) {
        // Outside of the runtime, in which it would keep syncing.
        let vault = CountingVault::new(MemoryVault::new());
        let (records, pool) = (vault.records(), at_once(support::accounts_in(vault, 4)));
        self.over_pool(&pool, records, name, stack, how);
    }

    /// The same in a vault of files.
    pub(crate) fn filed<C: Client + 'static>(
        &mut self,
        name: &'static str,
        stack: fn(&Pool, Upstream) -> C,
    ) {
        let directory = directory();
        let (root, key) = (directory.path().join("vault"), VaultKey::generate());
        let vault = self.runtime.block_on(FileVault::open(root, &key)).expect("a vault");
        let vault = CountingVault::new(vault);
        let records = vault.records();
        let pool = self.runtime.block_on(support::accounts_in(vault, 4));
        self.directories.push(directory);
        self.over_pool(&pool, records, name, stack, How::Saved);
    }

    fn over_pool<C: Client + 'static>(
        &mut self,
        pool: &Pool,
        records: Arc<AtomicU64>,
        name: &'static str,
        stack: fn(&Pool, Upstream) -> C,
        how: How,
    ) {
        let service = |upstream| stack(pool, upstream);
        self.check(&service);
        let rotations = u64::from(self.rotates());
        let send = {
            let (runtime, pool) = (self.runtime.clone(), pool.clone());
            move |client: &mut C, template: &C::Request, requests| match how {
                How::Saved => runtime.block_on(send_all(client, template, requests)),
                How::Unsaved => at_once(send_all(client, template, requests)),
                How::NeverLimited => runtime.block_on(send_fresh(&pool, client, template, requests)),
            }
        };
        let (runtime, pool) = (self.runtime.clone(), pool.clone());
        self.stack(name, service, send, move || {
            let (runtime, pool, records) = (runtime.clone(), pool.clone(), records.clone());
            let (before, saves_before) = (pool.counters(), records.load(Ordering::Relaxed));
            move |requests| {
                let after = pool.counters();
                assert_eq!(after.rotations - before.rotations, rotations * requests, "rotations");
                assert_eq!(after.requests - before.requests, requests, "requests");
                let saves = records.load(Ordering::Relaxed) - saves_before;
                match how {
                    How::Saved => assert_eq!(saves, rotations * requests, "saves"),
                    How::Unsaved => assert_eq!(saves, 0, "saves"),
                    // Those that make them so are saved, too.
                    How::NeverLimited => assert!(saves > requests, "{saves} saves"),
                }
                // If nothing saves, what is to be saved would pile up.
                runtime.block_on(pool.save()).expect("a vault that saves");
            }
        });
    }

    /// One that gets as many requests as are answered with 200. `audit` is called before they are sent, and
    /// what it returns afterwards, with their number.
    fn stack<C: Client + 'static, A: FnOnce(u64)>(
        &mut self,
        name: &'static str,
        stack: impl Fn(Upstream) -> C,
        mut send: impl FnMut(&mut C, &C::Request, u64) -> Sample + 'static,
        audit: impl Fn() -> A + 'static,
    ) {
        let upstream = self.upstream();
        let (mut client, template) = (stack(upstream.clone()), C::template());
        self.push(name, move |requests| {
            let (answered, audit) = (upstream.answered(), audit());
            let sample = send(&mut client, &template, requests);
            if let (Some(before), Some(after)) = (answered, upstream.answered()) {
                assert_eq!(after - before, 2 * requests, "attempts");
            }
            audit(requests);
            sample
        });
    }

    fn push(&mut self, name: &'static str, run: impl FnMut(u64) -> Sample + 'static) {
        self.variants.push(Variant { name, base: self.base, run: Box::new(run) });
    }

    /// Checks that each request is as many attempts as it should be, each with its own account.
    fn check<C: Client>(&self, stack: &impl Fn(Upstream) -> C) {
        let upstream = self.upstream().recording();
        let (mut client, template) = (stack(upstream.clone()), C::template());
        for _ in 0..10 {
            assert_eq!(self.runtime.block_on(client.send(&template)), StatusCode::OK);
            let seen = upstream.seen();
            assert_eq!(seen.len(), if self.rotates() { 2 } else { 1 }, "attempts of {}", self.name);
            if self.rotates() {
                assert_ne!(seen[0], seen[1], "a rotation takes another credential");
            }
        }
    }
}

/// A directory on the disk that the build is on: others may keep the temporary directory in memory.
fn directory() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

async fn send_all<C: Client>(client: &mut C, template: &C::Request, requests: u64) -> Sample {
    let meter = Meter::start();
    for _ in 0..requests {
        black_box(client.send(template).await);
    }
    meter.stop()
}

/// The same with accounts of which none was ever limited.
async fn send_fresh<C: Client>(
    pool: &Pool,
    client: &mut C,
    template: &C::Request,
    requests: u64,
) -> Sample {
    let mut sum = Sample::default();
    // Of four accounts, three can be rotated to before the first one's turn comes again.
    for begun in (0..requests).step_by(3) {
        for status in pool.status() {
            pool.reset(status.credential.id).await.expect("a reset");
        }
        let sample = send_all(client, template, (requests - begun).min(3)).await;
        sum.time += sample.time;
        sum.allocations += sample.allocations;
    }
    sum
}
