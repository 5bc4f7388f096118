//! The layers in real clients: hyper, reqwest, and the example of a gateway.

#[cfg(feature = "file")]
#[path = "../children/mod.rs"]
mod children;
mod frames;
#[cfg(feature = "reqwest-middleware")]
mod reqwest_rig;
#[path = "../support/mod.rs"]
mod support;
#[path = "../thorough/mod.rs"]
mod thorough;
#[path = "../wire/mod.rs"]
mod wire;

mod anyhow_errors;
mod auto_client;
mod clients_hyper;
mod credentials_middleware;
mod documents;
mod early_responses;
mod gateway;
mod host;
mod readme;
mod reqwest_bodies;
mod reqwest_clients;
mod reqwest_features;
mod reqwest_middleware;
mod reqwest_redirects;
mod stream_limits;
mod unprocessed;
mod upgrades;
