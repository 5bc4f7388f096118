//! What sends requests: pools, their layers, and the program's HTTP client.

use std::io;

use http::header::USER_AGENT;
use http::{HeaderValue, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use tower::Layer;
use tower::util::MapRequest;
use tower_credentials::https::HttpsClient;
use tower_credentials::oauth::{OAuthClient, OAuthHttp};
use tower_credentials::vault::Vault;
use tower_credentials::{
    Credentials, CredentialsLayer, ErrorBody, ErrorBodyLayer, Kind, OAuthTokens, Pool, PoolBuilder,
    PoolKey, WhenAllCoolingDown,
};

use super::Context;
use crate::ending;
use crate::failure::Failure;

/// The HTTP client of the program.
pub(crate) type Http = MapRequest<HttpsClient<Body>, fn(Request<Body>) -> Request<Body>>;

/// The HTTP client with the layers of a pool.
pub(crate) type Client = Credentials<ErrorBody<Http>>;

/// The body of the program's requests.
pub(crate) type Body = Full<Bytes>;

impl Context {
    /// Builds a pool for one command: it does nothing in the background, and its requests wait for a renewal as long as it
    /// takes.
    pub(crate) fn pool(&self, key: &PoolKey, vault: impl Vault) -> Result<PoolBuilder, Failure> {
        let pool = self.registry.pool(key.provider(), vault)?;
        let pool = pool.namespace(key.namespace()).sync_every(None).renewal_patience(None);
        Ok(pool.on_event(ending::tell))
    }

    /// Builds a pool for one command that says which account requests take, or hands it out: it picks as the gateway's does.
    pub(crate) fn picking_pool(&self, key: &PoolKey, vault: impl Vault) -> Result<PoolBuilder, Failure> {
        Ok(without_guesses(self.pool(key, vault)?))
    }

    /// Builds a pool that serves requests for as long as the program runs: it renews tokens, and follows other processes.
    pub(crate) fn serving_pool(&self, key: &PoolKey, vault: impl Vault) -> Result<PoolBuilder, Failure> {
        Ok(without_guesses(self.setup.pool(key.provider(), vault)?.namespace(key.namespace())))
    }

    /// Returns a client that sends requests with the pool's accounts.
    pub(crate) fn client(&self, pool: &Pool) -> Result<Client, Failure> {
        let errors = ErrorBodyLayer::new(pool.clone());
        Ok(self.layer(pool).layer(errors.layer(http()?)))
    }

    /// Returns all layers for a pool, with a refresher if the provider has OAuth.
    pub(crate) fn layer(&self, pool: &Pool) -> CredentialsLayer {
        let layer = self.registry.layer(pool.clone());
        let has_oauth = pool.status().iter().any(|status| status.credential.kind == Kind::OAuth);
        let client = if has_oauth { self.oauth(pool.key().provider()).ok() } else { None };
        // A renewal for which a setting is missing is not tried: that would count as a failure, and be in the way of
        // the first one after it is set.
        let can_renew =
            |client: &OAuthClient| client.config().missing_for_refresh(&OAuthTokens::new("")).is_none();
        match client.filter(can_renew) {
            Some(client) => layer.refresher(client.refresher()),
            None => layer,
        }
    }

    /// Returns the client that signs in to the provider's accounts and renews their tokens.
    pub(crate) fn oauth(&self, provider: &str) -> Result<OAuthClient, Failure> {
        Ok(self.registry.oauth(provider, OAuthHttp::new(http()?))?)
    }
}

/// Lets a pool whose accounts all cool down say so at once, and try none of them: who asks can wait or go elsewhere. What is
/// said about the next request is said about such a pool.
fn without_guesses(pool: PoolBuilder) -> PoolBuilder {
    pool.when_all_cooling_down(WhenAllCoolingDown::Fail)
}

/// Returns a client that uses the proxies and certificates of the machine, and names itself.
fn http() -> Result<Http, Failure> {
    let client = HttpsClient::new().map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => Failure::usage(error.to_string()),
        _ => Failure::failed("could not load the system's certificates").because(error),
    })?;
    Ok(MapRequest::new(client, signed as fn(_) -> _))
}

/// Adds a `user-agent`: some vendors refuse requests without one.
fn signed(mut request: Request<Body>) -> Request<Body> {
    let name = HeaderValue::from_static(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().entry(USER_AGENT).or_insert(name);
    let uri = request.uri();
    let (host, path) = (uri.authority().map(|host| host.as_str()).unwrap_or_default(), uri.path());
    tracing::info!(method = %request.method(), host, path, "sends a request");
    request
}
