//! Secret text: zeroized on drop, never printed.

#[cfg(feature = "seal")]
use std::cell::Cell;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A token, a key or a password. It is zeroized on drop, its `Debug` output is `SecretString(…)`, and it has no
/// `Display`.
///
/// ```
/// use tower_credentials::SecretString;
///
/// let key = SecretString::from("sk-test");
/// assert_eq!(key.expose(), "sk-test");
/// assert_eq!(format!("{key:?}"), "SecretString(…)");
/// ```
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretString(String);

impl SecretString {
    /// Returns the text. Every call is a place where a secret may leak, so keep them few.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for SecretString {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for SecretString {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretString(…)")
    }
}

/// Serialized as the text itself. Only a vault's sealing does this, into memory that is zeroized.
impl Serialize for SecretString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// How much of the stack is overwritten: more than the deepest call of a cipher or a hash uses.
#[cfg(feature = "seal")]
const STACK: usize = 64 * 1024;

/// Calls `work`, then overwrites the part of the stack that it has used: a secret that is moved leaves a copy behind,
/// which is not zeroized. Nested calls overwrite it once, at the end of the outermost one.
#[cfg(feature = "seal")]
#[inline(never)]
pub(crate) fn leaving_no_copy<T>(work: impl FnOnce() -> T) -> T {
    thread_local! {
        static IS_WITHIN: Cell<bool> = const { Cell::new(false) };
    }

    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            IS_WITHIN.set(false);
        }
    }

    #[inline(never)]
    fn called<T>(work: impl FnOnce() -> T) -> T {
        work()
    }

    #[inline(never)]
    fn overwrite() {
        std::hint::black_box(&mut [0_u8; STACK]);
    }

    if IS_WITHIN.replace(true) {
        return work();
    }
    let _end = End;
    let done = called(work);
    overwrite();
    done
}
