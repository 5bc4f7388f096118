//! What a response means for the credential that it is to.

use http::{Response, StatusCode};

use super::BodyPrefix;
use crate::pool::{Pool, Refusal};
use crate::provider::{Finding, Verdict};

/// What a response means for the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseClass {
    Good,
    /// The account has had enough.
    Limited,
    /// 401.
    Refused,
    /// 403.
    Forbidden,
    /// The token may not do what was asked; the account is well.
    Insufficient,
    /// The account's owner has to act.
    Stopped,
    /// Nothing that concerns the credential.
    Other,
}

impl ResponseClass {
    /// A response's class, and what the provider has read in it if it is not good.
    #[inline]
    pub(super) fn of<R>(pool: &Pool, response: &Response<R>) -> (Self, Option<Finding>) {
        let status = response.status();
        if status.is_success() && !pool.is_limited(status) {
            return (Self::Good, None);
        }
        let (class, finding) = Self::of_trouble(pool, response);
        (class, Some(finding))
    }

    #[cold]
    fn of_trouble<R>(pool: &Pool, response: &Response<R>) -> (Self, Finding) {
        let status = response.status();
        let is_limited = pool.is_limited(status);
        if !status.is_client_error() && !is_limited {
            return (Self::Other, Finding::default());
        }
        let body = response.extensions().get::<BodyPrefix>().map_or(&[][..], |prefix| &prefix.0);
        let finding = pool.read(status, response.headers(), body);
        let class = match &finding.verdict {
            _ if !status.is_client_error() => Self::Limited,
            Some(Verdict::Stopped { .. }) => Self::Stopped,
            _ if is_limited => Self::Limited,
            Some(Verdict::InsufficientScope) => Self::Insufficient,
            None if status == StatusCode::UNAUTHORIZED => Self::Refused,
            None if status == StatusCode::FORBIDDEN => Self::Forbidden,
            None => Self::Other,
        };
        (class, finding)
    }

    /// Whether one of the layers may send the request again.
    pub(super) fn needs_action(self) -> bool {
        self == Self::Limited || self.is_refusal()
    }

    pub(super) fn is_refusal(self) -> bool {
        matches!(self, Self::Refused | Self::Forbidden | Self::Insufficient)
    }

    /// What a refusal is about, if the answer does not say why it refuses.
    pub(super) fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Refused => Some(Refusal::Unauthorized),
            Self::Forbidden => Some(Refusal::Forbidden),
            _ => None,
        }
    }

    /// What is recorded of it, as two bits: it is recorded again only as something else.
    pub(super) fn recorded_as(self) -> u8 {
        match self {
            Self::Good => 1,
            Self::Limited => 2,
            Self::Stopped => 3,
            Self::Refused | Self::Forbidden | Self::Insufficient | Self::Other => 0,
        }
    }
}
