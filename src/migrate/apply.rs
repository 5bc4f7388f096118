//! Bringing what was found into a vault, or saying what that would do.

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

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// It is a new record.
    Add,
    /// It replaces what a record has.
    Update,
    /// The vault has it.
    Unchanged,
    /// The vault has something newer, or what may be newer; that stays.
    Keep,
}

impl Action {
    /// Its name: `add`, `update`, `unchanged` or `keep`.
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

/// What becomes, or has become, of one entry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step {
    /// Whose file it is in.
    pub source: Source,
    /// The file.
    pub path: PathBuf,
    /// The name that the entry has there.
    pub entry: String,
    /// The pool of its record.
    pub pool: PoolKey,
    /// What sort of secret it is.
    pub kind: Kind,
    /// What becomes of it.
    pub action: Action,
    /// Its record; `None` for one that is yet to be added.
    pub id: Option<CredentialId>,
    /// The record's label.
    pub label: Arc<str>,
    /// Why, where the action alone does not say it.
    pub reason: Option<&'static str>,
}

/// An entry that could not be brought in.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The file.
    pub path: PathBuf,
    /// The name that the entry has there.
    pub entry: String,
    /// Why the vault did not take it.
    pub error: VaultError,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.path.display(), self.entry, self.error)
    }
}

/// What becomes, or has become, of everything that was found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct MigrationReport {
    /// By file and in each file's order.
    pub steps: Vec<Step>,
    /// What the vault did not take. Everything else is in it.
    pub failures: Vec<Failure>,
}

/// What all migrations into a vault take turns by: two at once would each add what they both find missing.
const TURN: &str = "tower-credentials migrate";

const NO_REFRESH: &str = "the file has no refresh token and does not say whose its tokens are; the vault's, which may \
                          be another account's, is gone, so a new sign-in is needed when they end";

/// What [`apply`] would do now. The vault stays as it is.
///
/// # Errors
/// Where the vault can't be read.
pub async fn plan(
    vault: &impl Vault,
    registry: &Registry,
    files: &[Found],
) -> Result<MigrationReport, VaultError> {
    // Done to a copy, so that it is what will be done.
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
        // Their labels are taken.
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

/// Brings what was found into a vault, each entry into the pool that the registry has for its provider. A
/// provider that the registry does not know keeps its name.
///
/// Whatever is in the vault already is left or updated as [the module](super) says; to do it again changes
/// nothing. Migrations into one vault take turns, also those of other processes.
///
/// # Errors
/// Where the vault can't be read, or its turn doesn't come. Where it does not take one entry, or has a record of
/// it that does not open, the others are brought in, and [`MigrationReport::failures`] names it.
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

/// `shut` is, by provider, what a copy of a vault has placeholders for.
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
                // Somebody was first; what there is to do may be something else now.
            }
        }
    }
}

/// Puts an entry in place of what a record has, unless that has changed by now.
async fn replace(
    vault: &impl Vault,
    record: &Credential,
    entry: &Entry,
    origin: &Origin,
) -> Result<bool, VaultError> {
    let Metadata { id, generation, .. } = record.metadata;
    // Held meanwhile: a refresh that is under way could not save what it gets.
    let _lease = match vault.lease_refresh(id).await {
        Ok(lease) => lease,
        Err(VaultError::NotFound(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut new = Credential { metadata: record.metadata.clone(), secret: entry.secret.clone() };
    if let Some(tokens) = tokens_mut(&mut new.secret)
        && tokens.refresh.is_none()
        && is_same_account(record, entry)
    {
        // Some vendors give one at the first sign-in only, and it goes on working.
        tokens.refresh = record.secret.refresh_token().cloned();
    }
    new.metadata.generation = generation.next();
    new.metadata.attributes.retain(|name, _| !formats::is_attribute(name));
    new.metadata.attributes.extend(entry.attributes.clone());
    note(&mut new, entry, origin);
    match vault.replace(id, generation, new.secret, new.metadata.attributes).await {
        Ok(Replaced::Swapped(_)) => Ok(true),
        Ok(Replaced::Conflict(_)) | Err(VaultError::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether both say whose they are, and say the same.
fn is_same_account(record: &Credential, entry: &Entry) -> bool {
    let account = entry.attributes.get(ACCOUNT);
    account.is_some() && account == record.metadata.attributes.get(ACCOUNT)
}

/// Whether a record's refresh token goes, although its entry has none: it may be another account's, and would
/// renew that one.
fn loses_refresh(record: &Credential, entry: &Entry) -> bool {
    let has_refresh = |secret: &Secret| secret.refresh_token().is_some();
    has_refresh(&record.secret) && !has_refresh(&entry.secret) && !is_same_account(record, entry)
}

/// Writes into a credential where it comes from.
fn note(credential: &mut Credential, entry: &Entry, origin: &Origin) {
    if let Some(tokens) = tokens_mut(&mut credential.secret) {
        entry.note().write(tokens);
    }
    let generation = credential.metadata.generation.get();
    origin.write(&mut credential.metadata.attributes, generation);
}
