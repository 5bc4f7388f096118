//! The layers, and what they do with a request.
//!
//! Each layer's file says what the layer promises. [`steps`] does the work, [`future`] waits between the steps,
//! and [`decide`] chooses what to do about a response. Layers that stand directly one on the other act as one
//! [`run`]. Separate runs share a [`context`], which travels as an [`attempt`]. [`error_body`], `first_event` and
//! [`replay`] are layers of their own, and do not take part in a run.

mod answered_by;
mod apply;
mod attempt;
mod auth_header;
mod blame;
mod content_coding;
mod context;
mod cooldown_persist;
mod copy;
mod core;
mod credentials;
mod decide;
mod drain;
mod driver;
mod error_body;
#[cfg(feature = "providers")]
mod event_reader;
#[cfg(feature = "providers")]
mod first_event;
mod future;
mod grpc;
mod history;
mod jobs;
#[cfg(feature = "providers")]
mod model_scope;
mod network;
mod next_ready;
mod peeked;
mod record;
mod refresh_on_401;
mod replay;
mod response_class;
mod rotate_on_429;
mod run;
mod sends;
mod service;
mod span;
mod spares;
mod steps;
mod stopwatch;
mod tokens;
mod wait;

pub use answered_by::AnsweredBy;
pub use attempt::Attempt;
pub use auth_header::{AuthHeader, AuthHeaderLayer};
pub use cooldown_persist::{CooldownPersist, CooldownPersistLayer};
pub use credentials::{Credentials, CredentialsLayer};
pub use error_body::{ErrorBody, ErrorBodyFuture, ErrorBodyLayer};
#[cfg(feature = "providers")]
pub use first_event::{FirstEvent, FirstEventFuture, FirstEventLayer};
pub use future::ResponseFuture;
#[cfg(feature = "providers")]
pub use model_scope::{ModelScope, ModelScopeLayer};
pub use network::{NetworkRetry, is_connect_error};
pub use next_ready::NextReady;
pub(crate) use peeked::BodyPrefix;
pub use peeked::PeekedBody;
pub use refresh_on_401::{RefreshOn401, RefreshOn401Layer};
pub use replay::{Replay, ReplayLayer};
pub use rotate_on_429::{RotateOn429, RotateOn429Layer};
pub use sends::{SendsAgain, SendsOnce};
