//! A program that uses hyper's client with one key needs one layer to use several.
//!
//! `cargo run --example hyper_client --features hyper`
//!
//! The upstream is a local server on 127.0.0.1, which limits the account `work`. The request succeeds with the
//! account `spare`.

mod support {
    pub mod accounts;
    pub mod upstream;
}

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use support::accounts::{close, open_pool, tell_end};
use support::upstream::Upstream;
use tower::{ServiceBuilder, ServiceExt};
use tower_credentials::{BoxError, CredentialsLayer, Pool};

async fn ask(pool: Pool, origin: &str) -> Result<Bytes, BoxError> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    // In place of the client alone:
    let client = ServiceBuilder::new().layer(CredentialsLayer::new(pool)).service(client);

    // Bytes can be sent again. A body that streams is sent once, unless there is a `ReplayLayer` on top.
    let body = Full::<Bytes>::from(r#"{"prompt":"hello"}"#);
    let request = Request::post(format!("{origin}/v1/messages")).body(body)?;
    let response = client.oneshot(request).await?;
    println!("{}", response.status());
    Ok(response.collect().await?.to_bytes())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let upstream = Upstream::start().await?;
    let pool = open_pool(&upstream.origin()).await?;

    let response = ask(pool.clone(), &upstream.origin()).await;
    close(&pool).await?;
    let response = response?;

    tell_end(&pool, upstream.api_requests(), &String::from_utf8_lossy(&response), "hello, spare")
}
