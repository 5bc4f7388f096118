//! The example `axum_gateway`, as a process, between clients and an upstream on loopback.

#![cfg(all(feature = "config", feature = "file", feature = "hyper", feature = "tls", unix))]

mod accounts;
mod curl;
mod ending;
mod forwarding;
mod process;
mod responses;
mod starting;
mod streaming;
