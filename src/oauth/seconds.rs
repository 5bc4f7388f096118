//! Numbers of seconds as servers write them: whole, with a fraction, as text.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::clock::Timestamp;

/// The longest time that is believed. More is a moment in place of a duration, or a way to say "for ever".
const MOST: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// A number of seconds, also as text. Any number is one, so that what can be done about an odd one is
/// decided here: [`duration`](Self::duration) is `None` for one that is no use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seconds(f64);

impl Seconds {
    /// The duration, if it is longer than nothing and not absurdly long. RFC 6749 has no word on others: taken
    /// as they stand, a token that lives for no time would be renewed before each request.
    pub(super) fn duration(self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.0).ok().filter(|time| !time.is_zero() && *time <= MOST)
    }

    /// The duration; the longest one in place of one that is longer.
    pub(super) fn at_most(self) -> Option<Duration> {
        if self.0 > MOST.as_secs_f64() { Some(MOST) } else { self.duration() }
    }

    /// How long to wait, which may be for no time.
    pub(super) fn pause(self) -> Option<Duration> {
        if self.0 == 0.0 { Some(Duration::ZERO) } else { self.duration() }
    }

    /// The moment that lies so long after the Unix epoch.
    pub(super) fn moment(self) -> Option<Timestamp> {
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
    fn a_number_is_read_however_it_is_written() {
        for text in ["3600", "3600.0", "3.6e3", "\"3600\"", "\" 3600 \"", "\"3600.0\""] {
            assert_eq!(read(text), Some(Duration::from_secs(3600)), "{text}");
        }
        assert_eq!(read("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(read("315360000"), Some(Duration::from_secs(315_360_000)), "ten years");
    }

    #[test]
    fn a_number_that_is_no_use_is_none() {
        for text in [
            "0",
            "-0.0",
            "-1",
            "-9223372036854775808",
            "1e30",
            "1e308",
            "18446744073709551615",
            // A moment: in seconds since 1970, and in milliseconds.
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
