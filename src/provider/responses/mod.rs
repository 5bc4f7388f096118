//! The meaning of responses as a table: one rule per line, with the conditions first and the meaning last.

mod body;
mod pattern;
mod read;
mod show;

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderName;

use super::{LimitOf, ResponseView};
use pattern::Pattern;

pub(crate) use body::values;
pub(crate) use read::{read, wants_body};

/// The number of bytes of a body that are read. Vendors' errors are shorter, though links make some kilobytes long.
pub(crate) const BODY_PREFIX: usize = 16 * 1024;

/// A rule for the meaning of responses with certain statuses, headers and fields of a JSON body.
///
/// A rule matches if all of its conditions do. The first of a provider's rules that matches counts. A rule with a condition
/// on the body matches only with an [`ErrorBodyLayer`](crate::ErrorBodyLayer) in the stack, and a rule for a status below 400
/// never does.
///
/// A pattern matches the whole text. `*` in it matches anything; a full stop at the end does not matter. A field is a path
/// such as `error.code`. Paths ignore lists: `error.details.reason` is the reason of each detail. `error.code|detail.code`
/// is either field.
///
/// ```
/// use tower_credentials::provider::{GenericProvider, ResponseRule};
///
/// let provider = GenericProvider::bearer("example")
///     .response(ResponseRule::on([403]).body("error.code", "quota").spent("add money to the account"))
///     .response(ResponseRule::on([409]).header("x-busy", "*").limited().until("error.free_at"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseRule {
    statuses: Vec<u16>,
    tests: Vec<Test>,
    means: Means,
    /// What a person has to do.
    reason: Cow<'static, str>,
    /// The fields and headers that name the time at which the limit ends.
    until: Vec<Place>,
    /// How long the limit lasts if no time is named.
    wait: Option<Duration>,
    limit_of: Option<LimitOf>,
}

/// The meaning of a rule: a [`Verdict`](super::Verdict) without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    Limited,
    Spent,
    Dead,
    Stopped,
    NotTheAccount,
    ThisRequest,
    InsufficientScope,
    Refused,
}

impl Means {
    /// The words in settings, and in the table as it is shown.
    pub(crate) const WORDS: [(&'static str, Self); 8] = [
        ("limit", Self::Limited),
        ("spent", Self::Spent),
        ("dead", Self::Dead),
        ("stopped", Self::Stopped),
        ("not-the-account", Self::NotTheAccount),
        ("this-request", Self::ThisRequest),
        ("insufficient-scope", Self::InsufficientScope),
        ("refused", Self::Refused),
    ];
}

/// A condition on a response.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Test {
    place: Place,
    /// One of these must match.
    patterns: Vec<Pattern>,
}

/// A part of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Header(HeaderName),
    /// The field at a path.
    Field(Cow<'static, str>),
    /// The whole body.
    Text,
}

impl ResponseRule {
    /// Creates a rule for these statuses. Without more, it matches every response with one of them, and means that the
    /// credential was [refused](Self::refused).
    pub fn on(statuses: impl Into<Vec<u16>>) -> Self {
        Self {
            statuses: statuses.into(),
            tests: Vec::new(),
            means: Means::Refused,
            reason: "".into(),
            until: Vec::new(),
            wait: None,
            limit_of: None,
        }
    }

    fn with(mut self, place: Place, patterns: impl IntoPatterns) -> Self {
        let patterns = patterns.into_patterns().into_iter().map(Pattern::new).collect();
        self.tests.push(Test { place, patterns });
        self
    }

    /// Requires that this field of the body matches one of these patterns.
    #[must_use]
    pub fn body(self, path: impl Into<Cow<'static, str>>, patterns: impl IntoPatterns) -> Self {
        self.with(Place::Field(path.into()), patterns)
    }

    /// Requires that the whole body, which need not be JSON, matches one of these patterns.
    #[must_use]
    pub fn text(self, patterns: impl IntoPatterns) -> Self {
        self.with(Place::Text, patterns)
    }

    /// Requires that a header of this name matches one of these patterns.
    ///
    /// # Panics
    /// If the name can't be a header's.
    #[must_use]
    pub fn header<N>(self, name: N, patterns: impl IntoPatterns) -> Self
    where
        N: TryInto<HeaderName>,
        N::Error: std::fmt::Debug,
    {
        self.with(Place::Header(name.try_into().expect("a header's name")), patterns)
    }

    fn means(mut self, means: Means, reason: impl Into<Cow<'static, str>>) -> Self {
        (self.means, self.reason) = (means, reason.into());
        self
    }

    /// Means a [limit](super::Verdict::Limited).
    #[must_use]
    pub fn limited(self) -> Self {
        self.means(Means::Limited, "")
    }

    /// Means that the account is [spent](super::Verdict::Spent). People are shown `what_to_do`.
    #[must_use]
    pub fn spent(self, what_to_do: impl Into<Cow<'static, str>>) -> Self {
        self.means(Means::Spent, what_to_do)
    }

    /// Means that the key is [dead](super::Verdict::Dead). People are shown `what_to_do`.
    #[must_use]
    pub fn dead(self, what_to_do: impl Into<Cow<'static, str>>) -> Self {
        self.means(Means::Dead, what_to_do)
    }

    /// Means that the account is [stopped](super::Verdict::Stopped): its owner has to act, and the vendor must not see another
    /// account instead. People are shown `what_to_do`.
    #[must_use]
    pub fn stopped(self, what_to_do: impl Into<Cow<'static, str>>) -> Self {
        self.means(Means::Stopped, what_to_do)
    }

    /// Means that the response is [not about the account](super::Verdict::NotTheAccount).
    #[must_use]
    pub fn not_the_account(self) -> Self {
        self.means(Means::NotTheAccount, "")
    }

    /// Means that the response is about [this request](super::Verdict::ThisRequest) alone.
    #[must_use]
    pub fn this_request(self) -> Self {
        self.means(Means::ThisRequest, "")
    }

    /// Means that the token [lacks the scope](super::Verdict::InsufficientScope) for the request.
    #[must_use]
    pub fn insufficient_scope(self) -> Self {
        self.means(Means::InsufficientScope, "")
    }

    /// Means that the credential is [refused](super::Verdict::Refused), for an unknown reason.
    #[must_use]
    pub fn refused(self) -> Self {
        self.means(Means::Refused, "")
    }

    /// Takes the end of a limit, or the time at which the account is no longer spent, from this field of the body: a number of
    /// seconds, a duration, or a date. The latest of several counts.
    #[must_use]
    pub fn until(mut self, path: impl Into<Cow<'static, str>>) -> Self {
        self.until.push(Place::Field(path.into()));
        self
    }

    /// Sets how long a limit lasts if the response names no time.
    #[must_use]
    pub fn lasts(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Sets what a limit applies to.
    #[must_use]
    pub fn of(mut self, of: LimitOf) -> Self {
        self.limit_of = Some(of);
        self
    }

    /// Sets the meaning that settings name.
    #[cfg_attr(not(feature = "config"), allow(dead_code, reason = "only a settings file has rules"))]
    pub(crate) fn meaning(self, means: Means, what_to_do: String) -> Self {
        self.means(means, what_to_do)
    }

    fn is_for(&self, view: &ResponseView<'_>) -> bool {
        let status = view.status.as_u16();
        status >= 400 && self.statuses.contains(&status)
    }

    fn needs_body(&self) -> bool {
        let in_body = |place: &Place| !matches!(place, Place::Header(_));
        self.tests.iter().map(|test| &test.place).chain(&self.until).any(in_body)
    }
}

/// One pattern, or several of which one must match.
pub trait IntoPatterns: sealed::IntoPatterns {}

impl<T: sealed::IntoPatterns> IntoPatterns for T {}

mod sealed {
    use std::borrow::Cow;

    pub trait IntoPatterns {
        fn into_patterns(self) -> Vec<Cow<'static, str>>;
    }

    impl IntoPatterns for &'static str {
        fn into_patterns(self) -> Vec<Cow<'static, str>> {
            vec![self.into()]
        }
    }

    impl IntoPatterns for String {
        fn into_patterns(self) -> Vec<Cow<'static, str>> {
            vec![self.into()]
        }
    }

    impl<const N: usize> IntoPatterns for [&'static str; N] {
        fn into_patterns(self) -> Vec<Cow<'static, str>> {
            self.map(Into::into).into()
        }
    }

    impl IntoPatterns for Vec<&'static str> {
        fn into_patterns(self) -> Vec<Cow<'static, str>> {
            self.into_iter().map(Into::into).collect()
        }
    }

    impl IntoPatterns for Vec<String> {
        fn into_patterns(self) -> Vec<Cow<'static, str>> {
            self.into_iter().map(Into::into).collect()
        }
    }
}
