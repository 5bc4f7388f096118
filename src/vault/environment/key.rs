//! The key in the variable: what it is now, and what has become of it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use crate::api_key::NotAnApiKey;
use crate::clock::Timestamp;
use crate::credential::{Credential, CredentialId, Generation, Kind, Metadata, PoolKey, Record, Secret};
use crate::secret::SecretString;
use crate::standing::Standing;
use crate::vault::fair_lock::FairLock;
use crate::vault::{Begun, Damage, Replaced, Revision, VaultError, check_kind, now};

/// The variable, and what is known of its key.
pub(super) struct Shared {
    pub(super) id: CredentialId,
    pub(super) pool: PoolKey,
    pub(super) variable: String,
    read: Box<dyn Fn() -> Option<SecretString> + Send + Sync>,
    state: Mutex<State>,
    pub(super) leases: FairLock<CredentialId>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) standing: Standing,
    /// The number of changes so far.
    pub(super) changes: u64,
    /// The last revisions that were given, oldest first.
    pub(super) given: VecDeque<Given>,
    /// The variable's value when it was last read.
    seen: Option<SecretString>,
    /// The secret in use as long as the variable has this value: the value, or a secret that has replaced it.
    current: Option<Current>,
    /// Why the variable's value is not a key.
    unusable: Option<NotAnApiKey>,
    /// The generation of the newest secret so far.
    generation: Generation,
    /// The generation whose refresh began last, and when.
    pub(super) begun: Option<(Generation, Timestamp)>,
}

/// A revision of the pool with this credential, and what it was made of.
#[derive(Clone, Copy)]
pub(super) struct Given {
    pub(super) both: Revision,
    pub(super) inner: Revision,
    pub(super) changes: u64,
}

/// How many revisions are kept: those of the pools that are open and of a save or two.
const GIVEN: usize = 16;

impl State {
    /// Returns the revision of the inner vault's pool together with this credential.
    pub(super) fn revision(&mut self, inner: Revision) -> Revision {
        let changes = self.changes;
        let is_same = |given: &&Given| given.inner == inner && given.changes == changes;
        if let Some(given) = self.given.iter().rev().find(is_same) {
            return given.both;
        }
        let digest = Sha256::digest([&inner.as_bytes()[..], &changes.to_be_bytes()].concat());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let both = Revision::from_bytes(bytes);
        if self.given.len() == GIVEN {
            self.given.pop_front();
        }
        self.given.push_back(Given { both, inner, changes });
        both
    }
}

struct Current {
    secret: Secret,
    updated_at: Timestamp,
}

impl Shared {
    pub(super) fn new(
        pool: PoolKey,
        variable: String,
        read: Box<dyn Fn() -> Option<SecretString> + Send + Sync>,
    ) -> Self {
        let digest = Sha256::digest([b"environment variable ", variable.as_bytes()].concat());
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        let (id, state) = (CredentialId::from_bytes(id), Mutex::new(State::default()));
        Self { id, pool, variable, read, state, leases: FairLock::new() }
    }

    /// Reads the variable and returns the state.
    pub(super) fn look(&self) -> MutexGuard<'_, State> {
        let value = (self.read)().filter(|value| !value.expose().trim().is_empty());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_seen =
            value.as_ref().map(SecretString::expose) == state.seen.as_ref().map(SecretString::expose);
        if !is_seen {
            state.changes += 1;
            let key = value.as_ref().map(|value| SecretString::api_key(value.expose()));
            let (token, unusable) = match key.transpose() {
                Ok(token) => (token, None),
                Err(error) => (None, Some(error)),
            };
            state.unusable = unusable;
            state.current = token.map(|token| Current {
                secret: Secret::WellKnown { variable: self.variable.clone(), token },
                updated_at: now(),
            });
            if state.current.is_some() {
                state.generation = state.generation.next();
            }
            state.seen = value;
        }
        state
    }

    /// The damage to report if the variable's value is not a key.
    pub(super) fn damage(&self, state: &State) -> Option<Damage> {
        let Self { variable, .. } = self;
        let reason =
            format!("this is not an API key: {}; set {variable} to the key alone", state.unusable?);
        let damage = Damage::new(format!("the environment variable {variable}"), reason);
        Some(damage.of(self.id, Some(Kind::WellKnown)))
    }

    /// The credential, or an error if there is none.
    pub(super) fn get(&self, state: &State) -> Result<Credential, VaultError> {
        let missing = || self.damage(state).map_or(VaultError::NotFound(self.id), VaultError::Damaged);
        self.credential(state).ok_or_else(missing)
    }

    pub(super) fn credential(&self, state: &State) -> Option<Credential> {
        let Current { secret, updated_at } = state.current.as_ref()?;
        let metadata = Metadata {
            id: self.id,
            pool: self.pool.clone(),
            // People don't choose such labels, so it stands out among theirs.
            label: format!("${}", self.variable).into(),
            kind: Kind::WellKnown,
            generation: state.generation,
            created_at: *updated_at,
            updated_at: *updated_at,
            attributes: Default::default(),
        };
        Some(Record { metadata, secret: secret.clone() })
    }

    pub(super) fn is_ours(&self, pool: &PoolKey, id: CredentialId) -> bool {
        id == self.id && *pool == self.pool
    }

    /// Replaces the variable's value as long as the process lives and the variable stays the same: the secret was exchanged
    /// for another one, which can't be stored anywhere.
    pub(super) fn replace(&self, expected: Generation, secret: Secret) -> Result<Replaced, VaultError> {
        let mut state = self.look();
        let stored = self.get(&state)?;
        check_kind(&stored.metadata, &secret)?;
        if stored.metadata.generation != expected {
            return Ok(Replaced::Conflict(stored));
        }
        state.generation = expected.next();
        state.changes += 1;
        state.current = Some(Current { secret, updated_at: now() });
        Ok(Replaced::Swapped(state.generation))
    }

    pub(super) fn begin(&self, expected: Generation) -> Result<Begun, VaultError> {
        let mut state = self.look();
        let record = self.get(&state)?;
        if record.metadata.generation != expected {
            return Ok(Begun::new(record));
        }
        let before = state.begun.replace((expected, now()));
        let unfinished = before.filter(|(generation, _)| *generation == expected).map(|(_, at)| at);
        Ok(Begun { unfinished, ..Begun::new(record) })
    }
}
