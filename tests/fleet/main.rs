//! The vault of many hosts, over a real engine.
//!
//! Each test starts `redis-server`, or what `TOWER_CREDENTIALS_REDIS_SERVER` names, such as a `valkey-server`. Without one the
//! tests are left out, unless `TOWER_CREDENTIALS_REDIS=required` is set.

#[cfg(feature = "oauth")]
#[path = "../authorization_server/mod.rs"]
mod authorization_server;
#[cfg(all(unix, feature = "file", feature = "oauth"))]
#[path = "../children/mod.rs"]
mod children;
#[cfg(feature = "oauth")]
mod host;
#[cfg(feature = "oauth")]
mod proxy;
mod server;
#[path = "../vault/vault_contract.rs"]
mod vault_contract;

#[cfg(feature = "oauth")]
mod clocks;
mod contract;
#[cfg(all(unix, feature = "file", feature = "oauth"))]
mod cut_off;
mod failover;
mod forgetting;
mod hosts;
mod leases;
mod outages;
mod pools;
#[cfg(all(unix, feature = "file", feature = "oauth"))]
mod processes;
mod settings;
