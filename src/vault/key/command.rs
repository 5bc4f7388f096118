//! A key that a command prints.

use std::ffi::OsString;

use super::future::KeyFuture;
use super::printed::{Expected, start};
use super::service::{KeyRequest, key_service};
use super::vault_key::{EXPECTED, VaultKey};

/// A key that a command prints in base64, such as a password manager. Never makes a key.
///
/// The command gets no input, but may ask on its terminal; it shares this program's standard error. Its arguments are
/// visible to every user of the machine, so they must hold no secret.
///
/// ```no_run
/// use tower_credentials::vault::key::{CommandKey, KeyServiceExt};
///
/// # async fn run() -> Result<(), tower_credentials::vault::VaultError> {
/// let key = CommandKey::new("pass").args(["show", "example/vault-key"]).load().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CommandKey {
    program: OsString,
    arguments: Vec<OsString>,
}

impl CommandKey {
    /// Returns the place of the key that `program` prints, without arguments. The program is looked up as by a shell, but no
    /// shell runs it.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self { program: program.into(), arguments: Vec::new() }
    }

    /// Appends these arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }
}

key_service!(CommandKey);

impl CommandKey {
    pub(crate) fn respond(&self, request: KeyRequest) -> KeyFuture {
        if request == KeyRequest::LoadPrevious {
            return KeyFuture::known(Ok(None));
        }
        let expected = Expected {
            name: "key",
            words: EXPECTED,
            most: MAX_OUTPUT,
            parse: |text| VaultKey::decode(text).map(Some),
        };
        match start(&self.program, &self.arguments, expected) {
            Ok((receiver, running)) => KeyFuture::running(receiver, running),
            Err(error) => KeyFuture::known(Err(error)),
        }
    }
}

/// The maximum number of bytes to read: more than a key and white space take.
const MAX_OUTPUT: usize = 256;
