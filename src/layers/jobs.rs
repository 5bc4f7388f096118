//! The jobs of layers, and their options.

use std::num::NonZeroU32;
use std::time::Duration;

use super::drain::DrainBound;
use super::network::NetworkRetry;
use crate::pool::Refresher;

/// A set of the four jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Jobs(u8);

impl Jobs {
    pub(super) const NONE: Jobs = Jobs(0);
    pub(super) const AUTH_HEADER: Jobs = Jobs(1);
    pub(super) const ROTATE: Jobs = Jobs(2);
    pub(super) const REFRESH: Jobs = Jobs(4);
    pub(super) const PERSIST: Jobs = Jobs(8);
    pub(super) const ALL: Jobs = Jobs(15);

    /// The jobs that send a request again.
    pub(super) const SEND_AGAIN: Jobs = Self::ROTATE.with(Self::REFRESH);

    /// The jobs that need a credential.
    pub(super) const PICK: Jobs = Self::SEND_AGAIN.with(Self::AUTH_HEADER);

    pub(super) const fn with(self, other: Jobs) -> Jobs {
        Jobs(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Jobs) -> Jobs {
        Jobs(self.0 & !other.0)
    }

    pub(super) const fn has(self, other: Jobs) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) const fn intersects(self, other: Jobs) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    pub(super) const fn from_bits(bits: u8) -> Jobs {
        Jobs(bits & Self::ALL.0)
    }
}

/// The jobs of a layer, or of several that stand directly one on the other, with their options.
#[derive(Clone, Debug)]
pub(super) struct LayerOptions {
    pub(super) jobs: Jobs,
    /// `Some` if rotating is one of the jobs.
    pub(super) rotate: Option<RotateOptions>,
    /// `Some` if refreshing is one of the jobs, and there is a refresher.
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

impl LayerOptions {
    /// Jobs without options.
    pub(super) fn of(jobs: Jobs) -> Self {
        Self { jobs, rotate: None, refresh: None }
    }

    /// Adds the jobs of the layers inside. If two layers do the same job, the outer one's options apply.
    pub(super) fn over(self, inside: LayerOptions) -> Self {
        Self {
            jobs: self.jobs.with(inside.jobs),
            rotate: self.rotate.or(inside.rotate),
            refresh: self.refresh.or(inside.refresh),
        }
    }

    pub(super) fn sends_again(&self) -> bool {
        self.jobs.intersects(Jobs::SEND_AGAIN)
    }
}

impl RotateOptions {
    /// Whether a request may be sent again with the same credential.
    pub(super) fn repeats(&self) -> bool {
        self.network.max_repeats() > 0 || self.wait_up_to.is_some()
    }
}
