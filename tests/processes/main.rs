//! What many processes do with one vault, some of which are killed.

#[cfg(feature = "oauth")]
#[path = "../authorization_server/mod.rs"]
mod authorization_server;
#[cfg(feature = "file")]
#[path = "../children/mod.rs"]
mod children;
#[cfg(feature = "migrate")]
#[path = "../legacy/mod.rs"]
mod legacy;
#[cfg(all(unix, feature = "file"))]
#[path = "../many_processes/mod.rs"]
mod many_processes;
#[cfg(all(unix, feature = "file"))]
#[path = "../place/mod.rs"]
mod place;
#[cfg(all(unix, feature = "file"))]
mod shared;
#[cfg(all(target_os = "linux", feature = "file"))]
#[path = "../thorough/mod.rs"]
mod thorough;

mod history;
mod key_changes;
mod migrate_processes;
mod oauth_processes;
mod refresh_processes;
mod vault_processes;
mod vault_syscalls;
