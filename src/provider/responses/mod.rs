//! What answers mean, as a table: one rule a line, each of what an answer has and of what follows from that.

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

/// How much of an answer's body is read: vendors' errors are shorter, some with several links by kilobytes.
pub(crate) const BODY_PREFIX: usize = 16 * 1024;

/// One rule of what answers mean: on these statuses, with these headers and these fields of a JSON body, this.
///
/// A rule holds if all that it asks for is there. Of a provider's rules the first that holds counts, and one that
/// asks for a body holds only with an [`ErrorBodyLayer`](crate::ErrorBodyLayer) in the stack. A rule for a status
/// below 400 never holds.
///
/// Patterns are the whole text, in which `*` stands for anything; a full stop at the end does not matter. Fields
/// are paths such as `error.code`, in which lists count for nothing: `error.details.reason` is that of each detail.
/// `error.code|detail.code` is either.
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
    /// What a person has to do about it.
    reason: Cow<'static, str>,
    /// The fields and headers that name the time at which it ends.
    until: Vec<Place>,
    /// How long it lasts where no time is named.
    wait: Option<Duration>,
    limit_of: Option<LimitOf>,
}

/// What a rule makes of an answer: a [`Verdict`](super::Verdict) without what it carries.
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
    /// The words for it in settings, and as the table is shown.
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

/// Something that an answer must have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Test {
    place: Place,
    /// One of these.
    patterns: Vec<Pattern>,
}

/// Where in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Header(HeaderName),
    /// The field that a path leads to.
    Field(Cow<'static, str>),
    /// The whole body.
    Text,
}

impl ResponseRule {
    /// A rule for these statuses. Until more is said, it holds for all answers with them, and says that the
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

    /// Where this field of the body is like one of these patterns.
    #[must_use]
    pub fn body(self, path: impl Into<Cow<'static, str>>, patterns: impl IntoPatterns) -> Self {
        self.with(Place::Field(path.into()), patterns)
    }

    /// Where the whole body, which need not be JSON, is like one of these patterns.
    #[must_use]
    pub fn text(self, patterns: impl IntoPatterns) -> Self {
        self.with(Place::Text, patterns)
    }

    /// Where a header of this name is like one of these patterns.
    ///
    /// # Panics
    /// Where the name is no header's.
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

    /// It is a [limit](super::Verdict::Limited).
    #[must_use]
    pub fn limited(self) -> Self {
        self.means(Means::Limited, "")
    }

    /// The account is [spent](super::Verdict::Spent). What is to be done is shown to people.
    #[must_use]
    pub fn spent(self, what_to_do: impl Into<Cow<'static, str>>) -> Self {
        self.means(Means::Spent, what_to_do)
    }

    /// The key is [dead](super::Verdict::Dead). What is to be done is shown to people.
    #[must_use]
    pub fn dead(self, what_to_do: impl Into<Cow<'static, str>>) -> Self {
        self.means(Means::Dead, what_to_do)
    }

    /// The account's owner has to act, and nobody else is to be [shown](super::Verdict::Stopped) to the vendor.
    /// What is to be done is shown to people.
    #[must_use]
    pub fn stopped(self, what_to_do: impl Into<Cow<'static, str>>) -> Self {
        self.means(Means::Stopped, what_to_do)
    }

    /// It is [not about the account](super::Verdict::NotTheAccount).
    #[must_use]
    pub fn not_the_account(self) -> Self {
        self.means(Means::NotTheAccount, "")
    }

    /// It is about [this request](super::Verdict::ThisRequest) alone.
    #[must_use]
    pub fn this_request(self) -> Self {
        self.means(Means::ThisRequest, "")
    }

    /// The token [may not do](super::Verdict::InsufficientScope) what was asked.
    #[must_use]
    pub fn insufficient_scope(self) -> Self {
        self.means(Means::InsufficientScope, "")
    }

    /// The credential is [refused](super::Verdict::Refused), for no reason that is known.
    #[must_use]
    pub fn refused(self) -> Self {
        self.means(Means::Refused, "")
    }

    /// The field of the body that names the time at which a limit ends, or at which the account is no longer
    /// spent: a number of seconds, a duration, or a moment. Of several the latest counts.
    #[must_use]
    pub fn until(mut self, path: impl Into<Cow<'static, str>>) -> Self {
        self.until.push(Place::Field(path.into()));
        self
    }

    /// How long a limit lasts where the answer names no time.
    #[must_use]
    pub fn lasts(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// What a limit holds for.
    #[must_use]
    pub fn of(mut self, of: LimitOf) -> Self {
        self.limit_of = Some(of);
        self
    }

    /// What it means, by the settings' word.
    #[cfg_attr(not(feature = "config"), allow(dead_code, reason = "a file alone has rules"))]
    pub(crate) fn meaning(self, means: Means, what_to_do: String) -> Self {
        self.means(means, what_to_do)
    }

    fn is_for(&self, answer: &ResponseView<'_>) -> bool {
        let status = answer.status.as_u16();
        status >= 400 && self.statuses.contains(&status)
    }

    /// Whether it asks for something in the body.
    fn asks_for_body(&self) -> bool {
        let in_body = |place: &Place| !matches!(place, Place::Header(_));
        self.tests.iter().map(|test| &test.place).chain(&self.until).any(in_body)
    }
}

/// One pattern, or several of which one is enough.
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
