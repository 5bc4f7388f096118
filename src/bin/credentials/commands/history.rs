//! `history`: what has happened to the accounts.

pub(crate) mod words;

use std::collections::HashSet;

use clap::Args;
use serde_json::Value;
use tower_credentials::events::EventKind;
use tower_credentials::history::Entry;
use tower_credentials::{CredentialId, PoolKey, Timestamp};

use crate::account;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::Namespace;
use crate::time::rfc3339;
use crate::{output, signals};

/// Show what has happened to the accounts
///
/// The programs that use the vault record which account has answered, was limited, rotated, renewed, paused or signed in to.
/// An account's answers are recorded at most once a minute, with their number. Records are kept for 30 days, and up to
/// 4 MiB of them. `history = false` under `[vault]` in the settings file turns this off. The vault's key is not needed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials history
  credentials history openai/work --follow
  credentials history --json | jq -r 'select(.event == \"cooled_down\").account.label'")]
pub(crate) struct History {
    /// Only this account, as PROVIDER/LABEL, PROVIDER/NAMESPACE/LABEL, PROVIDER, LABEL or an id
    #[arg(value_name = "ACCOUNT")]
    account: Option<String>,
    #[command(flatten)]
    namespace: Namespace,
    /// Go on and show what happens, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// Write one line of JSON for each entry
    #[arg(long)]
    json: bool,
}

impl History {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let history = context.history();
        let all = history.read().await?;
        let mut selected = Selected::new(context, &self, &all);
        if self.follow {
            signals::end_by_ctrl_c();
            let mut follower = history.follow();
            loop {
                let entry = follower.next().await?;
                if selected.has(&entry) {
                    self.show(&entry)?;
                }
            }
        }
        let mut is_empty = true;
        for entry in all.iter().filter(|entry| selected.has(entry)) {
            is_empty = false;
            self.show(entry)?;
        }
        if is_empty && !self.json {
            output::say(match &self.account {
                _ if context.places.vault.directory().is_some() && !context.has_vault() => {
                    format!("There is no vault in {} yet", context.vault_name())
                }
                _ if !context.keeps_history() => {
                    format!(
                        "No history is recorded: `vault.history` is false in {}",
                        output::path(&context.places.config)
                    )
                }
                Some(account) => format!("Nothing about {} is recorded", output::plain(account)),
                None => "Nothing is recorded yet".to_owned(),
            });
        }
        Ok(Exit::Done)
    }

    fn show(&self, entry: &Entry) -> Result<(), Failure> {
        if self.json {
            return output::print_json_line(&json(entry));
        }
        let time = rfc3339(entry.event.at);
        let (who, what) = words::of(&entry.event.kind);
        output::print(match who {
            Some(who) => {
                format!("{time}  {}  {}", output::strong(output::plain(&who)), output::plain(&what))
            }
            None => format!("{time}  {}", output::plain(&what)),
        })
    }
}

/// The members that are moments.
const MOMENTS: [&str; 2] = ["at", "until"];

/// Returns an entry with its moments as the program's other JSON has them.
fn json(entry: &Entry) -> Value {
    let mut json = serde_json::to_value(entry).unwrap_or_default();
    for name in MOMENTS {
        if let Some(moment) = json.get_mut(name)
            && let Some(milliseconds) = moment.as_u64()
        {
            *moment = rfc3339(Timestamp::from_millis(milliseconds)).into();
        }
    }
    json
}

/// Which entries are shown. An account keeps its id when its label changes, and its entries go together.
struct Selected<'a> {
    text: Option<&'a str>,
    provider: String,
    namespace: Option<&'a str>,
    ids: HashSet<CredentialId>,
}

impl<'a> Selected<'a> {
    fn new(context: &Context, command: &'a History, known: &[Entry]) -> Self {
        let text = command.account.as_deref();
        let provider = text.map(|text| text.split('/').next().unwrap_or(text));
        let provider = provider.map(|name| account::own_name(context, name)).unwrap_or_default();
        let namespace = command.namespace.namespace.as_deref();
        let mut selected = Self { text, provider, namespace, ids: HashSet::new() };
        known.iter().for_each(|entry| selected.learn(entry));
        selected
    }

    /// Whether the entry is about an account that was asked for.
    fn has(&mut self, entry: &Entry) -> bool {
        self.learn(entry);
        let kind = &entry.event.kind;
        match self.text {
            None => self
                .namespace
                .is_none_or(|namespace| pools(kind).any(|pool| pool.namespace() == namespace)),
            Some(_) => ids(kind).any(|id| self.ids.contains(&id)),
        }
    }

    /// Takes in the ids of the accounts that have the name.
    fn learn(&mut self, entry: &Entry) {
        let Some(text) = self.text else { return };
        let kind = &entry.event.kind;
        let former = match kind {
            EventKind::Renamed { account, before } => Some((&account.pool, Some(&**before), account.id)),
            EventKind::Removed { pool, id } => Some((pool, None, *id)),
            _ => None,
        };
        let accounts = kind.accounts().map(|account| (&account.pool, Some(&*account.label), account.id));
        for (pool, label, id) in accounts.chain(former) {
            if self.namespace.is_none_or(|namespace| pool.namespace() == namespace)
                && self.is_named(text, pool, label, id)
            {
                self.ids.insert(id);
            }
        }
    }

    fn is_named(&self, text: &str, pool: &PoolKey, label: Option<&str>, id: CredentialId) -> bool {
        const DIGITS: usize = 4;
        let rest = text.split_once('/').map(|(_, rest)| rest);
        let own = rest.map(|rest| format!("{}/{rest}", self.provider));
        let is_path = |label: &str| {
            [Some(text), own.as_deref()].into_iter().flatten().any(|path| {
                path == format!("{}/{label}", pool.provider()) || path == format!("{pool}/{label}")
            })
        };
        label.is_some_and(|label| label == text || is_path(label))
            || pool.provider() == text
            || (rest.is_none() && pool.provider() == self.provider)
            || (text.len() >= DIGITS && id.to_string().starts_with(text))
    }
}

fn ids(kind: &EventKind) -> impl Iterator<Item = CredentialId> {
    let removed = match kind {
        EventKind::Removed { id, .. } => Some(*id),
        _ => None,
    };
    kind.accounts().map(|account| account.id).chain(removed)
}

fn pools(kind: &EventKind) -> impl Iterator<Item = &PoolKey> {
    let removed = match kind {
        EventKind::Removed { pool, .. } => Some(pool),
        _ => None,
    };
    kind.accounts().map(|account| &account.pool).chain(removed)
}
