//! Leaving an account before its vendor refuses it.

use std::time::Duration;

use super::{Candidate, Policy, Rank};
use crate::rate_limit::Window;

/// Prefers accounts that have more than a reserve left in each of their windows. The reserve stays for pinned requests,
/// and for when all accounts are down to theirs.
///
/// An account counts as down to its reserve from the response that says so until the window resets, or until a response
/// says that there is more again. Windows whose remaining part is unknown don't count.
///
/// ```
/// use tower_credentials::policy::{LeastRecentlyUsed, Policy, Reserve};
///
/// // Leave an account at 90 % of any window, and at 98 % of those of seven days.
/// let policy = Reserve::percent(10).window("7d", 2).then(LeastRecentlyUsed);
/// ```
#[derive(Clone, Debug)]
pub struct Reserve {
    /// In thousandths.
    default: u16,
    windows: Vec<(String, u16)>,
}

impl Reserve {
    /// Creates the policy with this reserve for every window, in percent. 0 means that an account is left only once
    /// nothing remains.
    pub fn percent(reserve: u8) -> Self {
        Self { default: permille(reserve), windows: Vec::new() }
    }

    /// Sets another reserve for the windows of this [name](Window::name), in percent.
    #[must_use]
    pub fn window(mut self, name: impl Into<String>, reserve: u8) -> Self {
        self.windows.push((name.into(), permille(reserve)));
        self
    }

    fn of(&self, window: &Window) -> u16 {
        let own = self.windows.iter().rev().find(|(name, _)| **name == *window.name);
        own.map_or(self.default, |(_, reserve)| *reserve)
    }
}

fn permille(percent: u8) -> u16 {
    u16::from(percent.min(100)) * 10
}

impl Policy for Reserve {
    fn rank(&self, candidate: &Candidate<'_>) -> Rank {
        let is_down = |window: &Window| window.left.is_some_and(|left| left <= self.of(window));
        Rank::new(u64::from(candidate.current_windows().any(is_down)))
    }

    fn reads_allowance(&self) -> bool {
        true
    }
}

/// Prefers accounts whose windows last until their reset if they are used as fast as so far.
///
/// Knows the length of windows that are named by it, such as `5h` or `7d_opus`. Others don't count, nor does a window in
/// the first tenth of its time, which says little.
///
/// ```
/// use tower_credentials::policy::{Pace, Policy, Reserve};
///
/// let policy = Reserve::percent(5).then(Pace);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace;

impl Pace {
    /// Returns whether this window runs out before its reset, at its rate up to when it was said.
    fn runs_out(window: &Window) -> bool {
        let (Some(left), Some(resets_at), Some(length)) =
            (window.left, window.resets_at, length(&window.name))
        else {
            return false;
        };
        let rest = resets_at.since(window.said_at).min(length);
        let elapsed = length - rest;
        let used = u32::from(1_000_u16.saturating_sub(left));
        // Used up by then: more than the whole, if the time so far is scaled to the length.
        elapsed * 10 >= length && length.saturating_mul(used) > elapsed.saturating_mul(1_000)
    }
}

/// Returns the length of a window by its name: a number and its unit, and maybe a suffix.
fn length(name: &str) -> Option<Duration> {
    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = name.split_at(digits);
    let unit = rest.split(['_', '-']).next()?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let number: u32 = number.parse().ok()?;
    (number > 0).then(|| Duration::from_secs(seconds).saturating_mul(number))
}

impl Policy for Pace {
    fn rank(&self, candidate: &Candidate<'_>) -> Rank {
        Rank::new(u64::from(candidate.current_windows().any(Self::runs_out)))
    }

    fn reads_allowance(&self) -> bool {
        true
    }
}
