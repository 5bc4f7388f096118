//! Which ready credential a request takes: small policies that can be combined.

mod reserve;

use std::fmt;

use crate::clock::Timestamp;
use crate::credential::Metadata;
use crate::rate_limit::{Allowance, Window};

pub use reserve::{Pace, Reserve};

/// A credential as a policy sees it. Only ready credentials are ranked.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// The credential's metadata.
    pub metadata: &'a Metadata,
    /// Its allowance by its latest limit headers.
    pub allowance: Option<&'a Allowance>,
    /// What is left of each of its limits, also by the responses that other processes got. Some may have been reset since;
    /// see [`current_windows`](Self::current_windows).
    pub windows: &'a [Window],
    /// The time at which it is ranked.
    pub now: Timestamp,
    /// When it was last picked: a number that grows with each pick of the pool. 0 means never.
    pub last_used: u64,
    /// Its pass, which grows with each pick by the policy's [`stride`](Policy::stride). A credential that was
    /// unavailable does not lag behind the others.
    pub pass: u64,
}

impl<'a> Candidate<'a> {
    /// Returns the windows that have not been reset since the vendor has told them. The pool ranks the credential again
    /// when the next of them is reset.
    pub fn current_windows(&self) -> impl Iterator<Item = &'a Window> + use<'a> {
        let now = self.now;
        self.windows.iter().filter(move |window| window.is_current(now))
    }
}

/// A rank, or several; later ones break ties. The lowest is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    keys: [u64; Rank::DEPTH],
    len: u8,
}

impl Rank {
    /// How many ranks can be combined. Further ones are ignored.
    pub const DEPTH: usize = 4;

    /// The same rank for all, so that the pool's order decides.
    pub const EQUAL: Rank = Rank { keys: [0; Self::DEPTH], len: 0 };

    /// Creates a rank from one number.
    pub const fn new(key: u64) -> Self {
        let mut keys = [0; Self::DEPTH];
        keys[0] = key;
        Self { keys, len: 1 }
    }

    /// Combines this rank with another one, which breaks ties.
    #[must_use]
    pub fn then(mut self, other: Rank) -> Self {
        for key in &other.keys[..usize::from(other.len)] {
            if let Some(place) = self.keys.get_mut(usize::from(self.len)) {
                *place = *key;
                self.len += 1;
            }
        }
        self
    }
}

/// Ranks the credentials of a pool. The ready one with the lowest rank is picked; of equal ones, the first in the
/// pool's order.
///
/// A credential is ranked again when something about it changes, not for each request, so a rank must depend on the
/// [`Candidate`] alone, and on its time only by [`Candidate::current_windows`].
pub trait Policy: Send + Sync + 'static {
    /// Returns the candidate's rank.
    fn rank(&self, candidate: &Candidate<'_>) -> Rank;

    /// Returns whether a pick changes the credential's rank. Defaults to false; picks then take no lock.
    fn moves_on_use(&self) -> bool {
        false
    }

    /// Returns whether the rank depends on the limit headers. Defaults to false.
    fn reads_allowance(&self) -> bool {
        false
    }

    /// Returns how far one pick moves a credential's pass. Defaults to 1.
    fn stride(&self, _metadata: &Metadata) -> u64 {
        1
    }

    /// Combines this policy with another one, which decides between credentials of equal rank.
    ///
    /// ```
    /// use tower_credentials::policy::{LeastRecentlyUsed, MostHeadroom, Policy};
    ///
    /// let policy = MostHeadroom.then(LeastRecentlyUsed);
    /// ```
    fn then<P: Policy>(self, other: P) -> Then<Self, P>
    where
        Self: Sized,
    {
        Then { first: self, second: other }
    }
}

/// Takes the first credential in the pool's order until it is limited, which moves it to the back. This is the
/// default: it starts the allowance window of one account at a time, and keeps prompt caches warm.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sticky;

impl Policy for Sticky {
    fn rank(&self, _: &Candidate<'_>) -> Rank {
        Rank::EQUAL
    }
}

/// Takes each credential in turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin;

impl Policy for RoundRobin {
    fn rank(&self, candidate: &Candidate<'_>) -> Rank {
        Rank::new(candidate.pass)
    }

    fn moves_on_use(&self) -> bool {
        true
    }
}

/// Takes the credential that has not been used for the longest time.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastRecentlyUsed;

impl Policy for LeastRecentlyUsed {
    fn rank(&self, candidate: &Candidate<'_>) -> Rank {
        Rank::new(candidate.last_used)
    }

    fn moves_on_use(&self) -> bool {
        true
    }
}

/// Takes each credential in proportion to its weight, spread evenly (stride scheduling).
pub struct Weighted<F>(F);

/// The stride of a credential of weight 1. Weights above this number count as this number.
const STRIDE: u64 = 1 << 20;

impl<F: Fn(&Metadata) -> u32 + Send + Sync + 'static> Weighted<F> {
    /// Creates the policy from a function that returns each credential's weight. A weight of 0 counts as 1; use
    /// [`Pool::pause`](crate::Pool::pause) to take a credential out of use.
    ///
    /// ```
    /// use tower_credentials::policy::Weighted;
    ///
    /// let policy = Weighted::by(|account| if &*account.label == "team" { 5 } else { 1 });
    /// ```
    pub fn by(weight: F) -> Self {
        Self(weight)
    }
}

impl<F: Fn(&Metadata) -> u32 + Send + Sync + 'static> Policy for Weighted<F> {
    fn rank(&self, candidate: &Candidate<'_>) -> Rank {
        Rank::new(candidate.pass)
    }

    fn moves_on_use(&self) -> bool {
        true
    }

    fn stride(&self, metadata: &Metadata) -> u64 {
        (STRIDE / u64::from((self.0)(metadata).max(1))).max(1)
    }
}

impl<F> fmt::Debug for Weighted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Weighted")
    }
}

/// Takes the credential whose allowance resets soonest, since the rest of it is lost soonest. Those without a known
/// reset come last.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoonestReset;

impl Policy for SoonestReset {
    fn rank(&self, candidate: &Candidate<'_>) -> Rank {
        let reset = candidate.allowance.and_then(|allowance| allowance.resets_at);
        Rank::new(reset.map_or(u64::MAX, Timestamp::as_millis))
    }

    fn reads_allowance(&self) -> bool {
        true
    }
}

/// Takes the credential with the largest part of its allowance left. One without a known allowance counts as unused, so
/// that it is tried and becomes known.
#[derive(Clone, Copy, Debug, Default)]
pub struct MostHeadroom;

impl Policy for MostHeadroom {
    fn rank(&self, candidate: &Candidate<'_>) -> Rank {
        let headroom = candidate.allowance.and_then(|allowance| allowance.headroom);
        Rank::new(headroom.map_or(0, |permille| u64::from(1000u16.saturating_sub(permille))))
    }

    fn reads_allowance(&self) -> bool {
        true
    }
}

/// Two policies; the second decides between credentials that the first ranks equal. Returned by [`Policy::then`].
#[derive(Clone, Copy, Debug)]
pub struct Then<A, B> {
    first: A,
    second: B,
}

impl<A: Policy, B: Policy> Policy for Then<A, B> {
    fn rank(&self, candidate: &Candidate<'_>) -> Rank {
        self.first.rank(candidate).then(self.second.rank(candidate))
    }

    fn moves_on_use(&self) -> bool {
        self.first.moves_on_use() || self.second.moves_on_use()
    }

    fn reads_allowance(&self) -> bool {
        self.first.reads_allowance() || self.second.reads_allowance()
    }

    fn stride(&self, metadata: &Metadata) -> u64 {
        self.first.stride(metadata).max(self.second.stride(metadata))
    }
}
