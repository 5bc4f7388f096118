//! What is left of each limit that a response names.

use std::sync::Arc;

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::limits::{Bucket, Limits, X_RATELIMIT_ALL, bucket_name};
use super::values::{MILLIONTHS, Reset, delay, epoch_or_text, milliseconds, number};
use super::{LimitHeaders, UpstreamClock, first, ietf, limits};
use crate::clock::Timestamp;

/// One limit of an account, such as its tokens per minute or its use in five hours, as the vendor has said last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Window {
    /// The vendor's name for it, such as `tokens`, `5h` or `7d_opus`; `quota` if the vendor gives none.
    pub name: Arc<str>,
    /// The remaining part, in thousandths (0 to 1000), rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u16>,
    /// How much remains, in the vendor's unit, rounded down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u64>,
    /// The limit, in the same unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// When it resets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<Timestamp>,
    /// When the vendor said this.
    pub said_at: Timestamp,
}

impl Window {
    /// Returns whether what it says may still be true: it has not been reset since.
    pub fn is_current(&self, now: Timestamp) -> bool {
        self.resets_at.is_none_or(|reset| reset > now)
    }
}

/// How many windows of a response, or of an account, are kept. No vendor that is known names more than half of it.
pub(crate) const MOST_WINDOWS: usize = 16;

/// The longest name of a window that is kept, in bytes.
const LONGEST_NAME: usize = 40;

/// Reads what the headers of a response say is left, limit by limit. Empty if they say nothing of it.
///
/// Reads the headers that [`allowance`](super::allowance) knows, and of Anthropic's unified limits each window that they
/// name, that of a single model, too; and the two windows of `x-codex-{primary,secondary}-used-percent`, which are named
/// by their length. A limit of 0 was never granted, and is left out.
///
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use tower_credentials::{Timestamp, rate_limit};
///
/// let now = Timestamp::from_millis(1_700_000_000_000);
/// let mut headers = HeaderMap::new();
/// headers.insert("anthropic-ratelimit-unified-5h-utilization", HeaderValue::from_static("0.62"));
/// let windows = rate_limit::windows(&headers, now);
/// assert_eq!((&*windows[0].name, windows[0].left), ("5h", Some(380)));
/// ```
pub fn windows(headers: &HeaderMap, now: Timestamp) -> Vec<Window> {
    LimitHeaders::read(headers, now).windows()
}

impl LimitHeaders<'_> {
    /// Returns what they say of each limit.
    pub(crate) fn windows(&self) -> Vec<Window> {
        let mut windows = Windows { all: Vec::new(), clock: &self.clock };
        windows.read_unified();
        windows.read_codex();
        windows.read_buckets(self.limits.as_ref());
        windows.read_ietf();
        windows.all
    }
}

struct Windows<'a> {
    all: Vec<Window>,
    clock: &'a UpstreamClock<'a>,
}

impl Windows<'_> {
    /// Adds what a limit says, unless one of its name was added before.
    fn add(&mut self, name: &str, bucket: &Bucket) {
        let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        let is_known = self.all.iter().any(|window| *window.name == *name);
        let is_said = bucket.remaining.is_some() && bucket.limit != Some(0);
        let fits = name.len() <= LONGEST_NAME && self.all.len() < MOST_WINDOWS;
        if !is_plain || is_known || !is_said || !fits {
            return;
        }
        let whole = |millionths: u64| millionths / MILLIONTHS;
        let ahead = bucket.reset.map(|reset| self.clock.ahead(reset)).filter(|ahead| *ahead > 0);
        self.all.push(Window {
            name: name.into(),
            left: bucket.permille(),
            remaining: bucket.remaining.map(whole),
            limit: bucket.limit.map(whole),
            resets_at: ahead.map(|ahead| self.clock.local(ahead)),
            said_at: self.clock.now,
        });
    }

    /// Adds a limit of which only the used part is said, in millionths.
    fn add_used(&mut self, name: &str, used: u64, reset: Option<Reset>) {
        let remaining = Some(MILLIONTHS.saturating_sub(used));
        let before = self.all.len();
        self.add(name, &Bucket { limit: Some(MILLIONTHS), remaining, reset });
        // The vendor's unit is not known.
        for window in &mut self.all[before..] {
            (window.remaining, window.limit) = (None, None);
        }
    }

    /// `anthropic-ratelimit-unified-{name}-{utilization,reset}`.
    fn read_unified(&mut self) {
        const PREFIX: &str = "anthropic-ratelimit-unified-";
        let headers = self.clock.headers;
        for (header, value) in headers {
            let name =
                header.as_str().strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix("-utilization"));
            if let Some(name) = name
                && let Some(used) = number(value.as_bytes().trim_ascii())
            {
                let reset = first(headers, format!("{PREFIX}{name}-reset"), epoch_or_text);
                self.add_used(name, used, reset);
            }
        }
    }

    /// `x-codex-{primary,secondary}-{used-percent,window-minutes,reset-at,reset-after-seconds}`.
    fn read_codex(&mut self) {
        let headers = self.clock.headers;
        for which in ["primary", "secondary"] {
            let name = |field: &str| format!("x-codex-{which}-{field}");
            let Some(percent) = first(headers, name("used-percent"), number) else { continue };
            let minutes =
                first(headers, name("window-minutes"), number).map(|number| number / MILLIONTHS);
            let reset = first(headers, name("reset-at"), epoch_or_text).or_else(|| {
                first(headers, name("reset-after-seconds"), delay)
                    .map(|seconds| Reset::In(milliseconds(seconds)))
            });
            let window = match minutes {
                Some(minutes) if minutes > 0 && minutes % (24 * 60) == 0 => {
                    format!("{}d", minutes / (24 * 60))
                }
                Some(minutes) if minutes > 0 && minutes % 60 == 0 => format!("{}h", minutes / 60),
                Some(minutes) if minutes > 0 => format!("{minutes}m"),
                _ => which.to_owned(),
            };
            self.add_used(&window, percent / 100, reset);
        }
    }

    fn read_buckets(&mut self, limits: Option<&Limits>) {
        let Some(limits) = limits else { return };
        for place in 0..limits::BUCKETS {
            let name = bucket_name(place);
            self.add(name, limits.bucket(place));
        }
    }

    /// The items of `ratelimit`, each with the quota of its policy.
    fn read_ietf(&mut self) {
        let headers = self.clock.headers;
        for value in headers.get_all("ratelimit") {
            let text = value.as_bytes().trim_ascii();
            let mut items = Vec::new();
            let whole = ietf::for_each_item(text, |item| {
                if items.len() < MOST_WINDOWS {
                    let limit = ietf::policy_quota(headers, item.name);
                    let reset = item.t.map(|seconds| Reset::In(milliseconds(seconds)));
                    items.push((item.name, Bucket { limit, remaining: item.r, reset }));
                }
            });
            if whole.is_none() {
                items.clear();
                items.extend(ietf::draft_07(text).map(|bucket| (&b""[..], bucket)));
            }
            for (name, bucket) in items {
                let name = std::str::from_utf8(name).unwrap_or_default();
                self.add(
                    if name.is_empty() { bucket_name(X_RATELIMIT_ALL.start) } else { name },
                    &bucket,
                );
            }
        }
    }
}
