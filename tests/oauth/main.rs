//! Signing in, and renewing tokens, against a strict authorization server.

#![cfg(feature = "oauth")]

#[path = "../authorization_server/mod.rs"]
mod authorization_server;

mod client_credentials;
mod oauth_device;
mod oauth_loopback;
mod oauth_refresh;
mod oauth_secrets;
mod oauth_sign_in;
mod oauth_tls;
mod redirected_tokens;
mod setup_pool;
mod sign_in_strangers;
mod token_responses;
mod vendors_end_to_end;
