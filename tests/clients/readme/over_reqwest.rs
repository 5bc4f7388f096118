use reqwest::redirect::Policy;
use tower::Layer;
use tower_credentials::reqwest_client::{ReqwestLayer, redirect_policy};
use tower_credentials::{BoxError, CredentialsLayer, Pool};

pub async fn post(pool: Pool, url: &str, body: Vec<u8>) -> Result<reqwest::Response, BoxError> {
    let client = reqwest::Client::builder().redirect(redirect_policy(Policy::default())).build()?;
    let layered = ReqwestLayer::new(CredentialsLayer::new(pool)).layer(client.clone());
    layered.execute(client.post(url).body(body).build()?).await
}
