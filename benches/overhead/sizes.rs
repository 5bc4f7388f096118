//! What a service and its future take in memory: exact, and moved with each request.

use http::Request;
use tower::Service;

use crate::support::{self, Body, Upstream, template};

pub(crate) fn print() {
    println!("\n{:<36} {:>9} {:>9}", "bytes", "service", "future");
    let (pool, key) = (support::accounts(4), support::one_key());
    row("bare", Upstream::good());
    row(crate::HAND_MADE, support::hand_made(Upstream::good()));
    row(crate::FOUR, support::four_layers(&pool, Upstream::good()));
    row(crate::ONE, support::one_layer(&pool, Upstream::good()));
    row(crate::APART, support::four_layers_apart(&pool, Upstream::good()));
    row(crate::NOTHING_KEPT, support::one_layer_once(&key, Upstream::good()));
    row(crate::HEADER_ALONE, support::auth_header(&pool, Upstream::good()));
}

fn row<S: Service<Request<Body>>>(name: &str, mut service: S) {
    let future = service.call(template());
    println!("{name:<36} {:>9} {:>9}", size_of::<S>(), size_of_val(&future));
}
