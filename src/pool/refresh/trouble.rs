//! Why a refresh came to nothing, and for how long the next one is left.

use std::fmt;
use std::time::Duration;

use super::{RefreshError, Refreshed};
use crate::vault::{FailedRefresh, VaultError};

/// Why a refresh came to nothing.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The vendor's answer, or that none came.
    Vendor(RefreshError),
    /// The vault could not be used: the vendor was not asked.
    Vault(VaultError),
    /// Another process has asked a moment ago, in vain.
    HeldOff(FailedRefresh),
    /// The pool is being closed: the vendor was not asked.
    Closing,
}

impl Trouble {
    /// What requests are told that need the new secret.
    pub(super) fn told(&self) -> Refreshed {
        match self {
            Self::Vendor(_) | Self::HeldOff(_) => Refreshed::NoHelp,
            Self::Vault(_) | Self::Closing => Refreshed::Unavailable,
        }
    }

    /// For how long it is to be left alone; `None` where there is no reason to.
    pub(super) fn hold_off(&self) -> Option<HoldOff> {
        match self {
            Self::Vendor(RefreshError::Rejected { .. }) | Self::Closing => None,
            Self::Vendor(error) => Some(HoldOff::Vendor { stated: error.ask_again_in() }),
            Self::Vault(_) => Some(HoldOff::Vault),
            Self::HeldOff(failed) => Some(HoldOff::ByOthers { left: failed.wait }),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vendor(error) => error.fmt(f),
            Self::Vault(error) => write!(f, "the vault can't be used for it: {error}"),
            Self::HeldOff(FailedRefresh { wait, reason, .. }) => {
                let reason =
                    if reason.is_empty() { "another process has asked in vain" } else { reason };
                write!(f, "{reason} (another try is made in {:.0} s)", wait.as_secs_f64().ceil())
            }
            Self::Closing => f.write_str("the program is about to end"),
        }
    }
}

impl From<VaultError> for Trouble {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

/// Why, and for how long, no refresh is begun.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HoldOff {
    /// The token endpoint fails, and has perhaps stated when to ask again.
    Vendor { stated: Option<Duration> },
    /// The vault fails.
    Vault,
    /// Another process has found that the token endpoint fails.
    ByOthers { left: Duration },
}
