//! What many processes do with one vault, some of which are killed.

#[cfg(feature = "oauth")]
#[path = "../authorization_server/mod.rs"]
mod authorization_server;
#[path = "../children/mod.rs"]
mod children;
#[cfg(feature = "migrate")]
#[path = "../legacy/mod.rs"]
mod legacy;
#[cfg(unix)]
#[path = "../many_processes/mod.rs"]
mod many_processes;
#[cfg(unix)]
#[path = "../place/mod.rs"]
mod place;
#[cfg(unix)]
mod shared;
#[cfg(target_os = "linux")]
#[path = "../thorough/mod.rs"]
mod thorough;
#[path = "../vault/vault_contract.rs"]
mod vault_contract;

mod history;
mod key_changes;
mod migrate_processes;
mod oauth_processes;
mod refresh_processes;
mod vault_processes;
mod vault_syscalls;
