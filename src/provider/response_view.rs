//! A response as a provider sees it, and what it says about the account.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::clock::Timestamp;
use crate::rate_limit::{self, string, token};
use crate::standing::{Stated, StatedBy};

/// A response as a [`Provider`](super::Provider) reads it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ResponseView<'a> {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The beginning of the body: at most [`body_prefix`](super::Provider::body_prefix) bytes, and none without an
    /// [`ErrorBodyLayer`](crate::ErrorBodyLayer) in the stack.
    pub body: &'a [u8],
    /// When the response arrived, by the pool's clock.
    pub now: Timestamp,
}

impl<'a> ResponseView<'a> {
    /// Creates a view of a response with an empty body.
    pub fn new(status: StatusCode, headers: &'a HeaderMap, now: Timestamp) -> Self {
        Self { status, headers, body: &[], now }
    }

    /// Sets the beginning of the body.
    #[must_use]
    pub fn body(mut self, prefix: &'a [u8]) -> Self {
        self.body = prefix;
        self
    }
}

/// A [`Provider`](super::Provider)'s assessment of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Assessment {
    /// When the account may be used again, if the response says so.
    pub retry_at: Option<Timestamp>,
    /// What else the response says about the account.
    pub verdict: Option<Verdict>,
    /// What a limit applies to, if that is known.
    pub limit_of: Option<LimitOf>,
    stated: Option<Stated>,
}

/// What a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitOf {
    /// The whole account, whatever the scope of the request that ran into it.
    Account,
    /// The request's [`Scope`](crate::standing::Scope), usually a model; the account if the request has none.
    Scope,
    /// The number of requests that the account has at once. Those in progress go on, and no more are sent for a while.
    Concurrency,
}

impl Assessment {
    /// Assesses the headers that any HTTP response may have:
    ///
    /// - the limit [headers](rate_limit::retry_at). On a 403 they mean a [limit](Verdict::Limited) if there is
    ///   a `retry-after`, or if nothing remains and the reset is named;
    /// - on a 401 or 403, a `www-authenticate` challenge with `error="insufficient_scope"` (RFC 6750,
    ///   section 3.1);
    /// - signs that the response is not from the service itself ([`Verdict::NotTheAccount`]): the header of a firewall's
    ///   challenge or block (`cf-mitigated`, `x-amzn-waf-action`, `x-vercel-mitigated`), an HTML page with a 403, or an HTML
    ///   page with a 401 that has no `www-authenticate`.
    pub fn in_headers(view: &ResponseView<'_>) -> Self {
        let ResponseView { status, headers, now, .. } = *view;
        let assessed = Self::default().or_stated(rate_limit::retry_stated(headers, now));
        let is_refusal = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let challenges = headers.get_all(header::WWW_AUTHENTICATE).iter();
        let insufficient = |value: &HeaderValue| names_error(value.as_bytes(), b"insufficient_scope");
        if is_refusal && challenges.into_iter().any(insufficient) {
            return assessed.verdict(Verdict::InsufficientScope);
        }
        if is_foreign(status, headers) {
            return assessed.verdict(Verdict::NotTheAccount);
        }
        if status == StatusCode::FORBIDDEN
            && let stated @ Some(_) = rate_limit::refused_by_limit(headers, now)
        {
            return Self::default().or_stated(stated).verdict(Verdict::Limited);
        }
        assessed
    }

    /// Sets [`retry_at`](Self::retry_at) if it is unset.
    #[must_use]
    pub fn or_retry_at(mut self, retry_at: Option<Timestamp>) -> Self {
        self.retry_at = self.retry_at.or(retry_at);
        self
    }

    /// Sets [`retry_at`](Self::retry_at) if it is unset, and says what states it.
    #[must_use]
    pub(crate) fn or_stated(mut self, stated: Option<Stated>) -> Self {
        if self.retry_at.is_none()
            && let Some((at, by)) = stated
        {
            self.retry_at = Some(at);
            self.stated = Some((at, by));
        }
        self
    }

    /// Moves [`retry_at`](Self::retry_at) to this time if that is later: if several limits are used up, the longest
    /// counts.
    #[cfg(feature = "providers")]
    pub(super) fn prolong(&mut self, stated: Option<Stated>) {
        if let Some((at, by)) = stated
            && self.retry_at < Some(at)
        {
            self.retry_at = Some(at);
            self.stated = Some((at, by));
        }
    }

    /// Says which part of the response states this time, which is [`retry_at`](Self::retry_at) or that of a
    /// [`Verdict::Spent`], so that people can be told. Of several calls the last counts.
    #[must_use]
    pub fn stating(mut self, at: Timestamp, by: StatedBy) -> Self {
        self.stated = Some((at, by));
        self
    }

    /// Returns which part of the response states this time, if that is known.
    pub fn stated_by(&self, at: Timestamp) -> Option<&StatedBy> {
        self.stated.as_ref().filter(|(stated, _)| *stated == at).map(|(_, by)| by)
    }

    /// Sets the verdict.
    #[must_use]
    pub fn verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = Some(verdict);
        self
    }

    /// Sets what the limit applies to.
    #[must_use]
    pub fn limit_of(mut self, of: LimitOf) -> Self {
        self.limit_of = Some(of);
        self
    }
}

/// Whether, by its head, a response is from something between the caller and the service.
fn is_foreign(status: StatusCode, headers: &HeaderMap) -> bool {
    if !status.is_client_error() && !status.is_server_error() {
        return false;
    }
    if FIREWALLS.iter().any(|name| headers.contains_key(*name)) {
        return true;
    }
    match status {
        StatusCode::FORBIDDEN => is_html(headers),
        // A server that expects credentials names their scheme (RFC 9110, section 15.5.2).
        StatusCode::UNAUTHORIZED => is_html(headers) && !headers.contains_key(header::WWW_AUTHENTICATE),
        _ => false,
    }
}

/// Headers that firewalls set on their challenges and blocks, and on nothing else: Cloudflare's, AWS's, Vercel's.
const FIREWALLS: [&str; 3] = ["cf-mitigated", "x-amzn-waf-action", "x-vercel-mitigated"];

/// Whether the body is a page for people.
pub(super) fn is_html(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return false };
    let kind = kind.as_bytes().trim_ascii_start();
    let begins = |name: &str| {
        kind.get(..name.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(name.as_bytes()))
    };
    begins("text/html") || begins("application/xhtml")
}

/// Whether one of these challenges (RFC 9110, section 11.6.1) has the parameter `error` with this value.
fn names_error(mut challenges: &[u8], error: &[u8]) -> bool {
    while let Some(first) = challenges.first() {
        let (name, rest) = token(challenges);
        if name.is_empty() {
            challenges = if *first == b'"' {
                // An unterminated string is the end. Trying again from each quotation mark would take quadratic
                // time.
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

/// What a response says about an account, its token or the request, beyond the response's status.
///
/// | | The request | The account | A refresh |
/// |---|---|---|---|
/// | [`Stopped`](Self::Stopped) | gets this response | is out of use | no |
/// | [`Dead`](Self::Dead), [`Spent`](Self::Spent) | goes on with another account | is out of use | no |
/// | [`Limited`](Self::Limited) | goes on with another account | cools down | no |
/// | [`Refused`](Self::Refused) | goes on as after a 401 | cools down if it was at fault | yes |
/// | [`InsufficientScope`](Self::InsufficientScope), [`ThisRequest`](Self::ThisRequest) | goes on with another account | is well | no |
/// | [`NotTheAccount`](Self::NotTheAccount) | gets this response | is well | no |
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The account's owner has to act: the sign-in was revoked, or the account is suspended or must be verified.
    /// The credential [stops](crate::standing::Health::NeedsSignIn) until it is signed in again or reset, and the response
    /// is returned unchanged: a vendor that sees one account after another from the same client right after such a response
    /// ends the sign-ins of all.
    Stopped {
        /// Why, in words. It is shown to people and saved, so it must not contain secrets.
        reason: String,
    },
    /// The key will never work again: it was revoked or deleted. The credential
    /// [is out of use](crate::standing::Health::Dead), and the request goes on with another account.
    Dead {
        /// Why, in words. It is shown to people and saved, so it must not contain secrets.
        reason: String,
    },
    /// The account is out of money, or has reached a limit that its owner has set. It is out of use until the time
    /// that the vendor names, at most [`MAX_SPENT`](rate_limit::MAX_SPENT) ahead; without such a time, until
    /// [a person acts](crate::standing::Health::Spent). The request goes on with another account.
    Spent {
        /// Why, in words. It is shown to people and saved, so it must not contain secrets.
        reason: String,
        /// When it can be used again.
        until: Option<Timestamp>,
    },
    /// The account has reached a limit, whatever the status. A 429 means this without a verdict.
    Limited,
    /// The credential is refused, whatever the status. A 401 means this without a verdict. A refresh may help.
    Refused,
    /// The token lacks the scope for the request (RFC 6750, section 3.1). The account is well; another one's token may have
    /// it.
    InsufficientScope,
    /// The account is well but refuses this particular request, which another account may be entitled to.
    ThisRequest,
    /// The response says nothing about the account, whatever its status: a firewall's challenge, a block of a region,
    /// a proxy's own page. It is returned unchanged; every other account would get the same response from here.
    NotTheAccount,
}
