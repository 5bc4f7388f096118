//! Brings entries into a vault, or plans that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::decide::{Decision, decide};
use super::formats;
use super::found::{Entry, Found, Origin, tokens_mut};
use super::source::Source;
use super::stored::{Known, Shut, Stored};
use crate::claims::ACCOUNT;
use crate::credential::{Credential, CredentialId, Kind, Metadata, PoolKey, Secret};
use crate::registry::Registry;
use crate::standing::{Change, Outcome};
use crate::vault::{MemoryVault, Replaced, Vault, VaultError, VaultExt};

/// The effect of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// It becomes a new record.
    Add,
    /// It replaces a record's contents.
    Update,
    /// The vault already has it.
    Unchanged,
    /// The vault's record is newer, or may be newer, and stays.
    Keep,
}

impl Action {
    /// Returns its name: `add`, `update`, `unchanged` or `keep`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Update => "update",
            Self::Unchanged => "unchanged",
            Self::Keep => "keep",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The planned or completed migration of one entry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step {
    /// The source of the file.
    pub source: Source,
    /// The file.
    pub path: PathBuf,
    /// The entry's name in the file.
    pub entry: String,
    /// The pool of its record.
    pub pool: PoolKey,
    /// The kind of its secret.
    pub kind: Kind,
    /// The effect.
    pub action: Action,
    /// Its record; `None` if that is not added yet.
    pub id: Option<CredentialId>,
    /// The record's label.
    pub label: Arc<str>,
    /// Why, if the action alone does not say.
    pub reason: Option<&'static str>,
}

/// An entry that could not be brought in.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The file.
    pub path: PathBuf,
    /// The entry's name in the file.
    pub entry: String,
    /// The vault's error.
    pub error: VaultError,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.path.display(), self.entry, self.error)
    }
}

/// The planned or completed migration of all entries.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct MigrationReport {
    /// The steps by file, in each file's order.
    pub steps: Vec<Step>,
    /// The entries that the vault did not take. It has all others.
    pub failures: Vec<Failure>,
}

/// The client id of the lease that serializes migrations into a vault: two at once would both add what both find missing.
const TURN: &str = "tower-credentials migrate";

const NO_REFRESH: &str = "the file has no refresh token and does not name its account; the vault's refresh token, which may be \
                          another account's, is removed, so a new sign-in is needed when the tokens expire";

/// Returns what [`apply`] would do now. Does not change the vault.
///
/// # Errors
/// If the vault can't be read.
pub async fn plan(
    vault: &impl Vault,
    registry: &Registry,
    files: &[Found],
) -> Result<MigrationReport, VaultError> {
    // Applied to a copy, so that the plan is exactly what `apply` does.
    let copy = MemoryVault::new();
    let providers: BTreeSet<_> = files
        .iter()
        .flat_map(|found| &found.entries)
        .map(|entry| pool_of(registry, entry).provider().to_owned())
        .collect();
    let mut shut = BTreeMap::new();
    for provider in providers {
        let stored = Stored::of(vault, &provider).await?;
        for Known { credential, health } in stored.known {
            let Metadata { id, pool, .. } = copy.put(credential).await?;
            copy.record(pool, vec![Outcome { id, change: Change::Health(health) }]).await?;
        }
        // Placeholders, so that their labels are taken.
        for record in &stored.shut.records {
            copy.put(record.placeholder()).await?;
        }
        shut.insert(provider, stored.shut);
    }
    let mut report = bring_all(&copy, registry, files, &shut).await?;
    for step in report.steps.iter_mut().filter(|step| step.action == Action::Add) {
        step.id = None;
    }
    Ok(report)
}

/// Brings the entries of files into a vault, each into the pool that the registry has for its provider. A provider that the
/// registry does not know keeps its name.
///
/// Existing records are left or updated as [the module](super) says; a second run changes nothing. Migrations into one vault
/// run one at a time, also across processes.
///
/// # Errors
/// If the vault can't be read, or another migration holds it for too long. If the vault does not take one entry, or can't
/// open its record, the others are still brought in, and [`MigrationReport::failures`] names it.
pub async fn apply(
    vault: &impl Vault,
    registry: &Registry,
    files: &[Found],
) -> Result<MigrationReport, VaultError> {
    let _turn = vault.lease_client(TURN.into()).await?;
    bring_all(vault, registry, files, &BTreeMap::new()).await
}

/// The pool that an entry belongs to.
pub(super) fn pool_of(registry: &Registry, entry: &Entry) -> PoolKey {
    registry.pool_key(&entry.provider).unwrap_or_else(|_| PoolKey::new(&*entry.provider))
}

/// `shut` has the unreadable records by provider for which a copy of a vault has placeholders.
async fn bring_all(
    vault: &impl Vault,
    registry: &Registry,
    files: &[Found],
    shut: &BTreeMap<String, Shut>,
) -> Result<MigrationReport, VaultError> {
    let mut report = MigrationReport::default();
    for found in files {
        for entry in &found.entries {
            match bring(vault, registry, found, entry, shut).await {
                Ok(step) => report.steps.push(step),
                Err(error) => {
                    let (path, entry) = (found.path.clone(), entry.name.clone());
                    report.failures.push(Failure { path, entry, error });
                }
            }
        }
    }
    Ok(report)
}

async fn bring(
    vault: &impl Vault,
    registry: &Registry,
    found: &Found,
    entry: &Entry,
    shut: &BTreeMap<String, Shut>,
) -> Result<Step, VaultError> {
    let pool = pool_of(registry, entry);
    let origin = Origin::new(found, entry);
    let step = |action, credential: &Credential, reason| Step {
        source: found.source,
        path: found.path.clone(),
        entry: entry.name.clone(),
        pool: credential.metadata.pool.clone(),
        kind: credential.metadata.kind,
        action,
        id: Some(credential.metadata.id),
        label: credential.metadata.label.clone(),
        reason,
    };
    loop {
        let mut stored = Stored::of(vault, pool.provider()).await?;
        if let Some(shut) = shut.get(pool.provider()) {
            stored.known.retain(|known| !shut.has(known.credential.metadata.id));
        }
        let shut = shut.get(pool.provider()).unwrap_or(&stored.shut);
        match decide(entry, &origin, &pool, &stored.known, shut) {
            Decision::Shut(record) => return Err(record.error()),
            Decision::Unchanged(record, reason) => {
                return Ok(step(Action::Unchanged, record, reason));
            }
            Decision::Keep(record, reason) => return Ok(step(Action::Keep, record, Some(reason))),
            Decision::Add(reason) => {
                shut.check_key()?;
                let mut new = Credential::new(pool.clone(), &*entry.label, entry.secret.clone());
                new.metadata.attributes = entry.attributes.clone();
                note(&mut new, entry, &origin);
                new.metadata = vault.put(new.clone()).await?;
                return Ok(step(Action::Add, &new, reason));
            }
            Decision::Update(record, reason) => {
                let reason = if loses_refresh(record, entry) { Some(NO_REFRESH) } else { reason };
                if replace(vault, record, entry, &origin).await? {
                    return Ok(step(Action::Update, record, reason));
                }
                // The record has changed meanwhile: decide again.
            }
        }
    }
}

/// Replaces a record's contents with an entry, unless the record has changed meanwhile.
async fn replace(
    vault: &impl Vault,
    record: &Credential,
    entry: &Entry,
    origin: &Origin,
) -> Result<bool, VaultError> {
    let Metadata { id, ref pool, generation, .. } = record.metadata;
    // Held meanwhile, because a refresh in progress could not save its tokens after the replacement.
    let _lease = match vault.lease_refresh(pool, id).await {
        Ok(lease) => lease,
        Err(VaultError::NotFound(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut new = Credential { metadata: record.metadata.clone(), secret: entry.secret.clone() };
    if let Some(tokens) = tokens_mut(&mut new.secret)
        && tokens.refresh.is_none()
        && is_same_account(record, entry)
    {
        // Some vendors give a refresh token at the first sign-in only, and it goes on working.
        tokens.refresh = record.secret.refresh_token().cloned();
    }
    new.metadata.generation = generation.next();
    new.metadata.attributes.retain(|name, _| !formats::is_attribute(name));
    new.metadata.attributes.extend(entry.attributes.clone());
    note(&mut new, entry, origin);
    match vault.replace(pool, id, generation, new.secret, new.metadata.attributes).await {
        Ok(Replaced::Swapped(_)) => Ok(true),
        Ok(Replaced::Conflict(_)) | Err(VaultError::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether both name their account, and it is the same.
fn is_same_account(record: &Credential, entry: &Entry) -> bool {
    let account = entry.attributes.get(ACCOUNT);
    account.is_some() && account == record.metadata.attributes.get(ACCOUNT)
}

/// Whether a record loses its refresh token to an entry without one. It may be another account's, and would renew that one.
fn loses_refresh(record: &Credential, entry: &Entry) -> bool {
    let has_refresh = |secret: &Secret| secret.refresh_token().is_some();
    has_refresh(&record.secret) && !has_refresh(&entry.secret) && !is_same_account(record, entry)
}

/// Writes a credential's origin into it.
fn note(credential: &mut Credential, entry: &Entry, origin: &Origin) {
    if let Some(tokens) = tokens_mut(&mut credential.secret) {
        entry.note().write(tokens);
    }
    let generation = credential.metadata.generation.get();
    origin.write(&mut credential.metadata.attributes, generation);
}
