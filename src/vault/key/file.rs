//! A key in a file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::change::{self, KeptKey, Rotation, Slot, Slots};
use super::future::{KeyFuture, joined};
use super::service::{KeyRequest, KeyServiceExt, key_service};
use super::vault_key::{EXPECTED, VaultKey};
use crate::quoted::quoted;
use crate::vault::VaultError;
use crate::vault::disk::{self, ops};

/// A key in a file of mode 0600, in base64. [`KeyRequest::LoadOrCreate`] makes the file if it is missing, and missing
/// directories with mode 0700. Any number of threads and processes may do so at once: all get the same key. A file that the
/// group or others may touch is refused, and never changed.
#[derive(Clone, Debug)]
pub struct FileKey {
    path: PathBuf,
}

impl FileKey {
    /// Returns the place of the key in the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns the file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the key by a new one; the old one is kept as `<file>.old` until [`Rotation::finish`]. Resumes a rotation that
    /// was not finished, with its new key. If the process is killed at any moment, either both keys are there or nothing has
    /// begun.
    ///
    /// # Errors
    /// [`VaultError::Locked`] if another rotation is going on, [`VaultError::Key`] if there is no key or the file is not
    /// private, [`VaultError::Io`] if a file can't be written.
    pub async fn rotate(&self) -> Result<Rotation, VaultError> {
        Rotation::begin(Arc::new(self.clone())).await
    }

    /// Stores this key durably. A key that is there already is kept beside it, as `<file>.<its id>`. So is the previous key of
    /// an unfinished rotation, which ends with this call. If the process is killed at any moment, either the old keys are
    /// there or this one.
    ///
    /// # Errors
    /// The same as those of [`rotate`](Self::rotate), except that a missing key is not an error.
    pub async fn replace(&self, key: &VaultKey) -> Result<Vec<KeptKey>, VaultError> {
        change::replace(Arc::new(self.clone()), key.clone()).await
    }

    /// Returns whether the file is there, is plain and private, and holds no key: it was cut off, for example.
    ///
    /// # Errors
    /// [`VaultError::Key`] if it is not plain or not private, [`VaultError::Io`] if it can't be read.
    pub async fn is_damaged(&self) -> Result<bool, VaultError> {
        let path = self.path.clone();
        joined(spawn_blocking(move || is_damaged(&path)).await)
    }

    /// Renames the file if it [is damaged](Self::is_damaged), so that a key can be stored in its place. Returns the name under
    /// which it is kept: `<file>.damaged-1`, or with the next free number. The previous key of an unfinished rotation stays
    /// where it is.
    ///
    /// # Errors
    /// The same as those of [`is_damaged`](Self::is_damaged); [`VaultError::Locked`] if the key is being changed;
    /// [`VaultError::Io`] if the file can't be renamed.
    pub async fn set_damaged_aside(&self) -> Result<Option<PathBuf>, VaultError> {
        let place = self.clone();
        let set_aside = move || {
            let _lock = change::locked(&place)?;
            if !is_damaged(&place.path)? {
                return Ok(None);
            }
            let kept = disk::set_aside_as(&place.path, |number| {
                with_suffix(&place.path, &format!(".damaged-{number}"))
            })?;
            disk::sync_names(&place.path)?;
            Ok(Some(kept))
        };
        joined(spawn_blocking(set_aside).await)
    }

    fn path_of(&self, slot: Slot) -> PathBuf {
        with_suffix(&self.path, &slot.suffix())
    }

    pub(in crate::vault) fn load_previous(&self) -> Result<Option<VaultKey>, VaultError> {
        let previous = change::previous(self)?;
        if previous.is_some() {
            // The new key was read just before and may seal something next. If a power cut took the key, everything that it
            // seals would be lost.
            disk::sync_names(&self.path)?;
        }
        Ok(previous)
    }
}

key_service!(FileKey);

impl FileKey {
    pub(crate) fn respond(&self, request: KeyRequest) -> KeyFuture {
        let place = self.clone();
        KeyFuture::working(spawn_blocking(move || match request {
            KeyRequest::Load => load(&place.path),
            KeyRequest::LoadOrCreate => load_or_create(&place.path).map(Some),
            KeyRequest::LoadPrevious => place.load_previous(),
        }))
    }
}

impl Slots for FileKey {
    fn load(&self, slot: Slot) -> Result<Option<VaultKey>, VaultError> {
        load(&self.path_of(slot))
    }

    fn store(&self, slot: Slot, key: &VaultKey) -> Result<(), VaultError> {
        write(&self.path_of(slot), key, |file, path| file.replace(path))
    }

    fn add(&self, slot: Slot, key: &VaultKey) -> Result<bool, VaultError> {
        let path = self.path_of(slot);
        disk::make_dir(disk::parent(&path))?;
        disk::sync_way(disk::parent(&path))?;
        write(&path, key, |file, path| file.claim(path))
    }

    fn remove(&self, slot: Slot) -> Result<(), VaultError> {
        let path = self.path_of(slot);
        match ops::remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(disk::failed("remove", &path)(error))
            }
            _ => disk::sync_names(&path),
        }
    }

    fn name(&self, slot: Slot) -> String {
        self.path_of(slot).display().to_string()
    }

    fn lock(&self) -> Result<PathBuf, VaultError> {
        disk::make_dir(disk::parent(&self.path))?;
        Ok(with_suffix(&self.path, ".lock"))
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl VaultKey {
    /// Reads the key from the file at `path`. If there is no such file, makes a new key and durably writes the file, with mode
    /// 0600; makes missing directories with mode 0700. Any number of threads and processes may do so at once: all get the
    /// same key.
    ///
    /// # Errors
    /// [`VaultError::Key`] for a file that the group or others may touch, that belongs neither to the user nor to root nor
    /// to the owner of its directory, or that holds no key;
    /// [`VaultError::Io`] if it can't be read or made. An existing file is never changed.
    pub async fn load_or_create(path: impl Into<PathBuf>) -> Result<Self, VaultError> {
        FileKey::new(path).load_or_create().await
    }
}

/// Like [`VaultKey::load_or_create`], but blocks.
pub(in crate::vault) fn load_or_create(path: &Path) -> Result<VaultKey, VaultError> {
    for _ in 0..ATTEMPTS {
        if let Some(key) = load(path)? {
            // The process that made the file may have died before it synced the name, and everything that is sealed from now
            // on needs the key.
            if let Err(error) = disk::sync_names(path) {
                tracing::warn!("a power cut may take the vault's key, if it was made just now: {error}");
            }
            return Ok(key);
        }
        disk::make_dir(disk::parent(path))?;
        disk::sync_way(disk::parent(path))?;
        let key = VaultKey::generate();
        // The file gets its name only once it is whole, and only if no one else was first.
        if write(path, &key, |file, path| file.claim(path))? {
            return Ok(key);
        }
    }
    Err(disk::failed("create", path)(io::ErrorKind::NotFound.into()))
}

/// How often to try to store a key. Each failed attempt means that another process has just opened a vault in the same
/// directory, which it does once.
const ATTEMPTS: usize = 100;

/// Writes a key beside the file at `path`, then calls `place`, which gives it that name.
fn write<T>(
    path: &Path,
    key: &VaultKey,
    place: impl Fn(disk::Temporary, &Path) -> Result<T, VaultError>,
) -> Result<T, VaultError> {
    let mut text = Zeroizing::new(String::with_capacity(48));
    STANDARD.encode_string(key.as_bytes(), &mut text);
    text.push('\n');
    let mut attempts = 0..ATTEMPTS;
    loop {
        attempts.next();
        match disk::Temporary::write_secret(path, text.as_bytes()).and_then(|file| place(file, path)) {
            // A process that opens a vault in the same directory removes temporary files.
            Err(VaultError::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound && !attempts.is_empty() => {}
            written => return written,
        }
    }
}

pub(in crate::vault) fn load(path: &Path) -> Result<Option<VaultKey>, VaultError> {
    let Some(text) = text_in(path)? else { return Ok(None) };
    let no_key = || {
        VaultError::Key(format!(
            "{} does not hold {EXPECTED}; restore it from a backup: credentials vault import --file BACKUP; or begin \
             again without the accounts: credentials vault init --force",
            path.display()
        ))
    };
    key_of(&text).map(Some).ok_or_else(no_key)
}

fn is_damaged(path: &Path) -> Result<bool, VaultError> {
    Ok(text_in(path)?.is_some_and(|text| key_of(&text).is_none()))
}

fn key_of(text: &[u8]) -> Option<VaultKey> {
    str::from_utf8(text).ok().and_then(VaultKey::decode)
}

/// Reads what may be a key from a plain file that is nobody else's; `None` if there is no such file.
fn text_in(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
    let plain = disk::open_plain(path).map_err(|error| as_key_error(path, error));
    let Some((file, metadata)) = plain? else { return Ok(None) };
    if disk::open_to_others(&metadata) != 0 {
        let shown = path.display();
        return Err(VaultError::Key(format!(
            "others may read {shown}; to prevent that: chmod 600 {path}; if you can't change its mode (as with a mounted \
             secret), take the key from the command: cat {path}",
            path = quoted(path)
        )));
    }
    #[cfg(unix)]
    if let Some((owner, directory)) =
        disk::stranger(path, &metadata).map_err(disk::failed("look at", path))?
    {
        return Err(VaultError::Key(format!(
            "{} belongs to user {owner}, who is neither you nor the owner of its directory, user {directory}; if it is \
             the vault's key, as root: chown {directory} {}",
            path.display(),
            quoted(path)
        )));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE));
    ops::read(&file, path, MAX_FILE as u64, &mut text).map_err(disk::failed("read", path))?;
    Ok(Some(text))
}

/// Reports anything but a plain file as a key that can't be trusted, rather than as damage.
fn as_key_error(path: &Path, error: VaultError) -> VaultError {
    match error {
        VaultError::Damaged(damage) if path.is_symlink() => VaultError::Key(format!(
            "{damage}; or, if it is not yours to change (a mounted secret's), take the key from the command: cat {}",
            quoted(path)
        )),
        VaultError::Damaged(damage) => VaultError::Key(damage.to_string()),
        error => error,
    }
}

/// The maximum length of a key file, in bytes: more than a key and white space take.
const MAX_FILE: usize = 256;
