//! What an attempt reports about its credential.

use http::StatusCode;

use crate::clock::Timestamp;
use crate::events::Numbers;
use crate::pool::lease::Lease;
use crate::pool::logical_time::LogicalTime;
use crate::standing::{Cause, Scope, StatedBy};

/// An attempt that was answered: what is needed to judge its response.
#[derive(Clone, Copy)]
pub(crate) struct Observation<'a> {
    pub(crate) lease: &'a Lease,
    /// When the attempt began.
    pub(crate) began: LogicalTime,
    pub(crate) numbers: Numbers,
    pub(crate) scope: Option<&'a Scope>,
    pub(crate) now: Timestamp,
    /// The response's status.
    pub(crate) status: StatusCode,
}

impl Observation<'_> {
    /// Returns the response as the cause of a change.
    pub(super) fn cause(&self, stated_by: Option<StatedBy>) -> Cause {
        Cause { at: self.now, status: self.status.as_u16(), stated_by }
    }
}

/// What a response says of a limit.
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    /// Until when, and the part that states it.
    pub(crate) stated: Option<(Timestamp, Option<StatedBy>)>,
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 401: the credential itself.
    Unauthorized,
    /// 403: its permissions.
    Forbidden,
}

impl Refusal {
    /// Returns whether the credential is to blame for this refusal, by another credential's response to the same
    /// request.
    pub(crate) fn is_credentials_fault(self, other: StatusCode) -> bool {
        match other.as_u16() {
            // It was carried out, or it has met the state of its target (RFC 9110, section 13.2.1).
            200..=299 | 304 | 409 | 412 | 422 => true,
            // It was authenticated. Vendors also respond so if the credential lacks a permission.
            400 | 404..=406 | 410 | 411 | 413..=417 => self == Self::Unauthorized,
            _ => false,
        }
    }
}

/// A credential whose attempt was refused by a response that does not say why.
#[derive(Clone)]
pub(crate) struct Suspect {
    pub(crate) lease: Lease,
    /// When the attempt began.
    pub(crate) began: LogicalTime,
    pub(crate) numbers: Numbers,
    pub(crate) refusal: Refusal,
    /// The status of that response.
    pub(crate) status: StatusCode,
    /// Whether the request could take no other.
    pub(crate) is_pinned: bool,
}
