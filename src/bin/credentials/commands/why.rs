//! `why`: which account the next request takes, and why it takes no other.

use clap::Args;
use http::Uri;
use tower_credentials::provider::Provider;
use tower_credentials::standing::Scope;
use tower_credentials::vault::Vault;
use tower_credentials::{Metadata, PoolKey};

use crate::account::{self, Explained, WhyReport};
use crate::context::{AnyVault, Context};
use crate::failure::{Exit, Failure};
use crate::options::{self, Namespace};
use crate::output::{self, plain};
use crate::shell::quoted;

/// Show which account the next request takes, and why it takes no other
///
/// For each account: whether it would be taken, if not, because of which response and until when, and what you can do. The
/// accounts are in the order in which requests take them. No vendor is asked, and nothing is changed. What other programs
/// keep in memory alone, such as the requests that they have under way, is not known here.
///
/// While every account cools down, requests through `credentials exec` and `credentials serve` get a 429 at once, so the
/// next one takes none. A program of your own can be set to try the one that is ready first, or to wait for it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials why openai
  credentials why openai work
  credentials why anthropic --model claude-opus-4-1
  credentials why openai --json | jq -r '.accounts[] | select(.next).label'

Exit codes:
  0  the next request takes an account that is ready
  1  every account that requests may take is paused
  3  there is no account that requests may take
  4  every account needs a new sign-in
  5  something in the vault is damaged
  6  every account is cooling down or spent
With ACCOUNT they are about that one alone: 0 says that it is ready.")]
pub(crate) struct Why {
    /// The provider
    provider: String,
    /// Explain only this account of the provider: its label or its id, or PROVIDER/LABEL
    #[arg(value_name = "ACCOUNT")]
    account: Option<String>,
    /// Explain requests for this model, which may have limits of its own
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    #[command(flatten)]
    namespace: Namespace,
    #[command(flatten)]
    output: options::Json,
}

impl Why {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let key = context.pool_key(&self.provider, self.namespace.namespace.as_deref());
        let key = key.map_err(|failure| self.with_account_apart(context, failure))?;
        let scope = self.model.as_deref().map(|model| scope(context, &key, model)).transpose()?;
        let vault = context.vault_or_empty().await?;
        let mut explained = explain(context, &vault, key.clone(), scope.as_ref()).await;
        let mut only = None;
        if let Some(text) = &self.account {
            let of_pool =
                explained.as_ref().map(|(explained, _)| explained.accounts()).unwrap_or_default();
            let meant = self.meant(context, &vault, &key, &of_pool, text).await?;
            if meant.pool != key {
                explained = explain(context, &vault, meant.pool, scope.as_ref()).await;
            }
            only = Some(meant.id);
        }
        let (explained, is_whole) = match explained {
            Ok(explained) => explained,
            Err(failure) => {
                account::tell_left_out(context, &vault, &key).await;
                return Err(failure);
            }
        };
        let report = explained.report(context, scope.as_ref(), only);
        match self.output.json {
            true => output::print_json(&report)?,
            false => show(&explained.key, &report)?,
        }
        let failure = match only {
            Some(id) => explained.failure_of(id),
            None => explained.failure(context),
        };
        match failure {
            Some(failure) => Err(failure),
            None if is_whole || only.is_some() => Ok(Exit::Done),
            None => Ok(Exit::Vault),
        }
    }

    /// Adds the command that names the account after its provider, if both are in one.
    fn with_account_apart(&self, context: &Context, failure: Failure) -> Failure {
        let (None, Some((pool, rest))) = (&self.account, context.of_account(&self.provider)) else {
            return failure;
        };
        // Its label alone is enough; with a namespace, the whole name.
        let account = if rest.contains('/') { &*self.provider } else { rest };
        failure.way_out(format!("credentials why {} {}", quoted(pool.provider()), quoted(account)))
    }

    /// Finds the account of the provider that the text names: in the pool, which may have one of the environment, or else in
    /// another namespace.
    async fn meant(
        &self,
        context: &Context,
        vault: &impl Vault,
        key: &PoolKey,
        of_pool: &[Metadata],
        text: &str,
    ) -> Result<Metadata, Failure> {
        let mut found = account::matching(context, of_pool, text);
        if found.is_empty() {
            let namespace = self.namespace.namespace.as_deref();
            found = account::find_all(context, vault, text, namespace).await?;
            let provider = key.provider();
            found.retain(|account| account.pool.provider() == provider);
            if found.is_empty() {
                let failure = Failure::not_found(format!("{text} is no account of {provider}"));
                return Err(failure.way_out(format!("credentials why {}", quoted(provider))));
            }
        }
        match <[Metadata; 1]>::try_from(found) {
            Ok([one]) => Ok(one),
            Err(several) => Err(account::ambiguous(text, &several)
                .way_out("name one by its label or its id, or leave it out to see all")),
        }
    }
}

/// Asks the pool, and says what could not be read. Returns whether that was nothing, too.
async fn explain(
    context: &Context,
    vault: &AnyVault,
    key: PoolKey,
    scope: Option<&Scope>,
) -> Result<(Explained, bool), Failure> {
    let (damaged, explained) = Explained::of(context, vault, key, scope).await;
    for damage in &damaged {
        output::warn(plain(&damage.to_string()));
    }
    Ok((explained?, damaged.is_empty()))
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

fn show(key: &PoolKey, report: &WhyReport<'_>) -> Result<(), Failure> {
    let next = match report.next {
        Some(_) => report.next_in_words(),
        None => output::bad(report.next_in_words()).to_string(),
    };
    output::print(format_args!("{}: {next}", output::strong(report.about(key))))?;
    if let Some(answer) = &report.gateway {
        output::print(answer)?;
    }
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
