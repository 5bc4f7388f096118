//! The place of a vault's key.

use std::fmt;
use std::path::Path;

use super::SetupError;
use super::places::Places;
use crate::printable::Shown;
use crate::settings::KeySource;
use crate::vault::VaultError;
#[cfg(feature = "keyring")]
use crate::vault::key::KeyringKey;
use crate::vault::key::{
    CommandKey, EnvKey, FileKey, KeptKey, KeyFuture, KeyRequest, Rotation, VaultKey, key_service,
};

/// The place of a vault's key: as the program, the environment or the settings name it, or the key file.
#[derive(Clone, Debug)]
pub struct KeyPlace {
    kind: Kind,
    is_default: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Variable,
    File(FileKey),
    Command(Vec<String>),
    #[cfg(feature = "keyring")]
    Keyring(KeyringKey),
}

impl KeyPlace {
    pub(super) fn new(named: Option<KeySource>, places: &Places) -> Result<Self, SetupError> {
        let is_default = named.is_none();
        let kind = match named.unwrap_or_else(|| KeySource::File(places.key.clone())) {
            KeySource::Variable => Kind::Variable,
            KeySource::File(path) => Kind::File(FileKey::new(path)),
            KeySource::Command(words) => Kind::Command(words),
            #[cfg(feature = "keyring")]
            KeySource::Keyring => Kind::Keyring(
                KeyringKey::new("tower-credentials", "vault-key").lock_file(&places.keyring_lock),
            ),
            #[cfg(not(feature = "keyring"))]
            KeySource::Keyring => return Err(SetupError::NoKeyring),
        };
        Ok(Self { kind, is_default })
    }

    /// Stores this key, and returns the keys that were there and where they are kept now; `None` if the place
    /// [can't store a key](Self::can_keep).
    ///
    /// # Errors
    /// If the place can't be written to.
    pub async fn replace(&self, key: &VaultKey) -> Result<Option<Vec<KeptKey>>, VaultError> {
        match &self.kind {
            Kind::File(file) => file.replace(key).await.map(Some),
            #[cfg(feature = "keyring")]
            Kind::Keyring(keyring) => keyring.replace(key).await.map(Some),
            Kind::Variable | Kind::Command(_) => Ok(None),
        }
    }

    /// Replaces the key by a new one, or resumes a rotation; `None` if the place [can't store a key](Self::can_keep).
    ///
    /// # Errors
    /// If the place can't be written to, or has no key.
    pub async fn rotate(&self) -> Result<Option<Rotation>, VaultError> {
        match &self.kind {
            Kind::File(file) => file.rotate().await.map(Some),
            #[cfg(feature = "keyring")]
            Kind::Keyring(keyring) => keyring.rotate().await.map(Some),
            Kind::Variable | Kind::Command(_) => Ok(None),
        }
    }

    /// Returns whether this place can store a key.
    pub fn can_keep(&self) -> bool {
        !matches!(self.kind, Kind::Variable | Kind::Command(_))
    }

    /// Returns the key file's path, if the place is a file.
    pub fn file(&self) -> Option<&Path> {
        match &self.kind {
            Kind::File(file) => Some(file.path()),
            _ => None,
        }
    }

    /// Returns whether this is the default place, because nobody has named another.
    pub fn is_default(&self) -> bool {
        self.is_default
    }

    /// Returns the key's source.
    pub fn source(&self) -> KeySource {
        match &self.kind {
            Kind::Variable => KeySource::Variable,
            Kind::File(file) => KeySource::File(file.path().to_owned()),
            Kind::Command(words) => KeySource::Command(words.clone()),
            #[cfg(feature = "keyring")]
            Kind::Keyring(_) => KeySource::Keyring,
        }
    }
}

key_service!(KeyPlace);

impl KeyPlace {
    fn respond(&self, request: KeyRequest) -> KeyFuture {
        match &self.kind {
            Kind::Variable => EnvKey::default().respond(request),
            Kind::File(file) => file.respond(request),
            Kind::Command(words) => command(words).respond(request),
            #[cfg(feature = "keyring")]
            Kind::Keyring(keyring) => keyring.respond(request),
        }
    }
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Variable => write!(f, "the variable {}", VaultKey::VARIABLE),
            Kind::File(file) => write!(f, "{}", Shown(file.path().display())),
            // Its arguments may be confidential.
            Kind::Command(words) => write!(f, "the command {}", Shown(&words[0])),
            #[cfg(feature = "keyring")]
            Kind::Keyring(keyring) => keyring.fmt(f),
        }
    }
}

fn command(words: &[String]) -> CommandKey {
    CommandKey::new(&words[0]).args(&words[1..])
}
