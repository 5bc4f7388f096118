//! `status`: what can't be used, why, and how to fix it.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use tower_credentials::vault::file::FileVault;

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
  4  an account needs a new sign-in or another key
  5  something in the vault is damaged
  6  an account is cooling down or spent")]
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
    /// The account that the next request takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<String>,
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
            .map(|damage| Line {
                account: None,
                what: plain(&damage.record),
                why: plain(&damage.reason),
                way_out: Some("credentials vault check".to_owned()),
                exit: Exit::Vault,
            })
            .collect();
        for account in &accounts {
            if let Some(Trouble { why, way_out, exit }) = account.trouble(context, now) {
                let what = account::name(&account.credential);
                let account = Some(Identity::of(&account.credential));
                troubles.push(Line { account, what, why: plain(&why), way_out, exit });
            }
        }
        let usable = |account: &&Account| account.is_usable(now);
        let report = Report {
            accounts: accounts.len(),
            usable: accounts.iter().filter(usable).count(),
            pools: by_pool(&accounts, usable),
            troubles,
        };
        match self.output.json {
            true => output::print_json(&report)?,
            false => self.show(context, &report)?,
        }
        // As in `test`: the code of the problem that needs the most work.
        let order = [Exit::Refused, Exit::Vault, Exit::Usage, Exit::Unavailable];
        let is_of = |exit: &Exit| report.troubles.iter().any(|trouble| trouble.exit == *exit);
        let Some(exit) = order.into_iter().find(is_of) else { return Ok(Exit::Done) };
        let count = report.troubles.iter().filter(|trouble| trouble.exit != Exit::Done).count();
        Err(Failure::new(
            exit,
            match count {
                1 => "1 problem to fix or to wait for".to_owned(),
                count => format!("{count} problems to fix or to wait for"),
            },
        ))
    }

    fn show(&self, context: &Context, report: &Report<'_>) -> Result<(), Failure> {
        if report.accounts == 0 && report.troubles.is_empty() {
            let vault = &context.places.vault;
            let why = match FileVault::is_at(vault) {
                true => String::new(),
                false => format!(": there is no vault in {} yet", vault.display()),
            };
            output::print(format_args!("There are no accounts{why}"))?;
            return output::print(format_args!(
                "  {} credentials login {}",
                output::strong("try:"),
                self.provider.as_deref().map_or_else(|| "PROVIDER".to_owned(), crate::shell::quoted)
            ));
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
            output::print(format_args!(
                "{}: {usable} of {all} can be used; {next}",
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

fn by_pool<'a>(accounts: &'a [Account], usable: impl Fn(&&Account) -> bool) -> Vec<Pool<'a>> {
    let mut pools: BTreeMap<_, Pool<'a>> = BTreeMap::new();
    for account in accounts {
        let key = &account.credential.pool;
        let pool = pools.entry(key).or_insert_with(|| Pool {
            provider: key.provider(),
            namespace: key.namespace(),
            accounts: 0,
            usable: 0,
            active: None,
        });
        pool.accounts += 1;
        pool.usable += usize::from(usable(&account));
        if account.is_active {
            pool.active = Some(account::name(&account.credential));
        }
    }
    pools.into_values().collect()
}
