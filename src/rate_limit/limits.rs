//! The limits in a response's headers, and their sum.

use http::{HeaderMap, HeaderValue};

use super::UpstreamClock;
use super::ietf::{draft_07, for_each_item, policy_quota};
use super::values::{MILLIONTHS, Reset, any_reset, epoch_or_text, milliseconds, number, quota, rfc3339};

/// One limit.
#[derive(Clone, Copy, Default)]
pub(super) struct Bucket {
    pub(super) limit: Option<u64>,
    pub(super) remaining: Option<u64>,
    pub(super) reset: Option<Reset>,
}

impl Bucket {
    /// Returns the remaining part in thousandths, rounded up.
    pub(super) fn permille(&self) -> Option<u16> {
        let limit = self.limit.filter(|limit| *limit > 0)?;
        let permille = self.remaining?.min(limit).saturating_mul(1_000).div_ceil(limit);
        Some(u16::try_from(permille).unwrap_or(1_000))
    }
}

/// Several limits together. Times are milliseconds from now.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    pub(super) headroom: Option<u16>,
    pub(super) soonest: Option<i64>,
    pub(super) used_up: Option<Reached>,
    unsaid: Option<Reached>,
}

/// When a limit that was reached resets, and the place of the limit.
pub(super) type Reached = (i64, usize);

impl Sum {
    fn count(&mut self, bucket: &Bucket, place: usize, clock: &UpstreamClock<'_>) {
        if bucket.limit == Some(0) {
            return;
        }
        if let Some(permille) = bucket.permille() {
            self.left(permille);
        }
        let Some(reset) = bucket.reset else { return };
        let ahead = clock.ahead(reset);
        self.resets(ahead);
        match bucket.remaining {
            Some(0) => self.used_up = self.used_up.max(Some((ahead, place))),
            Some(_) => {}
            None => self.unsaid = self.unsaid.max(Some((ahead, place))),
        }
    }

    fn left(&mut self, permille: u16) {
        self.headroom = Some(self.headroom.map_or(permille, |known| known.min(permille)));
    }

    /// Records a reset. One in the past was the last one, and the next one is unknown.
    fn resets(&mut self, ahead: i64) {
        if ahead > 0 {
            self.soonest = Some(self.soonest.map_or(ahead, |known| known.min(ahead)));
        }
    }

    pub(super) fn add(&mut self, other: &Sum) {
        if let Some(permille) = other.headroom {
            self.left(permille);
        }
        if let Some(ahead) = other.soonest {
            self.resets(ahead);
        }
        self.used_up = self.used_up.max(other.used_up);
        self.unsaid = self.unsaid.max(other.unsaid);
    }

    /// Returns how long these limits block requests, if they do.
    pub(super) fn blocked(&self) -> Option<Reached> {
        self.used_up.or(self.unsaid)
    }
}

/// Lists the kinds of a family of limits, and the headers of their resets.
macro_rules! limits {
    ($kinds:ident, $resets:ident, $before:literal, $after:literal, [$($kind:literal),+ $(,)?]) => {
        const $kinds: &[&str] = &[$($kind),+];
        const $resets: &[&str] = &[$(concat!($before, $kind, $after)),+];
    };
}

limits!(
    ANTHROPIC_KINDS,
    ANTHROPIC_RESETS,
    "anthropic-ratelimit-",
    "-reset",
    ["requests", "tokens", "input-tokens", "output-tokens"]
);
limits!(
    X_RATELIMIT_KINDS,
    X_RATELIMIT_RESETS,
    "x-ratelimit-reset-",
    "",
    [
        "requests",
        "tokens",
        "requests-minute",
        "requests-hour",
        "requests-day",
        "tokens-minute",
        "tokens-hour",
        "tokens-day",
    ]
);

pub(super) type Places = std::ops::Range<usize>;
pub(super) const ANTHROPIC: Places = 0..ANTHROPIC_KINDS.len();
pub(super) const X_RATELIMIT: Places = ANTHROPIC.end..ANTHROPIC.end + X_RATELIMIT_KINDS.len();
pub(super) const X_RATELIMIT_ALL: Places = X_RATELIMIT.end..X_RATELIMIT.end + 1;
pub(super) const RATELIMIT: Places = X_RATELIMIT_ALL.end..X_RATELIMIT_ALL.end + 1;
pub(super) const BUCKETS: usize = RATELIMIT.end;
/// The place of the limits in `ratelimit` itself, after all others.
const IETF: usize = BUCKETS;

/// Returns the name of the limit at this place.
pub(super) fn bucket_name(place: usize) -> &'static str {
    let kind = match place {
        place if ANTHROPIC.contains(&place) => ANTHROPIC_KINDS.get(place - ANTHROPIC.start),
        place if X_RATELIMIT.contains(&place) => X_RATELIMIT_KINDS.get(place - X_RATELIMIT.start),
        _ => None,
    };
    kind.copied().unwrap_or("quota")
}

/// Returns the header that states when the limit at this place resets.
pub(super) fn reset_header(place: usize) -> &'static str {
    let others = ["x-ratelimit-reset", "ratelimit-reset", "ratelimit"];
    let mut headers = ANTHROPIC_RESETS.iter().chain(X_RATELIMIT_RESETS).chain(&others);
    headers.nth(place).copied().unwrap_or_default()
}

#[derive(Clone, Copy)]
enum Field {
    Limit,
    Remaining,
    Reset,
}

impl Field {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "limit" => Some(Self::Limit),
            "remaining" => Some(Self::Remaining),
            "reset" => Some(Self::Reset),
            _ => None,
        }
    }
}

/// The meaning of a header name.
enum Meaning {
    Bucket(usize, Field),
    /// The reset of a window of Anthropic's unified limits.
    UnifiedReset,
    /// The used part of such a window.
    UnifiedUsed,
    /// `ratelimit` itself.
    Ietf,
}

/// Returns the meaning of a header name. Length and first bytes rule out nearly all names.
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
    Some(Meaning::Bucket(ANTHROPIC.start + kind, Field::from_name(field)?))
}

fn x_ratelimit(rest: &str) -> Option<Meaning> {
    let Some((field, kind)) = rest.split_once('-') else {
        return Some(Meaning::Bucket(X_RATELIMIT_ALL.start, Field::from_name(rest)?));
    };
    let kind = X_RATELIMIT_KINDS.iter().position(|known| *known == kind)?;
    Some(Meaning::Bucket(X_RATELIMIT.start + kind, Field::from_name(field)?))
}

fn ietf(rest: &str) -> Option<Meaning> {
    if rest.is_empty() {
        return Some(Meaning::Ietf);
    }
    Some(Meaning::Bucket(RATELIMIT.start, Field::from_name(rest.strip_prefix('-')?)?))
}

/// All limits in the headers.
#[derive(Default)]
pub(super) struct Limits {
    buckets: [Bucket; BUCKETS],
    pub(super) ietf: Sum,
    /// The number of items of `ratelimit`, in all of its lines.
    ietf_items: usize,
    pub(super) unified: Sum,
}

impl Limits {
    pub(super) fn read(headers: &HeaderMap, clock: &UpstreamClock<'_>) -> Option<Self> {
        let mut limits = None;
        for (name, value) in headers {
            if let Some(meaning) = meaning(name.as_str()) {
                limits.get_or_insert_with(Self::default).take(&meaning, value, clock);
            }
        }
        limits
    }

    pub(super) fn bucket(&self, place: usize) -> &Bucket {
        &self.buckets[place]
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
        let (mut sum, mut items) = (self.ietf, self.ietf_items);
        let whole = for_each_item(text, |item| {
            items += 1;
            // Each look-up reads all policies, so a long list must not cause many.
            let limit = if items <= 8 { policy_quota(clock.headers, item.name) } else { None };
            let reset = item.t.map(|seconds| Reset::In(milliseconds(seconds)));
            sum.count(&Bucket { limit, remaining: item.r, reset }, IETF, clock);
        });
        self.ietf_items = items;
        if whole.is_some() {
            self.ietf = sum;
        } else if let Some(bucket) = draft_07(text) {
            self.ietf.count(&bucket, IETF, clock);
        }
    }

    pub(super) fn sum(&self, clock: &UpstreamClock<'_>, places: Places) -> Sum {
        let mut sum = Sum::default();
        for place in places {
            sum.count(&self.buckets[place], place, clock);
        }
        sum
    }
}
