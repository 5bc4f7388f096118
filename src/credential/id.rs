//! The ids of credentials.

use crate::hex_id::hex_id;
use crate::random;

/// A credential's permanent id: 128 random bits, written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialId([u8; 16]);

impl CredentialId {
    /// Creates a random id.
    ///
    /// # Panics
    /// If the operating system cannot provide random numbers, since no safe id can be made without.
    pub fn random() -> Self {
        Self(random::bytes())
    }

    /// Creates the id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the first eight digits, which are enough to tell the accounts of a pool apart.
    pub(crate) fn short(&self) -> String {
        let mut digits = self.to_string();
        digits.truncate(8);
        digits
    }

    /// Returns the bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

hex_id!(CredentialId, InvalidId, "a credential id", "32");
