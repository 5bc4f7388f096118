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

/// How long to wait until the keyring is found.
const FOUND: Duration = Duration::from_secs(10);

/// The time after which a warning says that the keyring has not responded.
const SILENCE: Duration = Duration::from_secs(2);

/// A key in the system's keyring, in base64: the Secret Service on Linux and the BSDs (GNOME's keyring,
/// KWallet, KeePassXC), the keychain on macOS, the Credential Manager on Windows.
///
/// It is stored in the entry of a service and a user name; `secret-tool lookup service SERVICE username USER` prints it. A
/// locked keyring asks its user to unlock it. A program without a desktop usually has no keyring and gets an error. A
/// keyring that does not respond is an error, too: after ten seconds, or two minutes if its user may have to do something.
/// A `tracing` warning says what the program waits for.
///
/// If a program has set a store of its own with `keyring_core::set_default_store`, its keys are there.
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
    /// Returns the place of the key in the entry of this service and user.
    pub fn new(service: impl Into<String>, user: impl Into<String>) -> Self {
        Self { service: service.into(), user: user.into(), lock: None }
    }

    /// Sets the file to lock while a key is stored: the keyring alone does not keep two first runs from making a key each, of
    /// which one would be lost. Without a lock file no key is made or changed here. Every program that uses the entry must
    /// name the same file; it is made if it is missing, and never removed.
    #[must_use]
    pub fn lock_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.lock = Some(path.into());
        self
    }

    /// Replaces the key by a new one; the old one is kept beside it until [`Rotation::finish`]. Resumes a rotation that was not
    /// finished, with its new key.
    ///
    /// # Errors
    /// [`VaultError::Locked`] if another rotation is going on; [`VaultError::Key`] if there is no key, the keyring can't be
    /// reached or no [lock file](Self::lock_file) is set.
    pub async fn rotate(&self) -> Result<Rotation, VaultError> {
        Rotation::begin(Arc::new(self.clone())).await
    }

    /// Stores this key. A key that is there already is kept in another entry, whose user name ends in a dot and that key's id.
    ///
    /// # Errors
    /// The same as those of [`rotate`](Self::rotate), except that a missing key is not an error.
    pub async fn replace(&self, key: &VaultKey) -> Result<Vec<KeptKey>, VaultError> {
        change::replace(Arc::new(self.clone()), key.clone()).await
    }

    fn user(&self, slot: Slot) -> String {
        format!("{}{}", self.user, slot.suffix())
    }

    /// Calls `ask` with the entry of a slot.
    fn ask<T: Send + 'static>(
        &self,
        slot: Slot,
        ask: impl FnOnce(Entry) -> keyring_core::Result<T> + Send + 'static,
    ) -> Result<Result<T, Error>, VaultError> {
        let store = self.wait(slot, FOUND, store)?.map_err(|error| self.failed(slot, error))?;
        let (service, user) = (self.service.clone(), self.user(slot));
        self.wait(slot, PATIENCE, move || ask(Entry::new_in_store(&store, &service, &user)?))
    }

    /// Waits for the keyring with a time limit. The call runs on a thread that nobody joins: a bus that takes connections and
    /// stays silent would block it for ever.
    fn wait<T: Send + 'static>(
        &self,
        slot: Slot,
        most: Duration,
        ask: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, VaultError> {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::Builder::new().name("keyring".to_owned());
        let started = thread.spawn(move || drop(sender.send(ask())));
        started.map_err(|error| {
            VaultError::Key(format!("the keyring can't be asked: no thread for it ({error})"))
        })?;
        let received = receiver.recv_timeout(SILENCE).or_else(|_| {
            tracing::warn!(
                "waiting for the desktop's keyring, for {} s at most; it may be asking for its password",
                most.as_secs()
            );
            receiver.recv_timeout(most.saturating_sub(SILENCE))
        });
        received.map_err(|_| {
            VaultError::Key(format!(
                "{} can't be reached: the keyring has not answered within {} s; see whether the desktop's keyring \
                 runs, or {OTHERWISE}",
                self.name(slot),
                most.as_secs()
            ))
        })
    }

    /// Describes an error without the stored key, which some errors hold.
    fn failed(&self, slot: Slot, error: Error) -> VaultError {
        let name = self.name(slot);
        VaultError::Key(match error {
            Error::BadEncoding(mut bytes) | Error::BadDataFormat(mut bytes, _) => {
                bytes.zeroize();
                format!(
                    "{name} does not hold {EXPECTED}; remove it (on Linux: secret-tool clear service {} username {}), \
                     or put the key there again",
                    self.service,
                    self.user(slot)
                )
            }
            Error::Ambiguous(_) => {
                format!("there is more than one of {name}; remove all but the right one")
            }
            Error::TooLong(..) | Error::Invalid(..) | Error::BadStoreFormat(_) => {
                format!("{name} can't be used: {error}")
            }
            error => format!(
                "{name} can't be reached: {}; unlock or start the keyring, or {OTHERWISE}",
                unreached(&error)
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

/// Says why the keyring can't be reached.
fn unreached(error: &Error) -> String {
    #[cfg(all(unix, not(any(target_vendor = "apple", target_os = "android"))))]
    if matches!(error, Error::PlatformFailure(_) | Error::NoStorageAccess(_))
        // A store of the program's own may need none.
        && keyring_core::get_default_store().is_none()
        && !has_session_bus()
    {
        return "there is no D-Bus session here, as over ssh or in a service".to_owned();
    }
    error.to_string()
}

/// Whether there may be a session bus, through which the Secret Service is reached: an address that is named, or the usual
/// socket.
#[cfg(all(unix, not(any(target_vendor = "apple", target_os = "android"))))]
fn has_session_bus() -> bool {
    let directory = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usual = || PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw()));
    std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some_and(|address| !address.is_empty())
        || directory.unwrap_or_else(usual).join("bus").exists()
}

/// The way out if there is no keyring.
const OTHERWISE: &str = "give the key otherwise: in TOWER_CREDENTIALS_VAULT_KEY, in a key file, or by a command that \
                         prints it";

/// Returns the program's own store, or the system's.
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
        // Not every keyring reports that it has stored nothing.
        match self.load(slot)? {
            Some(kept) if kept.id() == key.id() => Ok(()),
            _ => {
                let name = self.name(slot);
                Err(VaultError::Key(format!("the keyring has taken {name}, but does not give it back")))
            }
        }
    }

    fn add(&self, slot: Slot, key: &VaultKey) -> Result<bool, VaultError> {
        // The caller has locked the file.
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
