//! The key that seals a vault: 32 random bytes, from the environment, a file of its owner's, a command that
//! prints it, or a service of yours.

mod change;
#[cfg(feature = "keyring")]
mod keyring;
mod places;
mod service;
#[cfg(feature = "file")]
mod signer;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::VaultError;
use super::disk::{self, ops};
use crate::hex_id::hex_id;
use crate::secret::{SecretString, leaving_no_copy};

#[cfg(all(test, feature = "file"))]
pub(super) use change::{Slot, Slots, replace_now};
#[cfg(feature = "file")]
pub(super) use service::{KeyPlace, Place};
#[cfg(feature = "file")]
pub(super) use signer::Signer;

pub use change::{KeptKey, Keys, Rotation};
#[cfg(feature = "keyring")]
#[cfg_attr(docsrs, doc(cfg(feature = "keyring")))]
pub use keyring::KeyringKey;
pub use places::{CommandKey, EnvKey, FileKey, KeyFuture};
#[cfg(feature = "setup")]
pub(crate) use service::answers;
pub use service::{KeyRequest, KeyService, KeyServiceExt, Or, OrFuture};

/// A key for AES-256-GCM. It stays at one place in memory, is wiped from there when dropped, and is never printed.
///
/// ```
/// use tower_credentials::vault::key::VaultKey;
///
/// let key = VaultKey::generate();
/// let restored = VaultKey::from_base64(key.to_base64().expose())?;
/// assert_eq!(key.id(), restored.id());
/// assert_eq!(format!("{key:?}"), format!("VaultKey({})", key.id()));
/// # Ok::<(), tower_credentials::vault::VaultError>(())
/// ```
pub struct VaultKey(Box<[u8; 32]>);

impl VaultKey {
    /// The environment variable that holds a key: 32 bytes in base64.
    pub const VARIABLE: &'static str = "TOWER_CREDENTIALS_VAULT_KEY";

    /// A new random key.
    ///
    /// # Panics
    /// Where the operating system has no random numbers to give; nothing safe can be done without.
    pub fn generate() -> Self {
        let mut key = Self::unset();
        getrandom::fill(&mut *key.0).expect("the operating system gives random numbers");
        key
    }

    /// The key of these 32 bytes, which must be random: a password is no key. The caller's own copy is theirs to wipe.
    pub fn from_bytes(mut bytes: [u8; 32]) -> Self {
        let key = Self::copy_of(&bytes);
        bytes.zeroize();
        key
    }

    /// A key that is yet to be filled in, where it stays.
    fn unset() -> Self {
        Self(Box::new([0; 32]))
    }

    fn copy_of(bytes: &[u8; 32]) -> Self {
        let mut key = Self::unset();
        key.0.copy_from_slice(bytes);
        key
    }

    /// The key written in standard base64 with padding (RFC 4648, section 4); white space around it is
    /// ignored.
    ///
    /// # Errors
    /// [`VaultError::Key`] where the text is not 32 bytes in base64. The error does not show the text.
    pub fn from_base64(text: &str) -> Result<Self, VaultError> {
        Self::decode(text).ok_or_else(|| VaultError::Key(format!("the text is not {EXPECTED}")))
    }

    /// The key in standard base64, for a backup or for the environment.
    pub fn to_base64(&self) -> SecretString {
        STANDARD.encode(self.0.as_slice()).into()
    }

    /// The key in the environment variable [`VaultKey::VARIABLE`], where it is set.
    ///
    /// # Errors
    /// [`VaultError::Key`] where it is set to something else than 32 bytes in base64, or to nothing.
    pub fn from_env() -> Result<Option<Self>, VaultError> {
        from_variable(Self::VARIABLE.as_ref())
    }

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

    /// What tells this key from others; derived from it, so nothing has to be kept beside it.
    pub fn id(&self) -> KeyId {
        let mut id = [0; 8];
        leaving_no_copy(|| {
            let mut hash = Sha256::new();
            hash.update(b"tower-credentials vault key id v1\0");
            hash.update(self.0.as_slice());
            id.copy_from_slice(&hash.finalize()[..8]);
        });
        KeyId(id)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key for one other use, from which this one can't be told (HKDF with SHA-256, RFC 5869).
    #[cfg(feature = "file")]
    fn derive(&self, purpose: &[u8]) -> Self {
        let mut derived = Self::unset();
        leaving_no_copy(|| {
            let key = hkdf::Hkdf::<Sha256>::new(None, self.0.as_slice());
            key.expand(purpose, derived.0.as_mut_slice()).expect("32 bytes are no more than HKDF gives");
        });
        derived
    }

    fn decode(text: &str) -> Option<Self> {
        // One byte of room more than a key has, so that a longer text is seen to be too long.
        let mut bytes = Zeroizing::new([0; 33]);
        let length = STANDARD.decode_slice(text.trim(), &mut bytes[..]).ok()?;
        let mut key = Self::unset();
        key.0.copy_from_slice(bytes.get(..length).filter(|bytes| bytes.len() == 32)?);
        Some(key)
    }
}

impl Clone for VaultKey {
    fn clone(&self) -> Self {
        Self::copy_of(&self.0)
    }
}

impl Drop for VaultKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for VaultKey {}

const EXPECTED: &str = "a key, which is 32 bytes in base64 (44 characters)";

impl fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VaultKey({})", self.id())
    }
}

/// What tells one [`VaultKey`] from another: 64 bits of a hash of it, written as 16 lower-case
/// hexadecimal digits. No secret. A blob carries it, since AES-GCM by itself does not tell a wrong key
/// from damage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

hex_id!(KeyId, InvalidKeyId, "a key's id", "16");

fn from_variable(name: &OsStr) -> Result<Option<VaultKey>, VaultError> {
    let Some(value) = std::env::var_os(name) else { return Ok(None) };
    let text = Zeroizing::new(value.into_encoded_bytes());
    let key = str::from_utf8(&text).ok().and_then(VaultKey::decode);
    let no_key = || {
        let name = name.display();
        VaultError::Key(format!("the variable {name} is not {EXPECTED}; correct it or unset it"))
    };
    key.map(Some).ok_or_else(no_key)
}

/// What [`VaultKey::load_or_create`] does; it blocks.
pub(super) fn load_or_create(path: &Path) -> Result<VaultKey, VaultError> {
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
    STANDARD.encode_string(key.0.as_slice(), &mut text);
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

pub(super) fn load(path: &Path) -> Result<Option<VaultKey>, VaultError> {
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
            "{path} does not hold {EXPECTED}; move it away, then bring the key back from a backup: credentials vault \
             import --file BACKUP; or begin again without the accounts: credentials vault init --force"
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
