//! Why a refresh failed.

use std::fmt;

use super::RefreshError;
use super::renewal::HoldOff;
use super::stage::Refreshed;
use crate::counters::RefreshOutcome;
use crate::vault::{FailedRefresh, VaultError};

/// Why a refresh failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The vendor's response, or that none came.
    Vendor(RefreshError),
    /// The vault could not be used: the vendor was not asked.
    Vault(VaultError),
    /// Another process has asked the vendor a moment ago, in vain.
    HeldOff(FailedRefresh),
    /// The pool is being closed: the vendor was not asked.
    Closing,
}

impl Failure {
    /// Returns what it counts as, or `None` if no refresh was tried.
    pub(super) fn outcome(&self) -> Option<RefreshOutcome> {
        match self {
            Self::Vendor(RefreshError::Rejected { .. }) => Some(RefreshOutcome::Rejected),
            Self::Vendor(_) | Self::Vault(_) => Some(RefreshOutcome::Failed),
            Self::HeldOff(_) | Self::Closing => None,
        }
    }

    /// Returns the result for requests that need the new secret.
    pub(super) fn result(&self) -> Refreshed {
        match self {
            Self::Vendor(_) | Self::HeldOff(_) => Refreshed::NoHelp,
            Self::Vault(_) | Self::Closing => Refreshed::Unavailable,
        }
    }

    /// Returns why and how long to wait with the next refresh; `None` if there is no reason to.
    pub(super) fn hold_off(&self) -> Option<HoldOff> {
        match self {
            Self::Vendor(RefreshError::Rejected { .. }) | Self::Closing => None,
            Self::Vendor(error) => Some(HoldOff::Vendor { stated: error.ask_again_in() }),
            Self::Vault(_) => Some(HoldOff::Vault),
            Self::HeldOff(failed) => Some(HoldOff::ByOthers { left: failed.wait }),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vendor(error) => error.fmt(f),
            Self::Vault(error) => write!(f, "the vault can't be used: {error}"),
            Self::HeldOff(FailedRefresh { wait, reason, .. }) => {
                let reason =
                    if reason.is_empty() { "another process has tried and failed" } else { reason };
                write!(f, "{reason} (next try in {:.0} s)", wait.as_secs_f64().ceil())
            }
            Self::Closing => f.write_str("the program is about to end"),
        }
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}
