//! The layers and the pool over vaults in memory, and their handling of requests, responses and bodies.

#[path = "../support/mod.rs"]
mod support;
#[path = "../thorough/mod.rs"]
mod thorough;

mod active;
mod allowances;
mod clocks;
mod concurrency;
mod concurrency_limits;
mod error_response;
#[cfg(feature = "config")]
mod features;
mod grpc_responses;
mod last_response;
mod minted;
mod model_scope;
mod orders;
mod origins;
mod out_of_use;
mod outlived_tokens;
mod parity;
mod pause;
mod policies;
mod rate_limit_headers;
mod refresh_ahead;
mod refresh_await_points;
mod refresh_troubles;
mod refusals;
mod repeatable_body;
mod replay_body;
mod replay_uploads;
mod request_edges;
mod runs;
mod sync;
mod tiers;
mod told;
mod tower_http_layers;
mod unrenewed;
mod user_layers;
mod verdicts;
mod weak_points;
mod why;
