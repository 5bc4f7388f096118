//! What an answer says of the account that it is about.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::clock::Timestamp;
use crate::rate_limit::{self, string, token};

/// An answer as a [`Provider`](super::Provider) reads it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Answer<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The beginning of its body, where it was read: at most
    /// [`body_prefix`](super::Provider::body_prefix) bytes, and none without an
    /// [`ErrorBodyLayer`](crate::ErrorBodyLayer) in the stack.
    pub body: &'a [u8],
    /// When it came, by the pool's clock.
    pub now: Timestamp,
}

impl<'a> Answer<'a> {
    /// An answer with an empty body.
    pub fn new(status: StatusCode, headers: &'a HeaderMap, now: Timestamp) -> Self {
        Self { status, headers, body: &[], now }
    }

    /// With this beginning of its body.
    #[must_use]
    pub fn body(mut self, prefix: &'a [u8]) -> Self {
        self.body = prefix;
        self
    }
}

/// What a [`Provider`](super::Provider) reads in an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// When the account may be asked again, where the answer says so.
    pub retry_at: Option<Timestamp>,
    /// What the answer says of the account besides.
    pub verdict: Option<Verdict>,
}

impl Finding {
    /// What every HTTP answer may say: the limit [headers](rate_limit::retry_at), and a
    /// `www-authenticate` challenge with `error="insufficient_scope"` (RFC 6750, section 3.1).
    pub fn in_headers(answer: &Answer<'_>) -> Self {
        let is_refusal = matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let challenges = answer.headers.get_all(header::WWW_AUTHENTICATE).iter();
        let insufficient = |value: &HeaderValue| names_error(value.as_bytes(), b"insufficient_scope");
        let verdict = (is_refusal && challenges.into_iter().any(insufficient))
            .then_some(Verdict::InsufficientScope);
        Self { retry_at: rate_limit::retry_at(answer.headers, answer.now), verdict }
    }

    /// With this moment, where there is one; else the one before stays.
    #[must_use]
    pub fn or_retry_at(mut self, moment: Option<Timestamp>) -> Self {
        self.retry_at = self.retry_at.or(moment);
        self
    }

    /// With this verdict.
    #[must_use]
    pub fn verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = Some(verdict);
        self
    }
}

/// Whether one of these challenges (RFC 9110, section 11.6.1) has the parameter `error` with this value.
fn names_error(mut challenges: &[u8], error: &[u8]) -> bool {
    while let Some(first) = challenges.first() {
        let (name, rest) = token(challenges);
        if name.is_empty() {
            challenges = if *first == b'"' {
                // Without its end there is nothing more to find, and to look again from each quotation
                // mark takes time that grows with the square of the length.
                let Some((_, rest)) = string(challenges) else { return false };
                rest
            } else {
                &challenges[1..]
            };
            continue;
        }
        challenges = rest;
        let Some(value) = rest.trim_ascii_start().strip_prefix(b"=") else { continue };
        let value = value.trim_ascii_start();
        let value = if value.starts_with(b"\"") { string(value) } else { Some(token(value)) };
        let Some((value, rest)) = value else { return false };
        if name.eq_ignore_ascii_case(b"error") && value == error {
            return true;
        }
        challenges = rest;
    }
    false
}

/// What an upstream says of an account, or of its token, that neither waiting nor a refresh mends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The account's owner has to act: its sign-in was revoked, it is suspended, it is to be verified.
    /// The credential [stops](crate::standing::Health::NeedsSignIn) until it is signed in anew or reset,
    /// and the answer is returned as it is: vendors that see one account after another from the same
    /// client right after such an answer end the sign-ins of all.
    Stopped {
        /// Why, in words. Shown to people and saved: nothing secret.
        reason: String,
    },
    /// The token may not do what was asked (RFC 6750, section 3.1). The account is well; another may be
    /// allowed to.
    InsufficientScope,
}
