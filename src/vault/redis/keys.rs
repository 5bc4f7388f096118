//! The names of the engine's keys. All keys of a pool have one hash tag, so a cluster keeps them in one slot.

use crate::credential::{CredentialId, PoolKey};
use crate::percent::encoded;

/// What each pool has a key for, in the order in which the scripts take them.
const PARTS: [&str; 12] = [
    "records", "labels", "names", "revision", "log", "snapshot", "notes", "failures", "batches",
    "origins", "gone", "epoch",
];

/// The keys of one pool.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    base: String,
}

impl Keys {
    pub(super) fn new(prefix: &str, pool: &PoolKey) -> Self {
        let [provider, namespace] = [pool.provider(), pool.namespace()].map(escaped);
        Self { base: format!("{prefix}:{{{provider}/{namespace}}}") }
    }

    /// Returns the keys of a pool with this slot's name.
    pub(super) fn named(slot: &str) -> Self {
        Self { base: slot.to_owned() }
    }

    /// Returns whether a pool has a key for this part. A lease is no part.
    pub(super) fn has_part(part: &str) -> bool {
        PARTS.contains(&part)
    }

    /// Returns the name of the pool's slot.
    pub(super) fn slot(&self) -> &str {
        &self.base
    }

    /// Returns all of the pool's keys, as the scripts take them.
    pub(super) fn all(&self) -> impl Iterator<Item = String> {
        PARTS.iter().map(|part| self.part(part))
    }

    /// Returns all of the pool's keys and that of the lease of a refresh.
    pub(super) fn with_lease(&self, id: CredentialId) -> impl Iterator<Item = String> {
        self.all().chain([self.lease(id)])
    }

    pub(super) fn lease(&self, id: CredentialId) -> String {
        format!("{}:lease:{id}", self.base)
    }

    pub(super) fn part(&self, part: &str) -> String {
        format!("{}:{part}", self.base)
    }
}

/// Returns the key of the lease of a client's refreshes.
pub(super) fn client_lease(prefix: &str, client: &str) -> String {
    format!("{prefix}:{{client:{}}}:lease", escaped(client))
}

/// Returns the key of the set of all pools.
pub(super) fn pools(prefix: &str) -> String {
    format!("{prefix}:pools")
}

/// Returns the key of the restores on purpose of the whole vault.
pub(super) fn restores(prefix: &str) -> String {
    format!("{prefix}:restores")
}

/// Returns the key of the vault's identity.
pub(super) fn identity(prefix: &str) -> String {
    format!("{prefix}:vault")
}

/// Escapes whatever is not a letter, a digit, `-`, `_` or `.`, as in a URL, so that no name can end a hash tag.
pub(super) fn escaped(name: &str) -> String {
    encoded(name, |byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_pool_have_one_hash_tag_and_no_two_pools_share_one() {
        let keys = Keys::new("tc", &PoolKey::with_namespace("a}b", "c/d"));
        assert_eq!(keys.part("log"), "tc:{a%7db/c%2fd}:log");
        assert!(keys.all().all(|key| key.starts_with("tc:{a%7db/c%2fd}:")));
        assert_ne!(keys.slot(), Keys::new("tc", &PoolKey::with_namespace("a}b/c", "d")).slot());
        assert_eq!(client_lease("tc", "a}:b"), "tc:{client:a%7d%3ab}:lease");
    }
}
