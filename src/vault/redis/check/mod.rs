//! Checking a vault in an engine: all its keys, and what does not fit. See [`RedisBackend::check`](super::RedisBackend::check).
//!
//! ```no_run
//! use tower_credentials::vault::redis::RedisBackend;
//!
//! # async fn run(backend: RedisBackend) -> Result<(), tower_credentials::vault::VaultError> {
//! let report = backend.check(false).await?;
//! for finding in &report.findings {
//!     println!("{finding}");
//! }
//! println!("{} accounts, {}", report.records, if report.is_healthy() { "healthy" } else { "not healthy" });
//! # Ok(())
//! # }
//! ```
//!
//! No record is opened, so the vault's key is not needed. Each pool is read in one step, but not all pools in the same one.

mod finding;
mod keys;
mod labels;
mod log;
mod parts;
mod pool;
mod refreshes;

use std::collections::HashSet;

use serde::Serialize;

use super::Inner;
use super::fault::Fault;
use super::keys::Keys;
use crate::credential::PoolKey;
use crate::vault::VaultError;

pub use finding::{Finding, FindingKind, Severity};

/// The report of a [check](super::RedisBackend::check).
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// What the names of the vault's keys begin with.
    pub prefix: String,
    /// The number of pools with records.
    pub pools: usize,
    /// The number of records that can be read.
    pub records: usize,
    /// The findings, the most severe first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Returns whether nothing is wrong, apart from what was mended and from notes.
    pub fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| finding.is_fixed || finding.severity == Severity::Note)
    }

    fn found(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
}

/// The parts of a vault's own keys that are not a pool's.
const OWN: [&str; 3] = ["pools", "restores", "vault"];

impl Inner {
    /// Looks through all keys.
    pub(super) async fn check(&self, fix: bool) -> Result<Report, VaultError> {
        let prefix = self.prefix.clone();
        let mut report = Report { prefix, pools: 0, records: 0, findings: Vec::new() };
        // Before the list: a pool is put there before its first record.
        let found = match self.keys().await? {
            Ok(found) => found,
            Err(error) => {
                let what = format!(
                    "this user may not list the engine's keys ({}), so pools that are not in {} were not looked at, nor keys \
                     that do not belong to the vault",
                    error.code().unwrap_or("SCAN"),
                    self.pools_key,
                );
                let finding = Finding::new(
                    FindingKind::NotAllowed,
                    Severity::Note,
                    format!("{}:*", self.prefix),
                    what,
                );
                report.found(finding.way_out("allow SCAN to it by ACL SETUSER, then look again"));
                keys::Found::default()
            }
        };
        let listed = self.listed_pools(&mut report).await?;
        self.look_at_others(&found.others, &mut report).await?;
        let mut names = HashSet::new();
        for key in &listed {
            let keys = Keys::new(&self.prefix, key);
            let parts = found.pools.get(keys.slot());
            self.look_at_pool(&keys, Some(key), parts, fix, &mut report).await?;
            names.insert(keys.slot().to_owned());
        }
        for (name, parts) in found.pools.iter().filter(|(name, _)| !names.contains(*name)) {
            self.look_at_pool(&Keys::named(name), None, Some(parts), fix, &mut report).await?;
        }
        report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(report)
    }

    /// Returns the list of pools, as far as it can be read.
    async fn listed_pools(&self, report: &mut Report) -> Result<Vec<PoolKey>, VaultError> {
        let mut ask = redis::cmd("SMEMBERS");
        ask.arg(&self.pools_key);
        let names: Vec<Vec<u8>> = match self.engine.command(&self.pools_key, &ask).await {
            Ok(names) => names,
            Err(Fault::Refused(words)) => {
                let finding =
                    Finding::new(FindingKind::OtherType, Severity::Error, &self.pools_key, words);
                report
                    .found(finding.way_out("DEL the key if nothing else needs it, then check with fix"));
                return Ok(Vec::new());
            }
            Err(fault) => return Err(fault.into()),
        };
        let mut pools = Vec::new();
        for name in names {
            match serde_json::from_slice::<PoolKey>(&name) {
                Ok(key) => pools.push(key),
                Err(_) => report.found(
                    Finding::new(
                        FindingKind::PoolName,
                        Severity::Error,
                        &self.pools_key,
                        format!("{:?} is no pool's name", String::from_utf8_lossy(&name)),
                    )
                    .way_out("update this program if a newer one has written it, or SREM it"),
                ),
            }
        }
        pools.sort();
        Ok(pools)
    }

    /// Looks at the keys that are no pool's.
    async fn look_at_others(&self, others: &[String], report: &mut Report) -> Result<(), VaultError> {
        let client = format!("{}:{{client:", self.prefix);
        for key in others {
            let part = key.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix(':'));
            if part.is_some_and(|part| OWN.contains(&part)) {
                continue;
            }
            if key.starts_with(&client) && key.ends_with("}:lease") {
                self.look_at_lease(key, key, report).await?;
                continue;
            }
            report.found(
                Finding::new(FindingKind::UnknownKey, Severity::Note, key, "it is no key of the vault")
                    .way_out("another program or a newer version may have written it"),
            );
        }
        Ok(())
    }

    /// Looks whether a lease lapses by itself.
    async fn look_at_lease(&self, slot: &str, key: &str, report: &mut Report) -> Result<(), VaultError> {
        let mut ask = redis::cmd("PTTL");
        ask.arg(key);
        let left: i64 = match self.engine.command(slot, &ask).await {
            Ok(left) => left,
            Err(Fault::Refused(words)) => {
                report.found(Finding::new(FindingKind::NotAllowed, Severity::Note, key, words));
                return Ok(());
            }
            Err(fault) => return Err(fault.into()),
        };
        // It is -2 if the lease has ended meanwhile.
        if left == -1 {
            let what = "this lease never lapses, so if its holder is gone nobody renews the token";
            report.found(
                Finding::new(FindingKind::Lease, Severity::Error, key, what)
                    .way_out("DEL the key if no host renews that token now"),
            );
        }
        Ok(())
    }
}
