//! Opening the secrets of a whole pool, some at a time.

use std::vec;

use super::blob::Sealed;
use super::cipher::Shut;
use super::seals::{Observed, Seals};
use crate::credential::{CredentialId, Record};
use crate::secret::leaving_no_copy;
use crate::vault::key::KeyId;
use crate::vault::{StoredPool, VaultError};

/// How many secrets are opened in one poll: each takes some microseconds, and other tasks must get their turn.
const AT_ONCE: usize = 64;

/// A pool whose secrets are being opened.
pub(super) struct Opening {
    sealed: vec::IntoIter<Record<Sealed>>,
    opened: StoredPool,
}

impl Opening {
    pub(super) fn new(pool: StoredPool<Sealed>) -> Self {
        let StoredPool { credentials, standings, revision, damaged } = pool;
        let opened = Vec::with_capacity(credentials.len());
        Self {
            sealed: credentials.into_iter(),
            opened: StoredPool { credentials: opened, standings, revision, damaged },
        }
    }

    /// Opens some more, and returns whether all are open now.
    pub(super) fn advance(&mut self, seals: &Seals, observed: &mut Observed) -> bool {
        leaving_no_copy(|| self.open_some(seals, observed));
        self.sealed.len() == 0
    }

    fn open_some(&mut self, seals: &Seals, observed: &mut Observed) {
        for Record { metadata, secret } in self.sealed.by_ref().take(AT_ONCE) {
            match seals.try_open(&metadata, secret, observed) {
                Ok(secret) => self.opened.credentials.push(Record { metadata, secret }),
                Err(shut) => {
                    let damage = seals.cipher.damage(shut, (seals.name)(metadata.id));
                    self.opened.damaged.push(damage.of(metadata.id, Some(metadata.kind)));
                }
            }
        }
    }

    pub(super) fn finish(
        self,
        seals: &Seals,
        unopened: &[(KeyId, CredentialId)],
    ) -> Result<StoredPool, VaultError> {
        match unopened.last() {
            Some((sealed_with, _)) if self.opened.credentials.is_empty() => {
                Err(seals.cipher.error(Shut::OtherKey(*sealed_with), String::new()))
            }
            _ => Ok(self.opened),
        }
    }
}

#[cfg(feature = "file")]
impl Seals {
    /// Returns the pool with its secrets open; `None` if that needs more keys, or another look at `key.json`.
    pub(crate) fn open_pool(&self, pool: StoredPool<Sealed>) -> Option<StoredPool> {
        let (mut opening, mut observed) = (Opening::new(pool), Observed::default());
        while !opening.advance(self, &mut observed) {}
        (observed.unopened.is_empty() && !observed.may_be_stale).then_some(opening.opened)
    }
}
