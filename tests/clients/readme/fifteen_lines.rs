use std::{path::Path, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{ServiceBuilder, ServiceExt};
use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::{VaultExt, file::FileVault, key::FileKey};
use tower_credentials::{BoxError, Credential, CredentialsLayer, Pool, PoolKey, Secret};

pub async fn hello(origin: &str, directory: &Path) -> Result<StatusCode, BoxError> {
    let key = FileKey::new(directory.join("vault.key")); // made on the first run
    let vault = FileVault::open_from(directory.join("vault"), key).await?;
    for (label, secret) in [("work", "sk-1"), ("spare", "sk-2")] {
        vault.ensure(Credential::new(PoolKey::new("example"), label, Secret::api_key(secret))).await?;
    }
    let provider = GenericProvider::bearer("example").origin(origin)?;
    let pool = Pool::builder(provider, vault).open().await?;
    let client = ServiceBuilder::new()
        .layer(CredentialsLayer::new(pool.clone())) // apply, rotate, refresh, save
        .service(Client::builder(TokioExecutor::new()).build_http()); // with TLS: `https::HttpsClient`, feature `tls`
    let request = Request::post(format!("{origin}/v1")).body(Full::<Bytes>::from("hello"))?;
    let response = client.oneshot(request).await;
    pool.close(Duration::from_secs(60)).await?; // waits for tokens that are being renewed
    Ok(response?.status())
}
