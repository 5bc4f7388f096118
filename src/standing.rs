//! How a pool's credentials stand: their order, cooldowns and health, and the outcomes that change it.
//!
//! A vault keeps [`Standings`] and merges [`Outcome`]s into them; the pool of each process does the
//! same with its own. What was learnt is passed on as outcomes, never as a whole state, so two
//! processes that learn at once both keep what they learnt.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::credential::{CredentialId, Generation, Kind};

/// What a cooldown is limited to, such as a model's name. A request that names no scope is held up
/// only by cooldowns without one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(Arc<str>);

impl Scope {
    /// The scope of this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Why a credential cools down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The upstream said that the account has had enough (429, 402).
    Limited,
    /// A good response said that the account's allowance is used up.
    UsedUp,
    /// The upstream refused the credential (401, 403), and a refresh did not help.
    Refused,
    /// The upstream said that the account is out of money, or has reached a bound of its owner's, and named the
    /// time at which it can be used again.
    Spent,
}

/// Until when a credential is not to be picked, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cooldown {
    /// The first moment at which it may be picked again.
    pub until: Timestamp,
    /// When it was last set or prolonged.
    pub set_at: Timestamp,
    /// Why.
    pub reason: Reason,
    /// What it is limited to; the whole credential where this is `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Which of its secrets the answer was to. A newer one makes a cooldown void that is for want of it: one whose
    /// reason is [`Reason::Refused`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
}

/// Whether a credential can be used at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Health {
    /// It can be used, now or when its cooldown ends.
    #[default]
    Good,
    /// The vendor has refused it for good: only a new sign-in helps.
    NeedsSignIn {
        /// The vendor's reason, in words.
        reason: String,
        /// Which of its secrets was refused. A newer one is a new sign-in, and makes this void.
        #[serde(default)]
        generation: Generation,
    },
    /// The vendor says that the key is of no use any more: it was revoked or deleted. Another secret ends that, a
    /// reset, or a good answer to a request that [checks](crate::Pin::check) it.
    Dead {
        /// The vendor's reason, in words.
        reason: String,
        /// Which of its secrets that was.
        #[serde(default)]
        generation: Generation,
    },
    /// The account is out of money, or has reached a bound of its owner's, and the vendor has named no time at
    /// which that ends. A reset ends it, another secret, or a good answer to a request that
    /// [checks](crate::Pin::check) it.
    Spent {
        /// The vendor's reason, in words.
        reason: String,
        /// Which of its secrets that was.
        #[serde(default)]
        generation: Generation,
    },
}

impl Health {
    /// Which of its secrets the vendor has refused, where it has.
    pub(crate) fn refused(&self) -> Option<Generation> {
        match self {
            Health::Good => None,
            Health::NeedsSignIn { generation, .. }
            | Health::Dead { generation, .. }
            | Health::Spent { generation, .. } => Some(*generation),
        }
    }

    /// Whether a person may see whether it is well again, by a request. What a vendor has refused for good it is
    /// not to be shown again.
    pub(crate) fn may_be_checked(&self) -> bool {
        !matches!(self, Health::NeedsSignIn { .. })
    }
}

/// How one credential stands.
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
    /// Whether a person has taken it out of use. Only a person's word ends that: no success, no new sign-in
    /// and no reset does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// The tier that a person has put it into; the one of its kind if this is `None`. See [`tier`](Self::tier).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<u8>,
    /// When its latest request was answered, and with which status. Saved with whatever else is, and by itself
    /// [once in a while](crate::PoolBuilder::save_last_responses_every) only, so that a request that goes well costs
    /// no write.
    #[serde(default, alias = "last_answer", skip_serializing_if = "Option::is_none")]
    pub last_response: Option<LastResponse>,
}

/// An answer of the upstream's. Of two, the later one is the larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LastResponse {
    /// When its head came. Up to a second late where the pool goes by the system's clock, which is not read
    /// for it; outside of a runtime, when it was first asked for.
    pub at: Timestamp,
    /// Its HTTP status.
    pub status: u16,
}

impl LastResponse {
    /// Whether it is not from the future: the clock that dated such a one was wrong, and it would hide all
    /// that come until then.
    pub(crate) fn is_believable(&self, now: Timestamp) -> bool {
        !self.at.is_misdated(now)
    }
}

/// How much later than an answer that is merged after it an answer may be. Pools tell theirs within minutes, so
/// what lies further in their future comes of a clock that was wrong, and would hide all others until then.
const MISDATED: Duration = Duration::from_secs(24 * 60 * 60);

impl Standing {
    /// Forgets what an older secret than this one was the reason for: the vendor's verdict, and refusals.
    pub(crate) fn forget_before(&mut self, current: Generation) {
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

    /// Its tier: requests take accounts of a lower tier first, and go back to them as soon as one is ready again. Unless
    /// a person says otherwise, it is 0 for OAuth accounts and 1 for API keys: what is paid for by the month comes before
    /// what is paid for by the request.
    pub fn tier(&self, kind: Kind) -> u8 {
        self.tier.unwrap_or(match kind {
            Kind::OAuth | Kind::Mcp => 0,
            Kind::Api | Kind::WellKnown => 1,
        })
    }

    /// Leaves out what a clock that was wrong has dated: cooldowns that were set more than a minute in the future, which a
    /// pool ends when it is loaded, and such a last answer. For what shows a standing as a vault has it.
    pub fn forget_misdated(&mut self, now: Timestamp) {
        self.cooldowns.retain(|cooldown| !cooldown.set_at.is_misdated(now));
        self.last_response = self.last_response.filter(|answer| answer.is_believable(now));
    }

    /// Whether a success would change it.
    pub(crate) fn is_penalized(&self) -> bool {
        !self.cooldowns.is_empty() || self.failures > 0 || self.health != Health::Good
    }

    /// The cooldown of exactly this scope, ended or not.
    pub fn cooldown(&self, scope: Option<&Scope>) -> Option<&Cooldown> {
        self.cooldowns.iter().find(|cooldown| cooldown.scope.as_ref() == scope)
    }

    /// Merges an outcome. A deadline only ever moves later, but for a reset.
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
                let Self { paused, tier, last_response, .. } = *self;
                *self = Self { paused, tier, last_response, ..Self::default() };
            }
            Change::Paused => self.paused = true,
            Change::Resumed => self.paused = false,
            Change::Tier { tier } => self.tier = *tier,
            Change::Answered(answer) => {
                let known = self.last_response.filter(|known| known.at.since(answer.at) <= MISDATED);
                self.last_response = known.max(Some(*answer));
            }
        }
    }
}

/// What changed for one credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// It cools down.
    CooledDown {
        /// Until when, and for what.
        cooldown: Cooldown,
        /// Whether it counts as a failure: the first answer of a limit does, those to requests that
        /// were under way then don't, nor does a good answer that uses up the allowance.
        failure: bool,
        /// Whether it also goes to the back of the order.
        to_back: bool,
    },
    /// A request that began after its cooldowns were set succeeded: they end, and its failures are
    /// forgiven.
    Succeeded {
        /// Cooldowns set up to this moment end; one that another process has set since stays.
        set_until: Timestamp,
        /// The scope of the request that succeeded. Cooldowns of other scopes stay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<Scope>,
    },
    /// It can be used from now on, or can't.
    Health(Health),
    /// A person has reset it: no cooldown, no failure, good health, and its place in the order is the one that a person
    /// has given it. A pause, its tier and the last answer stay.
    Reset,
    /// A person has taken it out of use.
    Paused,
    /// A person has put it to use again.
    Resumed,
    /// A person has put it into this [tier](Standing::tier), or into that of its kind again.
    Tier {
        /// Which; `None` is that of its kind.
        tier: Option<u8>,
    },
    /// A request with it was answered. Of two such changes the later answer stays, whichever comes first; but
    /// one that is more than a day later gives way to what is merged after it, since its clock was wrong.
    Answered(LastResponse),
}

impl Change {
    /// Which of its secrets the vendor has refused for good, where that is what changes.
    pub(crate) fn refuses(&self) -> Option<Generation> {
        match self {
            Change::Health(health) => health.refused(),
            _ => None,
        }
    }
}

/// A change and whose it is: what processes tell each other through the vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Whose.
    pub id: CredentialId,
    /// What changed.
    pub change: Change,
}

/// How a whole pool stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standings {
    /// The credentials from first to last, as they are taken within a [tier](Standing::tier). One that is missing here
    /// comes after those that are not.
    pub order: Vec<CredentialId>,
    /// The order that a person has given them, or else in which they were added. A limit changes [`order`](Self::order)
    /// alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preferred: Vec<CredentialId>,
    /// How each stands; one that is missing here is in good standing.
    pub credentials: HashMap<CredentialId, Standing>,
}

impl Standings {
    /// Merges an outcome: into the credential's standing, and into the order if it goes to the back or to the place that
    /// a person has given it.
    pub fn merge(&mut self, outcome: &Outcome) {
        self.credentials.entry(outcome.id).or_default().merge(&outcome.change);
        match outcome.change {
            Change::CooledDown { to_back: true, .. } => insert(&mut self.order, outcome.id, usize::MAX),
            Change::Reset => self.put_back(outcome.id),
            _ => {}
        }
    }

    /// Adds a credential at the back.
    pub fn push(&mut self, id: CredentialId) {
        self.order.push(id);
        self.preferred.push(id);
    }

    /// By a person's word, moves a credential to a place in the order, counted from 0; one past the end means the
    /// back. It is preferred to the one that comes after it then.
    pub fn move_to(&mut self, id: CredentialId, place: usize) {
        insert(&mut self.order, id, place);
        let next = self.order.iter().skip_while(|other| **other != id).nth(1).copied();
        self.preferred.retain(|other| *other != id);
        let before = next.and_then(|next| self.preferred.iter().position(|other| *other == next));
        insert(&mut self.preferred, id, before.unwrap_or(usize::MAX));
    }

    /// Forgets a credential.
    pub fn remove(&mut self, id: CredentialId) {
        self.order.retain(|other| *other != id);
        self.preferred.retain(|other| *other != id);
        self.credentials.remove(&id);
    }

    /// Sees to it that each credential in the order has a place among the preferred ones: one of a vault that knew no
    /// such places has the one that it has.
    pub(crate) fn complete(&mut self) {
        let known: HashSet<_> = self.preferred.iter().copied().collect();
        self.preferred.extend(self.order.iter().filter(|id| !known.contains(*id)));
    }

    /// Puts a credential where a person prefers it: before the first that comes after it by that.
    fn put_back(&mut self, id: CredentialId) {
        let Some(own) = self.preferred.iter().position(|other| *other == id) else { return };
        let later: HashSet<_> = self.preferred[own + 1..].iter().copied().collect();
        self.order.retain(|other| *other != id);
        let place = self.order.iter().position(|other| later.contains(other));
        insert(&mut self.order, id, place.unwrap_or(usize::MAX));
    }
}

/// Puts a credential at a place, counted from 0, out of where it was; one past the end means the back.
fn insert(order: &mut Vec<CredentialId>, id: CredentialId, place: usize) {
    order.retain(|other| *other != id);
    order.insert(place.min(order.len()), id);
}
