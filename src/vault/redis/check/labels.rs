//! The indexes of a pool's labels.

use std::collections::BTreeMap;

use super::super::Inner;
use super::super::fault::Fault;
use super::super::keys::Keys;
use super::super::script::INDEX_LABELS;
use super::parts::Parts;
use super::{Finding, FindingKind, Report, Severity};

impl Inner {
    /// Compares the indexes with the records' labels, and writes them anew if that is asked for. `of_records` has the label of
    /// each record that can be read.
    pub(super) async fn look_at_labels(
        &self,
        keys: &Keys,
        parts: &Parts,
        of_records: &BTreeMap<String, String>,
        fix: bool,
        report: &mut Report,
    ) -> Result<(), Fault> {
        let mut names = of_records.clone();
        // The label of a record that can't be read is only known from the index.
        for id in parts.records.keys().filter(|id| !of_records.contains_key(*id)) {
            names.extend(parts.names.get(id).map(|label| (id.clone(), label.clone())));
        }
        let mut labels = BTreeMap::new();
        for (id, label) in &names {
            let Some(other) = labels.insert(label.clone(), id.clone()) else { continue };
            let what = format!("the accounts {other} and {id} have the same label, {label:?}");
            report.found(
                Finding::new(FindingKind::SameLabel, Severity::Error, keys.part("records"), what)
                    .way_out("rename one of them"),
            );
        }
        for (part, stored, expected) in
            [("labels", &parts.labels, &labels), ("names", &parts.names, &names)]
        {
            if stored == expected {
                continue;
            }
            let is_fixed = fix && self.index_labels(keys, parts, &names).await?;
            let what = match difference(stored, expected) {
                Some((name, true)) => format!("it lacks {name:?}, or has something else for it"),
                Some((name, false)) => format!("it has {name:?}, which no record has"),
                None => "it does not match the records".to_owned(),
            };
            let finding = Finding::new(FindingKind::Labels, Severity::Warning, keys.part(part), what);
            report.found(finding.way_out("check with fix, which writes it anew").fixed(is_fixed));
        }
        Ok(())
    }

    /// Writes both indexes anew, unless the pool has changed. Returns whether that was done.
    async fn index_labels(
        &self,
        keys: &Keys,
        parts: &Parts,
        names: &BTreeMap<String, String>,
    ) -> Result<bool, Fault> {
        let mut call = INDEX_LABELS.on(keys.all()).arg(&parts.revision);
        for (id, label) in names {
            call = call.arg(id).arg(label);
        }
        match self.engine.run::<u8>(keys.slot(), &call).await {
            Ok(done) => Ok(done == 1),
            Err(Fault::Refused(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}

/// Returns a name that differs, and whether it is one that is expected.
fn difference<'a>(
    stored: &'a BTreeMap<String, String>,
    expected: &'a BTreeMap<String, String>,
) -> Option<(&'a str, bool)> {
    let missing = expected.iter().find(|(name, value)| stored.get(*name) != Some(*value));
    let more = || stored.keys().find(|name| !expected.contains_key(*name));
    missing.map(|(name, _)| (&**name, true)).or_else(|| more().map(|name| (&**name, false)))
}
