//! Events in words.

use tower_credentials::events::{Account, EventKind, RotationReason};
use tower_credentials::standing::{Quota, Reason};

use crate::naming::named;
use crate::time::brief;

/// Returns whom an event is about, and what has happened.
pub(crate) fn of(kind: &EventKind) -> (Option<String>, String) {
    let what = match kind {
        EventKind::Answered { status, requests, .. } if *requests > 1 => {
            format!("answered {}, {requests} requests", status.as_u16())
        }
        EventKind::Answered { status, .. } | EventKind::Attempt { status, .. } => {
            format!("answered {}", status.as_u16())
        }
        EventKind::CooledDown { wait, reason, scope, .. } => {
            let scope = scope.as_ref().map(|scope| format!(" for {scope}")).unwrap_or_default();
            format!("cooling down for {}{scope}: {}", brief(*wait), cause(*reason))
        }
        EventKind::CapLowered { most, wait, .. } => {
            format!("takes no more than {most} requests at once for {}", brief(*wait))
        }
        EventKind::Suspected { pinned: true, .. } => {
            "refused, perhaps because of the request; this account alone was asked".to_owned()
        }
        // Only the program that was refused knows of it.
        EventKind::Suspected { .. } => {
            "refused, perhaps because of the request; that program takes others first".to_owned()
        }
        EventKind::Recovered { .. } => "works again".to_owned(),
        EventKind::Rotated { to, reason, .. } => format!("rotated to {}: {}", name(to), why(*reason)),
        EventKind::SentOnce { .. } => {
            "not sent again with another account: the request's body can be sent only once".to_owned()
        }
        EventKind::Waiting { wait, .. } => format!("waiting {} for a limit to end", brief(*wait)),
        EventKind::Repeated { .. } => "sent again after a network error".to_owned(),
        EventKind::Refreshed { .. } => "renewed".to_owned(),
        EventKind::RefreshFailed { error, .. } => format!("could not be renewed: {error}"),
        EventKind::SecretNotSaved { error, .. } => format!("the new token is not saved yet: {error}"),
        EventKind::OlderVault { .. } => {
            "the vault had an older token, and has the newer one again".to_owned()
        }
        EventKind::NeedsSignIn { reason, .. } => format!("needs a new sign-in: {reason}"),
        EventKind::Spent { reason, .. } => format!("spent: {reason}"),
        EventKind::Paused { .. } => "paused".to_owned(),
        EventKind::Resumed { .. } => "resumed".to_owned(),
        EventKind::Reset { .. } => "reset".to_owned(),
        EventKind::Moved { tier: Some(tier), .. } => format!("moved to tier {tier}"),
        EventKind::Moved { place: Some(place), .. } => format!("moved to place {place}"),
        EventKind::Moved { .. } => "moved to the default tier of its kind".to_owned(),
        EventKind::QuotaSet { quota: Some(Quota::Shared(name)), .. } => {
            format!("takes from the shared quota {name}")
        }
        EventKind::QuotaSet { quota: Some(Quota::Own), .. } => {
            "takes from a quota of its own".to_owned()
        }
        EventKind::QuotaSet { quota: None, .. } => {
            "takes from the quota that its vendor names".to_owned()
        }
        EventKind::Renamed { before, .. } => format!("renamed from {before}"),
        EventKind::SignedIn { .. } => "signed in".to_owned(),
        EventKind::Removed { .. } => "removed".to_owned(),
        EventKind::SaveFailed { error, .. } => format!("what was learnt is not saved yet: {error}"),
        EventKind::Damaged { damage } => format!("damaged: {damage}"),
        EventKind::Lost { events } => format!("{events} entries are lost"),
        other => other.name().replace('_', " "),
    };
    let who = match kind {
        EventKind::Removed { pool, id } => Some(named(pool, &id.to_string()[..8])),
        kind => kind.accounts().next().map(name),
    };
    (who, what)
}

fn name(account: &Account) -> String {
    named(&account.pool, &account.label)
}

fn cause(reason: Reason) -> &'static str {
    match reason {
        Reason::Limited => "limited",
        Reason::UsedUp => "its allowance is used up",
        Reason::Refused => "refused",
        Reason::Spent => "spent",
        _ => "limited or refused",
    }
}

fn why(reason: RotationReason) -> &'static str {
    match reason {
        RotationReason::Limited => "limited",
        RotationReason::Refused => "refused",
        RotationReason::OutOfUse => "out of use",
        RotationReason::NoToken => "no token",
        RotationReason::Overloaded => "the server was too busy",
        _ => "not usable",
    }
}
