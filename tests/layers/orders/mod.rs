//! Any order of the four layers, and any subset, comes to the same: the same attempts, the same
//! answers, the same pool and the same saved state; and that is what the rules say.
//!
//! Each generated script runs through all 64 arrangements, twice: with the layers directly one on the
//! other, and with a boxed service between any two of them, so that the context travels in the
//! request's extensions. `ORDERS_SEED` and `ORDERS_SCRIPTS` set the seed and how many scripts there
//! are; the seed is printed.

mod counted;
mod model;
mod numbers;
mod script;

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_credentials::events::EventStream;
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::{Health, Reason, Standing};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{
    AuthHeaderLayer, BoxError, Clock, CooldownPersistLayer, Cooldowns, Credential, CredentialId,
    CredentialsLayer, OAuthTokens, Pool, PoolKey, RefreshError, RefreshOn401Layer, Refresher,
    RotateOn429Layer, Secret, SendOnce,
};

use crate::thorough::is_thorough;

use model::{Account, Attempt, Layers};
use script::{AccountScript, Refresh, Script};

type Body = Either<Full<Bytes>, SendOnce<Full<Bytes>>>;
type Client = BoxCloneService<Request<Body>, Response<Full<Bytes>>, BoxError>;

/// Everything that one arrangement needs to run one script.
#[derive(Clone)]
struct World {
    script: Arc<Script>,
    pool: Pool,
    vault: MemoryVault,
    seconds: Arc<AtomicU64>,
    seen: Arc<Mutex<Vec<Attempt>>>,
    refreshes: Arc<AtomicU64>,
    ids: Arc<Vec<CredentialId>>,
    /// Only of every second script, since some things are not done if nobody observes.
    events: Option<Arc<Mutex<EventStream>>>,
    url: String,
}

/// Where the script's clock begins, in seconds since the epoch.
const EPOCH: u64 = 4_000_000_000;

impl World {
    async fn new(script: &Arc<Script>, url: &str) -> Self {
        let vault = MemoryVault::new();
        let mut ids = Vec::new();
        for (account, AccountScript { refresh }) in script.accounts.iter().enumerate() {
            let access = token(account, 1);
            let secret: Secret = match refresh {
                Some(_) => OAuthTokens::new(access).refresh(format!("refresh-{account}")).into(),
                None => OAuthTokens::new(access).into(),
            };
            let credential = Credential::new(PoolKey::new("x"), format!("{account}"), secret);
            ids.push(vault.put(credential).await.unwrap().id);
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
        let is_observed = script.requests.len() % 2 == 0;
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

    /// What the upstream answers, and notes.
    fn answer(&self, headers: &http::HeaderMap) -> Response<Full<Bytes>> {
        let asker = headers.get("authorization").map(|value| asker(value.to_str().unwrap()));
        let mut seen = self.seen.lock().unwrap();
        let nth = seen.iter().filter(|(other, _)| *other == asker).count();
        let answer = self.script.answer(asker, nth);
        seen.push((asker, answer.status));
        let mut response = Response::new(Full::from(format!("answer {}", seen.len())));
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
        if let Some(seconds) = answer.retry_after {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        response
    }

    fn in_memory(&self) -> Client {
        let world = self.clone();
        BoxCloneService::new(service_fn(move |request: Request<Body>| {
            let response = world.answer(request.headers());
            async move { Ok::<_, BoxError>(response) }
        }))
    }

    fn rotate(&self) -> RotateOn429Layer {
        let layer = RotateOn429Layer::new(self.pool.clone());
        match self.script.budget {
            Some(budget) => layer.max_attempts(NonZeroU32::new(budget as u32).unwrap()),
            None => layer,
        }
    }

    fn refresher(&self) -> Refresher {
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

    /// Lets time pass, on the pool's clock and on the one that nobody sets.
    async fn pass(&self, time: Duration) {
        self.seconds.fetch_add(time.as_secs(), Ordering::SeqCst);
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    /// Runs the script's requests and tells what came of it, in the model's words.
    async fn run(&self, mut client: Client, layers: Layers) -> model::Result {
        let (mut answers, mut sizes) = (Vec::new(), Vec::new());
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
                answers.push(Some(response.status().as_u16()));
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(body, format!("answer {}", self.attempts()), "the last body, unread");
            } else {
                answers.push(None);
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
            answers,
            attempts: self.seen.lock().unwrap().clone(),
            refreshes: self.refreshes.load(Ordering::SeqCst) as usize,
            pool: pool.collect(),
            saved: saved.collect(),
        }
    }

    async fn standings(&self) -> tower_credentials::standing::Standings {
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

fn asker(authorization: &str) -> (usize, u64) {
    let mut parts = authorization.strip_prefix("Bearer token-").unwrap().split('-');
    let mut number = || parts.next().unwrap().parse::<u64>().unwrap();
    (number() as usize, number())
}

/// Makes `ARRANGEMENTS`, and `direct`, which builds the one of a number with its layers directly one
/// on the other.
macro_rules! arrangements {
    ($($($layer:ident)+,)+) => {
        /// Every order of every subset, outermost first.
        const ARRANGEMENTS: &[&str] = &[$(concat!($(stringify!($layer)),+)),+];

        fn direct(arrangement: &str, world: &World, client: Client) -> Client {
            $(if arrangement == concat!($(stringify!($layer)),+) {
                return BoxCloneService::new(arrangements!(@stack world, client, $($layer)+));
            })+
            unreachable!("{arrangement} is one of the arrangements");
        }
    };
    (@stack $world:ident, $client:ident,) => { $client };
    (@stack $world:ident, $client:ident, A $($rest:ident)*) => {
        AuthHeaderLayer::new($world.pool.clone()).layer(arrangements!(@stack $world, $client, $($rest)*))
    };
    (@stack $world:ident, $client:ident, R $($rest:ident)*) => {
        $world.rotate().layer(arrangements!(@stack $world, $client, $($rest)*))
    };
    (@stack $world:ident, $client:ident, F $($rest:ident)*) => {
        RefreshOn401Layer::new($world.pool.clone(), $world.refresher())
            .layer(arrangements!(@stack $world, $client, $($rest)*))
    };
    (@stack $world:ident, $client:ident, P $($rest:ident)*) => {
        CooldownPersistLayer::new($world.pool.clone())
            .layer(arrangements!(@stack $world, $client, $($rest)*))
    };
}

arrangements! {
    A,
    R,
    F,
    P,
    A R,
    A F,
    A P,
    R A,
    R F,
    R P,
    F A,
    F R,
    F P,
    P A,
    P R,
    P F,
    A R F,
    A R P,
    A F R,
    A F P,
    A P R,
    A P F,
    R A F,
    R A P,
    R F A,
    R F P,
    R P A,
    R P F,
    F A R,
    F A P,
    F R A,
    F R P,
    F P A,
    F P R,
    P A R,
    P A F,
    P R A,
    P R F,
    P F A,
    P F R,
    A R F P,
    A R P F,
    A F R P,
    A F P R,
    A P R F,
    A P F R,
    R A F P,
    R A P F,
    R F A P,
    R F P A,
    R P A F,
    R P F A,
    F A R P,
    F A P R,
    F R A P,
    F R P A,
    F P A R,
    F P R A,
    P A R F,
    P A F R,
    P R A F,
    P R F A,
    P F A R,
    P F R A,
}

/// The same with a boxed service between any two layers.
fn boxed(arrangement: &str, world: &World, client: Client) -> Client {
    arrangement.chars().rev().fold(client, |client, layer| direct(&layer.to_string(), world, client))
}

fn layers(arrangement: &str) -> Layers {
    Layers {
        auth_header: arrangement.contains('A'),
        rotate: arrangement.contains('R'),
        refresh: arrangement.contains('F'),
        persist: arrangement.contains('P'),
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seed of this run, printed so that a failure can be had again.
fn seed() -> u64 {
    let random = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = setting("ORDERS_SEED").unwrap_or_else(random);
    println!("ORDERS_SEED={seed}");
    seed
}

fn scripts(count: u64) -> impl Iterator<Item = (u64, Arc<Script>)> {
    let seed = seed();
    (0..count).map(move |number| (number, Arc::new(Script::generate(seed.wrapping_add(number)))))
}

#[test]
fn every_order_of_every_subset_comes_to_what_the_rules_say() {
    assert_eq!(ARRANGEMENTS.len(), 64);
    let usually = if is_thorough() { 1000 } else { 100 };
    let scripts: Vec<_> = scripts(setting("ORDERS_SCRIPTS").unwrap_or(usually)).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|threads| {
        for part in scripts.chunks(scripts.len().div_ceil(cores)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            threads.spawn(move || runtime.block_on(compare_all(part)));
        }
    });
}

async fn compare_all(scripts: &[(u64, Arc<Script>)]) {
    let url = "https://x.test";
    for (number, script) in scripts {
        for arrangement in ARRANGEMENTS {
            let layers = layers(arrangement);
            let expected = model::run(script, layers);
            type Build = fn(&str, &World, Client) -> Client;
            for (how, build) in [("direct", direct as Build), ("boxed", boxed as Build)] {
                let world = World::new(script, url).await;
                let client = build(arrangement, &world, world.in_memory());
                let result = world.run(client, layers).await;
                assert_eq!(result, expected, "{arrangement} {how}, script {number}: {script:#?}");
            }
        }
        let world = World::new(script, url).await;
        let rotate = world.rotate();
        let layer =
            CredentialsLayer::new(world.pool.clone()).refresher(world.refresher()).rotate(|_| rotate);
        let client = BoxCloneService::new(layer.layer(world.in_memory()));
        let result = world.run(client, layers("ARFP")).await;
        let expected = model::run(script, layers("ARFP"));
        assert_eq!(result, expected, "all in one, script {number}: {script:#?}");
    }
}

/// A server on loopback that answers for a world.
async fn serve(world: Arc<Mutex<Option<World>>>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let world = world.clone();
            let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                let world = world.lock().unwrap().clone().unwrap();
                async move {
                    let (parts, body) = request.into_parts();
                    let question = body.collect().await.unwrap().to_bytes();
                    assert_eq!(question, "question", "each attempt has the whole body");
                    Ok::<_, Infallible>(world.answer(&parts.headers))
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    url
}

#[tokio::test]
async fn the_same_over_sockets() {
    let current = Arc::new(Mutex::new(None));
    let url = serve(current.clone()).await;
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http::<Body>();
    for (number, script) in scripts(20) {
        for arrangement in ARRANGEMENTS {
            let layers = layers(arrangement);
            let expected = model::run(&script, layers);
            let world = World::new(&script, &url).await;
            *current.lock().unwrap() = Some(world.clone());
            let wire = client.clone().map_err(BoxError::from).and_then(collected);
            let stack = direct(arrangement, &world, BoxCloneService::new(wire));
            let result = world.run(stack, layers).await;
            assert_eq!(result, expected, "{arrangement}, script {number}: {script:#?}");
        }
    }
}

/// A response with its body read, so that in memory and over sockets are of one type.
async fn collected(
    response: Response<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, BoxError> {
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(parts, Full::new(body.collect().await?.to_bytes())))
}
