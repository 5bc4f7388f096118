//! The keys of an open vault, and the search for more.
//!
//! Another process may change the vault's key at any time. A request that finds a record under an unknown key, or that may
//! not seal any more, loads the key from its place and is tried again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::directory::Directory;
use crate::patience::within;
use crate::vault::VaultError;
use crate::vault::fair_lock::FairLock;
use crate::vault::key::{KeyId, KeyPlace, Signer};
use crate::vault::seal::Seals;

/// How long to wait before the same key is looked for again: at first, and at most. The place may be a command that asks a
/// person.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

pub(super) struct Ring {
    seals: Mutex<Arc<Seals>>,
    /// The place to load more keys from.
    place: Option<Arc<dyn KeyPlace>>,
    /// The keys that were not found.
    asked: Mutex<HashMap<KeyId, Asked>>,
    /// Held while a key is looked for: one request does so at a time.
    search: FairLock<()>,
}

/// A key that was not found.
#[derive(Clone)]
struct Asked {
    first: Instant,
    /// When it is looked for again.
    next: Instant,
    pause: Duration,
    /// The place's error, if it failed.
    error: Option<String>,
}

/// The result of looking for a key.
pub(super) enum Found {
    /// There are other keys now: the request must be made again.
    Other,
    /// The vault has another key by now, and it was not found.
    LeftBehind {
        /// That key.
        key: KeyId,
        /// How it was looked for, in words.
        said: String,
    },
    /// Nothing: the vault's key is known.
    Nothing,
    /// The request fails.
    Failed(VaultError),
}

impl Ring {
    pub(super) fn new(seals: Seals, place: Option<Arc<dyn KeyPlace>>) -> Self {
        Self {
            seals: Mutex::new(Arc::new(seals)),
            place,
            asked: Mutex::default(),
            search: FairLock::new(),
        }
    }

    /// Returns the current keys.
    pub(super) fn seals(&self) -> Arc<Seals> {
        lock(&self.seals).clone()
    }

    fn set(&self, seals: Seals) {
        *lock(&self.seals) = Arc::new(seals);
    }

    /// Loads the vault's id, to which the next secrets are bound; gives the vault an id if it has none. If that fails,
    /// they are sealed without one. An error here is one that sealing would have, too.
    pub(super) async fn identify(&self, directory: &Directory) -> Result<(), VaultError> {
        directory.work(|store| store.identify()).await?;
        if let Ok(Some((_, rules))) = directory.facts().await {
            let seals = self.seals().with_rules(rules);
            self.set(seals);
        }
        Ok(())
    }

    /// Looks for the keys that a request needs: those that were unknown, and the vault's current one. While `key.json` names an
    /// unknown key, waits for it: a key change may store it last.
    pub(super) async fn look(
        &self,
        directory: &Directory,
        used: &Arc<Seals>,
        mut unknown: Vec<KeyId>,
    ) -> Found {
        let _guard = self.search.lock(()).await;
        loop {
            let seals = self.seals();
            // Another request has found it meanwhile.
            if !Arc::ptr_eq(&seals, used) {
                return Found::Other;
            }
            let facts = directory.facts().await.ok().flatten();
            if let Some((key, rules)) = &facts
                && (*key != seals.key_id() && seals.knows(*key) || rules != seals.rules())
            {
                self.set(seals.sealing_with(*key).with_rules(rules.clone()));
                return Found::Other;
            }
            let vault_key = facts.map(|(key, _)| key);
            unknown.extend(vault_key);
            unknown.retain(|key| !seals.knows(*key));
            unknown.sort_unstable();
            unknown.dedup();
            let now = Instant::now();
            let is_due = |key: &KeyId| lock(&self.asked).get(key).is_none_or(|asked| asked.next <= now);
            if let Some(place) = &self.place
                && unknown.iter().any(is_due)
                && self.ask(&**place, directory, &unknown).await
            {
                if let Some(key) = vault_key {
                    let seals = self.seals().sealing_with(key);
                    self.set(seals);
                }
                return Found::Other;
            }
            let Some(key) = vault_key.filter(|key| unknown.contains(key)) else {
                return Found::Nothing;
            };
            let asked = lock(&self.asked).get(&key).cloned();
            let Some(Asked { first, next, error, .. }) = asked else {
                let said = "if its key was changed since this program was started, start it again";
                return Found::LeftBehind { key, said: said.to_owned() };
            };
            let deadline = first + directory.patience();
            if Instant::now() >= deadline {
                let why = error.map_or_else(String::new, |error| format!(" ({error})"));
                let said = format!("it was looked for where the key is kept, and is not there{why}");
                return Found::LeftBehind { key, said };
            }
            sleep_until(next.min(deadline)).await;
        }
    }

    /// Loads the keys from their place, and returns whether one of these was there.
    async fn ask(&self, place: &dyn KeyPlace, directory: &Directory, unknown: &[KeyId]) -> bool {
        let patience = directory.patience();
        let (found, error) = match within(patience, place.keys()).await {
            Ok(Ok(keys)) => (keys, None),
            Ok(Err(error)) => (None, Some(error.to_string())),
            Err(_) => (None, Some(format!("no response within {} s", patience.as_secs_f64()))),
        };
        let keys = found.into_iter().flat_map(|keys| [Some(keys.current), keys.previous]).flatten();
        // A different key there may belong to another vault.
        let keys: Vec<_> = keys.filter(|key| unknown.contains(&key.id())).collect();
        let mut asked = lock(&self.asked);
        for id in unknown {
            if keys.iter().any(|key| key.id() == *id) {
                asked.remove(id);
                continue;
            }
            let now = Instant::now();
            let known = asked.get(id);
            let pause = known.map_or(PAUSE.0, |known| (known.pause * 2).min(PAUSE.1));
            let first = known.map_or(now, |known| known.first);
            asked.insert(*id, Asked { first, next: now + pause, pause, error: error.clone() });
        }
        drop(asked);
        if keys.is_empty() {
            return false;
        }
        keys.iter().for_each(|key| directory.store().add_key(&Signer::new(key)));
        let seals = keys.iter().fold(Seals::clone(&self.seals()), |seals, key| seals.with_old(key));
        self.set(seals);
        true
    }
}

/// Locks a mutex. The state behind it is whole between any two statements, so a panic has not broken it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
