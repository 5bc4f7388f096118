//! An account as the screen has it: what was read of it, in words that fit.

use std::time::Duration;

use tower_credentials::rate_limit::Window;
use tower_credentials::{CredentialId, PoolKey, Timestamp};

use crate::account::{self, Account, State, allowance};
use crate::output::plain;

/// An account, as it was when the vault was read.
pub(in crate::tui) struct Seen {
    pub(in crate::tui) account: Account,
    /// As a person types it.
    pub(in crate::tui) name: String,
    /// Its state, in the words of the other commands.
    pub(in crate::tui) in_full: String,
    /// What keeps it from use, and the way out, in the words of the other commands.
    pub(in crate::tui) trouble: Option<(String, Option<String>)>,
    /// Counted from 1, among those of its tier.
    pub(in crate::tui) place: usize,
    /// How many its tier has.
    pub(in crate::tui) of: usize,
}

/// How good something is. A sign or a word says the same, for terminals without colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tui) enum Level {
    Good,
    Doubtful,
    Bad,
    Quiet,
}

/// The state of an account in a few words.
pub(in crate::tui) struct Condition {
    /// `*` is taken next, `!` needs a person, `-` is not used.
    pub(in crate::tui) sign: char,
    pub(in crate::tui) level: Level,
    /// From the longest text to the shortest, which fits anywhere.
    texts: Vec<String>,
}

impl Condition {
    /// Returns the longest text that fits.
    pub(in crate::tui) fn fitted(&self, room: usize) -> &str {
        let fits = |text: &&String| text.chars().count() <= room;
        self.texts.iter().find(fits).or(self.texts.last()).map_or("", String::as_str)
    }
}

impl Seen {
    pub(in crate::tui) fn new(account: Account, now: Timestamp) -> Self {
        let name = plain(&account::name(&account.credential));
        let in_full = plain(&console::strip_ansi_codes(&account.describe_state(now)));
        Self { account, name, in_full, trouble: None, place: 1, of: 1 }
    }

    /// What is left of its limits, as far as its vendor has said it and that may be true.
    pub(in crate::tui) fn windows(&self, now: Timestamp) -> impl Iterator<Item = (&Window, String)> {
        let known = |window| Some((window, allowance::left(window)?));
        self.account.windows(now).filter_map(known)
    }

    pub(in crate::tui) fn id(&self) -> CredentialId {
        self.account.credential.id
    }

    pub(in crate::tui) fn pool(&self) -> &PoolKey {
        &self.account.credential.pool
    }

    pub(in crate::tui) fn label(&self) -> String {
        plain(&self.account.credential.label)
    }

    /// Whether a person must do something before requests can use it, or go on using it.
    pub(in crate::tui) fn needs_a_person(&self, now: Timestamp) -> bool {
        let account = &self.account;
        match account.state(now) {
            State::NeedsSignIn { .. }
            | State::Dead { .. }
            | State::UnknownProvider
            | State::Expired
            | State::Refused(_)
            | State::Spent { until: None, .. } => true,
            State::Ready => account.left_out.is_some() || account.unrenewable.is_some(),
            State::Paused | State::Cooling { .. } | State::Spent { .. } => false,
        }
    }

    /// Returns the keys that mend it, as they are shown.
    pub(in crate::tui) fn mending_keys(&self, now: Timestamp) -> &'static str {
        let account = &self.account;
        let is_of_settings = account.unrenewable.is_some_and(|why| why.is_of_settings());
        match account.state(now) {
            State::UnknownProvider => ",",
            State::Expired | State::Ready if is_of_settings => ",",
            State::NeedsSignIn { .. } | State::Dead { .. } | State::Expired => "s",
            State::Refused(_) => "t or s",
            State::Spent { .. } => "t",
            State::Ready if account.left_out.is_some() => "m",
            State::Ready => "s",
            State::Paused => "p",
            State::Cooling { .. } => "r",
        }
    }

    /// Returns how it is, in words for a column.
    pub(in crate::tui) fn condition(&self, now: Timestamp) -> Condition {
        let account = &self.account;
        let state = account.state(now);
        let (sign, level, mut texts) = match &state {
            State::NeedsSignIn { reason } => (
                '!',
                Level::Bad,
                vec![format!("sign in: {}", plain(reason)), "needs sign-in".to_owned()],
            ),
            State::Dead { reason } => {
                ('!', Level::Bad, vec![format!("dead: {}", plain(reason)), "dead".to_owned()])
            }
            State::Spent { until: Some(until), .. } => {
                ('!', Level::Bad, vec![format!("spent {:>7}", countdown(until.since(now)))])
            }
            State::Spent { reason, until: None } => {
                let reason = reason.as_deref().map(|reason| format!("spent: {}", plain(reason)));
                ('!', Level::Bad, reason.into_iter().chain(["spent".to_owned()]).collect())
            }
            State::Cooling { until } => {
                (' ', Level::Doubtful, vec![format!("cooling {:>7}", countdown(until.since(now)))])
            }
            State::Paused => (' ', Level::Quiet, vec!["paused by you".to_owned(), "paused".to_owned()]),
            State::UnknownProvider => ('!', Level::Doubtful, vec!["unknown provider".to_owned()]),
            State::Expired => ('!', Level::Bad, self.unrenewable_texts("expired")),
            State::Refused(status) => ('!', Level::Bad, vec![format!("refused ({status})")]),
            State::Ready => self.when_ready(now),
        };
        if let Some(why) = account.left_out {
            let mode = why.to_string();
            let mode_alone = mode.split(" takes").next().unwrap_or_default();
            let not_used =
                [format!("not used: {mode}"), format!("not used: {mode_alone}"), "not used".to_owned()];
            let is_worse = matches!(level, Level::Bad);
            return Condition {
                sign: if is_worse { '!' } else { '-' },
                level: if is_worse { Level::Bad } else { Level::Quiet },
                texts: if is_worse { texts } else { not_used.to_vec() },
            };
        }
        let limited: Vec<_> = account.limited_scopes(now).collect();
        if let (State::Ready, [(scope, until), rest @ ..]) = (&state, limited.as_slice()) {
            let more = if rest.is_empty() { String::new() } else { format!(" +{}", rest.len()) };
            let left = countdown(until.since(now));
            texts = vec![
                format!("ready; {} cooling {left}{more}", plain(scope)),
                format!("ready, limits {left}{more}"),
                "ready, limited".to_owned(),
            ];
        }
        Condition { sign: if account.is_active { '*' } else { sign }, level, texts }
    }

    fn unrenewable_texts(&self, state: &str) -> Vec<String> {
        let why = self.account.unrenewable.map(|why| format!("{state}: {why}"));
        why.into_iter().chain([state.to_owned()]).collect()
    }

    fn when_ready(&self, now: Timestamp) -> (char, Level, Vec<String>) {
        /// When the end of a token is worth saying.
        const SOON: Duration = Duration::from_secs(60 * 60);
        let ready = "ready".to_owned();
        let left = self.account.expires_at.map(|end| (end <= now, end.since(now)));
        match (left, self.account.unrenewable) {
            (Some((_, left)), Some(why)) => {
                let ends = format!("ready, ends in {}", short(left));
                (' ', Level::Doubtful, vec![format!("{ends}: {why}"), ends, ready])
            }
            (None, Some(_)) => (' ', Level::Doubtful, self.unrenewable_texts("ready")),
            (Some((true, _)), None) => {
                (' ', Level::Good, vec!["ready, renewed when used".to_owned(), ready])
            }
            (Some((false, left)), None) if left < SOON => {
                (' ', Level::Good, vec![format!("ready, token ends in {}", short(left)), ready])
            }
            _ => (' ', Level::Good, vec![ready]),
        }
    }
}

/// Formats the time until something: `4:37`, `2h 11m`, `3d 4h`.
pub(in crate::tui) fn countdown(left: Duration) -> String {
    // The last second is still one.
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    match seconds {
        0..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {:>2}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {:>2}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Formats a duration by its largest unit: `12s`, `4m`, `3d`.
pub(in crate::tui) fn short(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{countdown, short};

    #[test]
    fn a_countdown_says_the_two_largest_units_and_ends_at_zero() {
        for (milliseconds, expected) in
            [(0, "0:00"), (1, "0:01"), (277_000, "4:37"), (7_860_000, "2h 11m"), (273_600_000, "3d  4h")]
        {
            assert_eq!(countdown(Duration::from_millis(milliseconds)), expected);
        }
        for (seconds, expected) in [(0, "0s"), (59, "59s"), (240, "4m"), (3600, "1h"), (260_000, "3d")] {
            assert_eq!(short(Duration::from_secs(seconds)), expected);
        }
    }
}
