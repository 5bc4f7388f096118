//! File names made from names that users chose.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::credential::PoolKey;
use crate::percent::encoded;

/// The maximum length of a name in bytes. Common file systems take up to 255; this leaves some room.
const MAX_LEN: usize = 200;

/// Returns the name of a pool's files, without the ending. No two pools have the same name, even if file names ignore
/// case. No name contains a separator, begins with a dot, or is reserved by a system.
pub(crate) fn pool_file(pool: &PoolKey) -> String {
    // An escaped name has no `+`, so the two parts cannot be confused.
    bounded(format!("{}+{}", escaped(pool.provider()), escaped(pool.namespace())))
}

/// Returns the name of a client's file, without what is put around it.
pub(super) fn client_file(client: &str) -> String {
    bounded(escaped(client))
}

/// Returns an escaped name, or a hash if it is too long: no escaped name begins with `=`.
fn bounded(name: String) -> String {
    if name.len() <= MAX_LEN {
        return name;
    }
    Sha256::digest(&name).iter().fold(String::from("="), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// Keeps lower-case letters, digits, `-` and `_`; every other byte becomes `%` and two digits.
fn escaped(name: &str) -> String {
    encoded(name, |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = String> {
        // Characters that matter to paths and to the escaping itself, and long runs of them.
        prop_oneof!["[aA+%=.2/\\\\b-]{0,4}", "[aA]{90,110}", "\\PC{0,8}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn two_pools_never_share_a_file_even_if_case_is_ignored(
            one in (name(), name()), two in (name(), name())
        ) {
            let file = |(provider, namespace): &(String, String)| {
                pool_file(&PoolKey::with_namespace(provider.as_str(), namespace.as_str()))
            };
            prop_assert_eq!(file(&one).to_lowercase() == file(&two).to_lowercase(), one == two);
        }

        #[test]
        fn a_file_name_is_one_plain_part_of_a_path(provider in "\\PC{0,200}", namespace in name()) {
            let file = pool_file(&PoolKey::with_namespace(provider, namespace));
            prop_assert!(file.len() <= MAX_LEN);
            let plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'%' | b'+' | b'=');
            prop_assert!(!file.is_empty() && file.bytes().all(plain), "{}", file);
        }
    }
}
