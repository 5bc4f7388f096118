//! The vaults and their keys.

#[cfg(feature = "file")]
#[path = "../children/mod.rs"]
mod children;
#[cfg(feature = "file")]
#[path = "../place/mod.rs"]
mod place;
#[cfg(unix)]
#[path = "../thorough/mod.rs"]
mod thorough;
mod vault_contract;

mod conformance;
mod damaged_accounts;
mod damaged_key_files;
mod history;
mod hosts;
mod key_changes;
mod pool_document;
mod sqlite_backend;
mod three_records;
mod unusable_secrets;
mod vault_backup;
mod vault_check;
mod vault_damage;
mod vault_file;
mod vault_format;
mod vault_identity;
mod vault_keyring;
mod vault_keys;
mod vault_layers;
mod vault_loaded;
mod vault_memory;
mod vault_reseal;
mod vault_rotation;
mod vault_seal;
mod vault_settings;
