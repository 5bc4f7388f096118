//! Everything that one arrangement needs to run one script.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full};
use tower::util::BoxCloneService;
use tower::{Service, ServiceExt, service_fn};
use tower_credentials::events::EventStream;
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::{
    Change, Health, Outcome, Quota, QuotaName, Reason, Standing, Standings,
};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{
    BoxError, Clock, Cooldowns, Credential, CredentialId, OAuthTokens, Pool, PoolKey, RefreshError,
    Refresher, RotateOn429Layer, Secret, SendOnce,
};

use super::model::{self, Account, Attempt, Layers};
use super::script::{AccountScript, Refresh, Script};
use super::{counted, numbers};

pub(super) type Body = Either<Full<Bytes>, SendOnce<Full<Bytes>>>;
pub(super) type Client = BoxCloneService<Request<Body>, Response<Full<Bytes>>, BoxError>;

#[derive(Clone)]
pub(super) struct World {
    script: Arc<Script>,
    pub(super) pool: Pool,
    vault: MemoryVault,
    seconds: Arc<AtomicU64>,
    pub(super) seen: Arc<Mutex<Vec<Attempt>>>,
    pub(super) refreshes: Arc<AtomicU64>,
    pub(super) ids: Arc<Vec<CredentialId>>,
    /// Only of every second script, since some things are not done if nobody observes.
    pub(super) events: Option<Arc<Mutex<EventStream>>>,
    url: String,
}

/// When the script's clock begins, in seconds since the epoch.
const EPOCH: u64 = 4_000_000_000;

impl World {
    pub(super) async fn new(script: &Arc<Script>, url: &str) -> Self {
        let vault = MemoryVault::new();
        let mut ids = Vec::new();
        for (account, AccountScript { refresh, quota }) in script.accounts.iter().enumerate() {
            let access = token(account, 1);
            let secret: Secret = match refresh {
                Some(_) => OAuthTokens::new(access).refresh(format!("refresh-{account}")).into(),
                None => OAuthTokens::new(access).into(),
            };
            let credential = Credential::new(PoolKey::new("x"), format!("{account}"), secret);
            let id = vault.put(credential).await.unwrap().id;
            ids.push(id);
            if let Some(quota) = quota {
                let quota = Some(Quota::Shared(QuotaName::new(quota.to_string()).unwrap()));
                let outcome = Outcome { id, change: Change::Quota { quota } };
                vault.record(PoolKey::new("x"), vec![outcome]).await.unwrap();
            }
        }
        let seconds = Arc::new(AtomicU64::new(0));
        let clock = {
            let seconds = seconds.clone();
            move || -> SystemTime {
                UNIX_EPOCH + Duration::from_secs(EPOCH + seconds.load(Ordering::SeqCst))
            }
        };
        let provider = GenericProvider::bearer("x").origin(url).unwrap();
        let pool = Pool::builder(provider, vault.clone())
            .clock(Clock::from_fn(clock))
            .cooldowns(Cooldowns::default().jitter(0.0).spread(0.0))
            // It would save recoveries too, after a second of real time.
            .sync_every(None)
            .open()
            .await
            .unwrap();
        let is_observed = script.requests.len().is_multiple_of(2);
        let events = is_observed.then(|| Arc::new(Mutex::new(pool.events())));
        Self {
            script: script.clone(),
            pool,
            events,
            vault,
            seconds,
            seen: Arc::default(),
            refreshes: Arc::default(),
            ids: ids.into(),
            url: url.to_owned(),
        }
    }

    /// Returns the upstream's response, and records it.
    pub(super) fn respond(&self, headers: &http::HeaderMap) -> Response<Full<Bytes>> {
        let credential =
            headers.get("authorization").map(|value| credential_of(value.to_str().unwrap()));
        let mut seen = self.seen.lock().unwrap();
        let nth = seen.iter().filter(|(other, _)| *other == credential).count();
        let canned = self.script.response(credential, nth);
        seen.push((credential, canned.status));
        let mut response = Response::new(Full::from(format!("response {}", seen.len())));
        *response.status_mut() = StatusCode::from_u16(canned.status).unwrap();
        if let Some(seconds) = canned.retry_after {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        response
    }

    pub(super) fn in_memory(&self) -> Client {
        let world = self.clone();
        BoxCloneService::new(service_fn(move |request: Request<Body>| {
            let response = world.respond(request.headers());
            async move { Ok::<_, BoxError>(response) }
        }))
    }

    pub(super) fn rotate(&self) -> RotateOn429Layer {
        let layer = RotateOn429Layer::new(self.pool.clone());
        match self.script.budget {
            Some(budget) => layer.max_attempts(NonZeroU32::new(budget as u32).unwrap()),
            None => layer,
        }
    }

    pub(super) fn refresher(&self) -> Refresher {
        let world = self.clone();
        Refresher::new(move |credential: Credential| {
            world.refreshes.fetch_add(1, Ordering::SeqCst);
            let account: usize = credential.metadata.label.parse().unwrap();
            let next = credential.metadata.generation.next().get();
            let refresh = world.script.accounts[account].refresh;
            async move {
                match refresh {
                    Some(Refresh::Helps) => {
                        Ok(OAuthTokens::new(token(account, next)).refresh(format!("refresh-{account}")))
                    }
                    Some(Refresh::Rejected) => Err(RefreshError::rejected("invalid_grant")),
                    _ => Err(RefreshError::Failed("the network is down".into())),
                }
            }
        })
    }

    /// Lets time pass, on the pool's clock and on tokio's.
    async fn pass(&self, time: Duration) {
        self.seconds.fetch_add(time.as_secs(), Ordering::SeqCst);
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    /// Runs the script's requests. Returns the result in the model's terms.
    pub(super) async fn run(&self, mut client: Client, layers: Layers) -> model::Result {
        let (mut responses, mut sizes) = (Vec::new(), Vec::new());
        for request in &self.script.requests {
            self.pass(Duration::from_secs(request.after)).await;
            let (before, refreshed) = (self.attempts(), self.refreshes.load(Ordering::SeqCst));
            let body = Full::from("question");
            let body =
                if request.repeatable { Either::Left(body) } else { Either::Right(SendOnce::new(body)) };
            let uri = format!("{}/v1", self.url);
            let request = Request::post(uri).body(body).unwrap();
            let response = client.ready().await.unwrap().call(request).await;
            if let Ok(response) = response {
                responses.push(Some(response.status().as_u16()));
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(body, format!("response {}", self.attempts()), "the last body, unread");
            } else {
                responses.push(None);
            }
            let attempts = self.attempts() - before;
            sizes.push(attempts);
            let refreshes = self.refreshes.load(Ordering::SeqCst) - refreshed;
            assert!(
                attempts <= self.script.accounts.len() + refreshes as usize,
                "{attempts} attempts for {} accounts and {refreshes} refreshes",
                self.script.accounts.len()
            );
            if !layers.persist {
                assert_eq!(self.standings().await.order.len(), self.ids.len());
            }
        }
        counted::check(self, layers, &sizes);
        numbers::check(self, layers, &sizes);
        let stored = self.vault.load_pool(self.pool.key().clone()).await.unwrap();
        let saved = stored.credentials.iter().map(|credential| {
            let id = credential.metadata.id;
            let standing = stored.standings.credentials.get(&id).cloned().unwrap_or_default();
            self.account(id, credential.metadata.generation.get(), &standing)
        });
        let status = self.pool.status();
        let pool = status.iter().map(|status| {
            let credential = &status.credential;
            self.account(credential.id, credential.generation.get(), &status.standing)
        });
        model::Result {
            responses,
            attempts: self.seen.lock().unwrap().clone(),
            refreshes: self.refreshes.load(Ordering::SeqCst) as usize,
            pool: pool.collect(),
            saved: saved.collect(),
        }
    }

    async fn standings(&self) -> Standings {
        self.vault.load_pool(self.pool.key().clone()).await.unwrap().standings
    }

    fn attempts(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn account(&self, id: CredentialId, generation: u64, standing: &Standing) -> Account {
        let cooldown = standing.cooldown(None).map(|cooldown| {
            let seconds = cooldown.until.as_millis() / 1000 - EPOCH;
            (seconds, cooldown.reason == Reason::Refused)
        });
        Account {
            account: self.ids.iter().position(|other| *other == id).unwrap(),
            generation,
            failures: standing.failures,
            cooldown,
            needs_sign_in: matches!(standing.health, Health::NeedsSignIn { .. }),
        }
    }
}

fn token(account: usize, generation: u64) -> String {
    format!("token-{account}-{generation}")
}

fn credential_of(authorization: &str) -> (usize, u64) {
    let mut parts = authorization.strip_prefix("Bearer token-").unwrap().split('-');
    let mut number = || parts.next().unwrap().parse::<u64>().unwrap();
    (number() as usize, number())
}
