//! The layers and the pool over vaults in memory, and their handling of requests, responses and bodies.

#[path = "../support/mod.rs"]
mod support;
#[path = "../thorough/mod.rs"]
mod thorough;
#[path = "../wire/mod.rs"]
mod wire;

mod active;
mod adjacent_layers;
mod allowances;
mod attempts;
mod callers_headers;
mod changes;
mod clocks;
mod concurrency;
mod concurrency_limits;
mod cooldowns;
mod credential_headers;
mod durations;
mod error_response;
mod events;
mod expired_tokens;
#[cfg(feature = "config")]
mod features;
mod first_event;
mod grpc_responses;
mod half_open;
mod in_flight_cap;
mod last_response;
mod late_tokens;
mod layers_that_resend;
#[cfg(feature = "metrics")]
mod metrics;
mod minted;
mod model_scope;
mod modes;
mod network_errors;
mod older_vault;
mod orders;
mod origins;
mod out_of_use;
mod pause;
mod pins;
mod policies;
mod rate_limit_headers;
mod redirects;
mod refresh_ahead;
mod refresh_await_points;
mod refresh_concurrency;
mod refresh_troubles;
mod refreshes;
mod refusals;
mod repeatable_body;
mod replay_body;
mod replay_uploads;
mod replay_uploads_over_sockets;
mod reports;
mod request_edges;
mod reserve;
mod restarts;
mod rig;
mod rotation;
mod saving;
mod shared_quotas;
mod shared_refreshes;
mod sync;
mod tiers;
mod tower_http_layers;
mod unrenewed_tokens;
mod user_layers;
mod verdicts;
mod waiting;
mod why;
