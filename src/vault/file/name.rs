//! File names made of names that users chose.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::credential::PoolKey;

/// The longest file name, in bytes, that common file systems take is 255; this leaves some room.
const MAX_LEN: usize = 200;

/// The name of a pool's files, but for the ending. Two pools never have the same, not even where file names ignore case; none
/// has a separator, begins with a dot, or is a name that a system keeps for itself.
pub(crate) fn pool_file(pool: &PoolKey) -> String {
    let mut name = String::new();
    escape(pool.provider(), &mut name);
    name.push('+');
    escape(pool.namespace(), &mut name);
    // Within an escaped name the `+` splits the two unmistakably.
    bounded(name)
}

/// The name of a client's file, but for what stands around it.
pub(super) fn client_file(client: &str) -> String {
    let mut name = String::new();
    escape(client, &mut name);
    bounded(name)
}

/// An escaped name, or what stands for it where it is too long: no escaped name begins with `=`.
fn bounded(name: String) -> String {
    if name.len() <= MAX_LEN {
        return name;
    }
    Sha256::digest(&name).iter().fold(String::from("="), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// Lower-case letters, digits, `-` and `_` stay; every other byte becomes `%` and two digits.
fn escape(name: &str, into: &mut String) {
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => into.push(char::from(byte)),
            _ => {
                let _ = write!(into, "%{byte:02x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = String> {
        // The characters that matter to paths and to the escaping itself, and long runs of them.
        prop_oneof!["[aA+%=.2/\\\\b-]{0,4}", "[aA]{90,110}", "\\PC{0,8}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn two_pools_never_share_a_file_even_where_case_is_ignored(
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
