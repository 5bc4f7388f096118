//! How many allocations a request makes in the steady state, beyond those of the same request without anything between
//! it and the upstream.
//!
//! The numbers are exact on purpose: a change that costs or saves an allocation shows up here. The limits beside them
//! are the goals in `specs/`. The tower stack that a user would build by hand is counted in the same way.

use http::{HeaderValue, Request, Response, StatusCode, header};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, ServiceExt};
use tower_credentials::service::PeekedBody;
use tower_credentials::{FirstEventLayer, Pool};

mod counting_allocator;
#[path = "../benches/support/mod.rs"]
mod support;

use counting_allocator::{Counting, allocations};
use support::{Body, Stack, Upstream, at_once, send};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Requests before the count begins: contexts and buffers are made once and reused.
const WARM_UP: usize = 100;
const COUNTED: usize = 100;

/// The minimum and maximum number of allocations of a request.
type Range = (u64, u64);

fn in_steady_state(mut count: impl FnMut() -> u64) -> Range {
    for _ in 0..WARM_UP {
        count();
    }
    (0..COUNTED).map(|_| count()).fold((u64::MAX, 0), |(min, max), n| (min.min(n), max.max(n)))
}

/// Counts for one request, sent as clones of this one.
async fn count<S: Stack>(service: &mut S, template: &Request<Body>) -> u64 {
    let before = allocations();
    let response = send(service, template.clone()).await;
    let count = allocations() - before;
    assert_eq!(response.status(), StatusCode::OK);
    count
}

/// Outside of a runtime, where nothing can wait and nothing is saved.
fn unsaved<S: Stack>(mut service: S, template: &Request<Body>) -> Range {
    in_steady_state(|| at_once(count(&mut service, template)))
}

/// Inside a runtime, whose tasks save what was recorded, on this same thread.
fn saved<S: Stack>(mut service: S, template: &Request<Body>, before_each: impl Fn(&Runtime)) -> Range {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    in_steady_state(|| {
        before_each(&runtime);
        runtime.block_on(count(&mut service, template))
    })
}

/// Returns what a stack adds to a request that succeeds, if each one costs the same.
fn added<S: Stack>(service: S, template: &Request<Body>) -> u64 {
    let (bare, _) = unsaved(Upstream::good(), template);
    let (min, max) = unsaved(service, template);
    assert_eq!(min, max, "every request costs the same");
    min - bare
}

/// The allocations of a request without any layer: the two lists of a map of headers.
const BARE: u64 = 2;

#[test]
fn a_request_by_itself() {
    assert_eq!(unsaved(Upstream::good(), &support::template()), (BARE, BARE));
}

/// One: the map of eight headers grows for the ninth, ours. The copy that is kept costs none, as it goes into a buffer
/// that the last request has left.
#[test]
fn a_success_adds_at_most_five() {
    let (pool, template) = (support::accounts(4), support::template());
    assert_eq!(added(support::four_layers(&pool, Upstream::good()), &template), 1);
    assert_eq!(added(support::one_layer(&pool, Upstream::good()), &template), 1);
    // A stack that a user would build by hand.
    assert_eq!(added(support::hand_made(Upstream::good()), &template), 3);
    // Inside of a runtime it is the same, since nothing is saved.
    let range = saved(support::four_layers(&pool, Upstream::good()), &template, |_| ());
    assert_eq!(range, (BARE + 1, BARE + 1));
}

/// If the context has to travel in the request's extensions, a new map is made for each request.
#[test]
fn a_users_layers_in_between_cost_a_map_of_extensions() {
    let (pool, template) = (support::accounts(4), support::template());
    assert_eq!(added(support::four_layers_apart(&pool, Upstream::good()), &template), 4);
    assert_eq!(added(support::three_layers(&pool, Upstream::good()), &template), 4);
    assert_eq!(added(support::auth_header(&pool, Upstream::good()), &template), 4);
}

/// An API's limit headers are read without a copy.
#[test]
fn limit_headers_add_none() {
    let (pool, template) = (support::accounts(4), support::template());
    let good = || Upstream::good().with_headers();
    let (bare, _) = unsaved(good(), &template);
    assert_eq!(unsaved(support::four_layers(&pool, good()), &template), (bare + 1, bare + 1));
    assert_eq!(unsaved(support::one_layer(&pool, good()), &template), (bare + 1, bare + 1));
}

/// One API key and no repeats: nothing is kept. A ninth header makes the map grow, whoever adds it; if it replaces an
/// existing one, it costs nothing.
#[test]
fn without_a_second_attempt_nothing_is_added() {
    let (pool, template) = (support::one_key(), support::template());
    let ninth_header = added(support::add_authorization(Upstream::good()), &template);
    assert_eq!(ninth_header, 1);
    assert_eq!(added(support::four_layers_once(&pool, Upstream::good()), &template), ninth_header);
    assert_eq!(added(support::one_layer_once(&pool, Upstream::good()), &template), ninth_header);

    let mut with_place = support::template();
    let own = HeaderValue::from_static("Bearer placeholder");
    with_place.headers_mut().insert(header::AUTHORIZATION, own);
    assert_eq!(added(support::four_layers_once(&pool, Upstream::good()), &with_place), 0);
    assert_eq!(added(support::one_layer_once(&pool, Upstream::good()), &with_place), 0);
}

/// Only a stream is looked at.
#[test]
fn a_response_that_does_not_stream_costs_the_layer_that_looks_at_streams_nothing() {
    let (pool, template) = (support::one_key(), support::template());
    let without_body = |response: Response<PeekedBody<Body>>| response.map(|_| Body::default());
    let service = FirstEventLayer::new(pool).layer(Upstream::good()).map_response(without_body);
    assert_eq!(added(service, &template), 0);
}

/// A 429, and the same request with the next credential, ready to be sent a third time: compared with a request that
/// succeeds at once and that no layer touches.
#[test]
fn a_rotation_adds_at_most_four() {
    let template = support::template();
    let limited_first = Upstream::limited_first;
    // Nothing is saved here, so unsaved changes pile up in a list that grows at times.
    let (min, max) = unsaved(support::four_layers(&support::accounts(4), limited_first()), &template);
    assert_eq!((min - BARE, max - BARE), (3, 4));
    let (min, max) = unsaved(support::one_layer(&support::accounts(4), limited_first()), &template);
    assert_eq!((min - BARE, max - BARE), (3, 4));
    // A stack that a user would build by hand.
    let (min, max) = unsaved(support::hand_made(limited_first()), &template);
    assert_eq!((min - BARE, max - BARE), (6, 6));
}

/// The same, including what saving costs, once before the request is sent again. If the next account was limited
/// before, its recovery is saved with the next request.
#[test]
fn a_rotation_that_is_saved() {
    let template = support::template();
    let pool = support::accounts(4);
    let service = support::four_layers(&pool, Upstream::limited_first());
    let (min, max) = saved(service, &template, |_| ());
    assert_eq!((min - BARE, max - BARE), (7, 7), "limited, and another one recovered");

    let pool = support::accounts(4);
    let service = support::four_layers(&pool, Upstream::limited_first());
    let (min, max) = saved(service, &template, |runtime| runtime.block_on(reset(&pool)));
    assert_eq!((min - BARE, max - BARE), (9, 9), "limited");
}

/// Forgets that an account was ever limited.
async fn reset(pool: &Pool) {
    for status in pool.status() {
        pool.reset(status.credential.id).await.unwrap();
    }
}
