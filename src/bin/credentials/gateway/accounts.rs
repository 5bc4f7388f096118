//! The routes to all accounts of a vault.

use std::collections::{BTreeMap, BTreeSet};

use tower_credentials::events::{Event, EventKind};
use tower_credentials::provider::Endpoint;
use tower_credentials::{Pool, PoolKey};

use super::route::{Forward, Route, Sending, UpstreamClient, route};
use super::settings::{RouteSettings, ServeSettings};
use crate::account;
use crate::context::{AnyVault, Context};
use crate::ending;
use crate::failure::{Exit, Failure};
use crate::naming::named;
use crate::output;

/// Makes a route for each pool that has accounts, of these providers or of all, and the routes of these settings beside them.
pub(crate) async fn routes(
    context: &Context,
    vault: &AnyVault,
    providers: &[String],
    served: &ServeSettings,
    sending: Sending,
) -> Result<Vec<Route<impl Forward + use<>>>, Failure> {
    let (vault, listing) = account::read_all(vault.clone()).await?;
    let mut pools = BTreeSet::new();
    for provider in providers {
        let key = context.pool_key(provider, None)?;
        let of_provider = account::pools(context, &listing, Some(key.provider()), None);
        if of_provider.is_empty() {
            return Err(Failure::not_found(format!("{} has no account", key.provider()))
                .way_out(format!("credentials login {}", key.provider())));
        }
        pools.extend(of_provider);
    }
    if providers.is_empty() {
        pools = account::pools(context, &listing, None, None);
    }
    let client = UpstreamClient::with_ping(sending.ping).map_err(|error| {
        Failure::failed("the client to the upstreams could not be made").because(error)
    })?;
    let mut wanted = Vec::new();
    for key in pools {
        let settings = RouteSettings::of_pool(&key, &route_name(context, &key));
        match endpoint(context, &key) {
            Ok(endpoint) => wanted.push((key, endpoint, settings)),
            // Others can be served.
            Err(failure) if providers.is_empty() => output::warn_of(&failure),
            Err(failure) => return Err(failure),
        }
    }
    for settings in &served.routes {
        let key = context.pool_key(&settings.provider, settings.namespace.as_deref())?;
        let endpoint = match &settings.upstream {
            Some(endpoint) => trusted(context, &key, endpoint)?,
            None => endpoint(context, &key)?,
        };
        wanted.push((key, endpoint, settings.clone()));
    }
    // A pool may have several routes.
    let mut opened: BTreeMap<PoolKey, Pool> = BTreeMap::new();
    let mut routes = Vec::new();
    for (key, endpoint, mut settings) in wanted {
        settings.upstream_http_version = settings.upstream_http_version.or(served.upstream_http_version);
        let pool = match opened.get(&key) {
            Some(pool) => pool.clone(),
            None => {
                let pool = context
                    .serving_pool(&key, vault.clone())?
                    .rotate_overloads(true)
                    .expose_attempts(true)
                    .time_attempts(true)
                    .on_event(tell);
                opened.entry(key).or_insert(ending::open(pool).await?).clone()
            }
        };
        routes.extend(route(settings, &endpoint, pool, &context.registry, &client, sending));
    }
    // The pools keep the vault, and no secret of another pool with it.
    vault.forget();
    if routes.is_empty() {
        return Err(
            Failure::not_found("there are no accounts to serve").way_out("credentials login PROVIDER")
        );
    }
    Ok(routes)
}

/// Returns the first segment of a pool's path: its provider, and its namespace if that is not the one of the settings.
fn route_name(context: &Context, key: &PoolKey) -> String {
    match context.pool_key(key.provider(), None) {
        Ok(usual) if usual == *key => key.provider().to_owned(),
        _ => format!("{}.{}", key.provider(), key.namespace()),
    }
}

/// Returns the upstream of a pool's accounts: the provider's first origin.
fn endpoint(context: &Context, key: &PoolKey) -> Result<Endpoint, Failure> {
    let provider = context.registry.provider(key.provider())?;
    let endpoint = provider.origin().and_then(|origin| origin.to_string().parse().ok());
    endpoint.ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{} has no origin for requests", key.provider()))
            .way_out(format!("set origins in the table [providers.{}] of the settings", key.provider()))
    })
}

/// Checks that a provider's accounts may be sent to an endpoint.
fn trusted(context: &Context, key: &PoolKey, endpoint: &Endpoint) -> Result<Endpoint, Failure> {
    let origin = endpoint.origin().to_string();
    let is_trusted = match format!("{origin}/").parse() {
        Ok(uri) => context.registry.provider(key.provider())?.trusts(&uri),
        Err(_) => false,
    };
    if is_trusted {
        return Ok(endpoint.clone());
    }
    let provider = key.provider();
    Err(Failure::usage(format!("accounts of {provider} may not be sent to {origin}"))
        .way_out(format!("add it to origins in the table [providers.{provider}] of the settings")))
}

/// Says what a person should know of.
fn tell(event: &Event) {
    ending::tell(event);
    match &event.kind {
        EventKind::NeedsSignIn { account, reason } => output::warn(format_args!(
            "{} needs a new sign-in: {}",
            named(&account.pool, &account.label),
            output::plain(reason)
        )),
        EventKind::Spent { account, reason } => output::warn(format_args!(
            "{} is spent: {}",
            named(&account.pool, &account.label),
            output::plain(reason)
        )),
        EventKind::RefreshFailed { account, error } => output::warn(format_args!(
            "the token of {} could not be renewed: {}",
            named(&account.pool, &account.label),
            output::plain(error)
        )),
        // The library says once that an engine is away.
        EventKind::SaveFailed { unreachable: true, .. } => {}
        EventKind::SaveFailed { error, .. } => {
            output::warn(format_args!("cooldowns are not saved yet: {}", output::plain(error)));
        }
        EventKind::Damaged { damage } => account::warn_of_damage(damage),
        _ => {}
    }
}
