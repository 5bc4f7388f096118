//! The vault of many hosts, over a real engine.
//!
//! Each test starts `redis-server`, or what `TOWER_CREDENTIALS_REDIS_SERVER` names, such as a `valkey-server`. Without one the
//! tests are left out, unless `TOWER_CREDENTIALS_REDIS=required` is set.

#[path = "../authorization_server/mod.rs"]
mod authorization_server;
#[path = "../children/mod.rs"]
mod children;
mod host;
#[cfg(unix)]
#[path = "../many_processes/mod.rs"]
mod many_processes;
mod nodes;
mod proxy;
#[path = "../engine/mod.rs"]
mod server;
#[cfg(unix)]
mod shared;
#[path = "../vault/vault_contract.rs"]
mod vault_contract;

mod check;
mod clocks;
mod contract;
mod cut_off;
mod failover;
mod forgetting;
mod hosts;
mod identity;
mod leases;
mod outages;
mod pools;
#[cfg(unix)]
mod processes;
mod settings;
#[cfg(feature = "setup")]
mod setup;
mod state;
mod unfinished;
