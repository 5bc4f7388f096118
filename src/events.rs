//! Events of pools and layers, for people, tests and metrics. An event contains no secret.
//!
//! A pool passes each event on in three ways:
//!
//! - to the function that was given to [`PoolBuilder::on_event`](crate::PoolBuilder::on_event), on the task where it
//!   happens;
//! - to each [`EventStream`] from [`Pool::events`](crate::Pool::events), which is read at its own pace. No request waits
//!   for a reader: one that is too slow loses the oldest events, and is told how many;
//! - to `tracing`, with the target `tower_credentials::event`:
//!
//! | Level | Messages |
//! |---|---|
//! | `WARN` | Problems that a person should know about: `refresh failed`, `secret not saved`, `older vault`, `needs sign-in`, `spent`, `save failed`, `damaged`. |
//! | `INFO` | Changes of accounts and requests: `cooled down`, `cap lowered`, `suspected`, `recovered`, `rotated`, `sent once`, `waiting`, `repeated`, `refreshed`, `paused`, `resumed`, `reset`, `moved`. |
//! | `DEBUG` | `attempt`, for each response, `allowance` and `saved`. |
//!
//! The account's fields are `provider`, `namespace`, `account` (its label), `id` and `generation`; those of the request
//! are `request` and `attempt`. An attempt has OpenTelemetry's `http.response.status_code`, and `http.request.resend_count`
//! if it is not the first. Other fields have the names that they have in [`EventKind`]. Choose with a filter such as
//! `tower_credentials=info`, which includes the vault's warnings, too.
//!
//! Each of the callers' requests is a span, `credentials.request`, at the level `DEBUG` with the target
//! `tower_credentials::request`, and its events are inside. Its fields are `provider`, `namespace`,
//! `http.request.method`, `server.address` and `server.port`; and at its end `credential.id` (the first eight digits, no
//! label), `http.request.resend_count`, `http.response.status_code` and `error.type`, which is the status of an error, or
//! the kind of this crate's error, such as `all_cooling_down`. Leave the spans of single attempts to a layer below:
//! [`Attempt::resend_count`](crate::Attempt::resend_count) has what it needs.
//!
//! Events are [serde](https://docs.rs/serde)'s to serialize. As JSON they are short lines, with times in milliseconds
//! since the Unix epoch and durations in seconds:
//!
//! ```json
//! {"at":1795905224000,"request":17,"attempt":2,"event":"rotated","from":{…},"to":{…},"reason":"limited"}
//! ```

mod account;
mod kind;
mod log;
mod observer;
mod stream;

use std::num::{NonZeroU32, NonZeroU64};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

pub use account::Account;
pub use kind::{EventKind, RotationReason};
pub(crate) use observer::Observer;
pub use stream::EventStream;

/// Something that a pool or a layer did. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// When it happened, on the pool's clock.
    pub at: Timestamp,
    /// The caller's request that it belongs to, by a number from 1 in the order in which the pool's requests begin. All
    /// events of a request have the same. `None` if it belongs to no request. A request that begins while nobody observes
    /// the pool gets its number later, if it is sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<NonZeroU64>,
    /// The attempt of that request, from 1: the one whose response has caused the event. If the request is sent again,
    /// it is the one that begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<NonZeroU32>,
    /// What has happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

impl Event {
    /// Creates an event that belongs to no request.
    pub const fn new(at: Timestamp, kind: EventKind) -> Self {
        Self { at, request: None, attempt: None, kind }
    }
}

/// The numbers of the request and of the attempt that an event belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) request: Option<NonZeroU64>,
    pub(crate) attempt: Option<NonZeroU32>,
}

impl Numbers {
    /// Of an event that belongs to no request.
    pub(crate) const NONE: Self = Self { request: None, attempt: None };
}
