//! Pools of several hosts renew one token between them.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tower::Service;
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::{Change, Outcome};
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::seal::Seal;
use tower_credentials::vault::{Vault, VaultError, VaultExt, VaultRequest, VaultResponse};
use tower_credentials::{
    BoxError, Credential, Generation, OAuthTokens, Pool, RefreshError, Refresher, Secret,
};

use crate::children::eventually;
use crate::hosts::{hosts, once_it_is_back};
use crate::server::Server;
use crate::vault_contract::{pool, put_all};

const SOON: Duration = Duration::from_secs(60);

const HOSTS: usize = 8;

/// A token endpoint whose refresh tokens work once.
#[derive(Clone, Default)]
struct Endpoint(Arc<Mutex<Vec<String>>>);

impl Endpoint {
    /// Exchanges tokens, each of which takes as long as `meanwhile`.
    fn refresher<F>(&self, meanwhile: impl Fn() -> F + Clone + Send + Sync + 'static) -> Refresher
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let endpoint = self.clone();
        Refresher::new(move |credential: Credential| {
            let presented = credential.secret.refresh_token().unwrap().expose().to_owned();
            let (endpoint, meanwhile) = (endpoint.clone(), meanwhile.clone());
            async move {
                let number = {
                    let mut known = endpoint.0.lock().unwrap();
                    if known.contains(&presented) {
                        return Err(RefreshError::Rejected { reason: format!("{presented} again") });
                    }
                    known.push(presented);
                    known.len()
                };
                meanwhile().await;
                Ok(Secret::from(tokens(number)))
            }
        })
    }

    fn presented(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn tokens(number: usize) -> OAuthTokens {
    OAuthTokens::new(format!("access-{number}")).refresh(format!("refresh-{number}"))
}

/// A host's vault that tells when the host has first asked for a lease.
#[derive(Clone)]
struct Watched {
    vault: Seal<RedisBackend>,
    has_asked: Arc<AtomicBool>,
    have_asked: watch::Sender<usize>,
}

impl Service<VaultRequest> for Watched {
    type Response = VaultResponse;
    type Error = VaultError;
    type Future = Pin<Box<dyn Future<Output = Result<VaultResponse, VaultError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        self.vault.poll_ready(cx)
    }

    fn call(&mut self, request: VaultRequest) -> Self::Future {
        use VaultRequest::{LeaseClient, LeaseRefresh};
        let is_of_lease = matches!(request, LeaseClient { .. } | LeaseRefresh { .. });
        let mut response = Box::pin(self.vault.call(request));
        let (has_asked, have_asked) = (self.has_asked.clone(), self.have_asked.clone());
        Box::pin(poll_fn(move |cx| {
            let polled = response.as_mut().poll(cx);
            if is_of_lease && !has_asked.swap(true, Ordering::AcqRel) {
                have_asked.send_modify(|count| *count += 1);
            }
            polled
        }))
    }
}

async fn open(vault: &impl Vault) -> Result<Pool, BoxError> {
    let provider = GenericProvider::bearer("example").origin("https://api.example.com")?;
    Ok(Pool::builder(provider, vault.clone()).open().await?)
}

#[tokio::test]
async fn of_many_hosts_that_renew_a_token_at_once_one_presents_it() {
    let Some(server) = Server::start(&[]) else { return };
    let hosts: [_; HOSTS] = hosts(&server).await;
    let account = Credential::new(pool(), "a", tokens(0));
    let id = hosts[0].put(account).await.unwrap().id;
    let endpoint = Endpoint::default();
    let (have_asked, count) = watch::channel(0);
    let refresher = endpoint.refresher(move || {
        let mut count = count.clone();
        // All others wait for a lease by then.
        async move { drop(count.wait_for(|count| *count == HOSTS).await.unwrap()) }
    });
    let mut pools = Vec::new();
    for vault in hosts.clone() {
        let watched = Watched { vault, has_asked: Arc::default(), have_asked: have_asked.clone() };
        pools.push(open(&watched).await.unwrap());
    }
    let renewals: Vec<_> = pools
        .into_iter()
        .map(|pool| {
            let refresher = refresher.clone();
            tokio::spawn(async move { (pool.renew(id, refresher).await, pool) })
        })
        .collect();
    for renewal in renewals {
        let (renewed, _pool) = timeout(SOON, renewal).await.expect("one hangs").unwrap();
        assert!(renewed.unwrap());
    }
    assert_eq!(endpoint.presented(), ["refresh-0"]);
    let stored = hosts[HOSTS - 1].get(&pool(), id).await.unwrap();
    assert_eq!(stored.metadata.generation, Generation::new(2));
    assert_eq!(stored.secret.token().expose(), "access-1");
}

#[tokio::test]
async fn a_token_that_comes_while_the_engine_is_away_is_stored_when_it_is_back() {
    let Some(server) = Server::start(&[]) else { return };
    let server = Arc::new(server);
    let [one, other] = hosts(&server).await;
    let id = one.put(Credential::new(pool(), "a", tokens(0))).await.unwrap().id;
    let endpoint = Endpoint::default();
    let killed = server.clone();
    let refresher = endpoint.refresher(move || {
        let server = killed.clone();
        async move { server.kill() }
    });
    let pools = [open(&one).await.unwrap(), open(&other).await.unwrap()];
    let renewed = timeout(SOON, pools[0].renew(id, refresher)).await.expect("it hangs");
    assert!(!matches!(renewed, Ok(true)), "it is stored before anybody uses it: {renewed:?}");
    server.start_again();
    let is_stored = async || {
        let stored = once_it_is_back(async || other.get(&pool(), id).await).await.unwrap();
        (stored.metadata.generation == Generation::new(2)).then_some(())
    };
    eventually("the new token is stored", is_stored).await;
    assert_eq!(endpoint.presented(), ["refresh-0"]);
}

#[tokio::test]
async fn a_pool_that_only_its_watch_tells_of_changes_notices_that_the_engine_is_away_and_back() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    let [id, _] = put_all(&one, ["a", "b"]).await;
    let provider = GenericProvider::bearer("example").origin("https://api.example.com").unwrap();
    let never = Duration::from_secs(3_600);
    let told = Pool::builder(provider, one).sync_every(never).open().await.unwrap();
    other.record(pool(), vec![Outcome { id, change: Change::Paused }]).await.unwrap();
    let is_paused = async || told.status().iter().any(|one| one.standing.paused).then_some(());
    eventually("the pool is told of the pause", is_paused).await;

    server.kill();
    let is_away = async || told.vault_contact().away_since;
    eventually("the pool notices that the engine is away", is_away).await;
    server.start_again();
    let is_back = async || told.vault_contact().away_since.is_none().then_some(());
    eventually("the pool notices that the engine is back", is_back).await;
}
