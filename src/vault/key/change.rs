//! Another key in the place of one: where both are kept meanwhile, so that a process that dies at any moment
//! loses neither.
//!
//! The present key is copied to where the one before is kept, then the new one takes its place, each durably;
//! the copy goes when nothing needs it any more. So at every moment either both are the same, and nothing has
//! begun, or both are there.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::future::joined;
use super::vault_key::{KeyId, VaultKey};
use crate::vault::VaultError;
use crate::vault::disk::lock::{self, Taken};

/// A key, and the one before it while a change of keys is not finished.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Keys {
    /// The key that seals.
    pub current: VaultKey,
    /// The key before, which may still be needed to open what it has sealed.
    pub previous: Option<VaultKey>,
}

impl Keys {
    /// This key alone.
    pub fn new(current: VaultKey) -> Self {
        Self { current, previous: None }
    }

    /// Whether these are the same keys.
    pub fn is_same(&self, other: &Self) -> bool {
        let ids = |keys: &Self| (keys.current.id(), keys.previous.as_ref().map(VaultKey::id));
        ids(self) == ids(other)
    }

    /// With the key before it; the same one is none.
    #[must_use]
    pub fn previous(mut self, key: VaultKey) -> Self {
        self.previous = Some(key).filter(|key| key.id() != self.current.id());
        self
    }
}

/// Which of the keys that a place keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vault) enum Slot {
    /// The one that seals.
    Current,
    /// The one before, while a change of keys is not finished.
    Previous,
    /// One that was replaced by an unrelated one.
    Kept(KeyId),
    /// The unrelated one, while it takes the place of a key whose change is not finished.
    Replacement,
}

impl Slot {
    /// What is added to the name of the place.
    pub(super) fn suffix(self) -> String {
        match self {
            Self::Current => String::new(),
            Self::Previous => ".old".to_owned(),
            Self::Kept(id) => format!(".{id}"),
            Self::Replacement => ".new".to_owned(),
        }
    }
}

/// A place that keeps more than one key. The methods block.
pub(in crate::vault) trait Slots: Send + Sync + 'static {
    fn load(&self, slot: Slot) -> Result<Option<VaultKey>, VaultError>;
    /// Keeps the key in place of what is there, durably.
    fn store(&self, slot: Slot, key: &VaultKey) -> Result<(), VaultError>;
    /// Keeps the key durably if nothing is there, and answers whether that was so.
    fn add(&self, slot: Slot, key: &VaultKey) -> Result<bool, VaultError>;
    /// Removes what is there, durably; it may be gone already.
    fn remove(&self, slot: Slot) -> Result<(), VaultError>;
    /// What a person calls it.
    fn name(&self, slot: Slot) -> String;
    /// The file that is locked while keys are exchanged.
    fn lock(&self) -> Result<PathBuf, VaultError>;
}

/// The key before, while a change of keys is not finished. Without the lock.
///
/// One that is still there although an unrelated key has taken the place of both is none: a vault would be
/// taken over from the one key to the other.
pub(super) fn previous(slots: &impl Slots) -> Result<Option<VaultKey>, VaultError> {
    if slots.load(Slot::Previous)?.is_none() {
        return Ok(None);
    }
    // In this order: they are removed in the other one.
    let replacement = slots.load(Slot::Replacement)?;
    let previous = slots.load(Slot::Previous)?;
    let Some(replacement) = replacement else { return Ok(previous) };
    let current = slots.load(Slot::Current)?;
    Ok(previous.filter(|_| current.is_none_or(|current| current.id() != replacement.id())))
}

/// Ends what a process that died was about to replace. Wants the lock held.
fn settle(slots: &dyn Slots, current: &VaultKey) -> Result<(), VaultError> {
    let Some(replacement) = slots.load(Slot::Replacement)? else { return Ok(()) };
    if replacement.id() == current.id() {
        slots.remove(Slot::Previous)?;
    }
    slots.remove(Slot::Replacement)
}

/// Locks the place; whoever finds it locked is told by whom.
fn locked(slots: &dyn Slots) -> Result<Taken, VaultError> {
    let path = slots.lock()?;
    lock::hold(&path)?.ok_or_else(|| VaultError::Locked {
        holder: lock::holder(&path),
        path,
        waited: Duration::ZERO,
    })
}

/// A change of the key that a place keeps, which has begun: made by [`FileKey::rotate`](super::FileKey::rotate)
/// and its like. Both keys are kept until [`finish`](Self::finish), whatever happens; nobody else changes them
/// while this is held.
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
#[must_use = "a change of keys that is not finished has to be taken up again"]
pub struct Rotation {
    slots: Arc<dyn Slots>,
    keys: Keys,
    is_resumed: bool,
    lock: Taken,
}

impl Rotation {
    /// Begins, or goes on with what was begun.
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
        // The same one twice: whoever began has died before there was a new one.
        let previous = slots.load(Slot::Previous)?.filter(|previous| previous.id() != current.id());
        if let Some(previous) = previous {
            // Whoever began may have died before this, and what is sealed now needs the key for good.
            slots.store(Slot::Current, &current)?;
            let keys = Keys::new(current).previous(previous);
            return Ok(Self { slots, keys, is_resumed: true, lock });
        }
        let new = VaultKey::generate();
        slots.store(Slot::Previous, &current)?;
        slots.store(Slot::Current, &new)?;
        Ok(Self { slots, keys: Keys::new(new).previous(current), is_resumed: false, lock })
    }

    /// The new key, and the one before it.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether an earlier change had not been finished, which this one goes on with: the new key is that
    /// one's.
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// Keeps the key before under another name too, where it stays: backups need it, and so may another vault.
    ///
    /// # Errors
    /// Where it can't be kept.
    pub async fn keep_previous(&self) -> Result<Option<KeptKey>, VaultError> {
        let Some(previous) = self.keys.previous.clone() else { return Ok(None) };
        let slots = self.slots.clone();
        joined(spawn_blocking(move || keep(&*slots, &previous).map(Some)).await)
    }

    /// Forgets the key before. For when nothing is sealed with it any more, in any vault: what is, can't be
    /// opened by anybody then.
    ///
    /// # Errors
    /// [`VaultError::Key`] where the key that is kept is another one by now; [`VaultError::Io`] where it can't
    /// be removed. It is then still there.
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

/// A key that had to give way to another, and where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptKey {
    /// Which key.
    pub id: KeyId,
    /// Where: a file's path, or a keyring's entry.
    pub place: String,
}

fn keep(slots: &dyn Slots, key: &VaultKey) -> Result<KeptKey, VaultError> {
    let slot = Slot::Kept(key.id());
    slots.store(slot, key)?;
    Ok(KeptKey { id: key.id(), place: slots.name(slot) })
}

/// Puts `key` in place of those that are there, which are kept under other names.
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
            // A first run elsewhere does not lock, and may come first.
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
        // A vault may need both until it is given up, so the key before goes last; from the moment at which
        // the new key is there, what lies beside it says that they are not of one change.
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
