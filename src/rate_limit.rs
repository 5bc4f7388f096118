//! What the headers of an answer say about limits: when a limited account may be asked again, and how
//! much of its allowance is left.
//!
//! Vendors agree on little here, so headers are read leniently where a shape is known to be in use, and
//! otherwise ignored: a wrong time is worse than none. Nothing here allocates.
//!
//! Absolute times are those of the upstream's clock. Where the answer has a `date` header (RFC 9110,
//! section 6.6.1), they are read against it, so a local clock that goes wrong changes no wait.

use std::cell::OnceCell;
use std::time::{Duration, UNIX_EPOCH};

use http::header::{self, AsHeaderName, HeaderMap, HeaderValue};

use crate::clock::Timestamp;

/// How far ahead a time that the upstream states is believed: 8 days, since the longest limits in use
/// are weekly ones.
pub const MAX_STATED: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// When the account that an answer is for may be asked again, by the answer's headers; `None` where
/// they don't say. Meant for an answer that refuses (429, 402, 503).
///
/// The first of these that can be read decides:
/// 1. `retry-after-ms`: milliseconds, also with a fraction.
/// 2. `retry-after`: seconds, also with a fraction, or an HTTP date in any of its three forms
///    (RFC 9110, sections 10.2.3 and 5.6.7).
/// 3. `anthropic-ratelimit-unified-reset`: seconds since the Unix epoch. Not where
///    `anthropic-ratelimit-unified-status` says that the account was allowed: the answer is then about
///    another, shorter limit.
/// 4. `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-reset`: RFC 3339.
/// 5. `x-ratelimit-reset-{requests,tokens}`, and the same ending in `-minute`, `-hour` or `-day`:
///    durations as Go writes them (`6m0s`, `20ms`), or what the next one may hold.
/// 6. `x-ratelimit-reset`: seconds since the Unix epoch, or seconds from now where that is a small
///    number; also milliseconds since the epoch.
/// 7. `ratelimit`, as `"burst";r=0;t=30` or `limit=10, remaining=0, reset=30`, with seconds from now
///    (draft-ietf-httpapi-ratelimit-headers-10 and -07).
/// 8. `ratelimit-reset`: seconds from now (draft-ietf-httpapi-ratelimit-headers-06), or since the Unix
///    epoch where that is a large number.
///
/// From the fourth on, several limits may be told of. The latest reset counts of those with nothing
/// remaining; where there are none, of those that don't say what remains. A limit that has something
/// left, or was never granted (a limit of 0), says nothing about this refusal.
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
    if headers.is_empty() {
        return None;
    }
    let clock = UpstreamClock::new(headers, now);
    let for_all = first(headers, "retry-after-ms", retry_after_ms)
        .or_else(|| first(headers, header::RETRY_AFTER, retry_after))
        .or_else(|| unified_reset(headers));
    if let Some(reset) = for_all {
        return Some(clock.local(clock.ahead(reset)));
    }
    let limits = Limits::read(headers, &clock)?;
    let ahead = limits
        .sum(&clock, ANTHROPIC)
        .blocked()
        .or_else(|| limits.sum(&clock, X_RATELIMIT).blocked())
        .or_else(|| limits.sum(&clock, X_RATELIMIT_ALL).blocked())
        .or_else(|| limits.ietf.blocked())
        .or_else(|| limits.sum(&clock, RATELIMIT).blocked())?;
    Some(clock.local(ahead))
}

/// How much an account may still do, by the limit headers of a good answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allowance {
    /// The part that is left of the limit that is closest to its end, in thousandths (0 to 1000),
    /// rounded up: 0 means that nothing is left of it.
    pub headroom: Option<u16>,
    /// The soonest reset that is still ahead, of any limit.
    pub resets_at: Option<Timestamp>,
    /// When the last of those limits resets of which nothing is left; `None` where there are none, or
    /// their resets aren't ahead. Until then the account would refuse.
    pub used_up_until: Option<Timestamp>,
}

/// What the limit headers of a good answer (2xx) say; `None` where there are none that can be read.
///
/// Reads the limit, remaining and reset headers that [`retry_at`] knows, from its fourth entry on, the
/// quotas in `ratelimit-policy`, and the account's windows of
/// `anthropic-ratelimit-unified-{5h,7d}-{utilization,reset}`. Such a window does not count as used up:
/// an answer that was good in spite of it shows that the account may go on, as paid overage. Those of
/// single models are ignored.
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
    if headers.is_empty() {
        return None;
    }
    let clock = UpstreamClock::new(headers, now);
    let limits = Limits::read(headers, &clock)?;
    let mut sum = limits.sum(&clock, 0..BUCKETS);
    sum.add(&limits.ietf);
    sum.add(&limits.unified);
    let allowance = Allowance {
        headroom: sum.headroom,
        resets_at: sum.soonest.map(|ahead| clock.local(ahead)),
        used_up_until: sum.used_up.filter(|ahead| *ahead > 0).map(|ahead| clock.local(ahead)),
    };
    (allowance != Allowance::default()).then_some(allowance)
}

/// Whether [`allowance`] could find one that is used up: something remains to the amount of nothing. On
/// nearly every answer this is a no, and costs far less than reading what remains.
pub(crate) fn may_be_used_up(headers: &HeaderMap) -> bool {
    headers.iter().any(|(name, value)| {
        let is_zero = value.as_bytes().trim_ascii_start().first() == Some(&b'0');
        is_zero && name.as_str().contains("remaining") || name.as_str() == "ratelimit"
    })
}

/// The first value of a header that can be read.
fn first<T>(
    headers: &HeaderMap,
    name: impl AsHeaderName,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Option<T> {
    headers.get_all(name).iter().find_map(|value| read(value.as_bytes().trim_ascii()))
}

fn retry_after_ms(text: &[u8]) -> Option<Reset> {
    delay(text).map(|millionths| Reset::In(clamped(millionths.div_ceil(MILLIONTHS))))
}

fn retry_after(text: &[u8]) -> Option<Reset> {
    let seconds = delay(text).map(|millionths| Reset::In(milliseconds(millionths)));
    seconds.or_else(|| http_date(text).map(Reset::At))
}

fn unified_reset(headers: &HeaderMap) -> Option<Reset> {
    let status = headers.get("anthropic-ratelimit-unified-status");
    if status.is_some_and(|status| status.as_bytes().starts_with(b"allowed")) {
        return None;
    }
    first(headers, "anthropic-ratelimit-unified-reset", epoch_or_text)
}

/// A time that headers state, in milliseconds.
#[derive(Clone, Copy)]
enum Reset {
    /// From now.
    In(i64),
    /// Since the Unix epoch, by the upstream's clock.
    At(i64),
}

/// Up to how far behind the local clock a `date` header counts as the same time: the header is in whole
/// seconds, and the answer has taken a while. A stated time is then kept to the millisecond.
const SAME_TIME: std::ops::Range<i64> = 0..2_000;

/// Turns what headers state into times of the local clock.
struct UpstreamClock<'a> {
    headers: &'a HeaderMap,
    now: Timestamp,
    upstream: OnceCell<i64>,
}

impl<'a> UpstreamClock<'a> {
    fn new(headers: &'a HeaderMap, now: Timestamp) -> Self {
        Self { headers, now, upstream: OnceCell::new() }
    }

    /// The upstream's time when it answered. Read only where it matters.
    fn upstream(&self) -> i64 {
        *self.upstream.get_or_init(|| {
            let local = clamped(self.now.as_millis());
            first(self.headers, header::DATE, http_date)
                .filter(|date| !SAME_TIME.contains(&local.saturating_sub(*date)))
                .unwrap_or(local)
        })
    }

    /// How many milliseconds lie ahead of a reset; negative where it is past.
    fn ahead(&self, reset: Reset) -> i64 {
        match reset {
            Reset::In(milliseconds) => milliseconds,
            Reset::At(time) => time.saturating_sub(self.upstream()),
        }
    }

    fn local(&self, ahead: i64) -> Timestamp {
        let ahead = Duration::from_millis(u64::try_from(ahead).unwrap_or(0));
        self.now.after(ahead.min(MAX_STATED))
    }
}

/// What is known of one limit.
#[derive(Clone, Copy, Default)]
struct Bucket {
    limit: Option<u64>,
    remaining: Option<u64>,
    reset: Option<Reset>,
}

/// What several limits come to. Times are milliseconds from now.
#[derive(Clone, Copy, Default)]
struct Sum {
    headroom: Option<u16>,
    soonest: Option<i64>,
    used_up: Option<i64>,
    unsaid: Option<i64>,
}

impl Sum {
    fn count(&mut self, bucket: &Bucket, clock: &UpstreamClock<'_>) {
        if bucket.limit == Some(0) {
            return;
        }
        if let (Some(limit), Some(remaining)) = (bucket.limit, bucket.remaining) {
            let permille = remaining.min(limit).saturating_mul(1_000).div_ceil(limit);
            self.left(u16::try_from(permille).unwrap_or(1_000));
        }
        let Some(reset) = bucket.reset else { return };
        let ahead = clock.ahead(reset);
        self.resets(ahead);
        match bucket.remaining {
            Some(0) => self.used_up = self.used_up.max(Some(ahead)),
            Some(_) => {}
            None => self.unsaid = self.unsaid.max(Some(ahead)),
        }
    }

    fn left(&mut self, permille: u16) {
        self.headroom = Some(self.headroom.map_or(permille, |known| known.min(permille)));
    }

    /// A reset that is past was the last one: when the next will be isn't known.
    fn resets(&mut self, ahead: i64) {
        if ahead > 0 {
            self.soonest = Some(self.soonest.map_or(ahead, |known| known.min(ahead)));
        }
    }

    fn add(&mut self, other: &Sum) {
        if let Some(permille) = other.headroom {
            self.left(permille);
        }
        if let Some(ahead) = other.soonest {
            self.resets(ahead);
        }
        self.used_up = self.used_up.max(other.used_up);
        self.unsaid = self.unsaid.max(other.unsaid);
    }

    /// How long these limits hold up requests, if it is they that do.
    fn blocked(&self) -> Option<i64> {
        self.used_up.or(self.unsaid)
    }
}

const ANTHROPIC_KINDS: [&str; 4] = ["requests", "tokens", "input-tokens", "output-tokens"];
const X_RATELIMIT_KINDS: [&str; 8] = [
    "requests",
    "tokens",
    "requests-minute",
    "requests-hour",
    "requests-day",
    "tokens-minute",
    "tokens-hour",
    "tokens-day",
];

type Places = std::ops::Range<usize>;
const ANTHROPIC: Places = 0..ANTHROPIC_KINDS.len();
const X_RATELIMIT: Places = ANTHROPIC.end..ANTHROPIC.end + X_RATELIMIT_KINDS.len();
const X_RATELIMIT_ALL: Places = X_RATELIMIT.end..X_RATELIMIT.end + 1;
const RATELIMIT: Places = X_RATELIMIT_ALL.end..X_RATELIMIT_ALL.end + 1;
const BUCKETS: usize = RATELIMIT.end;

#[derive(Clone, Copy)]
enum Field {
    Limit,
    Remaining,
    Reset,
}

impl Field {
    fn named(word: &str) -> Option<Self> {
        match word {
            "limit" => Some(Self::Limit),
            "remaining" => Some(Self::Remaining),
            "reset" => Some(Self::Reset),
            _ => None,
        }
    }
}

/// What a header of this name is about.
enum Meaning {
    Bucket(usize, Field),
    /// The reset of a window of Anthropic's unified limits.
    UnifiedReset,
    /// The part of such a window that is used.
    UnifiedUsed,
    /// `ratelimit` itself.
    Ietf,
}

/// Nearly all names are turned away by their length, or by their first few bytes.
#[inline]
fn meaning(name: &str) -> Option<Meaning> {
    if name.len() < "ratelimit".len() {
        return None;
    }
    match name.as_bytes()[0] {
        b'a' => anthropic(name.strip_prefix("anthropic-ratelimit-")?),
        b'r' => ietf(name.strip_prefix("ratelimit")?),
        b'x' => x_ratelimit(name.strip_prefix("x-ratelimit-")?),
        _ => None,
    }
}

fn anthropic(rest: &str) -> Option<Meaning> {
    if let Some(rest) = rest.strip_prefix("unified-") {
        return match rest {
            "reset" | "5h-reset" | "7d-reset" => Some(Meaning::UnifiedReset),
            "5h-utilization" | "7d-utilization" => Some(Meaning::UnifiedUsed),
            _ => None,
        };
    }
    let (kind, field) = rest.rsplit_once('-')?;
    let kind = ANTHROPIC_KINDS.iter().position(|known| *known == kind)?;
    Some(Meaning::Bucket(ANTHROPIC.start + kind, Field::named(field)?))
}

fn x_ratelimit(rest: &str) -> Option<Meaning> {
    let Some((field, kind)) = rest.split_once('-') else {
        return Some(Meaning::Bucket(X_RATELIMIT_ALL.start, Field::named(rest)?));
    };
    let kind = X_RATELIMIT_KINDS.iter().position(|known| *known == kind)?;
    Some(Meaning::Bucket(X_RATELIMIT.start + kind, Field::named(field)?))
}

fn ietf(rest: &str) -> Option<Meaning> {
    if rest.is_empty() {
        return Some(Meaning::Ietf);
    }
    Some(Meaning::Bucket(RATELIMIT.start, Field::named(rest.strip_prefix('-')?)?))
}

/// Everything that the headers say about limits.
#[derive(Default)]
struct Limits {
    buckets: [Bucket; BUCKETS],
    ietf: Sum,
    unified: Sum,
}

impl Limits {
    fn read(headers: &HeaderMap, clock: &UpstreamClock<'_>) -> Option<Self> {
        let mut limits = None;
        for (name, value) in headers {
            if let Some(meaning) = meaning(name.as_str()) {
                limits.get_or_insert_with(Self::default).take(&meaning, value, clock);
            }
        }
        limits
    }

    fn take(&mut self, meaning: &Meaning, value: &HeaderValue, clock: &UpstreamClock<'_>) {
        let text = value.as_bytes().trim_ascii();
        match *meaning {
            Meaning::Bucket(place, field) => {
                let bucket = &mut self.buckets[place];
                match field {
                    Field::Limit => bucket.limit = bucket.limit.or_else(|| quota(text)),
                    Field::Remaining => bucket.remaining = bucket.remaining.or_else(|| number(text)),
                    Field::Reset if ANTHROPIC.contains(&place) => {
                        bucket.reset = bucket.reset.or_else(|| rfc3339(text).map(Reset::At));
                    }
                    Field::Reset => bucket.reset = bucket.reset.or_else(|| any_reset(text)),
                }
            }
            Meaning::UnifiedReset => {
                if let Some(reset) = epoch_or_text(text) {
                    self.unified.resets(clock.ahead(reset));
                }
            }
            Meaning::UnifiedUsed => {
                if let Some(used) = number(text) {
                    let permille = MILLIONTHS.saturating_sub(used).div_ceil(1_000);
                    self.unified.left(u16::try_from(permille).unwrap_or(1_000));
                }
            }
            Meaning::Ietf => self.take_ietf(text, clock),
        }
    }

    fn take_ietf(&mut self, text: &[u8], clock: &UpstreamClock<'_>) {
        // A list that ends badly is ignored as a whole (RFC 9651, section 4.2).
        let mut sum = self.ietf;
        let mut items = 0;
        let whole = for_each_item(text, |item| {
            items += 1;
            // Each look-up reads all policies: a long list must not make that costly.
            let limit = if items <= 8 { policy_quota(clock.headers, item.name) } else { None };
            let reset = item.t.map(|seconds| Reset::In(milliseconds(seconds)));
            sum.count(&Bucket { limit, remaining: item.r, reset }, clock);
        });
        if whole.is_some() {
            self.ietf = sum;
        } else if let Some(bucket) = draft_07(text) {
            self.ietf.count(&bucket, clock);
        }
    }

    fn sum(&self, clock: &UpstreamClock<'_>, places: Places) -> Sum {
        let mut sum = Sum::default();
        for bucket in &self.buckets[places] {
            sum.count(bucket, clock);
        }
        sum
    }
}

/// What numbers are counted in: enough for fractions, and for the milliseconds of some centuries.
const MILLIONTHS: u64 = 1_000_000;

/// Digits, and maybe a point and more digits, in millionths: rounded up, and at most `u64::MAX`.
fn number(text: &[u8]) -> Option<u64> {
    let (number, rest) = leading_number(text)?;
    rest.is_empty().then_some(number)
}

fn leading_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let (whole, rest) = leading_digits(text)?;
    let mut number = whole
        .iter()
        .fold(0_u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    number = number.saturating_mul(MILLIONTHS);
    let Some(rest) = rest.strip_prefix(b".") else { return Some((number, rest)) };
    let (fraction, rest) = leading_digits(rest)?;
    let mut unit = MILLIONTHS;
    for digit in fraction {
        unit /= 10;
        if unit == 0 {
            let more = fraction[6..].iter().any(|digit| *digit != b'0');
            return Some((number.saturating_add(u64::from(more)), rest));
        }
        number = number.saturating_add(u64::from(digit - b'0') * unit);
    }
    Some((number, rest))
}

fn leading_digits(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (length > 0).then(|| text.split_at(length))
}

/// A number of seconds or the like to wait: none where it is negative.
fn delay(text: &[u8]) -> Option<u64> {
    match text.strip_prefix(b"-") {
        Some(negative) => number(negative).map(|_| 0),
        None => number(text),
    }
}

/// The millionths of a second in milliseconds.
fn milliseconds(millionths: u64) -> i64 {
    clamped(millionths.div_ceil(1_000))
}

fn clamped(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A limit, maybe followed by windows, as in `100, 100;w=60`
/// (draft-ietf-httpapi-ratelimit-headers-06, section 5.1).
fn quota(text: &[u8]) -> Option<u64> {
    let (number, rest) = leading_number(text)?;
    matches!(rest.first(), None | Some(b',' | b';' | b' ')).then_some(number)
}

/// Numbers below are too small for seconds since the epoch, which it reached in 2001.
const EPOCH_SECONDS: u64 = 1_000_000_000 * MILLIONTHS;
/// Numbers from here on are too large for them, but right for milliseconds since 1973.
const EPOCH_MILLISECONDS: u64 = 100_000_000_000 * MILLIONTHS;

fn epoch(number: u64) -> Reset {
    if number >= EPOCH_MILLISECONDS {
        Reset::At(clamped(number.div_ceil(MILLIONTHS)))
    } else {
        Reset::At(milliseconds(number))
    }
}

fn epoch_or_text(text: &[u8]) -> Option<Reset> {
    delay(text).map(epoch).or_else(|| rfc3339(text).map(Reset::At))
}

/// A reset in any of the ways that are in use.
fn any_reset(text: &[u8]) -> Option<Reset> {
    if let Some(number) = delay(text) {
        let is_epoch = number >= EPOCH_SECONDS;
        return Some(if is_epoch { epoch(number) } else { Reset::In(milliseconds(number)) });
    }
    let duration = go_duration(text).map(Reset::In);
    duration.or_else(|| rfc3339(text).or_else(|| http_date(text)).map(Reset::At))
}

/// A duration as Go's `time.Duration` prints it, such as `1h2m3.5s` or `20ms`, and also with days, in
/// milliseconds; none where it is negative.
fn go_duration(text: &[u8]) -> Option<i64> {
    let negative = text.strip_prefix(b"-");
    let mut rest = negative.unwrap_or(text);
    let mut nanoseconds = 0_u128;
    loop {
        let (number, tail) = leading_number(rest)?;
        let length = tail.iter().take_while(|byte| !byte.is_ascii_digit()).count();
        let (unit, tail) = tail.split_at(length);
        let unit: u128 = match unit {
            b"ns" => 1,
            // The micro sign and the Greek letter.
            b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => 1_000,
            b"ms" => 1_000_000,
            b"s" => 1_000_000_000,
            b"m" => 60 * 1_000_000_000,
            b"h" => 3_600 * 1_000_000_000,
            b"d" => 86_400 * 1_000_000_000,
            _ => return None,
        };
        let part = u128::from(number).saturating_mul(unit).div_ceil(u128::from(MILLIONTHS));
        nanoseconds = nanoseconds.saturating_add(part);
        rest = tail;
        if rest.is_empty() {
            break;
        }
    }
    let milliseconds = i64::try_from(nanoseconds.div_ceil(1_000_000)).unwrap_or(i64::MAX);
    Some(if negative.is_some() { 0 } else { milliseconds })
}

/// An HTTP date (RFC 9110, section 5.6.7) in milliseconds since the Unix epoch.
fn http_date(text: &[u8]) -> Option<i64> {
    let time = httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()?;
    let since_epoch = time.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since_epoch.as_millis()).ok()
}

/// A date and time of RFC 3339, section 5.6, in milliseconds since the Unix epoch.
fn rfc3339(text: &[u8]) -> Option<i64> {
    let (year, text) = digits::<4>(text)?;
    let (month, text) = digits::<2>(text.strip_prefix(b"-")?)?;
    let (day, text) = digits::<2>(text.strip_prefix(b"-")?)?;
    let text = text.strip_prefix(b"T").or_else(|| text.strip_prefix(b"t"))?;
    let (hour, text) = digits::<2>(text)?;
    let (minute, text) = digits::<2>(text.strip_prefix(b":")?)?;
    let (second, text) = digits::<2>(text.strip_prefix(b":")?)?;
    // A second of 60 is a leap second, which counts here as the first of the next minute.
    if day < 1 || day > days_in(year, month)? || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction, text) = match text.strip_prefix(b".") {
        None => (0, text),
        Some(text) => fraction_of_second(text)?,
    };
    let offset = match text {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), text @ ..] => {
            let (hours, text) = digits::<2>(text)?;
            let (minutes, text) = digits::<2>(text.strip_prefix(b":")?)?;
            if hours > 23 || minutes > 59 || !text.is_empty() {
                return None;
            }
            let offset = hours * 60 + minutes;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let minutes = (days_since_epoch(year, month, day) * 24 + hour) * 60 + minute - offset;
    Some((minutes * 60 + second) * 1_000 + fraction)
}

/// In milliseconds, rounded up.
fn fraction_of_second(text: &[u8]) -> Option<(i64, &[u8])> {
    let (digits, rest) = leading_digits(text)?;
    let mut fraction = 0;
    let mut unit = 100;
    for digit in digits.iter().take(3) {
        fraction += i64::from(digit - b'0') * unit;
        unit /= 10;
    }
    let more = digits.iter().skip(3).any(|digit| *digit != b'0');
    Some((fraction + i64::from(more), rest))
}

/// A number of exactly so many digits, and what follows.
fn digits<const N: usize>(text: &[u8]) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(N)?;
    let mut number = 0;
    for digit in digits {
        number = number * 10 + i64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    Some((number, rest))
}

fn days_in(year: i64, month: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if is_leap { 29 } else { 28 }),
        _ => None,
    }
}

fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have their leap day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + leap_days + day_of_year - 719_468
}

/// One item of `ratelimit` or `ratelimit-policy`.
#[derive(Clone, Copy, Default)]
struct Item<'a> {
    name: &'a [u8],
    /// What remains.
    r: Option<u64>,
    /// Seconds until the reset.
    t: Option<u64>,
    /// The quota, in a policy.
    q: Option<u64>,
}

/// The quota of the policy of this name (draft-ietf-httpapi-ratelimit-headers-10).
fn policy_quota(headers: &HeaderMap, name: &[u8]) -> Option<u64> {
    first(headers, "ratelimit-policy", |text| {
        let mut quota = None;
        let whole = for_each_item(text, |item| {
            if item.name == name {
                quota = quota.or(item.q);
            }
        });
        whole.and(quota)
    })
}

/// Calls `each` for the items of a structured list of strings or tokens with parameters (RFC 9651,
/// section 3.1); `None` where the text isn't one.
fn for_each_item<'a>(mut text: &'a [u8], mut each: impl FnMut(Item<'a>)) -> Option<()> {
    loop {
        let mut item = Item::default();
        (item.name, text) = match text.first()? {
            b'"' => string(text)?,
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => token(text),
            _ => return None,
        };
        while let Some(rest) = text.strip_prefix(b";") {
            let length = rest.iter().take_while(|byte| **byte == b' ').count();
            let (key, rest) = key(&rest[length..])?;
            let value;
            (value, text) = match rest.strip_prefix(b"=") {
                Some(rest) => bare_item(rest)?,
                None => (&b""[..], rest),
            };
            match key {
                b"r" => item.r = number(value),
                b"t" => item.t = number(value),
                b"q" => item.q = number(value),
                _ => {}
            }
        }
        each(item);
        text = text.trim_ascii_start();
        if text.is_empty() {
            return Some(());
        }
        text = text.strip_prefix(b",")?.trim_ascii_start();
    }
}

fn bare_item(text: &[u8]) -> Option<(&[u8], &[u8])> {
    match text.first()? {
        b'"' => string(text),
        b':' => {
            let end = text[1..].iter().position(|byte| *byte == b':')?;
            Some(text.split_at(end + 2))
        }
        // Booleans and dates.
        b'?' | b'@' => {
            let (_, rest) = token(&text[1..]);
            Some((&text[..text.len() - rest.len()], rest))
        }
        _ => {
            let (value, rest) = token(text);
            (!value.is_empty()).then_some((value, rest))
        }
    }
}

/// What stands between quotes, as it is written, and what follows.
fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut end = 1;
    loop {
        match text.get(end)? {
            b'"' => return Some((&text[1..end], &text[end + 1..])),
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
}

/// The characters of a token (RFC 9651, section 3.3.4), which are also those of a number.
fn token(text: &[u8]) -> (&[u8], &[u8]) {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(byte);
    text.split_at(text.iter().take_while(|byte| is_part(byte)).count())
}

fn key(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_part =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(byte);
    let length = text.iter().take_while(|byte| is_part(byte)).count();
    (length > 0).then(|| text.split_at(length))
}

/// `limit=100, remaining=50, reset=30` (draft-ietf-httpapi-ratelimit-headers-07, section 5).
fn draft_07(text: &[u8]) -> Option<Bucket> {
    let mut bucket = Bucket::default();
    for member in text.split(|byte| *byte == b',') {
        let mut parts = member.splitn(2, |byte| *byte == b'=');
        let key = parts.next()?.trim_ascii();
        let value = parts.next()?.trim_ascii();
        match key {
            b"limit" => bucket.limit = Some(quota(value)?),
            b"remaining" => bucket.remaining = Some(number(value)?),
            b"reset" => bucket.reset = Some(Reset::In(milliseconds(number(value)?))),
            _ => {}
        }
    }
    Some(bucket)
}
