//! `why`: which account the next request takes, and why it takes no other.

mod told;

use clap::Args;
use http::Uri;
use serde::Serialize;
use tower_credentials::provider::Provider;
use tower_credentials::standing::{Health, Scope, StatedBy};
use tower_credentials::{Availability, Error, Explanation, PoolKey, Precedence};

use crate::account::{self, Identity};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::{self, Namespace};
use crate::output::{self, WayOut, plain};
use crate::shell::quoted;
use crate::time::now;

use told::Teller;

/// Show which account the next request takes, and why it takes no other
///
/// For each account: whether it would be taken, if not, because of which response and until when, and what you can do. The
/// accounts are in the order in which requests take them. No vendor is asked, and nothing is changed. What other programs
/// keep in memory alone, such as the requests that they have under way, is not known here.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials why openai
  credentials why anthropic --model claude-opus-4-1
  credentials why openai --json | jq -r '.accounts[] | select(.next).label'

Exit codes:
  0  the next request takes an account that is ready
  1  every account that requests may take is paused
  3  there is no account that requests may take
  4  every account needs a new sign-in
  5  something in the vault is damaged
  6  every account is cooling down or spent")]
pub(crate) struct Why {
    /// The provider
    provider: String,
    /// Explain requests for this model, which may have limits of its own
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    #[command(flatten)]
    namespace: Namespace,
    #[command(flatten)]
    output: options::Json,
}

/// The explanation, as `--json` has it.
#[derive(Serialize)]
struct Report<'a> {
    provider: &'a str,
    namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    /// The account that the next request takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    accounts: Vec<Line<'a>>,
}

/// One account.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    account: Identity<'a>,
    #[serde(skip)]
    name: String,
    next: bool,
    state: &'static str,
    why: String,
    #[serde(flatten)]
    way_out: Option<WayOut>,
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

impl Why {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let key = context.pool_key(&self.provider, self.namespace.namespace.as_deref())?;
        let scope = self.model.as_deref().map(|model| scope(context, &key, model)).transpose()?;
        let vault = context.vault_or_empty().await?;
        let account::Loaded { accounts, damaged, pool } =
            account::load_pool(context, &vault, key.clone()).await;
        for damage in &damaged {
            output::warn(plain(&damage.to_string()));
        }
        let pool = match pool {
            Ok(pool) => pool,
            Err(failure) => {
                account::tell_left_out(context, &vault, &key).await;
                return Err(failure);
            }
        };
        let explanations = pool.why(scope.as_ref());
        let teller = Teller::new(context, &accounts, &explanations);
        let report = Report {
            provider: key.provider(),
            namespace: key.namespace(),
            model: scope.as_ref().map(Scope::as_str),
            next: explanations.iter().find(|one| one.is_next).map(|one| account::name(&one.credential)),
            accounts: explanations.iter().map(|one| teller.line(one)).collect(),
        };
        match self.output.json {
            true => output::print_json(&report)?,
            false => show(&key, &report)?,
        }
        match without_ready(context, &key, &explanations) {
            Some(failure) => Err(failure),
            None if damaged.is_empty() => Ok(Exit::Done),
            None => Ok(Exit::Vault),
        }
    }
}

/// Returns the scope of requests for a model, as the layers read it.
fn scope(context: &Context, key: &PoolKey, model: &str) -> Result<Scope, Failure> {
    let body = serde_json::json!({ "model": model }).to_string();
    let scope =
        context.registry.provider(key.provider())?.model(&Uri::from_static("/"), body.as_bytes());
    scope.map(Scope::new).ok_or_else(|| {
        Failure::usage(format!("no request can be for a model named {model:?}"))
            .way_out(format!("credentials models {}", quoted(key.provider())))
    })
}

/// Returns the failure of the next request, if it would take no account that is ready.
fn without_ready(context: &Context, key: &PoolKey, explanations: &[Explanation]) -> Option<Failure> {
    let is = |is: fn(&Availability) -> bool| explanations.iter().any(|one| is(&one.availability));
    let pool = key.clone();
    let until = explanations.iter().filter_map(|one| match &one.availability {
        Availability::CoolingDown { cooldown } => Some(cooldown.until),
        _ => None,
    });
    Some(if is(|one| matches!(one, Availability::Ready { .. })) {
        return None;
    } else if let Some(until) = until.min() {
        let retry_after = until.since(now());
        Error::AllCoolingDown { pool, retry_after, is_stated: true }.into()
    } else if is(|one| matches!(one, Availability::OutOfUse { health: Health::Spent { .. } })) {
        Error::Spent { pool, pin: None }.into()
    } else if is(|one| matches!(one, Availability::OutOfUse { .. })) {
        Error::NeedsSignIn { pool, pin: None }.into()
    } else if is(|one| matches!(one, Availability::Paused)) {
        Error::Paused { pool, pin: None }.into()
    } else {
        Failure::not_found(format!("{key} has no account that requests may take"))
            .way_out(account::login(context, key))
    })
}

fn show(key: &PoolKey, report: &Report<'_>) -> Result<(), Failure> {
    let of_model = report.model.map(|model| format!(", for {}", plain(model))).unwrap_or_default();
    let next = match &report.next {
        Some(next) => format!("the next request takes {}", plain(next)),
        None => output::bad("the next request takes none").to_string(),
    };
    let pool = plain(&key.to_string());
    output::print(format_args!("{}{of_model}: {next}", output::strong(pool)))?;
    for line in &report.accounts {
        let name = plain(&line.name);
        let lead = match line.state {
            "ready" => output::good(name).to_string(),
            "cooling" | "paused" | "not_used" | "at_cap" => output::doubtful(name).to_string(),
            _ => output::bad(name).to_string(),
        };
        output::print(format_args!("{lead}: {}", line.why))?;
        if let Some(way_out) = &line.way_out {
            output::print(way_out)?;
        }
    }
    Ok(())
}
