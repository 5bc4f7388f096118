//! The layers.

mod answer;
mod apply;
mod auth_header;
mod chain;
mod context;
mod cooldown_persist;
mod credentials;
mod drain;
mod drive;
mod duty;
mod error_body;
mod network;
mod next_ready;
mod progress;
mod refresh_on_401;
mod replay;
mod rotate_on_429;
mod service;

pub use auth_header::{AuthHeader, AuthHeaderLayer};
pub use context::Attempt;
pub use cooldown_persist::{CooldownPersist, CooldownPersistLayer};
pub use credentials::{Credentials, CredentialsLayer};
pub use drive::ResponseFuture;
pub use duty::Duty;
pub(crate) use error_body::BodyPrefix;
pub use error_body::{ErrorBody, ErrorBodyFuture, ErrorBodyLayer, PeekedBody};
pub use network::{NetworkRetry, is_before_send};
pub use next_ready::NextReady;
pub use refresh_on_401::{RefreshOn401, RefreshOn401Layer};
pub use replay::{Replay, ReplayLayer};
pub use rotate_on_429::{RotateOn429, RotateOn429Layer};
