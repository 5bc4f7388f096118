//! The log of a pool, its revision and its snapshot.

use super::super::entry::EntryId;
use super::super::keys::Keys;
use super::super::replica::Replica;
use super::parts::Parts;
use super::{Finding, FindingKind, Report, Severity};

const LOAD_AGAIN: &str =
    "restore the pool's keys from a backup, or remove all of them and sign in again";

/// Looks at them.
pub(super) fn look(keys: &Keys, parts: &Parts, report: &mut Report) {
    let mut found = |kind, part, what: String, way_out: &str| {
        let finding = Finding::new(kind, Severity::Error, keys.part(part), what);
        report.found(finding.way_out(way_out));
    };
    let revision = match EntryId::said(&parts.revision) {
        Ok(revision) => revision,
        Err(_) => {
            return found(
                FindingKind::Revision,
                "revision",
                format!("{:?} is no entry's id", parts.revision),
                LOAD_AGAIN,
            );
        }
    };
    let snapshot = match Replica::of_snapshot(&parts.snapshot) {
        Ok(replica) => replica.last(),
        Err(error) => {
            return found(FindingKind::Snapshot, "snapshot", error.to_string(), LOAD_AGAIN);
        }
    };
    if snapshot.number > revision.number {
        let what = format!(
            "it goes up to entry {snapshot}, and the last entry is {}: the engine has forgotten a part",
            parts.revision
        );
        return found(FindingKind::Snapshot, "snapshot", what, LOAD_AGAIN);
    }
    let mut before: Option<EntryId> = None;
    for entry in &parts.log {
        let id = match (entry.id(), entry.event()) {
            (Ok(id), Ok(_)) => id,
            (Err(error), _) | (_, Err(error)) => {
                return found(FindingKind::Log, "log", error.to_string(), "update this program");
            }
        };
        let expected = before.map_or(id.number.min(snapshot.number + 1), |before| before.number + 1);
        if id.number != expected {
            let what = format!("entry {expected} is missing: something else has deleted it");
            return found(FindingKind::Log, "log", what, LOAD_AGAIN);
        }
        before = Some(id);
    }
    let last = before.unwrap_or(snapshot);
    if last.number < revision.number {
        let what = format!("it ends with entry {last}, and the last one was {revision}");
        found(FindingKind::Log, "log", what, LOAD_AGAIN);
    } else if last != revision {
        let what = format!("it says {revision}, and the log's last entry is {last}");
        found(FindingKind::Revision, "revision", what, LOAD_AGAIN);
    }
}
