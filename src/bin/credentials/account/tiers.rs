//! The tiers that requests take accounts from, the lowest first.

use tower_credentials::standing::{Standing, Standings};
use tower_credentials::{Metadata, Mode, PoolKey};

use crate::context::Context;

/// The tiers of a pool's accounts.
pub(crate) struct Tiers<'a> {
    standings: &'a Standings,
    /// Whether there are several: the pool's mode takes all kinds, or a person has set a tier.
    has_several: bool,
}

impl<'a> Tiers<'a> {
    pub(crate) fn of(context: &Context, pool: &PoolKey, standings: &'a Standings) -> Self {
        let takes_all = context.registry.mode(pool.provider()).is_ok_and(|mode| mode == Mode::All);
        let has_tier = standings.credentials.values().any(|standing| standing.tier.is_some());
        Self { standings, has_several: takes_all || has_tier }
    }

    /// Whether requests take the accounts of one tier before those of another.
    pub(crate) fn are_several(&self) -> bool {
        self.has_several
    }

    pub(crate) fn tier(&self, account: &Metadata) -> u8 {
        if !self.has_several {
            return 0;
        }
        let standing = self.standings.credentials.get(&account.id);
        standing.unwrap_or(&Standing::default()).tier(account.kind)
    }
}
