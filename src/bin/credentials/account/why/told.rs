//! Explanations in words, for a person.

use std::collections::HashMap;

use tower_credentials::standing::{Cause, Cooldown, Health, Reason, Scope};
use tower_credentials::{
    Availability, Behind, CredentialId, Explanation, Metadata, Precedence, Timestamp,
};

use super::{Line, Response};
use crate::account::state::Account;
use crate::account::{Identity, left_out};
use crate::context::Context;
use crate::naming::{name, reset};
use crate::output::{WayOut, plain};
use crate::shell::quoted;
use crate::time::{brief, now, rfc3339};

/// Puts explanations into words.
pub(super) struct Teller<'a> {
    context: &'a Context,
    accounts: HashMap<CredentialId, &'a Account>,
    next: Option<&'a Metadata>,
    now: Timestamp,
}

/// What is said of an account.
struct Told<'a> {
    state: &'static str,
    why: String,
    way_out: Option<String>,
    behind: Option<Behind>,
    met_by: Option<String>,
    scope: Option<&'a Scope>,
    until: Option<Timestamp>,
    cause: Option<&'a Cause>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(
        context: &'a Context,
        accounts: &'a [Account],
        explanations: &'a [Explanation],
    ) -> Self {
        let accounts = accounts.iter().map(|account| (account.credential.id, account)).collect();
        let next = explanations.iter().find(|one| one.is_next).map(|one| &one.credential);
        Self { context, accounts, next, now: now() }
    }

    pub(super) fn line(&self, explanation: &'a Explanation) -> Line<'a> {
        let Explanation { credential, is_next, availability, met_by, .. } = explanation;
        let told = self.tell(credential, availability, *met_by);
        let before = self.next.filter(|_| told.behind.is_some()).map(name);
        Line {
            account: Identity::of(credential),
            id: credential.id,
            name: name(credential),
            next: *is_next,
            state: told.state,
            why: plain(&told.why),
            way_out: told.way_out.map(|way_out| WayOut::new(&way_out)),
            behind: before,
            by: told.behind.map(|behind| behind.by),
            met_by: told.met_by,
            scope: told.scope.map(Scope::as_str),
            until: told.until.map(rfc3339),
            response: told.cause.map(|cause| Response {
                status: cause.status,
                at: rfc3339(cause.at),
                stated_by: cause.stated_by.as_ref(),
            }),
        }
    }

    fn tell(
        &self,
        credential: &'a Metadata,
        availability: &'a Availability,
        met_by: Option<CredentialId>,
    ) -> Told<'a> {
        // What `status` says of it, in the same words.
        let account = self.accounts.get(&credential.id);
        let trouble = account.and_then(|account| account.trouble(self.context, self.now));
        let (known, way_out) = trouble.map(|trouble| (trouble.why, trouble.way_out)).unzip();
        let way_out = way_out.flatten();
        let told = |state, why| Told {
            state,
            why,
            way_out: None,
            behind: None,
            met_by: None,
            scope: None,
            until: None,
            cause: None,
        };
        match availability {
            Availability::Ready { behind } => {
                let (place, first) = match behind {
                    Some(behind) => self.place(credential, *behind),
                    None => ("ready".to_owned(), None),
                };
                let why = match &known {
                    Some(known) => format!("{place}; {known}"),
                    None => place,
                };
                Told { behind: *behind, way_out: way_out.or(first), ..told("ready", why) }
            }
            Availability::AtCap { in_flight, most, until } => {
                let why = format!("it serves {in_flight} of {most} requests");
                Told { until: *until, ..told("at_cap", why) }
            }
            Availability::CoolingDown { cooldown } => {
                let state = if is_spent(cooldown) { "spent" } else { "cooling" };
                // A limit of one model is no trouble of the account's.
                let way_out = way_out.unwrap_or_else(|| reset(credential));
                let met_by = met_by.map(|id| match self.accounts.get(&id) {
                    Some(other) => name(&other.credential),
                    None => id.to_string(),
                });
                let why = self.cooling(cooldown, met_by.as_deref());
                Told {
                    way_out: Some(way_out),
                    met_by,
                    scope: cooldown.scope.as_ref(),
                    until: Some(cooldown.until),
                    cause: cooldown.cause.as_ref(),
                    ..told(state, why)
                }
            }
            Availability::Paused => {
                let why = known.unwrap_or_else(|| "paused".to_owned());
                Told { way_out, ..told("paused", why) }
            }
            Availability::OutOfUse { health } => {
                let (state, cause) = (state(health), health.cause());
                let why = known.unwrap_or_else(|| "out of use".to_owned());
                let by = cause.map(|cause| format!(" ({})", self.response(cause)));
                let why = format!("{why}{}", by.unwrap_or_default());
                Told { way_out, cause, ..told(state, why) }
            }
            Availability::LeftOut { mode } => {
                let why = account.and_then(|account| account.left_out);
                let why = why.map_or_else(|| format!("mode {}", mode.as_str()), |why| why.to_string());
                let way_out = Some(left_out::way_out(self.context, &credential.pool));
                Told { way_out, ..told("not_used", format!("not used: {why}")) }
            }
            _ => told("unknown", "this version can't say why".to_owned()),
        }
    }

    /// Says which account is taken before this one, and what changes that.
    fn place(&self, credential: &Metadata, behind: Behind) -> (String, Option<String>) {
        let before = self.next.map(name).unwrap_or_default();
        let quoted = quoted(name(credential));
        let ready = format!("ready, after {before}");
        match behind.by {
            Precedence::Tier => {
                let tier = |id| self.accounts.get(id).map(|one| one.standing.tier(one.credential.kind));
                let first = tier(&behind.id).map(|tier| {
                    format!("credentials tier {quoted} --to {tier}, to put it in the same tier")
                });
                (format!("{ready}, which is in a lower tier"), first)
            }
            Precedence::Suspicion => {
                (format!("{ready}: it was refused, and no other account was asked instead"), None)
            }
            Precedence::Policy => (format!("{ready}, by the policy"), None),
            _ => {
                let first = format!("credentials activate {quoted}, to use it first");
                (format!("{ready}, by their order"), Some(first))
            }
        }
    }

    /// Says why it cools down; `met_by` is the account of its quota that has met the limit, if it is another one.
    fn cooling(&self, cooldown: &Cooldown, met_by: Option<&str>) -> String {
        let left = brief(cooldown.until.since(self.now));
        let scope = cooldown.scope.as_ref().map(|scope| format!(" for {scope}")).unwrap_or_default();
        let (who, whose) = match met_by {
            Some(other) => (
                format!("it shares the quota of {other}, which"),
                format!("it shares the quota of {other}, whose"),
            ),
            None => ("it".to_owned(), "its".to_owned()),
        };
        let says = match cooldown.reason {
            Reason::Limited => format!("{who} has reached a limit"),
            Reason::UsedUp => format!("{whose} allowance is used up"),
            Reason::Refused => "it was refused, and another account was not".to_owned(),
            Reason::Spent => format!("{who} is spent"),
            _ => "the vendor says so".to_owned(),
        };
        let by = match &cooldown.cause {
            Some(cause) => self.response(cause),
            None => format!("since {}", rfc3339(cooldown.set_at)),
        };
        format!("cooling down{scope}, {left} left, until {}: {says} ({by})", rfc3339(cooldown.until))
    }

    /// Says which response it was, and what has stated the time.
    fn response(&self, cause: &Cause) -> String {
        let by = cause.stated_by.as_ref().map(|by| format!(", the time is from {by}"));
        format!("response {} at {}{}", cause.status, rfc3339(cause.at), by.unwrap_or_default())
    }
}

/// Whether the account is out of money until the cooldown ends.
pub(super) fn is_spent(cooldown: &Cooldown) -> bool {
    cooldown.reason == Reason::Spent
}

/// Returns the word for it in `--json`, as in `list`.
fn state(health: &Health) -> &'static str {
    match health {
        Health::NeedsSignIn { .. } => "needs_sign_in",
        Health::Dead { .. } => "dead",
        Health::Spent { .. } => "spent",
        _ => "unknown",
    }
}
