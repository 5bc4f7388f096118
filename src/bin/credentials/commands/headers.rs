//! `headers`: what a request with an account carries, for scripts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use http::{HeaderMap, Request, Response, Uri};
use serde::Serialize;
use tower::{Layer, ServiceExt, service_fn};
use tower_credentials::events::Event;
use tower_credentials::standing::Health;
use tower_credentials::vault::VaultExt;
use tower_credentials::{Attempt, BoxError, Error, Metadata, Pin, Pool, PoolKey, WhenAllCoolingDown};
use zeroize::Zeroizing;

use crate::account;
use crate::args::{Json, Namespace};
use crate::context::{AnyVault, Body, Context};
use crate::failure::{Exit, Failure};
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
    #[arg(long)]
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
        let (uri, headers) = self.capture(context, vault, &pool, account.as_ref()).await?;
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
                output::print(format_args!("{name}: {}", value.as_str()))?;
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

    /// Sends a request down the layers, and takes it where it would leave.
    async fn capture(
        &self,
        context: &Context,
        vault: AnyVault,
        key: &PoolKey,
        account: Option<&Metadata>,
    ) -> Result<(Uri, HeaderMap), Failure> {
        let uri = self.uri(context, key)?;
        let failed = Arc::new(Mutex::new(None));
        let pool = {
            let failed = failed.clone();
            context.pool(key, vault.clone())?.on_event(move |event| {
                if let Event::RefreshFailed { error, .. } = event {
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some((*error).to_owned());
                }
            })
        };
        let pool = pool.when_all_cooling_down(WhenAllCoolingDown::Fail).expose_attempts(true);
        let pool = pool.open().await.map_err(|error| not_sent(context, key, account, error.into()))?;
        let taken = Arc::new(Mutex::new(None));
        let bottom = {
            let taken = taken.clone();
            service_fn(move |request: Request<Body>| {
                let (parts, _) = request.into_parts();
                *taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(parts);
                // No answer: nothing is to be learnt from it.
                std::future::ready(Err::<Response<Body>, BoxError>("not sent".into()))
            })
        };
        let mut request = Request::new(Body::default());
        *request.uri_mut() = uri;
        if let Some(account) = account {
            request.extensions_mut().insert(Pin::id(account.id));
        }
        let end = context.layer(&pool).layer(bottom).oneshot(request).await;
        pool.save().await;
        let taken = taken.lock().unwrap_or_else(PoisonError::into_inner).take();
        let parts = match (taken, end) {
            (Some(taken), _) => taken,
            (None, Err(error)) => return Err(not_sent(context, key, account, error)),
            (None, Ok(_)) => {
                return Err(Failure::failed("a layer has answered in place of the request"));
            }
        };
        let lease = parts.extensions.get::<Attempt>().and_then(Attempt::lease);
        // The layers send one that could not be renewed all the same: its vendor has the last word. Here nobody asks.
        if let Some(lease) =
            lease.filter(|lease| lease.expires_at().is_some_and(|end| end <= pool.now()))
        {
            let failed = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Err(expired(context, &vault, &pool, lease.credential(), failed).await);
        }
        Ok((parts.uri, parts.headers))
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

/// Why the layers have sent nothing, and what helps.
fn not_sent(context: &Context, key: &PoolKey, account: Option<&Metadata>, error: BoxError) -> Failure {
    let way_out = match error.downcast_ref() {
        Some(Error::NoCredential { .. }) => Some(account::login(context, key)),
        Some(Error::NeedsSignIn { .. }) => match account {
            Some(account) => return needs_sign_in(context, account),
            None => Some(format!("credentials test {}", key.provider())),
        },
        _ => None,
    };
    with(Failure::from(error), way_out)
}

fn needs_sign_in(context: &Context, account: &Metadata) -> Failure {
    let message = format!("{} needs a new sign-in", account::name(account));
    with(Failure::new(Exit::Refused, message), account::renewal(context, account))
}

fn with(failure: Failure, way_out: Option<String>) -> Failure {
    match way_out {
        Some(way_out) => failure.way_out(way_out),
        None => failure,
    }
}

/// Why an account's token has expired and was not renewed.
async fn expired(
    context: &Context,
    vault: &AnyVault,
    pool: &Pool,
    credential: &Metadata,
    failed: Option<String>,
) -> Failure {
    let status = pool.status().into_iter().find(|status| status.credential.id == credential.id);
    let health = status.map(|status| status.standing.health).unwrap_or_default();
    let cause = match health {
        Health::NeedsSignIn { reason, .. } => Some(reason),
        _ => match vault.get(credential.id).await {
            Ok(stored) if stored.secret.refresh_token().is_some() => None,
            Ok(_) => Some("its token has expired, and there is nothing to renew it with".to_owned()),
            Err(error) => return error.into(),
        },
    };
    if let Some(cause) = cause {
        return needs_sign_in(context, credential).because(output::plain(&cause));
    }
    if let Err(failure) = context.oauth(pool.key().provider()) {
        return failure;
    }
    let cause = failed.unwrap_or_else(|| "nothing has come of its renewal in time".to_owned());
    let name = account::name(credential);
    let message = format!("the token of {name} has expired, and could not be renewed");
    Failure::new(Exit::Unavailable, message).because(output::plain(&cause))
}
