//! A tonic client over several accounts. Its transport is two layers over hyper's client.
//!
//! `cargo run --example tonic --features hyper`
//!
//! The upstream is a local server on 127.0.0.1: tonic's health service, and in front of it a gateway
//! that limits the account `work` with an HTTP 429. The call succeeds with the account
//! `spare`.

mod support {
    pub mod accounts;
    pub mod health;
}

use http::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use support::accounts::{close, open_pool, tell_end};
use support::health::HealthUpstream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceBuilder;
use tower_credentials::{BoxError, CredentialsLayer, Pool, ReplayLayer};

async fn ask(pool: Pool, origin: &str) -> Result<ServingStatus, BoxError> {
    // In place of a `tonic::transport::Channel`, which takes only bodies of tonic's own type. gRPC is HTTP/2
    // from the first byte, without TLS too.
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    // tonic encodes its messages as they are sent. They are recorded, so that they can be sent again.
    let transport = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(CredentialsLayer::new(pool))
        .service(client);
    // A channel knows its origin. This client has to be told.
    let mut health = HealthClient::with_origin(transport, Uri::try_from(origin)?);

    let response = health.check(HealthCheckRequest { service: String::new() }).await?;
    Ok(response.into_inner().status())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let upstream = HealthUpstream::start().await?;
    let pool = open_pool(&upstream.origin()).await?;

    let status = ask(pool.clone(), &upstream.origin()).await;
    close(&pool).await?;
    let status = status?;

    tell_end(&pool, upstream.attempts(), status.as_str_name(), ServingStatus::Serving.as_str_name())
}
