//! Accounts that share a quota, over several processes: what one is told, all know.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::{Quota, QuotaName};
use tower_credentials::vault::{Vault, VaultExt};
use tower_credentials::{CredentialsLayer, Pin, Pool};

use crate::children::{say, setting};
use crate::shared::{self, Shared};
use crate::vault_contract::{account, pool};

const ORIGIN: &str = "https://api.example.com";

/// A pool of a vendor whose responses name the organization of a key.
async fn open(vault: impl Vault) -> Pool {
    let header = HeaderName::from_static("x-organization");
    let provider = GenericProvider::bearer("example").origin(ORIGIN).unwrap().quota_headers([header]);
    Pool::builder(provider, vault).open().await.unwrap()
}

/// Sends a request, to one account if it is named. The keys `a` and `b` are of one organization, which is limited if
/// `is_limited`; `c` is of another. Says who was asked.
async fn ask(pool: &Pool, pin: Option<&str>, is_limited: bool) {
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = asked.clone();
    let upstream = service_fn(move |request: Request<Full<Bytes>>| {
        let token = request.headers()["authorization"].to_str().unwrap().to_owned();
        let label = token.rsplit('-').next().unwrap().to_owned();
        let (organization, status) = match (&*label, is_limited) {
            ("c", _) => ("two", 200),
            (_, false) => ("one", 200),
            (_, true) => ("one", 429),
        };
        seen.lock().unwrap().push(label);
        let response = Response::builder()
            .status(StatusCode::from_u16(status).unwrap())
            .header("x-organization", organization)
            .header("retry-after", "3000");
        std::future::ready(Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap()))
    });
    let mut request = Request::post(format!("{ORIGIN}/v1")).body(Full::<Bytes>::default()).unwrap();
    if let Some(pin) = pin {
        request.extensions_mut().insert(Pin::label(pin));
    }
    let service = ServiceBuilder::new().layer(CredentialsLayer::new(pool.clone())).service(upstream);
    service.oneshot(request).await.unwrap();
    say(format_args!("asked {}", asked.lock().unwrap().join(" ")));
}

/// Asks once.
pub(super) async fn asker() {
    let pool = open(shared::opened().await).await;
    ask(&pool, None, setting("LIMITED").is_some()).await;
    pool.close(Duration::from_secs(10)).await.unwrap();
}

/// Asks with each key, and so learns whose they are.
pub(super) async fn namer() {
    let pool = open(shared::opened().await).await;
    for label in ["a", "b", "c"] {
        ask(&pool, Some(label), false).await;
    }
    pool.save().await.unwrap();
    pool.close(Duration::from_secs(10)).await.unwrap();
}

fn asked(shared: &Shared, is_limited: bool) -> String {
    let mut job = shared.job("asker");
    if is_limited {
        job = job.set("LIMITED", "1");
    }
    job.start().succeed().pop().unwrap()
}

#[tokio::test]
async fn a_process_that_loads_skips_the_accounts_that_share_the_quota_of_a_limited_one() {
    let Some(shared) = Shared::new() else { return };
    let vault = shared.open().await;
    for label in ["a", "b", "c"] {
        vault.put(account(label)).await.unwrap();
    }
    let with_quotas = open(vault.clone()).await;
    let quota = || Some(Quota::Shared(QuotaName::new("acme").unwrap()));
    for status in with_quotas.status().iter().filter(|status| &*status.credential.label != "c") {
        with_quotas.set_quota(status.credential.id, quota()).await.unwrap();
    }
    assert_eq!(asked(&shared, true), "asked a c");
    assert_eq!(asked(&shared, true), "asked c");
    // What a person takes back, all know as well.
    let b = vault.load_pool(pool()).await.unwrap().credentials.into_iter();
    let b = b.map(|record| record.metadata).find(|account| &*account.label == "b").unwrap();
    with_quotas.sync().await.unwrap();
    with_quotas.set_quota(b.id, Some(Quota::Own)).await.unwrap();
    with_quotas.pause(with_quotas.active().unwrap()).await.unwrap();
    assert_eq!(asked(&shared, false), "asked b");
}

#[tokio::test]
async fn what_a_vendor_has_told_one_process_the_next_knows() {
    let Some(shared) = Shared::new() else { return };
    let vault = shared.open().await;
    for label in ["a", "b", "c"] {
        vault.put(account(label)).await.unwrap();
    }
    shared.job("namer").start().succeed();
    assert_eq!(asked(&shared, true), "asked a c");
    assert_eq!(asked(&shared, true), "asked c");
}
