//! The providers, their settings, and the models that they offer.

#[cfg(feature = "discovery")]
mod discovery_rig;
mod settings_rig;
#[path = "../support/mod.rs"]
mod support;
#[path = "../wire/mod.rs"]
mod wire;

mod causes;
mod discovery;
mod discovery_cache;
mod discovery_flight;
mod endpoints;
mod insecure_origins;
mod limits_table;
mod origins_table;
mod provider_environment;
mod provider_registry;
mod provider_requests;
mod response_settings;
mod responses_table;
mod settings;
mod settings_errors;
mod settings_faults;
#[cfg(unix)]
mod settings_trust;
