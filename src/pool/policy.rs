//! Which ready credential a request takes: small policies that combine.

use std::fmt;

use crate::clock::Timestamp;
use crate::credential::Metadata;
use crate::rate_limit::Allowance;

/// What a policy may look at. Only credentials that are ready are ranked.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// The credential.
    pub metadata: &'a Metadata,
    /// What its limit headers said last.
    pub allowance: Option<&'a Allowance>,
    /// When it was last picked, as a number that grows with each pick; 0 means never.
    pub last_used: u64,
    /// Its pass: grows with each pick by the policy's [`stride`](Policy::stride), and never lags
    /// behind the others for having been away.
    pub pass: u64,
}

/// A rank, or several of which the later ones break ties. The lowest is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    keys: [u64; Rank::DEPTH],
    len: u8,
}

impl Rank {
    /// How many ranks can be combined; those beyond are ignored.
    pub const DEPTH: usize = 4;

    /// The rank that all share: the pool's order decides.
    pub const EQUAL: Rank = Rank { keys: [0; Self::DEPTH], len: 0 };

    /// A rank by one number.
    pub const fn new(key: u64) -> Self {
        let mut keys = [0; Self::DEPTH];
        keys[0] = key;
        Self { keys, len: 1 }
    }

    /// This rank, and where it is equal, the other.
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

/// Ranks the credentials of a pool; the ready one of the lowest rank is picked, and of equal ones the
/// first in the pool's order.
///
/// A credential is ranked anew when something about it changes, not for each request, so a rank must
/// be a function of the [`Candidate`] alone.
pub trait Policy: Send + Sync + 'static {
    /// The candidate's rank.
    fn rank(&self, candidate: &Candidate<'_>) -> Rank;

    /// Whether being picked changes a credential's rank. While it does not, picking takes no lock.
    fn moves_on_use(&self) -> bool {
        false
    }

    /// Whether the rank depends on what the limit headers say.
    fn reads_allowance(&self) -> bool {
        false
    }

    /// How far one use moves a credential's pass.
    fn stride(&self, _metadata: &Metadata) -> u64 {
        1
    }

    /// This policy, and where it ranks two credentials equal, the other one.
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

/// Keeps to the first credential in the pool's order until it is limited, which sends it to the back.
/// The default: it wastes no allowance of several windows at once, and keeps prompt caches warm.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sticky;

impl Policy for Sticky {
    fn rank(&self, _: &Candidate<'_>) -> Rank {
        Rank::EQUAL
    }
}

/// Each credential in turn.
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

/// The credential that has not been used for longest.
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

/// Each credential in proportion to its weight, spread evenly (stride scheduling).
pub struct Weighted<F>(F);

/// The stride of a credential of weight 1; a weight above it counts as this one.
const STRIDE: u64 = 1 << 20;

impl<F: Fn(&Metadata) -> u32 + Send + Sync + 'static> Weighted<F> {
    /// Weights by a function of the metadata. A weight of 0 counts as 1: to pause a credential is not
    /// a matter of weight.
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

/// The credential whose allowance is renewed soonest: what is left of it is lost soonest. Those of
/// which nothing is known come last.
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

/// The credential that has the largest part of its allowance left. One of which nothing is known
/// counts as untouched, so that it is tried and becomes known.
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

/// One policy, and another where the first ranks two credentials equal. Made by [`Policy::then`].
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
