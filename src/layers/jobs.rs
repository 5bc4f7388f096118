//! The jobs of layers, and the settings for them.

use std::num::NonZeroU32;
use std::time::Duration;

use super::drain::DrainBound;
use super::network::NetworkRetry;
use crate::pool::Refresher;

/// A set of the four jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Roles(u8);

impl Roles {
    pub(super) const NONE: Roles = Roles(0);
    pub(super) const AUTH_HEADER: Roles = Roles(1);
    pub(super) const ROTATE: Roles = Roles(2);
    pub(super) const REFRESH: Roles = Roles(4);
    pub(super) const PERSIST: Roles = Roles(8);
    pub(super) const ALL: Roles = Roles(15);

    /// The jobs for which a request is sent again.
    pub(super) const SEND_AGAIN: Roles = Self::ROTATE.with(Self::REFRESH);

    /// The jobs that need a credential.
    pub(super) const PICK: Roles = Self::SEND_AGAIN.with(Self::AUTH_HEADER);

    pub(super) const fn with(self, other: Roles) -> Roles {
        Roles(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Roles) -> Roles {
        Roles(self.0 & !other.0)
    }

    pub(super) const fn has(self, other: Roles) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) const fn intersects(self, other: Roles) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    pub(super) const fn from_bits(bits: u8) -> Roles {
        Roles(bits & Self::ALL.0)
    }
}

/// What a layer does, or several that stand directly one on the other.
#[derive(Clone, Debug)]
pub(super) struct Jobs {
    pub(super) roles: Roles,
    /// Set if one of the jobs is to rotate.
    pub(super) rotate: Option<RotateOptions>,
    /// Set if one of the jobs is to refresh, and there is something to refresh with.
    pub(super) refresh: Option<RefreshOptions>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct RotateOptions {
    pub(super) max_attempts: Option<NonZeroU32>,
    pub(super) wait_up_to: Option<Duration>,
    pub(super) network: NetworkRetry,
    pub(super) drain: DrainBound,
}

#[derive(Clone, Debug)]
pub(super) struct RefreshOptions {
    pub(super) refresher: Refresher,
}

impl Jobs {
    /// Jobs that have no settings.
    pub(super) fn plain(roles: Roles) -> Self {
        Self { roles, rotate: None, refresh: None }
    }

    /// These and those of the layers inside. If two do the same, the outer one's settings count.
    pub(super) fn over(self, inside: Jobs) -> Self {
        Self {
            roles: self.roles.with(inside.roles),
            rotate: self.rotate.or(inside.rotate),
            refresh: self.refresh.or(inside.refresh),
        }
    }

    pub(super) fn send_again(&self) -> bool {
        self.roles.intersects(Roles::SEND_AGAIN)
    }
}

impl RotateOptions {
    /// Whether a request may be sent again with the same credential.
    pub(super) fn repeats_itself(&self) -> bool {
        self.network.allows() > 0 || self.wait_up_to.is_some()
    }
}
