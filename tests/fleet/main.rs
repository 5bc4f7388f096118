//! The vault of many hosts, over a real engine.
//!
//! Each test starts `redis-server`, or what `TOWER_CREDENTIALS_REDIS_SERVER` names, such as a `valkey-server`. Without one the
//! tests are left out, unless `TOWER_CREDENTIALS_REDIS=required` is set.

mod server;
#[path = "../vault/vault_contract.rs"]
mod vault_contract;

mod contract;
mod failover;
mod forgetting;
mod hosts;
mod leases;
mod outages;
mod pools;
mod settings;
