//! `status`: what can't be used, why, and how to fix it.

mod report;
mod troubles;

use clap::Args;
use tower_credentials::vault::Damage;
use tower_credentials::{Metadata, PoolKey};

use crate::account::{self, Account, Identity, Trouble};
use crate::context::Context;
use crate::engine::EngineReport;
use crate::failure::{Exit, Failure};
use crate::options::{self, Namespace};
use crate::output::{self, plain};
use crate::shell::option;
use crate::time::{brief, now};
use report::{Line, Pool, Report, Requests, by_pool};
use troubles::{losing, unwritable, without_accounts};

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

impl Status {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let engine = match context.engine().await? {
            Some(engine) => Some(EngineReport::of(engine, context).await?),
            None => None,
        };
        let (vault, listing) = account::read_all(context.vault_or_empty().await?).await?;
        let (provider, namespace) = (self.provider.as_deref(), self.namespace.namespace.as_deref());
        let (accounts, damaged) =
            account::load_selected(context, &vault, &listing, provider, namespace).await?;
        let now = now();
        let stored = listing.credentials;
        let whose = |damage: &Damage| {
            let id = damage.id.or_else(|| account::id_of(&damage.record))?;
            stored.iter().find(|account| account.id == id)
        };
        let mut troubles: Vec<Line<'_>> = damaged
            .iter()
            .map(|damage| {
                let way_out = account::damage_way_out(damage);
                let way_out =
                    way_out.as_deref().map_or_else(|| "credentials vault check".to_owned(), plain);
                let (file, why) = (&damage.record, account::what_is_wrong(damage));
                match whose(damage) {
                    Some(account) => Line {
                        account: Some(Identity::of(account)),
                        ..Line::new(
                            account::name(account),
                            &format!("damaged: {file}: {why}"),
                            Some(way_out),
                            Exit::Vault,
                        )
                    },
                    None => Line::new(plain(file), why, Some(way_out), Exit::Vault),
                }
            })
            .collect();
        troubles.extend(unwritable(context));
        troubles.extend(engine.iter().flat_map(losing));
        for account in &accounts {
            if let Some(Trouble { why, way_out, exit }) = account.trouble(context, now) {
                let line = Line::new(account::name(&account.credential), &why, way_out, exit);
                troubles.push(Line { account: Some(Identity::of(&account.credential)), ..line });
            }
        }
        troubles.extend(without_accounts(context, &accounts));
        // Those that can't be read are accounts, too.
        let is_other = |account: &&Metadata| accounts.iter().all(|one| one.credential.id != account.id);
        let unread: Vec<_> = damaged.iter().filter_map(whose).filter(is_other).collect();
        let usable = |account: &&Account| account.is_usable(now);
        let report = Report {
            engine,
            accounts: accounts.len() + unread.len(),
            usable: accounts.iter().filter(usable).count(),
            pools: by_pool(context, &accounts, &unread, now),
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
        if let Some(engine) = &report.engine {
            output::print(engine)?;
        }
        if report.accounts == 0 && report.troubles.is_empty() {
            let why = match context.has_vault() {
                true => String::new(),
                false => format!(": there is no vault in {} yet", context.vault_name()),
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
            let (usable, all) = (pool.usable, pool.accounts);
            let refused = match pool.refused {
                0 => String::new(),
                1 => ", 1 was refused last time".to_owned(),
                several => format!(", {several} were refused last time"),
            };
            let is_waiting = pool.usable == 0 && pool.first.is_some();
            let next = match (&pool.active, &pool.first, pool.requests) {
                (_, _, Requests::Elsewhere(namespace)) => {
                    format!("requests use the namespace {}", plain(namespace))
                }
                (_, Some((at, first)), _) if is_waiting => {
                    format!("{first} is ready first, in {}", brief(at.since(now())))
                }
                (Some(active), _, Requests::Here) => format!("the next request takes {active}"),
                (Some(active), _, Requests::IfNamed) => {
                    let namespace = option("--namespace", pool.namespace);
                    format!("the next request with {namespace} takes {active}")
                }
                (None, ..) => output::bad("no request can be made").to_string(),
            };
            let now = if is_waiting { " now" } else { "" };
            output::print(format_args!(
                "{}: {usable} of {all} can be used{now}{refused}; {next}",
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
                output::print(way_out)?;
            }
        }
        Ok(())
    }
}
