//! What an answer means for the credential that it is to.

use http::{Response, StatusCode};

use super::BodyPrefix;
use super::context::Taught;
use crate::pool::Pool;
use crate::provider::{Finding, Verdict};

/// What an answer means for the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
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

impl Answer {
    #[inline]
    pub(super) fn of<R>(pool: &Pool, response: &Response<R>) -> Self {
        match response.status() {
            status if status.is_success() && !pool.is_limited(status) => Answer::Good,
            status if status.is_client_error() => Self::of_error(pool, response),
            status if pool.is_limited(status) => Answer::Limited,
            _ => Answer::Other,
        }
    }

    fn of_error<R>(pool: &Pool, response: &Response<R>) -> Self {
        let status = response.status();
        match read(pool, response).verdict {
            Some(Verdict::Stopped { .. }) => Answer::Stopped,
            _ if pool.is_limited(status) => Answer::Limited,
            Some(Verdict::InsufficientScope) => Answer::Insufficient,
            None if status == StatusCode::UNAUTHORIZED => Answer::Refused,
            None if status == StatusCode::FORBIDDEN => Answer::Forbidden,
            None => Answer::Other,
        }
    }

    pub(super) fn needs_action(self) -> bool {
        self == Answer::Limited || self.is_refusal()
    }

    pub(super) fn is_refusal(self) -> bool {
        matches!(self, Answer::Refused | Answer::Forbidden | Answer::Insufficient)
    }

    pub(super) fn taught(self) -> Taught {
        match self {
            Answer::Good => Taught::Good,
            Answer::Limited => Taught::Limited,
            Answer::Stopped => Taught::Stopped,
            Answer::Refused | Answer::Forbidden | Answer::Insufficient | Answer::Other => {
                Taught::Nothing
            }
        }
    }
}

/// What the provider reads in an answer that is no success.
pub(super) fn read<R>(pool: &Pool, response: &Response<R>) -> Finding {
    let body = response.extensions().get::<BodyPrefix>().map_or(&[][..], |prefix| &prefix.0);
    pool.read(response.status(), response.headers(), body)
}
