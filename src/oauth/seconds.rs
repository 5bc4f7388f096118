//! Numbers of seconds as servers write them: whole, with a fraction, or as text.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::clock::Timestamp;

/// The longest duration that is believed. Anything longer is a point in time, or means "for ever".
const MOST: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// A number of seconds, which may be written as text. Any number is accepted; the methods return `None` for one that
/// makes no sense.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seconds(f64);

impl Seconds {
    /// The duration, if it is longer than zero and not absurdly long. RFC 6749 says nothing of others; a token that lives
    /// for no time would be renewed before each request.
    pub(super) fn duration(self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.0).ok().filter(|time| !time.is_zero() && *time <= MOST)
    }

    /// The duration, cut to the longest one that is believed.
    pub(super) fn clamped(self) -> Option<Duration> {
        if self.0 > MOST.as_secs_f64() { Some(MOST) } else { self.duration() }
    }

    /// The duration, which may be zero.
    pub(super) fn or_zero(self) -> Option<Duration> {
        if self.0 == 0.0 { Some(Duration::ZERO) } else { self.duration() }
    }

    /// The time this long after the Unix epoch.
    pub(super) fn since_epoch(self) -> Option<Timestamp> {
        Duration::try_from_secs_f64(self.0).ok().map(|time| Timestamp::default().after(time))
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(seconds) => Ok(Self(seconds)),
            Written::Text(text) => text.trim().parse().map(Self).map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Duration> {
        serde_json::from_str::<Seconds>(text).ok().and_then(Seconds::duration)
    }

    #[test]
    fn a_number_is_read_in_any_notation() {
        for text in ["3600", "3600.0", "3.6e3", "\"3600\"", "\" 3600 \"", "\"3600.0\""] {
            assert_eq!(read(text), Some(Duration::from_secs(3600)), "{text}");
        }
        assert_eq!(read("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(read("315360000"), Some(Duration::from_secs(315_360_000)), "ten years");
    }

    #[test]
    fn a_number_that_makes_no_sense_is_none() {
        for text in [
            "0",
            "-0.0",
            "-1",
            "-9223372036854775808",
            "1e30",
            "1e308",
            "18446744073709551615",
            // A time since 1970, in seconds and in milliseconds.
            "1771404540",
            "1771404540000",
            "2147483647",
            "1e-30",
            "\"0\"",
            "\"-5\"",
            "\"1e30\"",
            "\"NaN\"",
            "\"inf\"",
            "\"soon\"",
            "\"\"",
            "null",
            "true",
            "{}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
