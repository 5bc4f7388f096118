//! Whether a credential can be used at all.

use serde::{Deserialize, Serialize};

use super::Cause;
use crate::credential::Generation;

/// Whether a credential can be used at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Health {
    /// It can be used, now or when its cooldown ends.
    #[default]
    Good,
    /// The vendor has refused it permanently: only a new sign-in helps.
    NeedsSignIn {
        /// The vendor's reason, in words.
        reason: String,
        /// The generation of the secret that was refused. A newer one is a new sign-in, and ends this.
        #[serde(default)]
        generation: Generation,
        /// The response that has said so; `None` if it was that of a token endpoint.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
    },
    /// The vendor says that the key was revoked or deleted. Another secret, a reset, or the success of a request that
    /// [checks](crate::Pin::check) it ends this.
    Dead {
        /// The vendor's reason, in words.
        reason: String,
        /// The generation of that secret.
        #[serde(default)]
        generation: Generation,
        /// The response that has said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
    },
    /// The account is out of money, or has reached its owner's spending limit, and the vendor has not stated when that
    /// ends. Another secret, a reset, or the success of a request that [checks](crate::Pin::check) it ends this.
    Spent {
        /// The vendor's reason, in words.
        reason: String,
        /// The generation of that secret.
        #[serde(default)]
        generation: Generation,
        /// The response that has said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
    },
}

impl Health {
    /// Returns the generation of the secret that the vendor has refused, if it has.
    pub(crate) fn refused(&self) -> Option<Generation> {
        match self {
            Health::Good => None,
            Health::NeedsSignIn { generation, .. }
            | Health::Dead { generation, .. }
            | Health::Spent { generation, .. } => Some(*generation),
        }
    }

    /// Returns the response that has said so, if that is known.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Health::Good => None,
            Health::NeedsSignIn { cause, .. }
            | Health::Dead { cause, .. }
            | Health::Spent { cause, .. } => cause.as_ref(),
        }
    }

    /// Returns whether a person may check by a request whether it works again. A secret that a vendor has refused
    /// permanently must not be sent again.
    pub(crate) fn may_be_checked(&self) -> bool {
        !matches!(self, Health::NeedsSignIn { .. })
    }
}
