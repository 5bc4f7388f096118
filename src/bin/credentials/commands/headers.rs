//! `headers`: what a request with an account carries, for scripts.

mod capture;

use std::collections::BTreeMap;

use clap::Args;
use http::Uri;
use serde::Serialize;
use tower_credentials::vault::VaultExt;
use tower_credentials::{Metadata, PoolKey};
use zeroize::Zeroizing;

use crate::account::{self, ReadOnce};
use crate::context::{AnyVault, Context};
use crate::failure::{Exit, Failure};
use crate::options::{Json, Namespace};
use crate::output;

/// Write the headers of one request, with its secret, to standard output
///
/// They are those of the account that the next request would take, renewed if its token has expired: one that can't be
/// renewed is not written. What is written is secret: a terminal is refused unless --show is given.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  curl -H @<(credentials headers openai) https://api.openai.com/v1/models
  credentials headers github-copilot --url https://api.githubcopilot.com/models --json")]
pub(crate) struct Headers {
    /// A provider, or one account
    #[arg(value_name = "PROVIDER|ACCOUNT")]
    account: String,
    #[command(flatten)]
    namespace: Namespace,
    /// What is to be asked for: an account's headers may differ by it, and go to its own host
    #[arg(long, value_parser = url)]
    url: Option<Uri>,
    /// Write them to a terminal, too
    #[arg(long)]
    show: bool,
    #[command(flatten)]
    output: Json,
}

impl Headers {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        if output::is_for_a_person() && !self.show {
            return Err(Failure::usage("the headers are secret, and would be shown on the screen")
                .way_out("pipe them to where they are needed, or add --show"));
        }
        let vault = context.vault_or_empty().await?;
        let (pool, account) = self.meant(context, &vault).await?;
        let uri = self.uri(context, &pool)?;
        // What does not open is said below.
        let stored = match account {
            Some(_) => None,
            None => vault.load_pool(pool.clone()).await.ok(),
        };
        if let Some(stored) = &stored {
            account::tell_left_out_of_stored(context, &pool, stored);
        }
        let vault = ReadOnce::new(vault, &pool, stored);
        let (uri, headers) = capture::capture(context, vault, &pool, account.as_ref(), &uri).await?;
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

    /// The pool, and the account where one is named.
    async fn meant(
        &self,
        context: &Context,
        vault: &AnyVault,
    ) -> Result<(PoolKey, Option<Metadata>), Failure> {
        let namespace = self.namespace.namespace.as_deref();
        if let Ok(key) = context.pool_key(&self.account, namespace) {
            return Ok((key, None));
        }
        let found = account::find_all(context, vault, &self.account, namespace).await?;
        match found.as_slice() {
            [one] => Ok((one.pool.clone(), Some(one.clone()))),
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
            Failure::usage(format!("{} does not say where its requests go", key.provider()))
                .way_out("the same with --url, or set its `origins`")
        })
    }
}

/// A whole URL: what has no origin can be sent nowhere.
fn url(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("it is no URL: {error}"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("https" | "http"), Some(_)) => Ok(uri),
        _ => Err("it needs a whole URL, and this is no URL such as https://api.example.com/v1/models"
            .to_owned()),
    }
}
