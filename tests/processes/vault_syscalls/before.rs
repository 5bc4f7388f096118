//! The vault before a deed, and what must be there after a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tower_credentials::standing::{Change, Health, Outcome};
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{StoredPool, VaultExt};
use tower_credentials::{Credential, CredentialId, Generation};

use super::deed::Deed;
use super::{account, failed, pool};
use crate::children;

/// A log is compacted when it is longer, in bytes; see `src/vault/file/pool.rs`.
pub(super) const COMPACTED_FROM: u64 = 64 * 1024;

const KEPT: [&str; 3] = ["a", "b", "c"];

/// The vault before a deed.
pub(super) struct Before {
    pub(super) deed: Deed,
    pub(super) template: TempDir,
    pub(super) key: VaultKey,
    pub(super) new_key: VaultKey,
    /// The credential that the deed is done to: the last one.
    pub(super) id: CredentialId,
    pub(super) records: Records,
}

/// Label, generation and secret of each credential.
pub(super) type Records = BTreeMap<CredentialId, (String, u64, String)>;

fn records(loaded: &StoredPool) -> Records {
    let record = |stored: &Credential| {
        let label = stored.metadata.label.to_string();
        let secret = stored.secret.token().expose().to_owned();
        (stored.metadata.id, (label, stored.metadata.generation.get(), secret))
    };
    loaded.credentials.iter().map(record).collect()
}

impl Before {
    pub(super) async fn prepare(deed: Deed) -> Self {
        let template = TempDir::new().unwrap();
        let (key, new_key) = (VaultKey::generate(), VaultKey::generate());
        let mut before = Self {
            deed,
            template,
            key,
            new_key,
            id: CredentialId::from_bytes([0; 16]),
            records: Records::new(),
        };
        if deed == Deed::FirstRun {
            return before;
        }
        let root = before.template.path().join("vault");
        let vault = FileVault::open(&root, &before.key).await.unwrap();
        for label in KEPT {
            let secret = format!("secret of {label}");
            before.id = vault.put(account(label, &secret)).await.unwrap().id;
        }
        let id = before.id;
        vault.record(pool(), vec![failed(id)]).await.unwrap();
        if deed == Deed::Compaction {
            // One more outcome makes the log too long.
            let log = root.join("pools/example+default.log");
            let limit = COMPACTED_FROM - 100;
            loop {
                let room = limit.saturating_sub(fs::metadata(&log).unwrap().len());
                if room < 400 {
                    break;
                }
                let reason = "x".repeat((room as usize - 300).min(4000));
                let health = Health::NeedsSignIn { reason, generation: Generation::FIRST, cause: None };
                let outcome = Outcome { id, change: Change::Health(health) };
                vault.record(pool(), vec![outcome]).await.unwrap();
            }
            while fs::metadata(&log).unwrap().len() < limit {
                let outcome = Outcome { id, change: Change::Health(Health::Good) };
                vault.record(pool(), vec![outcome]).await.unwrap();
            }
            assert!(fs::metadata(&log).unwrap().len() <= COMPACTED_FROM);
        }
        before.records = records(&vault.load_pool(pool()).await.unwrap());
        before
    }

    /// Checks that the deed is done or not, and that everything else is as before.
    pub(super) async fn check(&self, place: &Path, is_acknowledged: bool) -> Result<(), String> {
        let root = place.join("vault");
        let key = match self.deed {
            Deed::FirstRun => VaultKey::load_or_create(place.join("keys/vault.key")).await.unwrap(),
            Deed::Reseal => self.new_key.clone(),
            _ => self.key.clone(),
        };
        let builder = match self.deed {
            Deed::Reseal => FileVault::builder(&root).old_key(&self.key),
            _ => FileVault::builder(&root),
        };
        // The next process finds no lock held.
        let impatient = builder.clone().lock_timeout(Duration::from_millis(50));
        impatient.open(&key).await.map_err(|error| error.to_string())?;
        let vault = builder.open(&key).await.map_err(|error| error.to_string())?;
        let expect = |is_so: bool, what: &str| if is_so { Ok(()) } else { Err(what.to_owned()) };
        expect(children::temporary_files(&root).is_empty(), "a temporary file is left")?;

        // Before a pool is loaded, which mends what it finds: probes the labels that the deed is about, twice.
        let labels: &[&str] = match self.deed {
            Deed::Put => &["a-2", "a-2", "a-2"],
            Deed::Relabel => &["c", "z", "z", "c"],
            Deed::Remove => &["c", "c"],
            _ => &[],
        };
        let mut probes = BTreeSet::new();
        for label in labels {
            probes
                .insert(vault.put(account(label, "probe")).await.map_err(|error| error.to_string())?.id);
        }
        let loaded = vault.load_pool(pool()).await.map_err(|error| error.to_string())?;
        expect(loaded.damaged.is_empty(), &format!("damaged: {:?}", loaded.damaged))?;
        let mut now = records(&loaded);
        let labels: BTreeSet<_> = now.values().map(|(label, ..)| label).collect();
        expect(labels.len() == now.len(), &format!("one label for two: {now:?}"))?;
        let order: BTreeSet<_> = loaded.standings.order.iter().collect();
        expect(order == now.keys().collect(), "the order names each once")?;
        now.retain(|id, _| !probes.contains(id));

        let failures =
            loaded.standings.credentials.get(&self.id).map_or(0, |standing| standing.failures);
        let is_first = loaded.standings.order.first() == Some(&self.id);
        let mut after = self.records.clone();
        match self.deed {
            Deed::FirstRun | Deed::Put => {
                let label = if self.deed == Deed::Put { "a-2" } else { "first" };
                let is_new = |id: &&CredentialId| !self.records.contains_key(*id);
                if let Some(id) = now.keys().find(is_new) {
                    let secret = if self.deed == Deed::Put { "secret of a-2" } else { "secret" };
                    after.insert(*id, (label.to_owned(), 1, secret.to_owned()));
                }
                expect(!is_acknowledged || after.len() > self.records.len(), "it was put and is lost")?;
            }
            Deed::Swap => after.get_mut(&self.id).unwrap().1 = 2,
            Deed::Relabel => after.get_mut(&self.id).unwrap().0 = "z".to_owned(),
            Deed::Remove => drop(after.remove(&self.id)),
            Deed::Outcome | Deed::Compaction | Deed::Move | Deed::Reseal => {}
        }
        if self.deed == Deed::Swap {
            after.get_mut(&self.id).unwrap().2 = "swapped".to_owned();
        }
        let is_as_before = now == self.records && failures == u32::from(self.deed != Deed::FirstRun);
        let is_done = match self.deed {
            Deed::Outcome | Deed::Compaction => now == after && failures == 2,
            Deed::Move => now == after && failures == 1 && is_first,
            Deed::Remove => now == after && failures == 0,
            _ => now == after && failures == u32::from(self.deed != Deed::FirstRun),
        };
        expect(is_done || is_as_before && !is_acknowledged, &format!("{failures} failures, {now:?}"))?;

        for path in children::all_below(&root) {
            let metadata = fs::metadata(&path).unwrap();
            let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
            let mode = metadata.permissions().mode() & 0o777;
            expect(mode == expected, &format!("{} has mode {mode:o}", path.display()))?;
        }
        self.go_on(&vault, failures).await
    }

    /// Checks that the rest of the deed can be done, and anything else.
    async fn go_on(&self, vault: &FileVault, failures: u32) -> Result<(), String> {
        let expect = |is_so: bool, what: &str| if is_so { Ok(()) } else { Err(what.to_owned()) };
        if self.deed == Deed::Reseal {
            let resealing = vault.reseal(|_| {}).await.map_err(|error| error.to_string())?;
            expect(resealing.left == 0, &format!("{resealing:?}"))?;
            let new_alone = FileVault::open(vault.directory(), &self.new_key).await.unwrap();
            let loaded = new_alone.load_pool(pool()).await.unwrap();
            expect(records(&loaded) == self.records, "after resealing, everything opens")?;
        }
        let id = vault.put(account("more", "more")).await.map_err(|error| error.to_string())?.id;
        vault
            .record(pool(), vec![failed(id), failed(self.id)])
            .await
            .map_err(|error| error.to_string())?;
        let loaded = vault.load_pool(pool()).await.map_err(|error| error.to_string())?;
        let standing = |id| loaded.standings.credentials.get(id).map_or(0, |standing| standing.failures);
        let is_there = loaded.standings.order.contains(&self.id);
        expect(standing(&id) == 1, "an outcome counts")?;
        expect(!is_there || standing(&self.id) == failures + 1, "an outcome is added to those before")
    }

    /// Copies the template to a place for one run.
    pub(super) fn copy(&self) -> TempDir {
        let place = TempDir::new().unwrap();
        for path in children::all_below(self.template.path()).into_iter().skip(1) {
            let to = place.path().join(path.strip_prefix(self.template.path()).unwrap());
            if path.is_dir() {
                fs::create_dir(&to).unwrap();
                fs::set_permissions(&to, fs::Permissions::from_mode(0o700)).unwrap();
            } else {
                fs::copy(&path, &to).unwrap();
            }
        }
        place
    }
}
