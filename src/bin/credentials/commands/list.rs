//! `list`: the accounts and their state.

mod watch;

use clap::Args;
use tower_credentials::PoolKey;
use tower_credentials::vault::Listing;

use crate::account::{self, Account};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::{self, Global};
use crate::output;
use crate::shell::{option, quoted};
use crate::table::{Overflow, table};
use crate::time::{ago, brief, now};

/// List the accounts and their state
///
/// The accounts of a pool are listed in the order in which requests take them. A `*` marks the account that the next
/// request takes.
#[derive(Debug, Args)]
#[command(visible_alias = "ls")]
#[command(after_help = "\
Examples:
  credentials list
  credentials list openai --json | jq -r '.[] | select(.state == \"needs_sign_in\").id'
  credentials list --watch
  credentials list --watch --json | jq -c --unbuffered '[.[] | select(.active).label]'")]
pub(crate) struct List {
    /// Only accounts of this provider
    provider: Option<String>,
    #[command(flatten)]
    namespace: options::Namespace,
    /// Keep the list up to date until Ctrl-C; with --json, write a line whenever something has changed
    #[arg(long, short)]
    watch: bool,
    #[command(flatten)]
    output: options::Json,
}

impl List {
    /// Whether it goes on until Ctrl-C, which is then no failure.
    pub(crate) fn is_watching(&self) -> bool {
        self.watch
    }

    pub(crate) async fn run(self, global: &Global, context: Context) -> Result<Exit, Failure> {
        match self.watch {
            true => self.keep_up_to_date(global, context).await,
            false => self.show(&context).await,
        }
    }

    async fn show(self, context: &Context) -> Result<Exit, Failure> {
        let (vault, listing) = account::read_all(context.vault_or_empty().await?).await?;
        let (provider, namespace) = (self.provider.as_deref(), self.namespace.namespace.as_deref());
        let (accounts, damaged) =
            account::load_selected(context, &vault, &listing, provider, namespace).await?;
        let is_whole = damaged.is_empty();
        let exit = if is_whole { Exit::Done } else { Exit::Vault };
        damaged.iter().for_each(account::warn_of_damage);
        let now = now();
        if self.output.json {
            let accounts: Vec<_> = accounts.iter().map(|account| account.json(now)).collect();
            output::print_json(&accounts)?;
        } else if accounts.is_empty() && is_whole {
            let of = match (&self.provider, &self.namespace.namespace) {
                (Some(provider), Some(namespace)) => {
                    format!(" of {provider} in the namespace {namespace}")
                }
                (Some(provider), None) => format!(" of {provider}"),
                (None, Some(namespace)) => format!(" in the namespace {namespace}"),
                (None, None) => String::new(),
            };
            let why = match context.has_vault() {
                true => others(context, &listing),
                false => format!(": there is no vault in {} yet", context.vault_name()),
            };
            let provider = self.provider.as_deref().map_or_else(|| "PROVIDER".to_owned(), quoted);
            let namespace = self.namespace.namespace.as_ref();
            let namespace = namespace.map(|namespace| format!(" {}", option("--namespace", namespace)));
            output::say(format_args!(
                "There are no accounts{of}{why}. To add one: credentials login {provider}{}",
                namespace.unwrap_or_default()
            ));
        } else if !accounts.is_empty() {
            output::print(shown(&accounts))?;
            say_unread(&accounts);
            for account in &accounts {
                if let Some(renewal) = &account.last_renewal {
                    let name = output::plain(&account::name(&account.credential));
                    output::say(format_args!("{}: {renewal}", output::strong(name)));
                }
            }
            tell_ways_out(context, &accounts);
        }
        Ok(exit)
    }
}

/// Returns whose accounts there are, if there are none of those that were asked for.
fn others(context: &Context, listing: &Listing) -> String {
    let pools = account::pools(context, listing, None, None);
    let mut pools: Vec<_> = pools.iter().map(|pool| output::plain(&pool.to_string())).collect();
    pools.dedup();
    match pools.is_empty() {
        true => String::new(),
        false => format!("; there are accounts of {}", pools.join(", ")),
    }
}

/// Says which command shows a response of a renewal that could not be read.
fn say_unread(accounts: &[Account]) {
    for account in accounts.iter().filter(|account| account.has_unread_response) {
        let name = account::name(&account.credential);
        output::say(format_args!(
            "{name} has a response of its token endpoint that could not be read: credentials show {} \
             --unread-response",
            account.credential.id
        ));
    }
}

/// Says what to set for accounts that are not used, or not renewed, because of a missing setting.
fn tell_ways_out(context: &Context, accounts: &[Account]) {
    const MOST: usize = 3;
    let mut ways_out = Vec::new();
    for account in accounts {
        if let Some(way_out) = account.settings_way_out(context)
            && ways_out.iter().all(|(_, _, known)| *known != way_out)
        {
            ways_out.push((account, account.settings_trouble(), way_out));
        }
    }
    for (account, why, way_out) in ways_out.iter().take(MOST) {
        let name = output::plain(&account::name(&account.credential));
        output::say(format_args!("{} {why}", output::strong(format_args!("{name}:"))));
        output::way_out(way_out);
    }
    if ways_out.len() > MOST {
        output::say(format_args!("And {} more: credentials status", ways_out.len() - MOST));
    }
}

fn shown(accounts: &[Account]) -> String {
    let now = now();
    let rows = accounts.iter().map(|account| {
        let credential = &account.credential;
        let last = account.standing.last_response;
        let mut state = account.describe_state(now);
        for (scope, until) in account.limited_scopes(now) {
            let (scope, left) = (output::plain(scope), brief(until.since(now)));
            state.push_str(&format!("; {scope} cooling down, {left} left"));
        }
        [
            if account.is_active { "*" } else { "" }.to_owned(),
            credential.pool.provider().to_owned(),
            credential.pool.namespace().to_owned(),
            credential.label.to_string(),
            account::kind(credential.kind).to_owned(),
            state,
            last.map_or_else(String::new, |response| status(response.status)),
            last.map_or_else(String::new, |response| ago(response.at, now)),
            account.describe_left(now),
            account.quota.shared.as_ref().map_or_else(String::new, ToString::to_string),
            credential.id.to_string()[..8].to_owned(),
        ]
    });
    let header = [
        "",
        "PROVIDER",
        "NAMESPACE",
        "LABEL",
        "KIND",
        "STATE",
        "LAST STATUS",
        "LAST USED",
        "LEFT",
        "QUOTA",
        "ID",
    ];
    let is_left_known = accounts.iter().any(|account| account.windows(now).next().is_some());
    let is_quota_shared = accounts.iter().any(|account| account.quota.with().next().is_some());
    let hidden: Vec<_> = [("LEFT", is_left_known), ("QUOTA", is_quota_shared)]
        .into_iter()
        .filter_map(|(column, is_known)| (!is_known).then_some(column))
        .collect();
    // If all are in the default namespace, the column says nothing.
    let is_default =
        accounts.iter().all(|account| account.credential.pool.namespace() == PoolKey::DEFAULT_NAMESPACE);
    let uninformative: &[_] = if is_default { &["NAMESPACE"] } else { &[] };
    let overflow = Overflow {
        hidden: &hidden,
        uninformative,
        dropped: &["QUOTA", "LAST USED", "LAST STATUS", "LEFT"],
        truncated: &[],
        wrapped: "STATE",
    };
    table(header, overflow, rows)
}

/// Returns a response's status, in colour.
pub(super) fn status(status: u16) -> String {
    match status {
        200..400 => output::good(status).to_string(),
        429 => output::doubtful(status).to_string(),
        _ => output::bad(status).to_string(),
    }
}
