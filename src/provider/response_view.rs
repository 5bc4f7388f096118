//! What an answer says of the account that it is about.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::clock::Timestamp;
use crate::rate_limit::{self, string, token};

/// An answer as a [`Provider`](super::Provider) reads it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ResponseView<'a> {
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

impl<'a> ResponseView<'a> {
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
pub struct Assessment {
    /// When the account may be asked again, where the answer says so.
    pub retry_at: Option<Timestamp>,
    /// What the answer says of the account besides.
    pub verdict: Option<Verdict>,
    /// What a limit holds for, where that is known.
    pub limit_of: Option<LimitOf>,
}

/// What a limit holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitOf {
    /// The whole account, whatever the scope of the request that ran into it.
    Account,
    /// What the request's [`Scope`](crate::standing::Scope) names, a model most often; the account where the
    /// request has none.
    Scope,
    /// How many requests the account has at once. It goes on with those that are under way, and no more for a while.
    Concurrency,
}

impl Assessment {
    /// What every HTTP answer may say:
    ///
    /// - the limit [headers](rate_limit::retry_at). On a 403 they make it a [limit](Verdict::Limited) if there is
    ///   a `retry-after`, or nothing remains and the reset is named;
    /// - of a 401 or 403, a `www-authenticate` challenge with `error="insufficient_scope"` (RFC 6750,
    ///   section 3.1);
    /// - that it is not of the service that was asked ([`Verdict::NotTheAccount`]): a challenge or a block of a
    ///   firewall by its header (`cf-mitigated`, `x-amzn-waf-action`, `x-vercel-mitigated`), a page of HTML with
    ///   a 403, or with a 401 that has no `www-authenticate`.
    pub fn in_headers(answer: &ResponseView<'_>) -> Self {
        let ResponseView { status, headers, now, .. } = *answer;
        let retry_at = rate_limit::retry_at(headers, now);
        let found = |verdict| Self { retry_at, verdict: Some(verdict), limit_of: None };
        let is_refusal = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let challenges = headers.get_all(header::WWW_AUTHENTICATE).iter();
        let insufficient = |value: &HeaderValue| names_error(value.as_bytes(), b"insufficient_scope");
        if is_refusal && challenges.into_iter().any(insufficient) {
            return found(Verdict::InsufficientScope);
        }
        if is_foreign(status, headers) {
            return found(Verdict::NotTheAccount);
        }
        if status == StatusCode::FORBIDDEN
            && let Some(retry_at) = rate_limit::refused_by_limit(headers, now)
        {
            return Self { retry_at: Some(retry_at), ..found(Verdict::Limited) };
        }
        Self { retry_at, ..Self::default() }
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

    /// With what the limit holds for.
    #[must_use]
    pub fn limit_of(mut self, of: LimitOf) -> Self {
        self.limit_of = Some(of);
        self
    }
}

/// Whether an answer is by its head of something between the caller and the service.
fn is_foreign(status: StatusCode, headers: &HeaderMap) -> bool {
    if !status.is_client_error() && !status.is_server_error() {
        return false;
    }
    if FIREWALLS.iter().any(|name| headers.contains_key(*name)) {
        return true;
    }
    match status {
        StatusCode::FORBIDDEN => is_html(headers),
        // A server that knows of credentials says which it wants (RFC 9110, section 15.5.2).
        StatusCode::UNAUTHORIZED => is_html(headers) && !headers.contains_key(header::WWW_AUTHENTICATE),
        _ => false,
    }
}

/// What firewalls set on challenges and blocks of theirs, and on nothing else: Cloudflare's, AWS's, Vercel's.
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

/// What an answer says of an account, of its token or of the request, beyond its status.
///
/// | | The request | The account | A refresh |
/// |---|---|---|---|
/// | [`Stopped`](Self::Stopped) | is answered with it | is out of use | no |
/// | [`Dead`](Self::Dead), [`Spent`](Self::Spent) | goes on with another account | is out of use | no |
/// | [`Limited`](Self::Limited) | goes on with another account | cools down | no |
/// | [`Refused`](Self::Refused) | goes on as after a 401 | cools down if it was at fault | yes |
/// | [`InsufficientScope`](Self::InsufficientScope), [`ThisRequest`](Self::ThisRequest) | goes on with another account | is well | no |
/// | [`NotTheAccount`](Self::NotTheAccount) | is answered with it | is well | no |
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
    /// The key is of no use any more, and never will be: it was revoked or deleted. The credential
    /// [is out of use](crate::standing::Health::Dead), and the request goes on with another account.
    Dead {
        /// Why, in words. Shown to people and saved: nothing secret.
        reason: String,
    },
    /// The account is out of money, or has reached a bound that its owner has set. It is out of use until the time
    /// that the vendor names, at most [`MAX_SPENT`](rate_limit::MAX_SPENT) ahead; where there is none, until
    /// [a person acts](crate::standing::Health::Spent). The request goes on with another account.
    Spent {
        /// Why, in words. Shown to people and saved: nothing secret.
        reason: String,
        /// When it can be used again.
        until: Option<Timestamp>,
    },
    /// The account has had enough for now, whatever the status: what a 429 says by itself.
    Limited,
    /// The credential is refused, whatever the status: what a 401 says by itself. A refresh may help.
    Refused,
    /// The token may not do what was asked (RFC 6750, section 3.1). The account is well; another may be
    /// allowed to.
    InsufficientScope,
    /// The account is well and refuses this very request, which another may be entitled to.
    ThisRequest,
    /// The answer says nothing of the account, whatever its status: a challenge of a firewall, a block of a region,
    /// a proxy's own page. It is returned as it is; no other account would get another from here.
    NotTheAccount,
}
