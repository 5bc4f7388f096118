//! A vault's key, and its id.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::hex_id::hex_id;
use crate::secret::{SecretString, leaving_no_copy};
use crate::vault::VaultError;

/// A key for AES-256-GCM. It stays in one place in memory, is wiped when dropped, and is never printed.
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

    /// Returns a new random key.
    ///
    /// # Panics
    /// If the operating system gives no random numbers; nothing safe can be done without them.
    pub fn generate() -> Self {
        let mut key = Self::unset();
        getrandom::fill(&mut *key.0).expect("the operating system gives random numbers");
        key
    }

    /// Returns the key with these 32 bytes, which must be random: a password is not a key. The caller must wipe its own copy.
    pub fn from_bytes(mut bytes: [u8; 32]) -> Self {
        let key = Self::copy_of(&bytes);
        bytes.zeroize();
        key
    }

    /// Returns a key to fill in, in the place where it stays.
    fn unset() -> Self {
        Self(Box::new([0; 32]))
    }

    fn copy_of(bytes: &[u8; 32]) -> Self {
        let mut key = Self::unset();
        key.0.copy_from_slice(bytes);
        key
    }

    /// Parses a key in standard base64 with padding (RFC 4648, section 4); white space around it is ignored.
    ///
    /// # Errors
    /// [`VaultError::Key`] if the text is not 32 bytes in base64. The error does not show the text.
    pub fn from_base64(text: &str) -> Result<Self, VaultError> {
        Self::decode(text).ok_or_else(|| VaultError::Key(format!("the text is not {EXPECTED}")))
    }

    /// Returns the key in standard base64, for a backup or for the environment.
    pub fn to_base64(&self) -> SecretString {
        STANDARD.encode(self.0.as_slice()).into()
    }

    /// Returns the key's id. It is derived from the key, so nothing has to be stored beside it.
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

    /// Derives a key for another purpose, which does not reveal this one (HKDF with SHA-256, RFC 5869).
    #[cfg(any(feature = "file", feature = "redis"))]
    pub(super) fn derive(&self, purpose: &[u8]) -> Self {
        let mut derived = Self::unset();
        leaving_no_copy(|| {
            let key = hkdf::Hkdf::<Sha256>::new(None, self.0.as_slice());
            key.expand(purpose, derived.0.as_mut_slice()).expect("32 bytes are no more than HKDF gives");
        });
        derived
    }

    pub(super) fn decode(text: &str) -> Option<Self> {
        // One byte more than a key has, so that a text that is too long is noticed.
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

/// The id of a [`VaultKey`]: 64 bits of a hash of it, written as 16 lower-case hexadecimal digits. Not a secret. Sealed
/// secrets carry it, since AES-GCM alone cannot distinguish a wrong key from damage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

hex_id!(KeyId, InvalidKeyId, "a key's id", "16");
