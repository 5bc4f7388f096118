//! What is in a pool's keys, read in one step.

use std::collections::BTreeMap;

use redis::FromRedisValue;

use super::super::Inner;
use super::super::entry::Entry;
use super::super::fault::Fault;
use super::super::keys::Keys;
use super::super::script::LOOK;
use super::{Finding, FindingKind, Report, Severity};

type Hash = BTreeMap<String, String>;

/// The contents of a pool's keys. Those of a key of another type are empty.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) records: Hash,
    pub(super) labels: Hash,
    pub(super) names: Hash,
    pub(super) revision: String,
    pub(super) log: Vec<Entry>,
    pub(super) snapshot: String,
    pub(super) notes: Hash,
    pub(super) failures: Hash,
    /// Whether all that tells how a log should be is of the right type.
    pub(super) has_log: bool,
}

/// Whether a key is of the right type, and what is in it. What is not text can't be read, and is reported as that.
type Said<T> = (bool, T);
type Bytes = BTreeMap<Vec<u8>, Vec<u8>>;

impl Inner {
    /// Reads them. Returns `None` if this user may not, or if the engine refuses otherwise.
    pub(super) async fn parts(&self, keys: &Keys, report: &mut Report) -> Result<Option<Parts>, Fault> {
        let call = LOOK.on(keys.all());
        let within = self.engine.within * 10;
        type All = (
            Said<Bytes>,
            Said<Bytes>,
            Said<Bytes>,
            Said<Vec<u8>>,
            Said<Vec<Entry>>,
            Said<Vec<u8>>,
            Said<Bytes>,
            Said<Bytes>,
            Said<redis::Value>,
            Said<u64>,
            Said<u64>,
            Said<redis::Value>,
        );
        let said: redis::Value = match self.engine.run_within(keys.slot(), &call, within).await {
            Ok(said) => said,
            Err(Fault::Refused(words)) => {
                report.found(Finding::new(
                    FindingKind::NotAllowed,
                    Severity::Warning,
                    keys.slot(),
                    words,
                ));
                return Ok(None);
            }
            Err(fault) => return Err(fault),
        };
        let all = All::from_redis_value(said);
        let (
            records,
            labels,
            names,
            revision,
            log,
            snapshot,
            notes,
            failures,
            batches,
            origins,
            gone,
            epoch,
        ) = match all {
            Ok(all) => all,
            Err(error) => {
                let words = format!("it can't be read ({error})");
                report.found(Finding::new(FindingKind::Log, Severity::Error, keys.slot(), words));
                return Ok(None);
            }
        };
        let is_right = [
            ("records", records.0),
            ("labels", labels.0),
            ("names", names.0),
            ("revision", revision.0),
            ("log", log.0),
            ("snapshot", snapshot.0),
            ("notes", notes.0),
            ("failures", failures.0),
            ("batches", batches.0),
            ("origins", origins.0),
            ("gone", gone.0),
            ("epoch", epoch.0),
        ];
        for (part, _) in is_right.iter().filter(|(_, is_right)| !is_right) {
            let what = "something else is kept under this key of the vault's, so the pool can't be used";
            let finding = Finding::new(FindingKind::OtherType, Severity::Error, keys.part(part), what);
            report.found(finding.way_out("RENAME it if something else needs it, or DEL it"));
        }
        Ok(Some(Parts {
            records: text(records.1),
            labels: text(labels.1),
            names: text(names.1),
            revision: one_text(revision.1),
            log: log.1,
            snapshot: one_text(snapshot.1),
            notes: text(notes.1),
            failures: text(failures.1),
            has_log: revision.0 && log.0 && snapshot.0,
        }))
    }
}

fn text(hash: Bytes) -> Hash {
    hash.into_iter().map(|(name, value)| (one_text(name), one_text(value))).collect()
}

fn one_text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
