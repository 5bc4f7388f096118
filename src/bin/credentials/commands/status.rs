//! `status`: what can't be used, why, and how to fix it.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use tower_credentials::vault::file::FileVault;
use tower_credentials::{PoolKey, Timestamp};

use crate::account::{self, Account, Identity, Trouble};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::{self, Namespace};
use crate::output::{self, plain};
use crate::time::now;

/// Show which accounts can't be used, why, and how to fix it
///
/// No vendor is asked: this is what is already known. `credentials test` asks.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials status
  credentials status --json | jq -r '.troubles[].try'

Exit codes:
  0  every account can be used, but for those that you paused or that the mode leaves out
  2  a setting is missing
  4  an account needs a new sign-in or another key, or the vendor refused its last request
  5  something in the vault is damaged
  6  an account is cooling down or spent, or a provider has no account to use (all are paused, say)")]
pub(crate) struct Status {
    /// Only accounts of this provider
    provider: Option<String>,
    #[command(flatten)]
    namespace: Namespace,
    #[command(flatten)]
    output: options::Json,
}

/// The state of all accounts, as `--json` has it.
#[derive(Serialize)]
struct Report<'a> {
    accounts: usize,
    usable: usize,
    pools: Vec<Pool<'a>>,
    troubles: Vec<Line<'a>>,
}

/// One pool.
#[derive(Serialize)]
struct Pool<'a> {
    provider: &'a str,
    namespace: &'a str,
    accounts: usize,
    usable: usize,
    /// How many of the usable ones the vendor refused last time.
    #[serde(skip_serializing_if = "is_zero")]
    refused: usize,
    /// The account that the next request takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<String>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A problem.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    account: Option<Identity<'a>>,
    /// The account's name, or the file's.
    what: String,
    why: String,
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    way_out: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

impl Status {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let vault = account::read_all(context.vault_or_empty().await?).await?;
        let (provider, namespace) = (self.provider.as_deref(), self.namespace.namespace.as_deref());
        let (accounts, damaged) = account::load_selected(context, &vault, provider, namespace).await?;
        let now = now();
        let mut troubles: Vec<Line<'_>> = damaged
            .iter()
            .map(|damage| {
                let way_out = account::damage_way_out(damage);
                let way_out = way_out.unwrap_or_else(|| "credentials vault check".to_owned());
                let why = damage.reason.split_once("; ").map_or(damage.reason.as_str(), |(why, _)| why);
                Line {
                    account: None,
                    what: plain(&damage.record),
                    why: plain(why),
                    way_out: Some(output::suggestion(&plain(&way_out))),
                    exit: Exit::Vault,
                }
            })
            .collect();
        troubles.extend(unwritable(context));
        for account in &accounts {
            if let Some(Trouble { why, way_out, exit }) = account.trouble(context, now) {
                let what = account::name(&account.credential);
                let way_out = way_out.map(|way_out| output::suggestion(&way_out));
                let account = Some(Identity::of(&account.credential));
                troubles.push(Line { account, what, why: plain(&why), way_out, exit });
            }
        }
        let usable = |account: &&Account| account.is_usable(now);
        let report = Report {
            accounts: accounts.len(),
            usable: accounts.iter().filter(usable).count(),
            pools: by_pool(&accounts, now),
            troubles,
        };
        match self.output.json {
            true => output::print_json(&report)?,
            false => self.show(context, &report)?,
        }
        // As in `test`: the code of the problem that needs the most work.
        let order = [Exit::Refused, Exit::Vault, Exit::Usage, Exit::Unavailable];
        let is_of = |exit: &Exit| report.troubles.iter().any(|trouble| trouble.exit == *exit);
        let count = report.troubles.iter().filter(|trouble| trouble.exit != Exit::Done).count();
        let Some(exit) = order.into_iter().find(is_of) else {
            return match report.pools.iter().find(|pool| pool.usable == 0) {
                Some(Pool { provider, namespace, .. }) => {
                    let pool = PoolKey::with_namespace(*provider, *namespace);
                    let message = format!("no account of {pool} can be used");
                    Err(Failure::new(Exit::Unavailable, message))
                }
                None => Ok(Exit::Done),
            };
        };
        let problems = if count == 1 { "problem" } else { "problems" };
        let more = match report.troubles.len() - count {
            0 => String::new(),
            more => format!(", and {more} more to know of"),
        };
        Err(Failure::new(exit, format!("{count} {problems} to fix or to wait for{more}")))
    }

    fn show(&self, context: &Context, report: &Report<'_>) -> Result<(), Failure> {
        if report.accounts == 0 && report.troubles.is_empty() {
            let vault = &context.places.vault;
            let why = match FileVault::is_at(vault) {
                true => String::new(),
                false => format!(": there is no vault in {} yet", vault.display()),
            };
            output::print(format_args!("There are no accounts{why}"))?;
            let provider =
                self.provider.as_deref().map_or_else(|| "PROVIDER".to_owned(), crate::shell::quoted);
            let login = output::suggestion(&format!("credentials login {provider}"));
            return output::print(format_args!("  {} {login}", output::strong("try:")));
        }
        for pool in &report.pools {
            let name = plain(
                &tower_credentials::PoolKey::with_namespace(pool.provider, pool.namespace).to_string(),
            );
            let next = match &pool.active {
                Some(active) => format!("the next request takes {active}"),
                None => output::bad("no request can be made").to_string(),
            };
            let (usable, all) = (pool.usable, pool.accounts);
            let refused = match pool.refused {
                0 => String::new(),
                1 => ", 1 was refused last time".to_owned(),
                several => format!(", {several} were refused last time"),
            };
            output::print(format_args!(
                "{}: {usable} of {all} can be used{refused}; {next}",
                output::strong(name)
            ))?;
        }
        for trouble in &report.troubles {
            let lead = match trouble.exit {
                Exit::Done => output::doubtful(&trouble.what).to_string(),
                _ => output::bad(&trouble.what).to_string(),
            };
            output::print(format_args!("{lead}: {}", trouble.why))?;
            if let Some(way_out) = &trouble.way_out {
                output::print(format_args!("  {} {way_out}", output::strong("try:")))?;
            }
        }
        Ok(())
    }
}

/// Says that nothing can be stored in the vault, if it is mounted read-only, for example. It can still be read.
fn unwritable(context: &Context) -> Option<Line<'static>> {
    let vault = &context.places.vault;
    let error = FileVault::is_at(vault).then(|| FileVault::look_writable(vault))?.err()?;
    let text = error.to_string();
    let (what, way_out) = text.split_once("; ").unwrap_or((&text, ""));
    Some(Line {
        account: None,
        what: output::path(vault),
        why: plain(&format!(
            "{what}: nothing that is learnt about the accounts is saved, and no token is renewed"
        )),
        way_out: Some(plain(way_out)).filter(|way_out| !way_out.is_empty()),
        exit: Exit::Done,
    })
}

fn by_pool(accounts: &[Account], now: Timestamp) -> Vec<Pool<'_>> {
    let mut pools: BTreeMap<_, Pool<'_>> = BTreeMap::new();
    for account in accounts {
        let key = &account.credential.pool;
        let pool = pools.entry(key).or_insert_with(|| Pool {
            provider: key.provider(),
            namespace: key.namespace(),
            accounts: 0,
            usable: 0,
            refused: 0,
            active: None,
        });
        pool.accounts += 1;
        pool.usable += usize::from(account.is_usable(now));
        pool.refused += usize::from(account.is_doubtful(now));
        if account.is_active {
            pool.active = Some(account::name(&account.credential));
        }
    }
    pools.into_values().collect()
}
