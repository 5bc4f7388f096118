//! Keeps the last list, in memory or in a file that other processes read and replace.
//!
//! A file is a line with the format's version and the digest of the rest, and then JSON. Any other file is ignored: a damaged
//! or half-written one, one of another version, and one of another pool, URL or accounts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::Uri;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::model::Model;
use super::page;
use crate::clock::Timestamp;
use crate::credential::{CredentialId, PoolKey};
use crate::provider::ModelsShape;
use crate::vault::VaultError;
use crate::vault::disk::{self, Temporary, ops};
use crate::vault::file::pool_file;

/// The beginning of a file.
const FORMAT: &str = "tower-credentials models 2";

/// The maximum size of a file in bytes, for reading and writing.
const MAX_SIZE: u64 = 64 * 1024 * 1024;

/// The age at which nobody can still be writing a temporary file.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// The accounts of the pool for which a list was requested. Ids are random, so two vaults never share one, and a list that
/// one vault's accounts may see is never shown to another's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Accounts(String);

impl Accounts {
    pub(super) fn of(ids: impl IntoIterator<Item = CredentialId>) -> Self {
        // Independent of their order in the pool.
        let ids = ids.into_iter().collect::<BTreeSet<_>>();
        let digest = ids.iter().fold(Sha256::new(), |digest, id| digest.chain_update(id.as_bytes()));
        Self(hex(&digest.finalize()))
    }
}

/// A list from the upstream.
#[derive(Clone, Debug)]
pub(super) struct Cached {
    pub(super) fetched_at: Timestamp,
    pub(super) etag: Option<String>,
    /// Sorted by id, without duplicates.
    pub(super) models: Arc<[Model]>,
}

impl Cached {
    /// A list from the future is not fresh: the clock has been set back since.
    pub(super) fn is_fresh(&self, now: Timestamp, time_to_live: Duration) -> bool {
        self.fetched_at <= now && now.since(self.fetched_at) < time_to_live
    }
}

pub(super) enum Store {
    Memory(Mutex<Option<(Accounts, Cached)>>),
    File(Arc<CacheFile>),
}

impl Store {
    pub(super) fn in_memory() -> Self {
        Self::Memory(Mutex::default())
    }

    pub(super) fn in_directory(directory: &Path, pool: &PoolKey, shape: ModelsShape, uri: &Uri) -> Self {
        Self::File(Arc::new(CacheFile::new(directory, pool, shape, uri)))
    }

    /// The last list for these accounts.
    pub(super) async fn load(&self, accounts: &Accounts) -> Option<Cached> {
        match self {
            Self::Memory(kept) => {
                let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.as_ref().filter(|(of, _)| of == accounts).map(|(_, cached)| cached.clone())
            }
            Self::File(file) => {
                let (file, accounts) = (file.clone(), accounts.clone());
                tokio::task::spawn_blocking(move || file.read(&accounts)).await.ok().flatten()
            }
        }
    }

    pub(super) async fn save(&self, accounts: &Accounts, cached: &Cached) {
        match self {
            Self::Memory(kept) => {
                let cached = (accounts.clone(), cached.clone());
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(cached);
            }
            Self::File(file) => {
                let (file, accounts, cached) = (file.clone(), accounts.clone(), cached.clone());
                let written = tokio::task::spawn_blocking(move || file.write(accounts, &cached)).await;
                if let Ok(Err(error)) = written {
                    tracing::warn!(%error, "the list of models could not be kept");
                }
            }
        }
    }
}

/// The file of one pool's list from one URL.
pub(super) struct CacheFile {
    path: PathBuf,
    pool: PoolKey,
    shape: ModelsShape,
    url: String,
}

/// The contents of a file. `M` is a model as the upstream wrote it.
#[derive(Serialize, Deserialize)]
struct Content<M> {
    pool: PoolKey,
    shape: String,
    url: String,
    accounts: Accounts,
    fetched_at: Timestamp,
    etag: Option<String>,
    models: Vec<M>,
}

impl CacheFile {
    fn new(directory: &Path, pool: &PoolKey, shape: ModelsShape, uri: &Uri) -> Self {
        let url = uri.to_string();
        let digest = hex(&Sha256::digest(format!("{shape} {url}")));
        let name = format!("{}+{}.models", pool_file(pool), &digest[..32]);
        Self { path: directory.join(name), pool: pool.clone(), shape, url }
    }

    fn read(&self, accounts: &Accounts) -> Option<Cached> {
        let (file, metadata) = disk::open_plain(&self.path).ok()??;
        if metadata.len() > MAX_SIZE {
            return None;
        }
        let mut bytes = Vec::new();
        ops::read(&file, &self.path, MAX_SIZE, &mut bytes).ok()?;
        self.parse(&bytes, accounts)
    }

    fn parse(&self, bytes: &[u8], accounts: &Accounts) -> Option<Cached> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (line, json) = (&bytes[..end], &bytes[end + 1..]);
        if line != first_line(json).as_bytes() {
            return None;
        }
        let content: Content<Box<RawValue>> = serde_json::from_slice(json).ok()?;
        let is_of_this_url = content.url == self.url && content.shape == self.shape.as_str();
        if content.pool != self.pool || content.accounts != *accounts || !is_of_this_url {
            return None;
        }
        let models = content.models.into_iter().map(|raw| page::model(self.shape, raw));
        let models = models.collect::<Result<Vec<_>, _>>().ok()?;
        let is_sorted = models.windows(2).all(|pair| pair[0].id < pair[1].id);
        is_sorted.then(|| Cached {
            fetched_at: content.fetched_at,
            etag: content.etag,
            models: models.into(),
        })
    }

    fn write(&self, accounts: Accounts, cached: &Cached) -> Result<(), VaultError> {
        let bytes = self.bytes(accounts, cached)?;
        let directory = disk::parent(&self.path);
        disk::make_dir(directory)?;
        sweep(directory);
        Temporary::write(&self.path, &bytes)?.replace(&self.path)
    }

    fn bytes(&self, accounts: Accounts, cached: &Cached) -> Result<Vec<u8>, VaultError> {
        let content = Content {
            pool: self.pool.clone(),
            shape: self.shape.to_string(),
            url: self.url.clone(),
            accounts,
            fetched_at: cached.fetched_at,
            etag: cached.etag.clone(),
            models: cached.models.iter().map(|model| &model.raw).collect(),
        };
        let failed = |error| disk::failed("write", &self.path)(error);
        let json = serde_json::to_vec(&content).map_err(|error| failed(error.into()))?;
        if json.len() as u64 > MAX_SIZE / 2 {
            return Err(failed(std::io::Error::other("it is too long to be kept")));
        }
        let mut bytes = first_line(&json).into_bytes();
        bytes.push(b'\n');
        bytes.extend(json);
        Ok(bytes)
    }
}

fn first_line(json: &[u8]) -> String {
    format!("{FORMAT} {}", hex(&Sha256::digest(json)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Removes temporary files of processes that were killed while they wrote.
fn sweep(directory: &Path) {
    let is_abandoned = |entry: &std::fs::DirEntry| {
        let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        let age = modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
        disk::is_our_temporary(entry) && age.is_some_and(|age| age > ABANDONED)
    };
    for entry in disk::entries(directory).unwrap_or_default().iter().filter(|entry| is_abandoned(entry))
    {
        // Another process may have been faster.
        let _ = ops::remove(&entry.path());
    }
}
