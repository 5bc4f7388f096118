//! Times, for people and for programs.

use std::time::{Duration, UNIX_EPOCH};

use tower_credentials::{Clock, Timestamp};

/// The time now.
pub(crate) fn now() -> Timestamp {
    Clock::system().now()
}

/// Formats a time by RFC 3339, in UTC, to the second.
pub(crate) fn rfc3339(moment: Timestamp) -> String {
    // The last moment that has four digits for its year.
    const LAST: u64 = 253_402_300_799_000;
    let since_epoch = Duration::from_millis(moment.as_millis().min(LAST));
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since_epoch).to_string()
}

/// Whose time of day is shown.
#[cfg(feature = "tui")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zone {
    Utc,
    /// That of this machine, or of the variable `TZ`; UTC if neither says one.
    Local,
}

#[cfg(feature = "tui")]
impl Zone {
    /// Formats the time of day, such as `14:02:31`.
    pub(crate) fn time_of_day(self, moment: Timestamp) -> String {
        self.of(moment).map(|moment| moment.format("%H:%M:%S").to_string()).unwrap_or_default()
    }

    /// Returns the name that the zone has at that moment: `UTC`, or how far it is from that, such as `+02:00`.
    pub(crate) fn name(self, moment: Timestamp) -> String {
        match self.of(moment).filter(|moment| moment.offset().local_minus_utc() != 0) {
            Some(moment) => moment.format("%:z").to_string(),
            None => "UTC".to_owned(),
        }
    }

    fn of(self, moment: Timestamp) -> Option<chrono::DateTime<chrono::FixedOffset>> {
        let milliseconds = i64::try_from(moment.as_millis()).ok()?;
        let moment = chrono::DateTime::from_timestamp_millis(milliseconds)?;
        Some(match self {
            Self::Utc => moment.fixed_offset(),
            Self::Local => moment.with_timezone(&chrono::Local).fixed_offset(),
        })
    }
}

/// Formats a duration with its two largest units, such as `3m 20s` or `2d 4h`.
pub(crate) fn brief(duration: Duration) -> String {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    let short = |part: &str| {
        let number = part.trim_end_matches(char::is_alphabetic);
        match &part[number.len()..] {
            "day" | "days" => format!("{number}d"),
            "month" | "months" => format!("{number}mo"),
            "year" | "years" => format!("{number}y"),
            _ => part.to_owned(),
        }
    };
    text.split(' ').take(2).map(short).collect::<Vec<_>>().join(" ")
}

/// Formats how long ago a time was.
pub(crate) fn ago(moment: Timestamp, now: Timestamp) -> String {
    match now.since(moment) {
        since if since < Duration::from_secs(1) => "now".to_owned(),
        since => format!("{} ago", brief(Duration::from_secs(since.as_secs()))),
    }
}
