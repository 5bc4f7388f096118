//! The sizes of services and of their futures, which move with each request.

use http::Request;
use tower::Service;

use crate::names::{APART, FOUR, HAND_MADE, HEADER_ALONE, NOTHING_KEPT, ONE};
use crate::support::{self, Body, Upstream, template};

pub(crate) fn print() {
    println!("\n{:<36} {:>9} {:>9}", "bytes", "service", "future");
    let (pool, key) = (support::accounts(4), support::one_key());
    row("bare", Upstream::good());
    row(HAND_MADE, support::hand_made(Upstream::good()));
    row(FOUR, support::four_layers(&pool, Upstream::good()));
    row(ONE, support::one_layer(&pool, Upstream::good()));
    row(APART, support::four_layers_apart(&pool, Upstream::good()));
    row(NOTHING_KEPT, support::one_layer_once(&key, Upstream::good()));
    row(HEADER_ALONE, support::auth_header(&pool, Upstream::good()));
}

fn row<S: Service<Request<Body>>>(name: &str, mut service: S) {
    let future = service.call(template());
    println!("{name:<36} {:>9} {:>9}", size_of::<S>(), size_of_val(&future));
}
