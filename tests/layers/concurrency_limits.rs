//! A vendor's limit on requests at once lowers an account's cap for a while, and cools no account down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower::service_fn;
use tower_credentials::provider::{GenericProvider, LimitOf, ResponseRule};
use tower_credentials::standing::Standing;
use tower_credentials::vault::MemoryVault;
use tower_credentials::*;

use crate::support::*;

/// A pool of a vendor that says `x-busy` if an account has too many requests at once.
fn busy_vendor(vault: MemoryVault) -> PoolBuilder {
    let rule = ResponseRule::on([429]).header("x-busy", "*").limited().of(LimitOf::Concurrency);
    let provider = GenericProvider::bearer("x").origin(ORIGIN).unwrap().response(rule);
    Pool::builder(provider, vault).clock(tokio_clock())
}

/// An upstream's counts for one token.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    now: usize,
    most: usize,
    turned_away: usize,
}

/// An upstream that serves this many requests of each token at once, a second each, and refuses others.
#[derive(Clone)]
struct Crowded {
    caps: fn(&str) -> usize,
    /// How long it takes to refuse a request. Not at once, so that requests sent together are all in flight by then.
    refuses_after: Duration,
    /// How long after its response a request still counts.
    frees_after: Duration,
    counts: Arc<Mutex<HashMap<String, Count>>>,
}

impl Crowded {
    fn new(caps: fn(&str) -> usize) -> Self {
        let refuses_after = Duration::from_millis(10);
        Self { caps, refuses_after, frees_after: Duration::ZERO, counts: Arc::default() }
    }

    fn count(&self, token: &str) -> Count {
        self.counts.lock().unwrap().get(token).copied().unwrap_or_default()
    }

    fn turned_away(&self) -> usize {
        self.counts.lock().unwrap().values().map(|count| count.turned_away).sum()
    }

    fn service(&self) -> Stack {
        let this = self.clone();
        stack((), service_fn(move |request: Asked| this.clone().respond(request)))
    }

    async fn respond(self, request: Request<Full<bytes::Bytes>>) -> Result<Reply, BoxError> {
        let token = request.headers()["authorization"].to_str().unwrap().trim_start_matches("Bearer ");
        let is_full = {
            let mut counts = self.counts.lock().unwrap();
            let count = counts.entry(token.to_owned()).or_default();
            let is_full = count.now == (self.caps)(token);
            count.turned_away += usize::from(is_full);
            count.now += usize::from(!is_full);
            count.most = count.most.max(count.now);
            is_full
        };
        if is_full {
            sleep(self.refuses_after).await;
            let response = Response::builder().status(429).header("x-busy", "yes");
            return Ok(response.body(Full::from("too many requests at once")).unwrap());
        }
        let place = Place { counts: self.counts.clone(), token: token.to_owned() };
        sleep(seconds(1)).await;
        if !self.frees_after.is_zero() {
            tokio::spawn(async move {
                sleep(self.frees_after).await;
                drop(place);
            });
        }
        Ok(Response::new(Full::from(token.to_owned())))
    }
}

/// A request that is being served. It ends when this is dropped, also if the caller has gone.
struct Place {
    counts: Arc<Mutex<HashMap<String, Count>>>,
    token: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counts.lock().unwrap().get_mut(&self.token).unwrap().now -= 1;
    }
}

/// A good response that waits for the gate.
fn held(gate: &Arc<Semaphore>) -> Canned {
    let gate = gate.clone();
    Canned::ok().after(move || {
        let gate = gate.clone();
        async move { gate.acquire().await.unwrap().forget() }
    })
}

/// A pool whose first account has a request in flight. The upstream's responses to the next ones are given.
struct Busy {
    upstream: Upstream,
    pool: Pool,
    service: Stack,
    gate: Arc<Semaphore>,
    first: JoinHandle<(u16, String)>,
}

impl Busy {
    async fn new<const N: usize>(
        stacked: fn(&Pool, Upstream) -> Stack,
        labels: [&str; N],
        then: impl IntoIterator<Item = Canned>,
    ) -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let upstream = Upstream::new().answers("a", [held(&gate)].into_iter().chain(then));
        let pool = busy_vendor(keys(labels).await).open().await.unwrap();
        let service = stacked(&pool, upstream.clone());
        let first = tokio::spawn(ask(&service, post()));
        upstream.seen.reaches(1).await;
        Self { upstream, pool, service, gate, first }
    }

    /// Lets the upstream answer the first request with a 200.
    async fn first_ends(&mut self) {
        self.gate.add_permits(1);
        assert_eq!((&mut self.first).await.unwrap().0, 200);
    }
}

fn too_many() -> Canned {
    Canned::status(429).header("x-busy", "yes")
}

fn no_account_cools_down(pool: &Pool) {
    for status in pool.status() {
        assert_eq!(learnt(&status.standing), Standing::default(), "{}", status.credential.label);
    }
}

async fn all_answered(service: &Stack, requests: usize) {
    let requests: Vec<_> = (0..requests).map(|_| tokio::spawn(ask(service, post()))).collect();
    for request in requests {
        assert_eq!(request.await.unwrap().0, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn of_20_requests_at_once_to_accounts_that_accept_three_each_none_fails() {
    for stacked in STACKS {
        let (upstream, events) = (Crowded::new(|_| 3), Journal::new());
        let vault = keys(["a", "b", "c", "d"]).await;
        let pool = busy_vendor(vault).on_event(events.observer()).open().await.unwrap();
        let service = stacked(&pool, upstream.service());
        all_answered(&service, 20).await;
        for status in pool.status() {
            assert_eq!(learnt(&status.standing), Standing::default(), "{}", status.credential.label);
            assert_eq!(upstream.count(&status.credential.label).most, 3);
        }
        assert_eq!(order(&pool), ["a", "b", "c", "d"]);
        assert_eq!(events.count("CooledDown"), 0);
        // The first refuses 17, and the next ones 14, 11 and 8.
        assert_eq!(upstream.turned_away(), 17 + 14 + 11 + 8);
        all_answered(&service, 40).await;
        assert_eq!(upstream.turned_away(), 17 + 14 + 11 + 8, "the caps are kept to");
        // Half a minute later the lower caps have ended.
        sleep(seconds(30)).await;
        all_answered(&service, 4).await;
        assert_eq!(upstream.count("a").turned_away, 18);
    }
}

#[tokio::test(start_paused = true)]
async fn the_cap_is_lower_for_as_long_as_the_response_says() {
    let then = [too_many().header("retry-after", "5"), Canned::ok()];
    let mut busy = Busy::new(ORDERS[0], ["a", "b"], then).await;
    assert_eq!(ask(&busy.service, post()).await, (200, "b".into()));
    sleep(Duration::from_millis(4_900)).await;
    assert_eq!(ask(&busy.service, post()).await, (200, "b".into()));
    assert_eq!(busy.upstream.count("a"), 2, "the first has its request, and gets no other");
    sleep(Duration::from_millis(100)).await;
    assert_eq!(ask(&busy.service, post()).await.0, 200);
    assert_eq!(busy.upstream.count("a"), 3);
    busy.first_ends().await;
}

#[tokio::test(start_paused = true)]
async fn with_no_request_of_ours_in_flight_it_is_a_limit_like_any_other() {
    for stacked in ORDERS {
        let upstream = Upstream::new().answers("a", [too_many().header("retry-after", "12")]);
        let pool = busy_vendor(keys(["a", "b"]).await).open().await.unwrap();
        let service = stacked(&pool, upstream.clone());
        assert_eq!(ask(&service, post()).await, (200, "b".into()));
        assert_eq!(cools(&pool, "a"), seconds(12));
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_that_accepts_no_request_is_tried_a_few_times_and_not_cooled_down() {
    for stacked in ORDERS {
        let mut busy = Busy::new(stacked, ["a"], [too_many()]).await;
        let second = tokio::spawn(ask(&busy.service, post()));
        busy.upstream.seen.reaches(2).await;
        sleep(seconds(1)).await;
        assert!(!second.is_finished(), "it waits for the first to end");
        busy.first_ends().await;
        let began = tokio::time::Instant::now();
        assert_eq!(second.await.unwrap().0, 429);
        assert_eq!(busy.upstream.count("a"), 1 + 1 + 3);
        assert_eq!(
            began.elapsed(),
            Duration::from_millis(100 + 200),
            "a pause before each but the first"
        );
        assert_eq!(cools(&busy.pool, "a"), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn the_requests_in_flight_are_counted_when_a_request_is_sent() {
    // They are refused after the others already have their responses.
    for stacked in STACKS {
        let mut upstream = Crowded::new(|token| if token == "a" { 1 } else { 2 });
        upstream.refuses_after = Duration::from_millis(1_005);
        let pool = busy_vendor(keys(["a", "b"]).await).open().await.unwrap();
        all_answered(&stacked(&pool, upstream.service()), 8).await;
        no_account_cools_down(&pool);
    }
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_counts_a_request_past_its_response_head_cools_nobody_down() {
    for stacked in STACKS {
        for labels in [&["a"][..], &["a", "b"]] {
            let mut upstream = Crowded::new(|_| 1);
            upstream.frees_after = Duration::from_millis(50);
            let vault = MemoryVault::new();
            for label in labels {
                let key = Credential::new(key(), *label, Secret::api_key(*label));
                vault::VaultExt::put(&vault, key).await.unwrap();
            }
            let pool = busy_vendor(vault).open().await.unwrap();
            all_answered(&stacked(&pool, upstream.service()), 6).await;
            no_account_cools_down(&pool);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_makes_room_for_the_next() {
    for stacked in ORDERS {
        let then = [too_many().header("retry-after", "3600"), Canned::ok()];
        let busy = Busy::new(stacked, ["a"], then).await;
        let second = tokio::spawn(ask(&busy.service, post()));
        busy.upstream.seen.reaches(2).await;
        busy.first.abort();
        assert_eq!(second.await.unwrap().0, 200);
        assert_eq!(busy.upstream.count("a"), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn pinned_requests_wait_for_their_account_and_a_reset_lifts_its_cap() {
    let then = [too_many().header("retry-after", "3600"), Canned::ok()];
    let mut busy = Busy::new(ORDERS[0], ["a", "b"], then).await;
    assert_eq!(ask(&busy.service, post()).await, (200, "b".into()));
    let pinned = pinned("a");
    let pinned = tokio::spawn(ask(&busy.service, pinned));
    sleep(seconds(1)).await;
    assert!(!pinned.is_finished());
    busy.pool.reset(id_of(&busy.pool, "a")).await.unwrap();
    assert_eq!(pinned.await.unwrap().0, 200);
    busy.first_ends().await;
}
