//! The layers among the middleware of reqwest-middleware: the program's requests stay as they are.
//!
//! `cargo run --example reqwest_middleware --features reqwest-middleware`
//!
//! The upstream is a local server on 127.0.0.1, which limits the account `work`. The request succeeds with the
//! account `spare`. Then another client, with a timeout for each attempt, sends a request.

mod support {
    pub mod accounts;
    pub mod upstream;
}

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use support::accounts::{close, open_pool, tell_end};
use support::upstream::Upstream;
use tower::ServiceBuilder;
use tower::timeout::TimeoutLayer;
use tower_credentials::reqwest_client::{CredentialsMiddleware, TowerMiddleware, redirect_policy};
use tower_credentials::{BoxError, CredentialsLayer, Pool};

fn client(pool: Pool) -> Result<ClientWithMiddleware, BoxError> {
    // 1. Redirects stay within the origin.
    let client = reqwest::Client::builder().redirect(redirect_policy(Policy::default())).build()?;
    // 2. A middleware like any other. What is above it sees one request, however many attempts it takes.
    Ok(ClientBuilder::new(client)
        .with(RetryTransientMiddleware::new_with_policy(
            ExponentialBackoff::builder().build_with_max_retries(2),
        ))
        .with(CredentialsMiddleware::new(CredentialsLayer::new(pool)))
        .build())
}

/// A client with a layer of tower's in the stack: each attempt may take ten seconds until its response.
fn impatient(pool: Pool) -> Result<ClientWithMiddleware, BoxError> {
    let client = reqwest::Client::builder().redirect(redirect_policy(Policy::default())).build()?;
    let layers = ServiceBuilder::new()
        .layer(CredentialsLayer::new(pool))
        .layer(TimeoutLayer::new(Duration::from_secs(10)));
    Ok(ClientBuilder::new(client).with(TowerMiddleware::new(layers)).build())
}

async fn ask(client: &ClientWithMiddleware, origin: &str) -> Result<String, BoxError> {
    let request = client.post(format!("{origin}/v1/messages")).body(r#"{"prompt":"hello"}"#);
    let response = request.send().await?;
    println!("{} from {}", response.status(), response.url().path());
    Ok(response.error_for_status()?.text().await?)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let upstream = Upstream::start().await?;
    let pool = open_pool(&upstream.origin()).await?;
    let responses = tell(&pool, &upstream).await;
    close(&pool).await?;
    responses
}

async fn tell(pool: &Pool, upstream: &Upstream) -> Result<(), BoxError> {
    let response = ask(&client(pool.clone())?, &upstream.origin()).await?;
    tell_end(pool, upstream.api_requests(), &response, "hello, spare")?;

    // The second client knows what the first one has recorded.
    let response = ask(&impatient(pool.clone())?, &upstream.origin()).await?;
    println!("{response}");
    Ok(())
}
