//! Why the next request takes one account and not another, in words: for `why` and for the screen.

mod answer;
mod told;

use serde::Serialize;
use tower_credentials::standing::{Health, Scope, StatedBy};
use tower_credentials::vault::{Damage, Vault};
use tower_credentials::{
    Availability, CredentialId, Error, Explanation, Metadata, PoolKey, Precedence, Timestamp,
};

use super::json::Identity;
use super::load::{Loaded, load_pool};
use super::state::Account;
use super::way_out;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::naming::name;
use crate::output::{WayOut, plain};
use crate::time::now;

use answer::Answer;
use told::Teller;

/// What a pool says of its accounts.
pub(crate) struct Explained {
    pub(crate) key: PoolKey,
    explanations: Vec<Explanation>,
    accounts: Vec<Account>,
}

/// The explanation in words, which is also that of `--json`.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    provider: &'a str,
    namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    /// The account that the next request takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// What the gateway answers, if it takes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gateway: Option<Answer>,
    pub(crate) accounts: Vec<Line<'a>>,
}

/// One account.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    #[serde(flatten)]
    account: Identity<'a>,
    #[serde(skip)]
    pub(crate) id: CredentialId,
    #[serde(skip)]
    pub(crate) name: String,
    next: bool,
    pub(crate) state: &'static str,
    pub(crate) why: String,
    #[serde(flatten)]
    pub(crate) way_out: Option<WayOut>,
    /// The account that is taken before it, and what decides between the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<Precedence>,
    /// The account with which it shares a quota, if it is that one that has met the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    met_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Response<'a>>,
}

/// The response because of which an account is not taken.
#[derive(Serialize)]
struct Response<'a> {
    status: u16,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stated_by: Option<&'a StatedBy>,
}

impl Explained {
    /// Asks the pool about requests of this scope. What could not be read is returned in any case; without an account that
    /// the mode allows there is no pool.
    pub(crate) async fn of(
        context: &Context,
        vault: &impl Vault,
        key: PoolKey,
        scope: Option<&Scope>,
    ) -> (Vec<Damage>, Result<Self, Failure>) {
        let Loaded { accounts, damaged, pool } = load_pool(context, vault, key.clone()).await;
        let explained = pool.map(|pool| Self { key, explanations: pool.why(scope), accounts });
        (damaged, explained)
    }

    /// The accounts that it is about.
    pub(crate) fn accounts(&self) -> Vec<Metadata> {
        self.explanations.iter().map(|one| one.credential.clone()).collect()
    }

    /// Puts it into words: all of it, or what is about one account.
    pub(crate) fn report<'a>(
        &'a self,
        context: &'a Context,
        scope: Option<&'a Scope>,
        only: Option<CredentialId>,
    ) -> Report<'a> {
        let teller = Teller::new(context, &self.accounts, &self.explanations);
        let shown = self.explanations.iter();
        let shown = shown.filter(|one| only.is_none_or(|only| one.credential.id == only));
        Report {
            provider: self.key.provider(),
            namespace: self.key.namespace(),
            model: scope.map(Scope::as_str),
            next: self.explanations.iter().find(|one| one.is_next).map(|one| name(&one.credential)),
            gateway: self.answer(),
            accounts: shown.map(|one| teller.line(one)).collect(),
        }
    }

    /// Returns what the gateway answers, if no account is ready.
    fn answer(&self) -> Option<Answer> {
        let may_be_sent = |one: &Explanation| {
            matches!(one.availability, Availability::Ready { .. } | Availability::AtCap { .. })
        };
        match self.explanations.iter().any(may_be_sent) {
            true => None,
            false => Some(Answer::of(self.soonest())),
        }
    }

    /// Returns which of those that cool down is ready first, and when.
    fn soonest(&self) -> Option<(&Metadata, Timestamp)> {
        let cooling = self.explanations.iter().filter_map(|one| match &one.availability {
            Availability::CoolingDown { cooldown } => Some((&one.credential, cooldown.until)),
            _ => None,
        });
        cooling.min_by_key(|(_, until)| *until)
    }

    /// Returns the failure of the next request, if it would take no account that is ready.
    pub(crate) fn failure(&self, context: &Context) -> Option<Failure> {
        let is =
            |is: fn(&Availability) -> bool| self.explanations.iter().any(|one| is(&one.availability));
        let pool = self.key.clone();
        Some(if is(|one| matches!(one, Availability::Ready { .. })) {
            return None;
        } else if let Some((_, until)) = self.soonest() {
            let retry_after = until.since(now());
            Error::AllCoolingDown { pool, retry_after, is_stated: true }.into()
        } else if is(|one| matches!(one, Availability::OutOfUse { health: Health::Spent { .. } })) {
            Error::Spent { pool, pin: None }.into()
        } else if is(|one| matches!(one, Availability::OutOfUse { .. })) {
            Error::NeedsSignIn { pool, pin: None }.into()
        } else if is(|one| matches!(one, Availability::Paused)) {
            Error::Paused { pool, pin: None }.into()
        } else {
            Failure::not_found(format!("{pool} has no account that requests may take"))
                .way_out(way_out::login(context, &pool))
        })
    }

    /// Returns the failure of requests that may take this account alone, unless it is ready. The way out is in the report.
    pub(crate) fn failure_of(&self, id: CredentialId) -> Option<Failure> {
        let one = self.explanations.iter().find(|one| one.credential.id == id)?;
        let (exit, why) = match &one.availability {
            Availability::Ready { .. } => return None,
            Availability::CoolingDown { cooldown } if told::is_spent(cooldown) => {
                (Exit::Unavailable, "is spent")
            }
            Availability::CoolingDown { .. } => (Exit::Unavailable, "is cooling down"),
            Availability::AtCap { .. } => (Exit::Unavailable, "serves as many requests as it may"),
            Availability::Paused => (Exit::Failed, "is paused"),
            Availability::OutOfUse { health: Health::Spent { .. } } => (Exit::Unavailable, "is spent"),
            Availability::OutOfUse { health: Health::NeedsSignIn { .. } } => {
                (Exit::Refused, "needs a new sign-in")
            }
            Availability::OutOfUse { health: Health::Dead { .. } } => {
                (Exit::Refused, "needs another key")
            }
            Availability::LeftOut { .. } => (Exit::NotFound, "is not used by requests"),
            _ => (Exit::Failed, "can't be used"),
        };
        Some(Failure::new(exit, format!("{} {why}", name(&one.credential))))
    }
}

impl Report<'_> {
    /// Says which requests it is about.
    pub(crate) fn about(&self, key: &PoolKey) -> String {
        let of_model = self.model.map(|model| format!(", for {}", plain(model))).unwrap_or_default();
        format!("{}{of_model}", plain(&key.to_string()))
    }

    /// Says which account the next request takes.
    pub(crate) fn next_in_words(&self) -> String {
        match &self.next {
            Some(next) => format!("the next request takes {}", plain(next)),
            None => "the next request takes none".to_owned(),
        }
    }
}
