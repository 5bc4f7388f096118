//! A vault's key in a keyring: made once, however many processes ask; changed so that no key is ever lost; and if there
//! is no keyring, an error says what to do.
#![cfg(all(feature = "file", feature = "keyring"))]

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use keyring_core::api::{CredentialApi, CredentialStoreApi};
use keyring_core::{Credential, Entry, Error, Result};
use tempfile::TempDir;
use tower_credentials::vault::VaultError;
use tower_credentials::vault::key::{KeyServiceExt, KeyringKey, VaultKey};

use crate::children::{self, Job, say};

/// A keyring in memory in which the entries of single users can be made to fail.
#[derive(Default)]
struct Keyring {
    entries: Mutex<HashMap<String, Vec<u8>>>,
    /// How many more operations succeed for entries of users with this prefix.
    left: Mutex<HashMap<String, usize>>,
}

fn keyring() -> &'static Arc<Keyring> {
    static KEYRING: OnceLock<Arc<Keyring>> = OnceLock::new();
    KEYRING.get_or_init(|| {
        let keyring = Arc::new(Keyring::default());
        keyring_core::set_default_store(keyring.clone());
        keyring
    })
}

impl Keyring {
    fn step(&self, user: &str) -> Result<()> {
        for (of, left) in self.left.lock().unwrap().iter_mut() {
            if user.starts_with(of) {
                *left = left.checked_sub(1).ok_or_else(|| {
                    Error::NoStorageAccess("the test has locked the collection".into())
                })?;
            }
        }
        Ok(())
    }

    fn fails_after(&self, user: &str, left: Option<usize>) {
        let mut all = self.left.lock().unwrap();
        match left {
            Some(left) => drop(all.insert(user.to_owned(), left)),
            None => drop(all.remove(user)),
        }
    }

    fn text(&self, user: &str) -> Option<String> {
        let entries = self.entries.lock().unwrap();
        entries.get(user).map(|bytes| String::from_utf8(bytes.clone()).unwrap())
    }

    fn key(&self, user: &str) -> Option<VaultKey> {
        self.text(user).map(|text| VaultKey::from_base64(&text).unwrap())
    }

    fn put(&self, user: &str, bytes: &[u8]) {
        self.entries.lock().unwrap().insert(user.to_owned(), bytes.to_vec());
    }

    fn users(&self, of: &str) -> Vec<String> {
        let entries = self.entries.lock().unwrap();
        let mut users: Vec<_> = entries.keys().filter(|user| user.starts_with(of)).cloned().collect();
        users.sort();
        users
    }
}

impl CredentialStoreApi for Keyring {
    fn vendor(&self) -> String {
        "a test".to_owned()
    }

    fn id(&self) -> String {
        "1".to_owned()
    }

    fn build(&self, service: &str, user: &str, _: Option<&HashMap<&str, &str>>) -> Result<Entry> {
        assert_eq!(service, "tower-credentials-test");
        Ok(Entry::new_with_credential(Arc::new(Item { user: user.to_owned() })))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn debug_fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring")
    }
}

struct Item {
    user: String,
}

impl CredentialApi for Item {
    fn set_secret(&self, secret: &[u8]) -> Result<()> {
        keyring().step(&self.user)?;
        keyring().put(&self.user, secret);
        Ok(())
    }

    fn get_secret(&self) -> Result<Vec<u8>> {
        keyring().step(&self.user)?;
        keyring().entries.lock().unwrap().get(&self.user).cloned().ok_or(Error::NoEntry)
    }

    fn delete_credential(&self) -> Result<()> {
        keyring().step(&self.user)?;
        keyring().entries.lock().unwrap().remove(&self.user).map(drop).ok_or(Error::NoEntry)
    }

    fn get_credential(&self) -> Result<Option<Arc<Credential>>> {
        Ok(None)
    }

    fn get_specifiers(&self) -> Option<(String, String)> {
        None
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn debug_fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Item")
    }
}

/// The place of a user's key. No other test uses its entries.
struct Place {
    directory: TempDir,
    user: &'static str,
}

impl Place {
    fn new(user: &'static str) -> Self {
        keyring();
        Self { directory: TempDir::new().unwrap(), user }
    }

    fn lock(&self) -> PathBuf {
        self.directory.path().join("config/key.lock")
    }

    fn key(&self) -> KeyringKey {
        self.without_lock().lock_file(self.lock())
    }

    fn without_lock(&self) -> KeyringKey {
        KeyringKey::new("tower-credentials-test", self.user)
    }
}

fn key_error<T: fmt::Debug>(result: std::result::Result<T, VaultError>) -> String {
    match result {
        Err(VaultError::Key(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_child_does_its_job() {
    let Some(job) = children::job() else { return };
    assert_eq!(job, "load");
    // Without the test's keyring the system's is used.
    let place = KeyringKey::new("tower-credentials-test", "nobody");
    say(key_error(children::on_two_threads(place.load())));
}

#[tokio::test]
async fn a_missing_key_is_made_and_is_the_same_from_then_on() {
    let place = Place::new("made");
    assert!(place.key().load().await.unwrap().is_none());
    assert!(keyring().text("made").is_none(), "to look makes none");
    let key = place.key().load_or_create().await.unwrap();
    // As a person would read it and put it elsewhere.
    assert_eq!(keyring().text("made").unwrap(), key.to_base64().expose());
    assert_eq!(place.key().load().await.unwrap().unwrap().id(), key.id());
    assert_eq!(place.key().load_or_create().await.unwrap().id(), key.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_first_runs_at_once_all_have_the_same_key() {
    let place = Place::new("raced");
    let run = |key: KeyringKey| tokio::spawn(async move { key.load_or_create().await });
    let runs: Vec<_> = (0..32).map(|_| run(place.key())).collect();
    let mut ids = Vec::new();
    for run in runs {
        ids.push(run.await.unwrap().unwrap().id());
    }
    ids.dedup();
    assert_eq!(ids, [keyring().key("raced").unwrap().id()]);
}

#[tokio::test]
async fn without_a_lock_file_no_key_is_made_or_changed() {
    let place = Place::new("unlocked");
    key_error(place.without_lock().load_or_create().await);
    assert!(keyring().users("unlocked").is_empty());
    let key = place.key().load_or_create().await.unwrap();
    assert_eq!(place.without_lock().load_or_create().await.unwrap().id(), key.id());
    let text = key_error(place.without_lock().rotate().await);
    assert!(text.contains("lock file") && text.contains("\"unlocked\""), "{text}");
    key_error(place.without_lock().replace(&VaultKey::generate()).await);
    assert_eq!(keyring().users("unlocked"), ["unlocked"]);
}

#[tokio::test]
async fn a_change_keeps_both_keys_until_it_is_finished() {
    let place = Place::new("changed");
    let first = place.key().load_or_create().await.unwrap();
    let rotation = place.key().rotate().await.unwrap();
    let new = rotation.keys().current.id();
    assert_eq!(keyring().key("changed").unwrap().id(), new);
    assert_eq!(keyring().key("changed.old").unwrap().id(), first.id());
    let keys = place.key().load_keys().await.unwrap().unwrap();
    assert_eq!((keys.current.id(), keys.previous.unwrap().id()), (new, first.id()));
    assert!(matches!(place.key().rotate().await, Err(VaultError::Locked { .. })));
    drop(rotation);
    let rotation = place.key().rotate().await.unwrap();
    assert!(rotation.is_resumed());
    rotation.finish().await.unwrap();
    assert_eq!(keyring().users("changed"), ["changed"]);
    assert_eq!(keyring().key("changed").unwrap().id(), new);
}

#[tokio::test]
async fn a_change_that_the_keyring_cuts_off_anywhere_loses_no_key_and_can_be_resumed() {
    let place = Place::new("cut-off");
    let mut count = 0;
    for left in 0.. {
        let first = VaultKey::generate();
        keyring().put("cut-off", first.to_base64().expose().as_bytes());
        keyring().entries.lock().unwrap().remove("cut-off.old");
        keyring().fails_after("cut-off", Some(left));
        let done = match place.key().rotate().await {
            Ok(rotation) => rotation.finish().await,
            Err(error) => Err(error),
        };
        keyring().fails_after("cut-off", None);
        let keys = place.key().load_keys().await.unwrap().unwrap();
        let known = [Some(keys.current.id()), keys.previous.as_ref().map(VaultKey::id)];
        match done {
            Err(error) => {
                let text = key_error(Err::<(), _>(error));
                assert!(text.contains("the test has locked the collection"), "{text}");
                assert!(known.contains(&Some(first.id())), "after {left}: the first key is lost");
                let rotation = place.key().rotate().await.unwrap();
                assert_eq!(rotation.is_resumed(), keys.previous.is_some());
                if rotation.is_resumed() {
                    assert_eq!(rotation.keys().current.id(), keys.current.id(), "no third key");
                }
                rotation.finish().await.unwrap();
                count += 1;
            }
            Ok(()) => {
                assert_ne!(known, [Some(first.id()), None]);
                break;
            }
        }
        assert_eq!(keyring().users("cut-off"), ["cut-off"]);
    }
    assert!(count > 5, "{count} operations");
}

#[tokio::test]
async fn a_replaced_key_is_kept_in_an_entry_named_after_its_id() {
    let place = Place::new("replaced");
    let first = place.key().load_or_create().await.unwrap();
    let other = VaultKey::generate();
    let kept = place.key().replace(&other).await.unwrap();
    let user = format!("replaced.{}", first.id());
    assert_eq!(kept.len(), 1);
    assert!(kept[0].place.contains(&user), "{kept:?}");
    assert_eq!(keyring().key(&user).unwrap().id(), first.id());
    assert_eq!(keyring().key("replaced").unwrap().id(), other.id());
}

#[tokio::test]
async fn a_text_that_is_not_a_key_is_named_and_not_shown() {
    let place = Place::new("damaged");
    for bytes in [&b"sk-planted"[..], b"", b"sk-planted\xff"] {
        keyring().put("damaged", bytes);
        for text in [
            key_error(place.key().load().await),
            key_error(place.key().load_or_create().await),
            key_error(place.key().rotate().await),
            key_error(place.key().replace(&VaultKey::generate()).await),
        ] {
            assert!(text.contains("\"damaged\" of the service \"tower-credentials-test\""), "{text}");
            assert!(text.contains("does not hold a key") && !text.contains("planted"), "{text}");
        }
        assert_eq!(keyring().entries.lock().unwrap()["damaged"], bytes);
    }
}

#[tokio::test]
async fn a_keyring_that_cannot_be_reached_is_an_error_and_not_a_missing_key() {
    let place = Place::new("locked");
    keyring().fails_after("locked", Some(0));
    let other = Place::new("locked-other");
    keyring().fails_after("locked-other", None);
    for text in [
        key_error(place.key().load().await),
        key_error(place.key().load_or_create().await),
        key_error(place.key().or(other.key()).load_or_create().await),
    ] {
        for way in ["the test has locked", "TOWER_CREDENTIALS_VAULT_KEY", "key file", "command"] {
            assert!(text.contains(way), "{way}: {text}");
        }
    }
    assert!(keyring().users("locked").is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_secret_service_the_error_says_so_and_what_else_there_is() {
    let child = Job::new(module_path!(), "load")
        .under(["env", "DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent/bus"]);
    let said = child.start().succeed();
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("can't be reached"), "{said:?}");
    for way in ["TOWER_CREDENTIALS_VAULT_KEY", "key file", "command"] {
        assert!(said[0].contains(way), "{way}: {said:?}");
    }
}
