//! Replacing a key: both keys are kept meanwhile, so that a process that dies at any moment loses neither.
//!
//! First the current key is copied to the slot of the previous one, then the new key replaces the current one, each step
//! durably. The copy is removed when nothing needs it any more. So at any moment either both slots have the same key, and
//! nothing has begun, or both keys are there.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::future::joined;
use super::vault_key::{KeyId, VaultKey};
use crate::vault::VaultError;
use crate::vault::disk::lock::{self, Taken};

/// A key, and the previous one while a rotation is not finished.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Keys {
    /// The key that seals.
    pub current: VaultKey,
    /// The previous key, which may still be needed to open what it has sealed.
    pub previous: Option<VaultKey>,
}

impl Keys {
    /// Returns this key alone.
    pub fn new(current: VaultKey) -> Self {
        Self { current, previous: None }
    }

    /// Returns whether these are the same keys.
    pub fn is_same(&self, other: &Self) -> bool {
        let ids = |keys: &Self| (keys.current.id(), keys.previous.as_ref().map(VaultKey::id));
        ids(self) == ids(other)
    }

    /// Sets the previous key, unless it is the current one.
    #[must_use]
    pub fn previous(mut self, key: VaultKey) -> Self {
        self.previous = Some(key).filter(|key| key.id() != self.current.id());
        self
    }
}

/// One of the keys that a place stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vault) enum Slot {
    /// The key that seals.
    Current,
    /// The previous key, while a rotation is not finished.
    Previous,
    /// A key that an unrelated one has replaced.
    Kept(KeyId),
    /// The unrelated key, while it replaces the keys of an unfinished rotation.
    Replacement,
}

impl Slot {
    /// Returns the suffix of the slot's name.
    pub(super) fn suffix(self) -> String {
        match self {
            Self::Current => String::new(),
            Self::Previous => ".old".to_owned(),
            Self::Kept(id) => format!(".{id}"),
            Self::Replacement => ".new".to_owned(),
        }
    }
}

/// A place that stores more than one key. The methods block.
pub(in crate::vault) trait Slots: Send + Sync + 'static {
    fn load(&self, slot: Slot) -> Result<Option<VaultKey>, VaultError>;
    /// Stores the key durably, replacing the one that is there.
    fn store(&self, slot: Slot, key: &VaultKey) -> Result<(), VaultError>;
    /// Stores the key durably if there is none, and returns whether that was so.
    fn add(&self, slot: Slot, key: &VaultKey) -> Result<bool, VaultError>;
    /// Removes the key durably; it may be gone already.
    fn remove(&self, slot: Slot) -> Result<(), VaultError>;
    /// Returns the slot's name for messages.
    fn name(&self, slot: Slot) -> String;
    /// Returns the path of the file to lock while keys are replaced.
    fn lock(&self) -> Result<PathBuf, VaultError>;
}

/// Loads the previous key while a rotation is not finished. Does not take the lock.
///
/// A previous key that is still there after an unrelated key has replaced both does not count: otherwise a vault would be
/// resealed from the one key to the other.
pub(super) fn previous(slots: &impl Slots) -> Result<Option<VaultKey>, VaultError> {
    if slots.load(Slot::Previous)?.is_none() {
        return Ok(None);
    }
    // In this order: they are removed in the reverse order.
    let replacement = slots.load(Slot::Replacement)?;
    let previous = slots.load(Slot::Previous)?;
    let Some(replacement) = replacement else { return Ok(previous) };
    let current = slots.load(Slot::Current)?;
    Ok(previous.filter(|_| current.is_none_or(|current| current.id() != replacement.id())))
}

/// Finishes a replacement that a process has left when it died. The caller must hold the lock.
fn settle(slots: &dyn Slots, current: &VaultKey) -> Result<(), VaultError> {
    let Some(replacement) = slots.load(Slot::Replacement)? else { return Ok(()) };
    if replacement.id() == current.id() {
        slots.remove(Slot::Previous)?;
    }
    slots.remove(Slot::Replacement)
}

/// Locks the place; the error names the process that has locked it.
pub(super) fn locked(slots: &dyn Slots) -> Result<Taken, VaultError> {
    let path = slots.lock()?;
    lock::hold(&path)?.ok_or_else(|| VaultError::Locked {
        holder: lock::holder(&path),
        path,
        waited: Duration::ZERO,
    })
}

/// A rotation of a key that has begun, by [`FileKey::rotate`](super::FileKey::rotate) or `KeyringKey::rotate`. Both keys are
/// kept until [`finish`](Self::finish), whatever happens; nobody else can change them while this is held.
///
/// ```
/// use tower_credentials::vault::file::FileVault;
/// use tower_credentials::vault::key::{FileKey, KeyServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("vault.key");
/// # let vault = directory.path().join("vault");
/// let place = FileKey::new(path);
/// # FileVault::open(&vault, &place.load_or_create().await?).await?;
/// let rotation = place.rotate().await?;
/// let resealing = FileVault::builder(vault).open_with(rotation.keys()).await?.reseal(|_| ()).await?;
/// if resealing.left == 0 {
///     rotation.finish().await?;
/// }
/// # assert!(place.load_keys().await?.unwrap().previous.is_none());
/// # Ok(())
/// # }
/// ```
#[must_use = "a rotation that is not finished must be resumed"]
pub struct Rotation {
    slots: Arc<dyn Slots>,
    keys: Keys,
    is_resumed: bool,
    lock: Taken,
}

impl Rotation {
    /// Begins a rotation, or resumes one.
    pub(super) async fn begin(slots: Arc<dyn Slots>) -> Result<Self, VaultError> {
        joined(spawn_blocking(move || Self::begin_now(slots)).await)
    }

    pub(in crate::vault) fn begin_now(slots: Arc<dyn Slots>) -> Result<Self, VaultError> {
        let lock = locked(&*slots)?;
        let Some(current) = slots.load(Slot::Current)? else {
            let name = slots.name(Slot::Current);
            return Err(VaultError::Key(format!(
                "there is no key in {name}, so there is none to change"
            )));
        };
        settle(&*slots, &current)?;
        // The same key twice: the process that began has died before there was a new key.
        let previous = slots.load(Slot::Previous)?.filter(|previous| previous.id() != current.id());
        if let Some(previous) = previous {
            // The process that began may have died before it synced the name, and everything that is sealed from now on needs
            // the key.
            slots.store(Slot::Current, &current)?;
            let keys = Keys::new(current).previous(previous);
            return Ok(Self { slots, keys, is_resumed: true, lock });
        }
        let new = VaultKey::generate();
        slots.store(Slot::Previous, &current)?;
        slots.store(Slot::Current, &new)?;
        Ok(Self { slots, keys: Keys::new(new).previous(current), is_resumed: false, lock })
    }

    /// Returns the new key and the previous one.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Returns whether this resumes an earlier rotation that was not finished; the new key is that one's.
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// Also stores the previous key under another name, for good: backups need it, and another vault may need it, too.
    ///
    /// # Errors
    /// If it can't be stored.
    pub async fn keep_previous(&self) -> Result<Option<KeptKey>, VaultError> {
        let Some(previous) = self.keys.previous.clone() else { return Ok(None) };
        let slots = self.slots.clone();
        joined(spawn_blocking(move || keep(&*slots, &previous).map(Some)).await)
    }

    /// Removes the previous key. Only call this when nothing is sealed with it any more, in any vault: nobody could open it
    /// then.
    ///
    /// # Errors
    /// [`VaultError::Key`] if the stored key is another one by now; [`VaultError::Io`] if the previous key can't be removed.
    /// It is then still there.
    pub async fn finish(self) -> Result<(), VaultError> {
        joined(spawn_blocking(move || self.finish_now()).await)
    }

    pub(in crate::vault) fn finish_now(self) -> Result<(), VaultError> {
        let Self { slots, keys, lock, .. } = self;
        let current = slots.load(Slot::Current)?.map(|key| key.id());
        if current != Some(keys.current.id()) {
            let name = slots.name(Slot::Current);
            return Err(VaultError::Key(format!(
                "{name} does not hold the key {} any more: somebody has exchanged it; the key before is kept in \
                 {}",
                keys.current.id(),
                slots.name(Slot::Previous)
            )));
        }
        slots.remove(Slot::Previous)?;
        drop(lock);
        Ok(())
    }
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rotation = f.debug_struct("Rotation");
        rotation.field("keys", &self.keys).field("is_resumed", &self.is_resumed).finish_non_exhaustive()
    }
}

/// A key that was replaced by another, and where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptKey {
    /// The key's id.
    pub id: KeyId,
    /// The place: a file's path, or a keyring's entry.
    pub place: String,
}

fn keep(slots: &dyn Slots, key: &VaultKey) -> Result<KeptKey, VaultError> {
    let slot = Slot::Kept(key.id());
    slots.store(slot, key)?;
    Ok(KeptKey { id: key.id(), place: slots.name(slot) })
}

/// Replaces the stored keys by `key`, and keeps them under other names.
pub(super) async fn replace(slots: Arc<dyn Slots>, key: VaultKey) -> Result<Vec<KeptKey>, VaultError> {
    joined(spawn_blocking(move || replace_now(&*slots, &key)).await)
}

pub(in crate::vault) fn replace_now(
    slots: &dyn Slots,
    key: &VaultKey,
) -> Result<Vec<KeptKey>, VaultError> {
    let _lock = locked(slots)?;
    loop {
        let Some(current) = slots.load(Slot::Current)? else {
            // The first run of another process does not lock, and may be faster.
            match slots.add(Slot::Current, key)? {
                true => return Ok(Vec::new()),
                false => continue,
            }
        };
        settle(slots, &current)?;
        if current.id() == key.id() {
            return Ok(Vec::new());
        }
        let previous = slots.load(Slot::Previous)?;
        let is_changing = previous.is_some();
        let mut kept: Vec<KeptKey> = Vec::new();
        for old in [Some(current), previous].into_iter().flatten() {
            if kept.iter().all(|kept| kept.id != old.id()) {
                kept.push(keep(slots, &old)?);
            }
        }
        // A vault may need both keys until the old ones are given up, so the previous key is removed last. As soon as the new
        // key is there, the replacement slot says that the two are not from one rotation.
        if is_changing {
            slots.store(Slot::Replacement, key)?;
        }
        slots.store(Slot::Current, key)?;
        if is_changing {
            slots.remove(Slot::Previous)?;
            slots.remove(Slot::Replacement)?;
        }
        return Ok(kept);
    }
}
