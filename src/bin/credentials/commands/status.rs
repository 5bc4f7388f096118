//! `status`: what can't be used, why, and how to fix it.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde::Serialize;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::{Damage, VaultExt};
use tower_credentials::{Metadata, PoolKey, Timestamp};

use crate::account::{self, Account, Identity, Trouble};
use crate::context::Context;
use crate::engine::{EngineFinding, EngineReport};
use crate::failure::{Exit, Failure};
use crate::options::{self, Namespace};
use crate::output::{self, WayOut, plain};
use crate::shell::option;
use crate::time::{brief, now};

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
    /// The engine that keeps the vault, if one does. What follows is as it was there just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<EngineReport>,
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
    /// The account that is ready first of those that rest, and when.
    #[serde(skip)]
    first: Option<(Timestamp, String)>,
    #[serde(skip)]
    requests: Requests<'a>,
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
    #[serde(flatten)]
    way_out: Option<WayOut>,
    #[serde(skip)]
    exit: Exit,
}

impl Line<'_> {
    fn new(what: String, why: &str, way_out: Option<String>, exit: Exit) -> Self {
        let way_out = way_out.map(|way_out| WayOut::new(&way_out));
        Self { account: None, what, why: plain(why), way_out, exit }
    }
}

impl Status {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let engine = match context.engine().await? {
            Some(engine) => Some(EngineReport::of(engine, context.vault_name()).await?),
            None => None,
        };
        let vault = account::read_all(context.vault_or_empty().await?).await?;
        let (provider, namespace) = (self.provider.as_deref(), self.namespace.namespace.as_deref());
        let (accounts, damaged) = account::load_selected(context, &vault, provider, namespace).await?;
        let now = now();
        let stored = vault.list().await?.credentials;
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
                let (file, reason) = (&damage.record, &damage.reason);
                let why = reason.split_once("; ").map_or(reason.as_str(), |(why, _)| why);
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

/// Says that nothing can be stored in the vault, if it is mounted read-only, for example. It can still be read.
fn unwritable(context: &Context) -> Option<Line<'static>> {
    let vault = context.places.vault.directory()?;
    let error = FileVault::is_at(vault).then(|| FileVault::look_writable(vault))?.err()?;
    let text = error.to_string();
    let (what, way_out) = text.split_once("; ").unwrap_or((&text, ""));
    let why =
        format!("{what}: nothing that is learnt about the accounts is saved, and no token is renewed");
    let way_out = Some(way_out.to_owned()).filter(|way_out| !way_out.is_empty());
    Some(Line::new(output::path(vault), &why, way_out, Exit::Done))
}

/// Says how the engine may lose a secret.
fn losing<'a>(engine: &EngineReport) -> Vec<Line<'a>> {
    let losing = engine.findings.iter().filter(|finding| finding.loses_secrets);
    let line = |finding: &EngineFinding| {
        let line = Line::new(engine.url.clone(), &finding.what, None, Exit::Done);
        Line { way_out: finding.way_out.clone(), ..line }
    };
    losing.map(line).collect()
}

/// Names the providers whose requests use a namespace without any account, although another one has some.
fn without_accounts(context: &Context, accounts: &[Account]) -> Vec<Line<'static>> {
    let pools: BTreeSet<_> = accounts.iter().map(|account| &account.credential.pool).collect();
    let elsewhere = |pool: &&&PoolKey| match requests(context, pool) {
        Requests::Elsewhere(namespace) => pools
            .iter()
            .all(|other| other.provider() != pool.provider() || other.namespace() != namespace),
        _ => false,
    };
    let line = |pool: &PoolKey| {
        let usual = context.registry.pool_key(pool.provider()).ok()?;
        let why =
            format!("requests use this namespace, and it has no account; there are some in {pool}");
        let setting = account::setting(pool.provider(), "namespace");
        let way_out =
            format!("set {setting} = {:?} in {}", pool.namespace(), context.places.config.display());
        Some(Line::new(plain(&usual.to_string()), &why, Some(way_out), Exit::Unavailable))
    };
    pools.iter().filter(elsewhere).filter_map(|pool| line(pool)).collect()
}

/// Whether requests use a pool.
#[derive(Clone, Copy)]
enum Requests<'a> {
    Here,
    /// Only those that name its namespace.
    IfNamed,
    /// Not unless they name its namespace: by the settings they use this one.
    Elsewhere(&'a str),
}

fn requests<'a>(context: &'a Context, pool: &PoolKey) -> Requests<'a> {
    let named = context.registry.namespace(pool.provider()).ok().flatten();
    match named {
        Some(usual) if usual != pool.namespace() => Requests::Elsewhere(usual),
        None if pool.namespace() != PoolKey::DEFAULT_NAMESPACE => Requests::IfNamed,
        _ => Requests::Here,
    }
}

fn by_pool<'a>(
    context: &'a Context,
    accounts: &'a [Account],
    unread: &[&'a Metadata],
    now: Timestamp,
) -> Vec<Pool<'a>> {
    let mut pools: BTreeMap<_, Pool<'_>> = BTreeMap::new();
    let of = |key: &'a PoolKey| {
        move || Pool {
            provider: key.provider(),
            namespace: key.namespace(),
            accounts: 0,
            usable: 0,
            refused: 0,
            active: None,
            first: None,
            requests: requests(context, key),
        }
    };
    for account in unread {
        pools.entry(&account.pool).or_insert_with(of(&account.pool)).accounts += 1;
    }
    for account in accounts {
        let key = &account.credential.pool;
        let pool = pools.entry(key).or_insert_with(of(key));
        pool.accounts += 1;
        pool.usable += usize::from(account.is_usable(now));
        pool.refused += usize::from(account.is_doubtful(now));
        if account.is_active {
            pool.active = Some(account::name(&account.credential));
        }
        if let Some(at) =
            account.ready_at(now).filter(|_| account.is_known && account.left_out.is_none())
            && pool.first.as_ref().is_none_or(|(first, _)| at < *first)
        {
            pool.first = Some((at, account::name(&account.credential)));
        }
    }
    pools.into_values().collect()
}
