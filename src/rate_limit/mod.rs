//! Reading the limits in a response's headers: when a limited account may be asked again, and how much of its
//! allowance is left.
//!
//! Vendors agree on little here. Headers are read leniently if their form is known to be in use, and ignored
//! otherwise: a wrong time is worse than none. Nothing here allocates.
//!
//! Absolute times are those of the upstream's clock. If the response has a `date` header (RFC 9110, section 6.6.1),
//! they are read relative to it, so that a wrong local clock changes no wait.

mod ietf;
mod limits;
mod values;
mod windows;

use std::cell::OnceCell;
use std::time::Duration;

use http::header::{self, AsHeaderName, HeaderMap};

use crate::clock::Timestamp;
use crate::standing::{Stated, StatedBy};
use limits::{
    ANTHROPIC, BUCKETS, Limits, RATELIMIT, Reached, X_RATELIMIT, X_RATELIMIT_ALL, reset_header,
};
use values::{MILLIONTHS, clamped, delay, delay_or_epoch, epoch_or_text, http_date};

pub(crate) use ietf::{string, token};
pub(crate) use values::Reset;
#[cfg(feature = "providers")]
pub(crate) use values::{any_reset, date_and_minute, go_duration};
pub(crate) use windows::MOST_WINDOWS;
pub use windows::{Window, windows};

/// The longest wait that an upstream may state: 8 days, since the longest limits in use are weekly. A later time
/// counts as this.
pub const MAX_STATED: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// The longest time that an upstream may state until a spent account can be used again: 35 days, since spending limits
/// are monthly.
pub const MAX_SPENT: Duration = Duration::from_secs(35 * 24 * 60 * 60);

/// Returns when the account may be asked again, by a response's headers; `None` if they don't say. For responses that
/// refuse (429, 402, 503).
///
/// The first of these that can be read decides:
/// 1. `retry-after-ms`: milliseconds, also with a fraction; large numbers as in the next.
/// 2. `retry-after`: seconds, also with a fraction, or an HTTP date in any of its three forms
///    (RFC 9110, sections 10.2.3 and 5.6.7). A number that is too large for a wait, from 10⁹ on, is a moment:
///    seconds or milliseconds since the Unix epoch.
/// 3. `anthropic-ratelimit-unified-reset`: seconds since the Unix epoch. Not if
///    `anthropic-ratelimit-unified-status` says that the account was allowed: the response is then about
///    another, shorter limit.
/// 4. `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-reset`: RFC 3339.
/// 5. `x-ratelimit-reset-{requests,tokens}`, and the same ending in `-minute`, `-hour` or `-day`:
///    durations as Go writes them (`6m0s`, `20ms`), or what the next one may hold.
/// 6. `x-ratelimit-reset`: seconds since the Unix epoch, or seconds from now if it is a small
///    number; also milliseconds since the epoch.
/// 7. `ratelimit`, as `"burst";r=0;t=30` or `limit=10, remaining=0, reset=30`, with seconds from now
///    (draft-ietf-httpapi-ratelimit-headers-10 and -07).
/// 8. `ratelimit-reset`: seconds from now (draft-ietf-httpapi-ratelimit-headers-06), or since the Unix
///    epoch if it is a large number.
///
/// From the fourth on, there may be several limits. Of those with nothing remaining, the latest reset counts; if there
/// are none, that of the limits that don't say what remains. A limit that has something left, or was never granted (a
/// limit of 0), says nothing about this refusal.
///
/// A number of seconds is digits: `+30` isn't one. Something negative or past means now; nothing is
/// later than [`MAX_STATED`] from now. Fractions of a millisecond are rounded up.
///
/// ```
/// use http::{HeaderMap, HeaderValue, header};
/// use tower_credentials::{Timestamp, rate_limit};
///
/// let now = Timestamp::from_millis(1_700_000_000_000);
/// let mut headers = HeaderMap::new();
/// headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1.5"));
/// assert_eq!(rate_limit::retry_at(&headers, now), Some(Timestamp::from_millis(1_700_000_001_500)));
/// ```
pub fn retry_at(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    retry_stated(headers, now).map(|(at, _)| at)
}

/// Returns the same, and the header that decides.
pub(crate) fn retry_stated(headers: &HeaderMap, now: Timestamp) -> Option<Stated> {
    if headers.is_empty() {
        return None;
    }
    let clock = UpstreamClock::new(headers, now);
    if let Some(found) = retry_after_any(headers).or_else(|| unified_reset(headers)) {
        return Some(clock.stated(found));
    }
    let limits = Limits::read(headers, &clock)?;
    let reached = limits
        .sum(&clock, ANTHROPIC)
        .blocked()
        .or_else(|| limits.sum(&clock, X_RATELIMIT).blocked())
        .or_else(|| limits.sum(&clock, X_RATELIMIT_ALL).blocked())
        .or_else(|| limits.ietf.blocked())
        .or_else(|| limits.sum(&clock, RATELIMIT).blocked())?;
    Some(clock.reached(reached))
}

/// Returns when the account may be asked again, and the header that decides, if the headers prove that a limit is the
/// reason for a refusal: by a `retry-after`, or by a limit with nothing remaining and a known reset. For a status such
/// as 403, which has other reasons, too: many servers send their limits with every response.
pub(crate) fn refused_by_limit(headers: &HeaderMap, now: Timestamp) -> Option<Stated> {
    if headers.is_empty() {
        return None;
    }
    let clock = UpstreamClock::new(headers, now);
    if let Some(found) = retry_after_any(headers) {
        return Some(clock.stated(found));
    }
    let is_rejected = headers.get(UNIFIED_STATUS).is_some_and(|status| status == "rejected");
    if is_rejected && let Some(found) = unified_reset(headers) {
        return Some(clock.stated(found));
    }
    let limits = Limits::read(headers, &clock)?;
    let mut sum = limits.sum(&clock, 0..BUCKETS);
    sum.add(&limits.ietf);
    sum.used_up.map(|reached| clock.reached(reached))
}

/// Returns whether there is any header of a limit, except `retry-after`, which proxies send, too.
#[cfg(feature = "providers")]
pub(crate) fn has_limits(headers: &HeaderMap) -> bool {
    headers.contains_key(UNIFIED_STATUS)
        || Limits::read(headers, &UpstreamClock::new(headers, Timestamp::default())).is_some()
}

/// The allowance that an account has left, by the limit headers of a successful response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allowance {
    /// The remaining part of the limit that is closest to its end, in thousandths (0 to 1000), rounded up. 0 means that
    /// nothing remains.
    pub headroom: Option<u16>,
    /// The soonest reset that is still ahead, of any limit.
    pub resets_at: Option<Timestamp>,
    /// When the last of the limits with nothing remaining resets; `None` if there are none, or if their resets are
    /// past. Until then the upstream would refuse requests.
    pub used_up_until: Option<Timestamp>,
}

/// Reads the limit headers of a successful response (2xx). Returns `None` if there are none that can be read.
///
/// Reads the limit, remaining and reset headers that [`retry_at`] knows, from its fourth entry on, the quotas in
/// `ratelimit-policy`, and the account's windows of `anthropic-ratelimit-unified-{5h,7d}-{utilization,reset}`. Such a
/// window never counts as used up: a success in spite of it shows that the account may continue, as paid overage. The
/// windows of single models are ignored.
///
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use tower_credentials::{Timestamp, rate_limit};
///
/// let now = Timestamp::from_millis(1_700_000_000_000);
/// let mut headers = HeaderMap::new();
/// headers.insert("x-ratelimit-limit-tokens", HeaderValue::from_static("150000"));
/// headers.insert("x-ratelimit-remaining-tokens", HeaderValue::from_static("30000"));
/// let allowance = rate_limit::allowance(&headers, now).unwrap();
/// assert_eq!(allowance.headroom, Some(200));
/// ```
pub fn allowance(headers: &HeaderMap, now: Timestamp) -> Option<Allowance> {
    LimitHeaders::read(headers, now).allowance().map(|(allowance, _)| allowance)
}

/// The limit headers of a response, read once for all that they say.
pub(crate) struct LimitHeaders<'a> {
    clock: UpstreamClock<'a>,
    limits: Option<Limits>,
}

impl<'a> LimitHeaders<'a> {
    pub(crate) fn read(headers: &'a HeaderMap, now: Timestamp) -> Self {
        let clock = UpstreamClock::new(headers, now);
        let limits = Limits::read(headers, &clock);
        Self { clock, limits }
    }

    /// Returns what they say together, and the header that states until when it is used up.
    pub(crate) fn allowance(&self) -> Option<(Allowance, Option<StatedBy>)> {
        let Self { clock, limits: Some(limits) } = self else { return None };
        let mut sum = limits.sum(clock, 0..BUCKETS);
        sum.add(&limits.ietf);
        sum.add(&limits.unified);
        let used_up =
            sum.used_up.filter(|(ahead, _)| *ahead > 0).map(|reached| clock.reached(reached)).unzip();
        let allowance = Allowance {
            headroom: sum.headroom,
            resets_at: sum.soonest.map(|ahead| clock.local(ahead)),
            used_up_until: used_up.0,
        };
        (allowance != Allowance::default()).then_some((allowance, used_up.1))
    }
}

/// Converts a time from the body of a response with these headers to local time, at most this far ahead.
#[cfg(feature = "providers")]
pub(crate) fn stated(headers: &HeaderMap, now: Timestamp, reset: Reset, most: Duration) -> Timestamp {
    let clock = UpstreamClock::new(headers, now);
    clock.local_within(clock.ahead(reset), most)
}

/// Returns whether [`allowance`] could find one that is used up, with nothing remaining. This is false for nearly every
/// response, and costs far less than to read the headers.
#[inline]
pub(crate) fn may_be_used_up(headers: &HeaderMap) -> bool {
    !headers.is_empty()
        && headers.iter().any(|(name, value)| {
            let is_zero = value.as_bytes().trim_ascii_start().first() == Some(&b'0');
            is_zero && name.as_str().contains("remaining") || name.as_str() == "ratelimit"
        })
}

/// Returns the first value of a header that can be read.
fn first<T>(
    headers: &HeaderMap,
    name: impl AsHeaderName,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Option<T> {
    headers.get_all(name).iter().find_map(|value| read(value.as_bytes().trim_ascii()))
}

/// Reads `retry-after-ms`. No wait in milliseconds is as large as a moment in seconds or milliseconds since the epoch.
fn retry_after_ms(text: &[u8]) -> Option<Reset> {
    match delay_or_epoch(text)? {
        Reset::In(_) => {
            delay(text).map(|millionths| Reset::In(clamped(millionths.div_ceil(MILLIONTHS))))
        }
        moment => Some(moment),
    }
}

fn retry_after(text: &[u8]) -> Option<Reset> {
    delay_or_epoch(text).or_else(|| http_date(text).map(Reset::At))
}

/// A time that the header of this name states.
type Found = (Reset, &'static str);

fn retry_after_any(headers: &HeaderMap) -> Option<Found> {
    const IN_MS: &str = "retry-after-ms";
    let in_ms = first(headers, IN_MS, retry_after_ms).map(|reset| (reset, IN_MS));
    in_ms.or_else(|| Some((first(headers, header::RETRY_AFTER, retry_after)?, "retry-after")))
}

const UNIFIED_STATUS: &str = "anthropic-ratelimit-unified-status";

fn unified_reset(headers: &HeaderMap) -> Option<Found> {
    const NAME: &str = "anthropic-ratelimit-unified-reset";
    let status = headers.get(UNIFIED_STATUS);
    if status.is_some_and(|status| status.as_bytes().starts_with(b"allowed")) {
        return None;
    }
    Some((first(headers, NAME, epoch_or_text)?, NAME))
}

/// How far behind the local clock a `date` header may be and still count as the same time: it is in whole seconds, and
/// the response took a while. A stated time is then exact to the millisecond.
const SAME_TIME: std::ops::Range<i64> = 0..2_000;

/// Converts the times in headers to local time.
struct UpstreamClock<'a> {
    headers: &'a HeaderMap,
    now: Timestamp,
    upstream: OnceCell<i64>,
}

impl<'a> UpstreamClock<'a> {
    fn new(headers: &'a HeaderMap, now: Timestamp) -> Self {
        Self { headers, now, upstream: OnceCell::new() }
    }

    /// Returns the upstream's time when it answered. Read only if needed.
    fn upstream(&self) -> i64 {
        *self.upstream.get_or_init(|| {
            let local = clamped(self.now.as_millis());
            first(self.headers, header::DATE, http_date)
                .filter(|date| !SAME_TIME.contains(&local.saturating_sub(*date)))
                .unwrap_or(local)
        })
    }

    /// Returns how many milliseconds ahead a reset is; negative if it is past.
    fn ahead(&self, reset: Reset) -> i64 {
        match reset {
            Reset::In(milliseconds) => milliseconds,
            Reset::At(time) => time.saturating_sub(self.upstream()),
        }
    }

    fn stated(&self, (reset, header): Found) -> Stated {
        (self.local(self.ahead(reset)), StatedBy::Header(header.into()))
    }

    fn reached(&self, (ahead, place): Reached) -> Stated {
        (self.local(ahead), StatedBy::Header(reset_header(place).into()))
    }

    fn local(&self, ahead: i64) -> Timestamp {
        self.local_within(ahead, MAX_STATED)
    }

    fn local_within(&self, ahead: i64, most: Duration) -> Timestamp {
        let ahead = Duration::from_millis(u64::try_from(ahead).unwrap_or(0));
        self.now.after(ahead.min(most))
    }
}
