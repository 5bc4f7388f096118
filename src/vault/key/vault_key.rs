//! A vault's key, and its id.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::hex_id::hex_id;
use crate::secret::{SecretString, leaving_no_copy};
use crate::vault::VaultError;

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
    pub(super) fn derive(&self, purpose: &[u8]) -> Self {
        let mut derived = Self::unset();
        leaving_no_copy(|| {
            let key = hkdf::Hkdf::<Sha256>::new(None, self.0.as_slice());
            key.expand(purpose, derived.0.as_mut_slice()).expect("32 bytes are no more than HKDF gives");
        });
        derived
    }

    pub(super) fn decode(text: &str) -> Option<Self> {
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

pub(super) const EXPECTED: &str = "a key, which is 32 bytes in base64 (44 characters)";

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
