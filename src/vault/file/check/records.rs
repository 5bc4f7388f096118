//! The records, and the keys that seal them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::{Checker, Finding, FindingKind, SealedWith, Severity};
use crate::credential::{CredentialId, Metadata, PoolKey, Record};
use crate::secret::leaving_no_copy;
use crate::vault::VaultError;
use crate::vault::file::identity::{BOUND, Vouched};
use crate::vault::file::keys::{MAX_SEALS, WARN_SEALS};
use crate::vault::file::marker::Marker;
use crate::vault::file::opening::{KEYS, RECORDS};
use crate::vault::file::records::Records;
use crate::vault::file::shares;
use crate::vault::key::{KeyId, Signer, VaultKey};
use crate::vault::seal::{Barred, Opener, Rules, Sealed, Shut, other_key};

/// The members of each pool, according to their records.
pub(super) type Members = BTreeMap<PoolKey, HashMap<CredentialId, Metadata>>;

impl Checker<'_> {
    /// Reads and checks the marker, which says which key is the vault's.
    pub(super) fn marker(&mut self) -> Option<Marker> {
        let path = self.root.join(KEYS);
        match Marker::read(&path) {
            Ok(Some(marker)) => {
                let signers: Vec<_> = self.keys.iter().map(Signer::new).collect();
                if marker.is_vouched_for(&signers) == Vouched::No {
                    self.damaged(FindingKind::Marker, &path, Marker::forged(&path));
                }
                self.key(&path, &marker);
                return Some(marker);
            }
            Ok(None) if self.report.findings.iter().any(|known| known.kind == FindingKind::NoVault) => {}
            Ok(None) => {
                let what = "missing, and with it the count of what the key has sealed";
                let finding = Finding::new(FindingKind::Marker, Severity::Warning, &path, what);
                self.found(finding.way_out("it is made again when the vault is opened"));
            }
            Err(error) => self.damaged(FindingKind::Marker, &path, error),
        }
        None
    }

    fn key(&mut self, path: &Path, marker: &Marker) {
        self.report.key = Some(marker.key_id());
        self.report.vault = marker.rules().vault;
        let given = self.keys.first().map(VaultKey::id);
        let is_known = self.keys.iter().any(|key| key.id() == marker.key_id());
        match given {
            None => {
                let what = format!("sealed with the key {}, and none was given", marker.key_id());
                let finding = Finding::new(FindingKind::NoKey, Severity::Warning, path, what);
                self.found(finding.way_out("give the key, so that the records are opened"));
            }
            Some(given) if !is_known => {
                let reason = other_key(marker.key_id(), given);
                self.damaged(FindingKind::WrongKey, path, VaultError::Key(reason));
            }
            Some(_) => {}
        }
        let old = match given == Some(marker.key_id()) {
            true => marker.previous().first().copied(),
            // The key that was given first should follow it.
            false => is_known.then(|| marker.key_id()),
        };
        let kept = self.keys.get(1).map(VaultKey::id).filter(|_| is_known);
        let what = match (old, kept) {
            (Some(old), _) => {
                Some(format!("the key {old} is being exchanged, and not all is sealed with the new one"))
            }
            (None, Some(kept)) => {
                Some(format!("nothing is sealed with the key {kept} any more, and it is still kept"))
            }
            (None, None) => None,
        };
        if let Some(what) = what {
            let severity = match self.is_key_changing() {
                true => Severity::Note,
                false => Severity::Warning,
            };
            let finding = Finding::new(FindingKind::UnfinishedKeyChange, severity, path, what);
            self.found(finding.way_out("go on with it, and keep both keys until it is done"));
        }
        let seals = marker.seals(marker.key_id());
        if seals >= WARN_SEALS {
            let severity = if seals >= MAX_SEALS { Severity::Error } else { Severity::Warning };
            let what =
                format!("the key {} has made {seals} seals, of at most {MAX_SEALS}", marker.key_id());
            let finding = Finding::new(FindingKind::ManySeals, severity, path, what);
            self.found(finding.way_out("reseal the vault with another key"));
        }
    }

    /// Returns which seals are admitted: according to the marker if it names the vault, else according to the records.
    fn rules(&self, marker: Option<&Marker>, records: &[Record<Sealed>]) -> Rules {
        let signers: Vec<_> = self.keys.iter().map(Signer::new).collect();
        let is_sound = |marker: &&Marker| marker.is_vouched_for(&signers) != Vouched::No;
        match marker.filter(is_sound).map(Marker::rules) {
            Some(rules) if rules.vault.is_some() => rules,
            _ => {
                let vault = records.iter().find_map(|record| record.secret.vault_id());
                Rules { vault, ..Rules::default() }
            }
        }
    }

    /// Reads every record and opens it. Returns the members of each pool.
    pub(super) fn records(&mut self, records: &Records, marker: Option<&Marker>) -> Members {
        let mut members = Members::new();
        // Files that are not records were reported with the directory.
        let Ok((ids, _)) = records.ids() else { return members };
        self.report.records = ids.len();
        let mut damaged = Vec::new();
        let read = records.read(&ids, &mut damaged);
        for damage in damaged {
            let path = std::path::PathBuf::from(&damage.record);
            self.damaged(FindingKind::Record, &path, VaultError::Damaged(damage));
        }
        let opener = Opener::new(self.keys, self.rules(marker, &read));
        let mut needed: BTreeMap<KeyId, usize> = BTreeMap::new();
        let mut opened = opener.map(|opener| opened(&opener, &read)).unwrap_or_default().into_iter();
        for Record { metadata, secret } in read {
            let path = records.path(metadata.id);
            let (sealed_with, version) = (secret.key_id(), secret.version());
            self.sealed(sealed_with, &metadata);
            self.report.older += usize::from(version < BOUND);
            match opened.next() {
                Some(Ok(has_unread_response)) => {
                    self.report.opened += 1;
                    if version == 1 && !metadata.attributes.is_empty() {
                        self.unbound(&path, &metadata);
                    }
                    if has_unread_response {
                        self.unread_response(&path, &metadata);
                    }
                    if self.keys.first().is_some_and(|key| key.id() != sealed_with) {
                        *needed.entry(sealed_with).or_default() += 1;
                    }
                }
                Some(Err(shut)) => self.shut(shut, &path, &metadata),
                None => {}
            }
            members.entry(metadata.pool.clone()).or_default().insert(metadata.id, metadata);
        }
        if self.report.older > 0 {
            let what = match self.report.older {
                1 => "one record is in an older format, which does not bind it to this vault".to_owned(),
                older => {
                    format!(
                        "{older} records are in an older format, which does not bind them to this vault"
                    )
                }
            };
            let kind = FindingKind::OlderFormat;
            let finding = Finding::new(kind, Severity::Note, &self.root.join(RECORDS), what);
            self.found(finding.way_out("reseal the vault"));
        }
        // If the marker names the key, it was reported with the marker.
        let is_reported = |id: &KeyId| {
            marker.is_some_and(|marker| marker.previous().contains(id) || marker.key_id() == *id)
        };
        for (id, count) in needed.into_iter().filter(|(id, _)| !is_reported(id)) {
            let what =
                format!("{count} records are sealed with the key {id}, not with the one given first");
            let kind = FindingKind::UnfinishedKeyChange;
            let finding = Finding::new(kind, Severity::Warning, &self.root.join(KEYS), what);
            self.found(finding.way_out("reseal the vault with both keys"));
        }
        members
    }

    /// Reports a record that does not open.
    fn shut(&mut self, shut: Shut, path: &Path, metadata: &Metadata) {
        let kind = match &shut {
            Shut::OtherKey(_) => FindingKind::OtherKey,
            Shut::Barred(Barred::Retired(_) | Barred::Older(_)) => FindingKind::Restored,
            Shut::Barred(Barred::Revoked(_)) => FindingKind::RevokedKey,
            Shut::Barred(Barred::OtherVault(_)) => FindingKind::OtherVault,
            Shut::Changed | Shut::Unknown(_) => FindingKind::Record,
        };
        match shut.damage(path.display().to_string()) {
            Ok(damage) => {
                let damage = damage.of(metadata.id, Some(metadata.kind));
                self.damaged(kind, path, VaultError::Damaged(damage));
            }
            Err(sealed_with) => {
                let what = format!("sealed with the key {sealed_with}, which was not given");
                let way_out = format!(
                    "give the key {sealed_with}, restore the record from a backup, or remove it and sign in again"
                );
                let finding = Finding::new(kind, Severity::Error, path, what).way_out(way_out);
                let finding = finding.of(metadata.id).removable();
                self.found(Finding { sealed_with: Some(sealed_with), ..finding });
            }
        }
    }

    fn unbound(&mut self, path: &Path, metadata: &Metadata) {
        let names: Vec<_> = metadata.attributes.keys().map(String::as_str).collect();
        let what = format!(
            "the seal of {} of the pool {} is of version 1, which does not vouch for its attributes ({})",
            metadata.label,
            metadata.pool,
            names.join(", ")
        );
        let finding = Finding::new(FindingKind::UnboundAttributes, Severity::Note, path, what);
        let finding = finding.way_out("look at them, then reseal the vault with them or without");
        self.found(finding.of(metadata.id));
    }

    fn unread_response(&mut self, path: &Path, metadata: &Metadata) {
        let what = format!(
            "a response of the token endpoint that could not be read is kept with {} of the pool {}",
            metadata.label, metadata.pool
        );
        let finding = Finding::new(FindingKind::UnreadResponse, Severity::Note, path, what);
        let finding = finding.way_out("see what is in it: the tokens in it are nowhere else");
        self.found(finding.of(metadata.id));
    }

    fn sealed(&mut self, key: KeyId, metadata: &Metadata) {
        let all = &mut self.report.sealed;
        let place = all.iter().position(|known| known.key == key).unwrap_or_else(|| {
            all.push(SealedWith { key, records: 0, providers: BTreeSet::new() });
            all.len() - 1
        });
        all[place].records += 1;
        all[place].providers.insert(metadata.pool.provider().to_owned());
    }
}

/// Opens each of these, in order. Returns for each whether it keeps a response that could not be read.
fn opened(opener: &Opener, records: &[Record<Sealed>]) -> Vec<Result<bool, Shut>> {
    let open = |Record { metadata, secret }: &Record<Sealed>| {
        Ok(opener.open(metadata, secret.clone())?.has_unread_response())
    };
    let open_some =
        |records: &[Record<Sealed>]| leaving_no_copy(|| records.iter().map(open).collect::<Vec<_>>());
    shares::work(records, open_some).into_iter().flatten().collect()
}
