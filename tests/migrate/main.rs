//! Migrating the accounts of other programs into a vault.

#![cfg(feature = "migrate")]

#[cfg(feature = "oauth")]
#[path = "../authorization_server/mod.rs"]
mod authorization_server;
#[path = "../legacy/mod.rs"]
mod legacy;

mod migrate_apply;
mod migrate_end_to_end;
mod migrate_read;
