//! A request's path, and the stacks that are measured on it.

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
    /// The directories of the variants that keep their accounts on disk.
    directories: Vec<TempDir>,
}

/// A way to send a request.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    /// The index of the bare variant, whose cost is subtracted.
    pub(crate) base: usize,
    pub(crate) run: Box<dyn FnMut(u64) -> Sample>,
}

/// How a pool is measured.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum How {
    Saved,
    /// Driven outside a runtime, where no task can save.
    Unsaved,
    /// Saved, and no account was ever limited.
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

    /// Adds the variant that the following ones are compared with.
    pub(crate) fn bare<C: Client + 'static>(&mut self, name: &'static str, client: C) {
        self.base = self.variants.len();
        self.sends_once(name, client);
    }

    /// Adds a variant that never sends again: if the first response is a 429, the caller sends twice.
    pub(crate) fn sends_once<C: Client + 'static>(&mut self, name: &'static str, mut client: C) {
        let (runtime, template) = (self.runtime.clone(), C::template());
        let each = if self.rotates() { 2 } else { 1 };
        self.push(name, move |requests| {
            runtime.block_on(send_all(&mut client, &template, each * requests))
        });
    }

    /// Adds a variant without accounts that sends a limited request again.
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

    /// Adds the variant that does the same job by hand.
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

    /// Adds a variant over a pool of four accounts in a vault in memory.
    pub(crate) fn pooled<C: Client + 'static>(
        &mut self,
        name: &'static str,
        stack: fn(&Pool, Upstream) -> C,
        how: How,
    ) {
        // Outside the runtime, in which it would keep syncing.
        let vault = CountingVault::new(MemoryVault::new());
        let (records, pool) = (vault.records(), at_once(support::accounts_in(vault, 4)));
        self.over_pool(&pool, records, name, stack, how);
    }

    /// The same in a vault on disk.
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
                    // The resets are saved, too.
                    How::NeverLimited => assert!(saves > requests, "{saves} saves"),
                }
                // Without saves, unsaved outcomes would pile up.
                runtime.block_on(pool.save()).expect("a vault that saves");
            }
        });
    }

    /// Adds a variant that gets as many requests as there are 200s. `audit` is called before they are sent, and
    /// its result afterwards, with their number.
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

    /// Checks that each request makes the right number of attempts, each with its own account.
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

/// A directory on the build's disk, since the temporary directory may be in memory.
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

/// The same with accounts that were never limited.
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
