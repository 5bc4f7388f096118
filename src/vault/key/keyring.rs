//! A key in the system's keyring.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use keyring_core::{CredentialStore, Entry, Error};
use tokio::task::spawn_blocking;
use zeroize::{Zeroize, Zeroizing};

use super::change::{self, KeptKey, Rotation, Slot, Slots};
use super::future::KeyFuture;
use super::service::{KeyRequest, key_service};
use super::vault_key::{EXPECTED, VaultKey};
use crate::vault::VaultError;
use crate::vault::disk::{self, lock};

/// How long a first run waits for another one: it may have to ask its user to unlock the keyring.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long the keyring is waited for until it is found.
const FOUND: Duration = Duration::from_secs(10);

/// After how long a person is told that the keyring is waited for.
const SILENCE: Duration = Duration::from_secs(2);

/// A key in the system's keyring, in base64: the Secret Service on Linux and the BSDs (GNOME's keyring,
/// KWallet, KeePassXC), the keychain on macOS, the Credential Manager on Windows.
///
/// It is the entry of a service and a user's name, and `secret-tool lookup service SERVICE username USER` prints
/// it. A keyring that is locked asks its user to unlock it; a program without a desktop has none, most often,
/// and gets an error. So does one whose keyring does not answer: after ten seconds, or two minutes where its user
/// may be asked for something. A `tracing` warning says what is waited for.
///
/// A program that has set a store of its own by `keyring_core::set_default_store` has its keys there.
///
/// ```no_run
/// use tower_credentials::vault::key::{KeyServiceExt, KeyringKey};
///
/// # async fn run() -> Result<(), tower_credentials::vault::VaultError> {
/// let place = KeyringKey::new("example", "vault-key").lock_file("/home/me/.config/example/key.lock");
/// let key = place.load_or_create().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct KeyringKey {
    service: String,
    user: String,
    lock: Option<PathBuf>,
}

impl KeyringKey {
    /// The key in the entry of this service and user.
    pub fn new(service: impl Into<String>, user: impl Into<String>) -> Self {
        Self { service: service.into(), user: user.into(), lock: None }
    }

    /// Whoever puts a key into the keyring locks this file meanwhile: a keyring by itself does not keep two
    /// first runs from making a key each, of which one is lost. Without it no key is made or changed here.
    /// Every program that uses the entry must name the same file; it is made, and stays.
    #[must_use]
    pub fn lock_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.lock = Some(path.into());
        self
    }

    /// Puts a new key in place of the one that is there, which is kept beside it until
    /// [`Rotation::finish`]; goes on with what was begun and not finished, with that one's new key.
    ///
    /// # Errors
    /// [`VaultError::Locked`] while another one does so; [`VaultError::Key`] where there is no key to change,
    /// the keyring can't be reached or no [lock file](Self::lock_file) is named.
    pub async fn rotate(&self) -> Result<Rotation, VaultError> {
        Rotation::begin(Arc::new(self.clone())).await
    }

    /// Puts this key there. One that is there already is kept beside it, as the entry of the user's name, a
    /// dot and that key's id.
    ///
    /// # Errors
    /// As at [`rotate`](Self::rotate); that there is no key is none here.
    pub async fn replace(&self, key: &VaultKey) -> Result<Vec<KeptKey>, VaultError> {
        change::replace(Arc::new(self.clone()), key.clone()).await
    }

    fn user(&self, slot: Slot) -> String {
        format!("{}{}", self.user, slot.suffix())
    }

    /// Asks for something with the entry of a slot.
    fn ask<T: Send + 'static>(
        &self,
        slot: Slot,
        ask: impl FnOnce(Entry) -> keyring_core::Result<T> + Send + 'static,
    ) -> Result<Result<T, Error>, VaultError> {
        let store = self.wait(slot, FOUND, store)?.map_err(|error| self.failed(slot, error))?;
        let (service, user) = (self.service.clone(), self.user(slot));
        self.wait(slot, PATIENCE, move || ask(Entry::new_in_store(&store, &service, &user)?))
    }

    /// Waits for the keyring with a bound. It is asked on a thread that nobody waits for at the end: a bus that takes
    /// connections and is silent would hold it for ever.
    fn wait<T: Send + 'static>(
        &self,
        slot: Slot,
        most: Duration,
        ask: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, VaultError> {
        let (sender, answer) = mpsc::channel();
        let thread = thread::Builder::new().name("keyring".to_owned());
        let started = thread.spawn(move || drop(sender.send(ask())));
        started.map_err(|error| {
            VaultError::Key(format!("the keyring can't be asked: no thread for it ({error})"))
        })?;
        let answered = answer.recv_timeout(SILENCE).or_else(|_| {
            tracing::warn!(
                "waiting for the desktop's keyring, for {} s at most; it may be asking for its password",
                most.as_secs()
            );
            answer.recv_timeout(most.saturating_sub(SILENCE))
        });
        answered.map_err(|_| {
            VaultError::Key(format!(
                "the keyring with {} has not answered within {} s; see whether the desktop's keyring runs, or \
                 {OTHERWISE}",
                self.name(slot),
                most.as_secs()
            ))
        })
    }

    /// What is wrong, without what is kept, which some errors hold.
    fn failed(&self, slot: Slot, error: Error) -> VaultError {
        let name = self.name(slot);
        VaultError::Key(match error {
            Error::BadEncoding(mut bytes) | Error::BadDataFormat(mut bytes, _) => {
                bytes.zeroize();
                format!("{name} does not hold {EXPECTED}; remove it, or put the key there again")
            }
            Error::Ambiguous(_) => {
                format!("there is more than one of {name}; remove all but the right one")
            }
            Error::TooLong(..) | Error::Invalid(..) | Error::BadStoreFormat(_) => {
                format!("{name} can't be used: {error}")
            }
            error => format!(
                "the keyring with {name} can't be reached ({error}); unlock or start it, or {OTHERWISE}"
            ),
        })
    }

    fn load_or_create(&self) -> Result<Option<VaultKey>, VaultError> {
        let known = self.load(Slot::Current)?;
        let Some(path) = self.lock.as_ref().filter(|_| known.is_none()) else { return Ok(known) };
        disk::make_dir(disk::parent(path))?;
        let since = Instant::now();
        let _lock = loop {
            if let Some(lock) = lock::hold(path)? {
                break lock;
            }
            let waited = since.elapsed();
            if waited > PATIENCE {
                return Err(VaultError::Locked {
                    holder: lock::holder(path),
                    path: path.clone(),
                    waited,
                });
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        if let Some(key) = self.load(Slot::Current)? {
            return Ok(Some(key));
        }
        let key = VaultKey::generate();
        self.store(Slot::Current, &key)?;
        Ok(Some(key))
    }
}

/// The way out where there is no keyring.
const OTHERWISE: &str = "give the key otherwise: in TOWER_CREDENTIALS_VAULT_KEY, in a key file, or by a command that \
                         prints it";

/// The program's own store, or the system's.
fn store() -> keyring_core::Result<Arc<CredentialStore>> {
    if let Some(store) = keyring_core::get_default_store() {
        return Ok(store);
    }
    #[cfg(target_os = "macos")]
    return Ok(apple_native_keyring_store::keychain::Store::new()?);
    #[cfg(windows)]
    return Ok(windows_native_keyring_store::Store::new()?);
    #[cfg(all(unix, not(any(target_vendor = "apple", target_os = "android"))))]
    return Ok(zbus_secret_service_keyring_store::Store::new()?);
    #[allow(unreachable_code, reason = "systems without a store of which this crate knows")]
    Err(Error::NoDefaultStore)
}

impl Slots for KeyringKey {
    fn load(&self, slot: Slot) -> Result<Option<VaultKey>, VaultError> {
        let text = match self.ask(slot, |entry| entry.get_password().map(Zeroizing::new))? {
            Ok(text) => text,
            Err(Error::NoEntry) => return Ok(None),
            Err(error) => return Err(self.failed(slot, error)),
        };
        let key =
            VaultKey::decode(&text).ok_or_else(|| self.failed(slot, Error::BadEncoding(Vec::new())));
        key.map(Some)
    }

    fn store(&self, slot: Slot, key: &VaultKey) -> Result<(), VaultError> {
        let text = key.to_base64();
        self.ask(slot, move |entry| entry.set_password(text.expose()))?
            .map_err(|error| self.failed(slot, error))?;
        // Not every keyring says so where it keeps nothing.
        match self.load(slot)? {
            Some(kept) if kept.id() == key.id() => Ok(()),
            _ => {
                let name = self.name(slot);
                Err(VaultError::Key(format!("the keyring has taken {name}, but does not give it back")))
            }
        }
    }

    fn add(&self, slot: Slot, key: &VaultKey) -> Result<bool, VaultError> {
        // Whoever adds one has locked the file.
        match self.load(slot)? {
            Some(_) => Ok(false),
            None => self.store(slot, key).map(|()| true),
        }
    }

    fn remove(&self, slot: Slot) -> Result<(), VaultError> {
        match self.ask(slot, |entry| entry.delete_credential())? {
            Ok(()) | Err(Error::NoEntry) => Ok(()),
            Err(error) => Err(self.failed(slot, error)),
        }
    }

    fn name(&self, slot: Slot) -> String {
        format!("the keyring's entry {:?} of the service {:?}", self.user(slot), self.service)
    }

    fn lock(&self) -> Result<PathBuf, VaultError> {
        let path = self.lock.clone().ok_or_else(|| {
            let name = self.name(Slot::Current);
            VaultError::Key(format!("{name} can't be changed without a lock file; name one"))
        })?;
        disk::make_dir(disk::parent(&path))?;
        Ok(path)
    }
}

key_service!(KeyringKey);

impl KeyringKey {
    pub(crate) fn respond(&self, request: KeyRequest) -> KeyFuture {
        let place = self.clone();
        KeyFuture::working(spawn_blocking(move || match request {
            KeyRequest::Load => place.load(Slot::Current),
            KeyRequest::LoadOrCreate => place.load_or_create(),
            KeyRequest::LoadPrevious => change::previous(&place),
        }))
    }
}

impl fmt::Display for KeyringKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name(Slot::Current))
    }
}
