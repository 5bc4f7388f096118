//! Signing in to accounts, and renewing their tokens.

mod config;

pub use config::{Dialect, FlowKind, OAuthConfig, TokenEncoding};
