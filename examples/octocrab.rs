//! octocrab, the GitHub client, over several accounts: a service of ours in place of its own.
//!
//! `cargo run --example octocrab --features hyper`
//!
//! The upstream is a local server on 127.0.0.1, which limits the account `work`. The request succeeds with the
//! account `spare`.

mod support {
    pub mod accounts;
    pub mod upstream;
}

use http::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::{AuthState, OctocrabBuilder};
use support::accounts::{close, open_pool, tell_end};
use support::upstream::Upstream;
use tower::ServiceBuilder;
use tower_credentials::{BoxError, CredentialsLayer, Pool, ReplayLayer};

async fn ask(pool: Pool, origin: &str) -> Result<String, BoxError> {
    // GitHub itself is at `https://api.github.com`, and needs a connector with TLS.
    let client = Client::builder(TokioExecutor::new()).build_http();
    // The body has octocrab's own type. It is recorded as it is sent, so that it can be sent again.
    let service = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(CredentialsLayer::new(pool))
        .service(client);
    let octocrab = OctocrabBuilder::new_empty()
        .with_service(service)
        // Above ours, since a credential is sent only if the whole URI is known to be the provider's.
        .with_layer(&BaseUriLayer::new(Uri::try_from(origin)?))
        .with_auth(AuthState::None)
        .build()?;

    Ok(octocrab.markdown().render_raw("*hello*").await?)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let upstream = Upstream::start().await?;
    let pool = open_pool(&upstream.origin()).await?;

    let response = ask(pool.clone(), &upstream.origin()).await;
    close(&pool).await?;
    let response = response?;

    tell_end(&pool, upstream.api_requests(), &response, "hello, spare")
}
