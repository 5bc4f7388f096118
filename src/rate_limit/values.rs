//! The numbers, durations and dates that limits are written in.

use std::time::UNIX_EPOCH;

/// A time that a response states, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) enum Reset {
    /// From now.
    In(i64),
    /// Since the Unix epoch, by the upstream's clock.
    At(i64),
}

/// The unit of numbers: fine enough for fractions, and coarse enough for the milliseconds of some centuries.
pub(super) const MILLIONTHS: u64 = 1_000_000;

/// Reads digits, and maybe a point and more digits, as millionths: rounded up, and at most `u64::MAX`.
pub(super) fn number(text: &[u8]) -> Option<u64> {
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

/// Reads a number of seconds or the like to wait; 0 if it is negative.
pub(super) fn delay(text: &[u8]) -> Option<u64> {
    match text.strip_prefix(b"-") {
        Some(negative) => number(negative).map(|_| 0),
        None => number(text),
    }
}

/// Converts millionths of a second to milliseconds.
pub(super) fn milliseconds(millionths: u64) -> i64 {
    clamped(millionths.div_ceil(1_000))
}

pub(super) fn clamped(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads a limit, maybe followed by windows, as in `100, 100;w=60`
/// (draft-ietf-httpapi-ratelimit-headers-06, section 5.1).
pub(super) fn quota(text: &[u8]) -> Option<u64> {
    let (number, rest) = leading_number(text)?;
    matches!(rest.first(), None | Some(b',' | b';' | b' ')).then_some(number)
}

/// From this number on, a number may be seconds since the epoch: the year 2001.
const EPOCH_SECONDS: u64 = 1_000_000_000 * MILLIONTHS;
/// From this number on, it is too large for seconds, but right for milliseconds since 1973.
const EPOCH_MILLISECONDS: u64 = 100_000_000_000 * MILLIONTHS;

fn epoch(number: u64) -> Reset {
    if number >= EPOCH_MILLISECONDS {
        Reset::At(clamped(number.div_ceil(MILLIONTHS)))
    } else {
        Reset::At(milliseconds(number))
    }
}

pub(super) fn epoch_or_text(text: &[u8]) -> Option<Reset> {
    delay(text).map(epoch).or_else(|| rfc3339(text).map(Reset::At))
}

/// Reads a number of seconds to wait, or a moment if it is too large for a wait.
pub(super) fn delay_or_epoch(text: &[u8]) -> Option<Reset> {
    let number = delay(text)?;
    let is_epoch = number >= EPOCH_SECONDS;
    Some(if is_epoch { epoch(number) } else { Reset::In(milliseconds(number)) })
}

/// Reads a reset in any of the forms that are in use.
pub(crate) fn any_reset(text: &[u8]) -> Option<Reset> {
    if let Some(reset) = delay_or_epoch(text) {
        return Some(reset);
    }
    let duration = go_duration(text).map(Reset::In);
    duration.or_else(|| rfc3339(text).or_else(|| http_date(text)).map(Reset::At))
}

/// Reads a duration as Go's `time.Duration` prints it, such as `1h2m3.5s` or `20ms`, and also with days. Returns
/// milliseconds; 0 if it is negative.
pub(crate) fn go_duration(text: &[u8]) -> Option<i64> {
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

/// Reads an HTTP date (RFC 9110, section 5.6.7) in milliseconds since the Unix epoch.
pub(super) fn http_date(text: &[u8]) -> Option<i64> {
    let time = httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()?;
    let since_epoch = time.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since_epoch.as_millis()).ok()
}

/// Reads a date and time of RFC 3339, section 5.6, in milliseconds since the Unix epoch.
pub(super) fn rfc3339(text: &[u8]) -> Option<i64> {
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

/// Reads a date and minute in UTC such as `2026-12-01 at 00:00`, which a vendor writes in a sentence.
#[cfg(feature = "providers")]
pub(crate) fn date_and_minute(text: &str) -> Option<Reset> {
    let (date, minute) = text.split_once(" at ")?;
    rfc3339(format!("{}T{}:00Z", date.trim(), minute.trim()).as_bytes()).map(Reset::At)
}

/// Reads a fraction of a second as milliseconds, rounded up.
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

/// Splits off a number of exactly this many digits.
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
