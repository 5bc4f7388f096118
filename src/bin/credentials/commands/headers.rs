//! `headers`: the headers of a request with an account, for scripts.

mod capture;

use std::collections::BTreeMap;

use clap::Args;
use http::{HeaderMap, Uri};
use serde::Serialize;
use tower_credentials::vault::{Damage, VaultExt};
use tower_credentials::{Metadata, PoolKey};
use zeroize::Zeroizing;

use crate::account::{self, ReadOnce, Unrenewable};
use crate::context::{AnyVault, Context};
use crate::failure::{Exit, Failure};
use crate::options::{Json, Namespace};
use crate::output;

/// Write the headers of a request, with its secret, to standard output
///
/// They are those of the account that the next request would take. An expired token is renewed first, and is not written if
/// that fails. The output is secret: it is not written to a terminal without --show.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  curl -H @<(credentials headers openai) https://api.openai.com/v1/models
  credentials headers github-copilot --url https://api.githubcopilot.com/models --json")]
pub(crate) struct Headers {
    #[command(flatten)]
    request: NextRequest,
    #[command(flatten)]
    output: Json,
}

/// The request whose headers are wanted.
#[derive(Debug, Args)]
pub(crate) struct NextRequest {
    /// A provider, or one account
    #[arg(value_name = "PROVIDER|ACCOUNT")]
    account: String,
    #[command(flatten)]
    namespace: Namespace,
    /// The URL of the request: headers may depend on it, and an account may have a host of its own
    #[arg(long, value_parser = url)]
    url: Option<Uri>,
    /// Allow a terminal as the output
    #[arg(long)]
    show: bool,
}

/// A request as it would be sent.
pub(crate) struct Captured {
    pub(crate) pool: PoolKey,
    uri: Uri,
    headers: HeaderMap,
}

impl Captured {
    /// Returns the token of the account: what its first secret header says after the scheme (RFC 9110, section 11.4).
    pub(crate) fn token(&self) -> Option<Zeroizing<String>> {
        let value = self.headers.values().find(|value| value.is_sensitive())?.to_str().ok()?;
        Some(Zeroizing::new(value.rsplit(' ').next().unwrap_or_default().to_owned()))
    }
}

/// What a text names.
struct Selected {
    vault: ReadOnce<AnyVault>,
    pool: PoolKey,
    /// The account, if it names one.
    account: Option<Metadata>,
    /// The damage that was reported.
    reported: Vec<Damage>,
}

impl NextRequest {
    /// Captures the request. `what` of it is secret, and so it is not written to a terminal.
    pub(crate) async fn capture(&self, context: &Context, what: &str) -> Result<Captured, Failure> {
        if output::is_for_a_person() && !self.show {
            return Err(Failure::usage(format!("{what} secret, and would be shown on the screen"))
                .way_out("pipe it to the program that needs it, or add --show"));
        }
        let vault = context.vault_or_empty().await?;
        let Selected { vault, pool, account, mut reported } = self.selected(context, vault).await?;
        let uri = self.uri(context, &pool)?;
        // A pool that does not open is reported below.
        let stored = vault.load_pool(pool.clone()).await;
        // The secrets of other pools are not needed any more.
        vault.forget();
        if let Ok(stored) = stored {
            match &account {
                // Damage of the account itself is reported as the failure.
                Some(account) => {
                    let of_account = |damage: &&Damage| damage.id == Some(account.id);
                    reported.extend(stored.damaged.iter().filter(of_account).cloned());
                }
                None => account::tell_left_out_of_stored(context, &pool, &stored),
            }
            vault.keep(&pool, stored);
        }
        let (uri, headers) =
            capture::capture(context, vault, &pool, account.as_ref(), &uri, &reported).await?;
        Ok(Captured { pool, uri, headers })
    }

    async fn selected(&self, context: &Context, vault: AnyVault) -> Result<Selected, Failure> {
        let namespace = self.namespace.namespace.as_deref();
        let unknown = match context.pool_key(&self.account, namespace) {
            Ok(pool) => {
                let vault = ReadOnce::new(vault);
                return Ok(Selected { vault, pool, account: None, reported: Vec::new() });
            }
            Err(unknown) => unknown,
        };
        let (vault, listing) = account::read_all(vault).await?;
        let reported = listing.damaged.clone();
        let found = account::find_listed(context, listing, &self.account, namespace)?;
        match found.as_slice() {
            [one] => {
                let (pool, account) = (one.pool.clone(), Some(one.clone()));
                Ok(Selected { vault, pool, account, reported })
            }
            // Those of a provider that the settings lack.
            [first, ..] if found.iter().all(|account| account.pool.provider() == self.account) => {
                let unknown = unknown.because(format!("the vault has {} accounts of it", found.len()));
                Err(match Unrenewable::NoProvider.way_out(context, first) {
                    Some(way_out) => unknown.way_out(way_out),
                    None => unknown,
                })
            }
            several => Err(account::ambiguous(&self.account, several)),
        }
    }

    fn uri(&self, context: &Context, key: &PoolKey) -> Result<Uri, Failure> {
        if let Some(uri) = &self.url {
            return Ok(uri.clone());
        }
        let provider = context.registry.provider(key.provider())?;
        let uri = provider.origin().and_then(|origin| format!("{origin}/").parse().ok());
        uri.ok_or_else(|| {
            Failure::usage(format!("{} has no origin for requests", key.provider()))
                .way_out("add --url URL, or set its `origins`")
        })
    }
}

impl Headers {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Captured { uri, headers, .. } = self.request.capture(context, "the headers are").await?;
        let mut lines: Vec<(&str, Zeroizing<String>)> = Vec::new();
        for (name, value) in &headers {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            lines.push((name.as_str(), Zeroizing::new(value)));
        }
        if self.output.json {
            #[derive(Serialize)]
            struct Captured<'a> {
                url: String,
                headers: BTreeMap<&'a str, &'a str>,
            }
            let headers = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
            output::print_json(&Captured { url: uri.to_string(), headers })?;
        } else {
            for (name, value) in &lines {
                output::print_exactly(format_args!("{name}: {}", value.as_str()))?;
            }
        }
        Ok(Exit::Done)
    }
}

/// Parses a whole URL: a request without an origin can be sent nowhere.
fn url(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("https" | "http"), Some(_)) => Ok(uri),
        _ => Err("not a whole URL, such as https://api.example.com/v1/models".to_owned()),
    }
}
