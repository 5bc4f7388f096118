//! A program that uses reqwest with one key needs three lines to use several.
//!
//! `cargo run --example reqwest_client --features reqwest`
//!
//! The upstream is a local server on 127.0.0.1, which limits the account `work`. The request succeeds with the
//! account `spare`.

mod support {
    pub mod accounts;
    pub mod upstream;
}

use reqwest::redirect::Policy;
use support::accounts::{close, open_pool, tell_end};
use support::upstream::Upstream;
use tower::Layer;
use tower_credentials::reqwest_client::{ReqwestLayer, redirect_policy};
use tower_credentials::{BoxError, CredentialsLayer, Pool};

async fn ask(pool: Pool, origin: &str) -> Result<String, BoxError> {
    // 1. Redirects stay within the origin.
    let client = reqwest::Client::builder().redirect(redirect_policy(Policy::default())).build()?;
    // 2. The layers go over the client.
    let layered = ReqwestLayer::new(CredentialsLayer::new(pool)).layer(client.clone());

    let request = client.post(format!("{origin}/v1/messages")).body(r#"{"prompt":"hello"}"#).build()?;
    // 3. In place of `client.execute`.
    let response = layered.execute(request).await?;
    println!("{} from {}", response.status(), response.url().path());
    Ok(response.error_for_status()?.text().await?)
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
