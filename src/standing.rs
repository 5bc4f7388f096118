//! The standing of a pool's credentials: their order, cooldowns and health, and the outcomes that change it.
//!
//! A vault keeps [`Standings`] and merges [`Outcome`]s into them; the pool of each process does the same with its own.
//! Processes share outcomes, never a whole state, so that concurrent changes of two processes are both kept.

mod cause;
mod health;
mod quota;
mod scope;
#[cfg(feature = "redis")]
pub(crate) mod shift;
mod standings;

use std::cmp::Reverse;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::credential::{CredentialId, Generation, Kind};
use crate::rate_limit::{MAX_STATED, MOST_WINDOWS, Window};

pub(crate) use cause::Stated;
pub use cause::{Cause, StatedBy};
pub use health::Health;
pub use quota::{Quota, QuotaName, StatedQuota};
pub use scope::Scope;
pub use standings::{Standings, Touched};

/// Why a credential cools down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The account has reached a limit (429, 402).
    Limited,
    /// A successful response said that the account's allowance is used up.
    UsedUp,
    /// The upstream refused the credential (401, 403), and a refresh did not help.
    Refused,
    /// The account is out of money, or has reached its owner's spending limit, and the upstream has stated when it can
    /// be used again.
    Spent,
}

/// Until when a credential is not picked, and for which requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cooldown {
    /// The first moment at which it may be picked again.
    pub until: Timestamp,
    /// When it was last set or prolonged.
    pub set_at: Timestamp,
    /// Why.
    pub reason: Reason,
    /// The scope that it is limited to; `None` means all requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The generation of the secret that has caused it. A newer secret ends a cooldown whose reason is
    /// [`Reason::Refused`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// The response that has caused it, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// The standing of one credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Its cooldowns, at most one for each scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cooldowns: Vec<Cooldown>,
    /// How many times it has failed since it last succeeded.
    #[serde(default)]
    pub failures: u32,
    /// Whether it can be used at all.
    #[serde(default)]
    pub health: Health,
    /// Whether a person has taken it out of use. Only an explicit call ends that, not a success, a new sign-in or a
    /// reset.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// The tier that a person has set; `None` means the default tier of its kind. See [`tier`](Self::tier).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<u8>,
    /// The quota that a person has set; `None` means that the vendor's word counts. See
    /// [`shared_quota`](Self::shared_quota).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// The quota that its vendor has named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stated_quota: Option<StatedQuota>,
    /// The response to its latest request. Saved along with other changes, and on its own only
    /// [now and then](crate::PoolBuilder::save_last_responses_every), so that a successful request costs no write.
    #[serde(default, alias = "last_answer", skip_serializing_if = "Option::is_none")]
    pub last_response: Option<LastResponse>,
    /// What is left of the account's limits, as its vendor has said last: at most one entry for each name. Saved like
    /// the last response. Never a guess; see [`Window::is_current`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowance: Vec<Window>,
}

/// A response of the upstream's. Of two, the later one is the larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LastResponse {
    /// When its head arrived. May be up to one second late with the system clock; outside of a runtime, it is the time
    /// when this was first read.
    pub at: Timestamp,
    /// Its HTTP status.
    pub status: u16,
}

impl LastResponse {
    /// Returns whether it is not from the future. A wrong clock has dated such a response, and it would hide all that
    /// come until then.
    pub(crate) fn is_believable(&self, now: Timestamp) -> bool {
        !self.at.is_misdated(now)
    }
}

/// How much later a known response may be than one that is merged after it. Pools save theirs within minutes, so one
/// that is further ahead was dated by a wrong clock, and would hide all others until then.
const MISDATED: Duration = Duration::from_secs(24 * 60 * 60);

impl Standing {
    /// Forgets what older secrets than this one have caused: the vendor's verdict, refusals, and whose quota it is.
    pub fn forget_before(&mut self, current: Generation) {
        self.stated_quota.take_if(|stated| stated.generation < current);
        if self.health.refused().is_some_and(|generation| generation < current) {
            self.health = Health::Good;
        }
        let is_void = |known: &mut Cooldown| {
            let is_older = known.generation.is_some_and(|generation| generation < current);
            known.reason == Reason::Refused && is_older
        };
        if self.cooldowns.extract_if(.., is_void).count() > 0 {
            self.failures = 0;
        }
    }

    /// Returns its tier. Requests take accounts of a lower tier first, and return to them as soon as one is ready
    /// again. Defaults to 0 for OAuth accounts and 1 for API keys, so that accounts billed monthly come before keys
    /// billed per request.
    pub fn tier(&self, kind: Kind) -> u8 {
        self.tier.unwrap_or(match kind {
            Kind::OAuth | Kind::Mcp => 0,
            Kind::Api | Kind::WellKnown => 1,
        })
    }

    /// Removes what a wrong clock has dated: cooldowns that were set more than a minute in the future, which a pool
    /// ends when it is loaded, and such a last response. For code that shows a vault's standing without a pool.
    pub fn forget_misdated(&mut self, now: Timestamp) {
        self.allowance.retain(|window| !window.said_at.is_misdated(now));
        self.cooldowns.retain(|cooldown| !cooldown.set_at.is_misdated(now));
        self.last_response = self.last_response.filter(|response| response.is_believable(now));
    }

    /// Returns whether a success would change it.
    pub(crate) fn is_penalized(&self) -> bool {
        !self.cooldowns.is_empty() || self.failures > 0 || self.health != Health::Good
    }

    /// Returns the cooldown of exactly this scope, ended or not.
    pub fn cooldown(&self, scope: Option<&Scope>) -> Option<&Cooldown> {
        self.cooldowns.iter().find(|cooldown| cooldown.scope.as_ref() == scope)
    }

    /// Merges an outcome. The end of a cooldown can only move later, except by a reset.
    pub fn merge(&mut self, change: &Change) {
        match change {
            Change::CooledDown { cooldown, failure, .. } => {
                cooldown.generation.into_iter().for_each(|generation| self.forget_before(generation));
                self.failures = self.failures.saturating_add(u32::from(*failure));
                match self.cooldowns.iter_mut().find(|known| known.scope == cooldown.scope) {
                    Some(known) => {
                        if cooldown.until >= known.until {
                            known.until = cooldown.until;
                            known.reason = cooldown.reason;
                            known.generation = cooldown.generation;
                            known.cause.clone_from(&cooldown.cause);
                        }
                        known.set_at = known.set_at.max(cooldown.set_at);
                    }
                    None => self.cooldowns.push(cooldown.clone()),
                }
            }
            Change::Succeeded { set_until, scope } => {
                self.failures = 0;
                self.cooldowns.retain(|cooldown| {
                    cooldown.set_at > *set_until
                        || (cooldown.scope.is_some() && cooldown.scope != *scope)
                });
            }
            Change::Health(health) => self.health = health.clone(),
            Change::Reset => {
                let Self { paused, tier, quota, stated_quota, last_response, allowance, .. } =
                    std::mem::take(self);
                // That it was refused is what a person takes back.
                let last_response = last_response.filter(|response| response.status != 401);
                let kept = (quota, stated_quota);
                *self = Self { paused, tier, last_response, allowance, ..Self::default() };
                (self.quota, self.stated_quota) = kept;
            }
            Change::Paused => self.paused = true,
            Change::Resumed => self.paused = false,
            Change::Tier { tier } => self.tier = *tier,
            Change::Quota { quota } => self.quota.clone_from(quota),
            Change::QuotaStated(stated) => {
                if stated.replaces(self.stated_quota.as_ref()) {
                    self.stated_quota = Some(stated.clone());
                }
            }
            Change::Misdated { set_at, scope } => {
                let is_it = |known: &mut Cooldown| known.set_at >= *set_at && known.scope == *scope;
                if self.cooldowns.extract_if(.., is_it).count() > 0 {
                    self.failures = 0;
                }
            }
            Change::Answered(response) => {
                let known = self.last_response.filter(|known| known.at.since(response.at) <= MISDATED);
                self.last_response = known.max(Some(*response));
            }
            Change::Allowance { windows } => merge_windows(&mut self.allowance, windows),
        }
    }
}

/// Merges what a vendor has said into what was known. What no response has named for longer than any limit lasts is
/// forgotten, and of too many the oldest.
pub(crate) fn merge_windows(known: &mut Vec<Window>, said: &[Window]) {
    for window in said {
        match known.iter_mut().find(|known| known.name == window.name) {
            Some(known) => {
                let is_misdated = known.said_at.since(window.said_at) > MISDATED;
                // Of two of the same moment, the one that says less came later, so that any order comes to the same.
                let order = |window: &Window| (window.said_at, Reverse((window.left, window.remaining)));
                if order(known) < order(window) || is_misdated {
                    *known = window.clone();
                }
            }
            None => known.push(window.clone()),
        }
    }
    let latest = said.iter().map(|window| window.said_at).max().unwrap_or_default();
    known.retain(|window| latest.since(window.said_at) <= MAX_STATED);
    while known.len() > MOST_WINDOWS {
        let oldest = known.iter().enumerate().min_by_key(|(_, window)| window.said_at);
        let Some((oldest, _)) = oldest else { return };
        known.remove(oldest);
    }
}

/// A change of one credential's standing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// It cools down.
    CooledDown {
        /// Until when, and for which requests.
        cooldown: Cooldown,
        /// Whether it counts as a failure. The first response of a limit does. Responses to requests that were under
        /// way then do not, nor does a success that uses up the allowance.
        failure: bool,
        /// Whether it also goes to the back of the order.
        to_back: bool,
    },
    /// A request that began after its cooldowns were set has succeeded: they end, and its failures are cleared. So do the
    /// limits that the other accounts of its [quota](Standing::shared_quota) have met.
    Succeeded {
        /// Cooldowns that were set up to this time end. One that another process has set since stays.
        set_until: Timestamp,
        /// The scope of the request that succeeded. Cooldowns of other scopes stay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<Scope>,
    },
    /// Its health has changed.
    Health(Health),
    /// A person has reset it. It has no cooldown and no failure, its health is good, and it is at its place in the
    /// order that a person has set. A pause, its tier, its quota and the last response stay. The limits that the other
    /// accounts of its [quota](Standing::shared_quota) have met end as well, and these are back at their places, too.
    Reset,
    /// A person has taken it out of use.
    Paused,
    /// A person has ended the pause.
    Resumed,
    /// A person has set its [tier](Standing::tier), or has removed that setting.
    Tier {
        /// The tier; `None` is the default tier of its kind.
        tier: Option<u8>,
    },
    /// A person has set the quota that it takes from, or has removed that setting.
    Quota {
        /// The quota; `None` is the one that its vendor names, or else its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quota: Option<Quota>,
    },
    /// Its vendor has named the quota that it takes from. Of two such changes the later one wins, in either order, with the
    /// same exception as for a response.
    QuotaStated(StatedQuota),
    /// A cooldown ends that a wrong clock has set in the future: nobody knows when it would.
    Misdated {
        /// When that clock has set it.
        set_at: Timestamp,
        /// Its scope.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<Scope>,
    },
    /// A request with it got a response. Of two such changes the later response wins, in either order, unless its time
    /// is more than a day ahead of the other's: its clock was wrong, and what is merged after it wins.
    Answered(LastResponse),
    /// The vendor has said what is left of these limits. Of two windows of one name the later one wins, in either order,
    /// with the same exception as for a response.
    Allowance {
        /// The limits that it has named.
        windows: Vec<Window>,
    },
}

impl Change {
    /// Returns whether it says of a credential that is tried after a cooldown that it is ready, or is not.
    pub(crate) fn is_word_on_a_trial(&self) -> bool {
        match self {
            Change::CooledDown { cooldown, .. } => cooldown.scope.is_none(),
            Change::Succeeded { .. }
            | Change::Health(_)
            | Change::Reset
            | Change::Misdated { scope: None, .. } => true,
            _ => false,
        }
    }

    /// Returns the generation of the secret that the vendor has refused permanently, if that is the change.
    pub(crate) fn refuses(&self) -> Option<Generation> {
        match self {
            Change::Health(health) => health.refused(),
            _ => None,
        }
    }
}

/// A change and its credential. Processes share outcomes through the vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The credential.
    pub id: CredentialId,
    /// The change.
    pub change: Change,
}
