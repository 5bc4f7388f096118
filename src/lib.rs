//! Several accounts behind one HTTP client.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(unreachable_pub, clippy::dbg_macro, clippy::todo)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod clock;
mod credential;
mod error;
mod error_response;
pub mod events;
mod layers;
mod pool;
pub mod provider;
pub mod rate_limit;
mod secret;
pub mod standing;
pub mod vault;

pub use body::{Once, TryCloneBody};
pub use clock::{Clock, Timestamp};
pub use credential::{
    Credential, CredentialId, Generation, InvalidId, Kind, Metadata, OAuthTokens, PoolKey, Record,
    Secret,
};
pub use error::{BoxError, Error};
pub use error_response::{ErrorResponse, ErrorResponseFuture, ErrorResponseLayer};
pub use layers::{
    Attempt, AuthHeader, AuthHeaderLayer, CooldownPersist, CooldownPersistLayer, Credentials,
    CredentialsLayer, NetworkRetry, NextReady, RefreshOn401, RefreshOn401Layer, RotateOn429,
    RotateOn429Layer, is_before_send,
};
pub use pool::{
    Affinity, Cooldowns, CredentialStatus, Lease, Mode, Pin, Pool, PoolBuilder, RefreshError, Refresher,
    WhenAllCoolingDown, policy,
};
pub use secret::SecretString;

/// Parts of the layers' services that have to be named by type.
pub mod service {
    pub use crate::layers::{Duty, ResponseFuture};
}
