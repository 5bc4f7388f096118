//! The notes on refreshes, and those that have stored nothing.

use std::collections::BTreeMap;

use super::super::Inner;
use super::super::fault::Fault;
use super::super::keys::Keys;
use super::parts::Parts;
use super::{Finding, FindingKind, Report, Severity};
use crate::clock::Timestamp;
use crate::vault::VaultError;
use crate::vault::unfinished::{CUT_OFF_WAY_OUT, FAILED_WAY_OUT};

impl Inner {
    /// Looks for refreshes that have stored nothing, and are not going on. `labels` are those of the records.
    pub(super) async fn look_at_unfinished(
        &self,
        keys: &Keys,
        parts: &Parts,
        labels: &BTreeMap<String, String>,
        report: &mut Report,
    ) -> Result<(), VaultError> {
        let unfinished = match self.unfinished(keys).await {
            Ok(unfinished) => unfinished,
            Err(Fault::Refused(words)) => {
                let finding =
                    Finding::new(FindingKind::NotAllowed, Severity::Note, keys.part("notes"), words);
                report.found(finding);
                return Ok(());
            }
            Err(fault) => return Err(fault.into()),
        };
        for refresh in unfinished {
            let id = refresh.id.to_string();
            let Some(label) = labels.get(&id) else { continue };
            report.found(match refresh.failure {
                None => {
                    let when = parts.notes.get(&id).and_then(|note| began_at(note));
                    let when = when.map(|at| format!(" at {at}")).unwrap_or_default();
                    let what = format!("a refresh of {label} began{when}, and nothing was stored");
                    let kind = FindingKind::UnfinishedRefresh;
                    Finding::new(kind, Severity::Note, keys.part("notes"), what).way_out(CUT_OFF_WAY_OUT)
                }
                Some(why) => {
                    let what = format!("the last refresh of {label} failed: {why}");
                    let kind = FindingKind::FailedRefresh;
                    Finding::new(kind, Severity::Note, keys.part("failures"), what)
                        .way_out(FAILED_WAY_OUT)
                }
            });
        }
        Ok(())
    }
}

/// Returns when the refresh of a note has begun, by the engine's clock.
fn began_at(note: &str) -> Option<Timestamp> {
    Some(Timestamp::from_millis(note.split(':').nth(1)?.parse().ok()?))
}

/// Looks at the notes on refreshes, and at those that have failed.
pub(super) fn look(keys: &Keys, parts: &Parts, report: &mut Report) {
    let mut look = |part, values: &BTreeMap<String, String>, is_right: fn(&str) -> bool| {
        for (id, value) in values {
            let finding = |kind, what: String| {
                Finding::new(kind, Severity::Warning, keys.part(part), what)
                    .way_out(format!("HDEL {id} from it"))
            };
            if !parts.records.contains_key(id) {
                report.found(finding(FindingKind::Leftover, format!("{id} is no account of the pool")));
            } else if !is_right(value) {
                report
                    .found(finding(FindingKind::Refresh, format!("what it has of {id} can't be read")));
            }
        }
    };
    look("notes", &parts.notes, is_note);
    look("failures", &parts.failures, is_failure);
}

/// Returns whether it is `GENERATION:SINCE:OWNER:RUN:FOUND`.
fn is_note(text: &str) -> bool {
    begins_with_numbers(text, 2) && text.split(':').count() == 5
}

/// Returns whether it is `GENERATION:UNTIL:IN_A_ROW:REASON`.
fn is_failure(text: &str) -> bool {
    begins_with_numbers(text, 3) && text.split(':').count() >= 4
}

fn begins_with_numbers(text: &str, count: usize) -> bool {
    text.split(':').take(count).filter(|field| field.parse::<u64>().is_ok()).count() == count
}
