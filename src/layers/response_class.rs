//! What a response means for the credential of its request.

use http::{Response, StatusCode};

#[cfg(feature = "providers")]
use super::peeked::FailedStream;
use super::{BodyPrefix, grpc};
use crate::counters::Outcome;
use crate::events::RotationReason;
use crate::pool::{Pool, Refusal};
use crate::provider::{Assessment, Verdict};

/// What a response means for the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseClass {
    Good,
    /// The account is limited.
    Limited,
    /// 401.
    Refused,
    /// 403.
    Forbidden,
    /// The token lacks a permission, or the account refuses this very request. The account itself is fine.
    Insufficient,
    /// The account's owner must act.
    Stopped,
    /// The account is out of use. Another one is tried.
    Spent,
    /// The server is too busy for the request, or has failed before it began to respond. That says nothing about the
    /// credential, but the server may have room for another one.
    Overloaded,
    /// A response that says nothing about the credential.
    Other,
}

impl ResponseClass {
    /// Returns a response's class, and the provider's assessment if it is not good.
    #[inline]
    pub(super) fn of<R>(pool: &Pool, response: &Response<R>) -> (Self, Option<Assessment>) {
        let (status, headers) = (response.status(), response.headers());
        if status.is_success() && !pool.is_limited(status) && !grpc::is_trouble(headers) {
            return (Self::Good, None);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            // An upgrade is granted after authentication.
            return (Self::Good, None);
        }
        let (class, assessment) = Self::of_trouble(pool, response);
        (class, Some(assessment))
    }

    #[cold]
    fn of_trouble<R>(pool: &Pool, response: &Response<R>) -> (Self, Assessment) {
        let (headers, mut status) = (response.headers(), response.status());
        let mut stated = None;
        if status.is_success() && !pool.is_limited(status) {
            let Some(said) = grpc::status(headers) else { return (Self::Other, Assessment::default()) };
            status = said;
            stated = grpc::retry_stated(headers, pool.now());
        }
        let is_limited = pool.is_limited(status);
        let is_error = status.is_client_error() || status.is_server_error();
        if !is_error && !is_limited {
            return (Self::Other, Assessment::default());
        }
        let body = response.extensions().get::<BodyPrefix>().map_or(&[][..], |prefix| &prefix.0);
        let assessment = pool.read(status, headers, body).or_stated(stated);
        let class = match &assessment.verdict {
            Some(Verdict::Stopped { .. }) => Self::Stopped,
            Some(Verdict::Dead { .. } | Verdict::Spent { .. }) => Self::Spent,
            Some(Verdict::NotTheAccount) => Self::Other,
            Some(Verdict::ThisRequest) => Self::Insufficient,
            Some(Verdict::Limited) => Self::Limited,
            _ if is_limited => Self::Limited,
            Some(Verdict::InsufficientScope) => Self::Insufficient,
            Some(Verdict::Refused) => Self::Refused,
            None if status == StatusCode::UNAUTHORIZED => Self::Refused,
            None if status == StatusCode::FORBIDDEN => Self::Forbidden,
            None if pool.rotates_overloads() && is_overload(response) => Self::Overloaded,
            None => Self::Other,
        };
        (class, assessment)
    }

    /// Whether one of the layers may send the request again.
    pub(super) fn needs_action(self) -> bool {
        matches!(self, Self::Limited | Self::Spent | Self::Overloaded) || self.is_refusal()
    }

    pub(super) fn is_refusal(self) -> bool {
        matches!(self, Self::Refused | Self::Forbidden | Self::Insufficient)
    }

    /// Returns the kind of refusal, if the response does not give another reason.
    pub(super) fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Refused => Some(Refusal::Unauthorized),
            Self::Forbidden => Some(Refusal::Forbidden),
            _ => None,
        }
    }

    /// Returns what an attempt with this response counts as.
    #[inline]
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Good => Outcome::Succeeded,
            Self::Limited => Outcome::Limited,
            Self::Refused | Self::Forbidden | Self::Insufficient => Outcome::Refused,
            Self::Stopped | Self::Spent => Outcome::OutOfUse,
            Self::Overloaded | Self::Other => Outcome::Other,
        }
    }

    /// Returns why a request goes on with another credential after such a response.
    pub(super) fn rotation_reason(self) -> RotationReason {
        match self {
            Self::Refused | Self::Forbidden | Self::Insufficient => RotationReason::Refused,
            Self::Stopped | Self::Spent => RotationReason::OutOfUse,
            Self::Overloaded => RotationReason::Overloaded,
            Self::Good | Self::Limited | Self::Other => RotationReason::Limited,
        }
    }

    /// Returns the two bits under which it is recorded. A response is recorded again only if they differ.
    pub(super) fn recorded_as(self) -> u8 {
        match self {
            Self::Good => 1,
            Self::Limited => 2,
            Self::Stopped | Self::Spent => 3,
            Self::Refused | Self::Forbidden | Self::Insufficient | Self::Overloaded | Self::Other => 0,
        }
    }
}

/// Whether the server was too busy (503, or Anthropic's 529), or has failed in place of the content of a stream.
fn is_overload<R>(response: &Response<R>) -> bool {
    #[cfg(feature = "providers")]
    if response.extensions().get::<FailedStream>().is_some() {
        return true;
    }
    matches!(response.status().as_u16(), 503 | 529)
}
