//! What an attempt reports about its credential.

use http::StatusCode;

use crate::clock::Timestamp;
use crate::events::Numbers;
use crate::pool::lease::Lease;
use crate::pool::logical_time::LogicalTime;
use crate::standing::Scope;

/// An attempt that was answered: what is needed to judge its response.
#[derive(Clone, Copy)]
pub(crate) struct Observation<'a> {
    pub(crate) lease: &'a Lease,
    /// When the attempt began.
    pub(crate) began: LogicalTime,
    pub(crate) numbers: Numbers,
    pub(crate) scope: Option<&'a Scope>,
    pub(crate) now: Timestamp,
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
}
