//! A key in a file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::change::{self, KeptKey, Rotation, Slot, Slots};
use super::future::KeyFuture;
use super::service::{KeyRequest, KeyServiceExt, key_service};
use super::vault_key::{EXPECTED, VaultKey};
use crate::vault::VaultError;
use crate::vault::disk::{self, ops};

/// A key in a file of mode 0600, in base64. [`KeyRequest::LoadOrCreate`] makes the file where it is missing, and
/// directories that are missing with mode 0700; however many do so at once, in one process or in many, all get
/// the same key. A file that the group or others may touch is refused, and never changed.
#[derive(Clone, Debug)]
pub struct FileKey {
    path: PathBuf,
}

impl FileKey {
    /// The key in the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a new key in place of the one that is there, which is kept as `<file>.old` until
    /// [`Rotation::finish`]; goes on with what was begun and not finished, with that one's new key. Killed at
    /// any moment, both keys are there, or nothing has begun.
    ///
    /// # Errors
    /// [`VaultError::Locked`] while another one does so, [`VaultError::Key`] where there is no key to change
    /// or the file is not kept safely, [`VaultError::Io`] where a file can't be written.
    pub async fn rotate(&self) -> Result<Rotation, VaultError> {
        Rotation::begin(Arc::new(self.clone())).await
    }

    /// Puts this key there, durably. One that is there already is kept beside it, as `<file>.<its id>`; so is
    /// the one before it, where a change of keys was not finished, which ends thereby. Killed at any moment, the
    /// keys are those that were there, or this one.
    ///
    /// # Errors
    /// As at [`rotate`](Self::rotate); that there is no key is none here.
    pub async fn replace(&self, key: &VaultKey) -> Result<Vec<KeptKey>, VaultError> {
        change::replace(Arc::new(self.clone()), key.clone()).await
    }

    fn path_of(&self, slot: Slot) -> PathBuf {
        with_suffix(&self.path, &slot.suffix())
    }

    pub(in crate::vault) fn load_previous(&self) -> Result<Option<VaultKey>, VaultError> {
        let previous = change::previous(self)?;
        if previous.is_some() {
            // The key that took its place was seen just before, and may be sealed with: were it lost in a power
            // cut, so would be what it seals.
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
    /// The key in the file at `path`. Where there is no such file, a new key is made and the file with
    /// it, of mode 0600, durably; directories that are missing are made with mode 0700. However many
    /// do this at once, in one process or in many, all get the same key.
    ///
    /// # Errors
    /// [`VaultError::Key`] for a file that the group or others may touch, that belongs neither to the user nor to root nor
    /// to the owner of its directory, or that holds no key;
    /// [`VaultError::Io`] where it can't be read or made. A file that exists is never changed.
    pub async fn load_or_create(path: impl Into<PathBuf>) -> Result<Self, VaultError> {
        FileKey::new(path).load_or_create().await
    }
}

/// What [`VaultKey::load_or_create`] does; it blocks.
pub(in crate::vault) fn load_or_create(path: &Path) -> Result<VaultKey, VaultError> {
    for _ in 0..ATTEMPTS {
        if let Some(key) = load(path)? {
            // Whoever made the file may have died before this, and what is sealed now needs the key for good.
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

/// How often a key is tried to be stored: each try that fails so shows that another process has just opened a
/// vault beside it, which it does once.
const ATTEMPTS: usize = 100;

/// Writes a key beside the file at `path`, and then does `place` with it, which gives it that name.
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
            // Whoever opens a vault in the same directory just now sweeps it of temporary files.
            Err(VaultError::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound && !attempts.is_empty() => {}
            written => return written,
        }
    }
}

pub(in crate::vault) fn load(path: &Path) -> Result<Option<VaultKey>, VaultError> {
    let plain = disk::open_plain(path).map_err(|error| as_key_error(path, error));
    let Some((file, metadata)) = plain? else { return Ok(None) };
    if disk::open_to_others(&metadata) != 0 {
        let shown = path.display();
        return Err(VaultError::Key(format!(
            "others may read {shown}; run: chmod 600 {path}; or, where its mode is not yours to set (a mounted \
             secret's), take the key from the command: cat {path}",
            path = quoted(path)
        )));
    }
    #[cfg(unix)]
    if let Some((owner, directory)) =
        disk::stranger(path, &metadata).map_err(disk::failed("look at", path))?
    {
        let path = path.display();
        return Err(VaultError::Key(format!(
            "{path} belongs to user {owner}, who is neither you nor the owner of its directory, user {directory}; if it \
             is the vault's key, run as root: chown {directory} '{path}'"
        )));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE));
    ops::read(&file, path, MAX_FILE as u64, &mut text).map_err(disk::failed("read", path))?;
    let key = str::from_utf8(&text).ok().and_then(VaultKey::decode);
    let no_key = || {
        let path = path.display();
        VaultError::Key(format!(
            "{path} does not hold {EXPECTED}; restore it from a backup, or remove it to have a new key \
             made, which opens nothing that was sealed before"
        ))
    };
    key.map(Some).ok_or_else(no_key)
}

/// A file that is no plain one is not damaged, but a key file that is not to be trusted.
fn as_key_error(path: &Path, error: VaultError) -> VaultError {
    match error {
        VaultError::Damaged(damage) if path.is_symlink() => VaultError::Key(format!(
            "{damage}; or, where it is not yours to change (a mounted secret's), take the key from the command: cat {}",
            quoted(path)
        )),
        VaultError::Damaged(damage) => VaultError::Key(damage.to_string()),
        error => error,
    }
}

/// A path as a shell takes it, and whoever splits a command into words as one does.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// More than a key and white space take; what is longer is no key file.
const MAX_FILE: usize = 256;
