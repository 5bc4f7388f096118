//! How many instructions a request takes, counted by callgrind: exact, and the same on every run.
//!
//! The request and the upstream are those of `overhead`. Each count is of one request in the steady
//! state, from the clone of the template to the response, driven by one poll outside any runtime. What
//! a stack adds is its count less that of `bare` (of two `bare` for a rotation, which makes two
//! requests of one). Nothing is saved here: a pool saves in a task, for which there is no runtime.
//!
//! Aims for what the layers add. The hand-made pair (tower's `RetryLayer` with a policy that clones,
//! over tower-http's `AddAuthorizationLayer`) adds about 3,100 if the request succeeds.
//! - at most 3,000 for one layer if the request succeeds and a copy of it is kept (`happy::one_layer`),
//!   and 3,600 for four (`happy::four_layers`);
//! - at most 1,950 if no second attempt is possible and nothing is kept (`happy::one_layer_nothing_kept`:
//!   one API key, no repeats after network errors); the header alone (`happy::add_authorization`) takes
//!   about 940, since the map of eight grows for the ninth;
//! - at most 11,000 for a rotation that could be followed by another (`rotation::one_layer`);
//! - at most 8,000 for one layer over reqwest's service (`service::reqwest_layer`).
//!
//! Now they are 3,690, 4,540, 2,500, 15,740 and 8,950: each counts what happens, checks whom a `host` header names,
//! and a rotation records the cause of a cooldown for other processes and for `Pool::why`.
//!
//! The rows for reqwest need the feature `reqwest-middleware`. They are of a client of
//! reqwest-middleware's whose last middleware responds from memory, and of a service with the request and
//! response of reqwest's client.
//!
//! Needs valgrind and `cargo install gungraun-runner --version 0.20.0`. The profiles are left in
//! `target/gungraun`, for `callgrind_annotate`.

use std::hint::black_box;

use gungraun::prelude::*;

#[cfg(feature = "reqwest-middleware")]
#[path = "support/reqwest.rs"]
mod clients;
mod support;

use support::{Client, Upstream, accounts, at_once, one_key};

/// Sends one request.
type Send = Box<dyn FnMut()>;

/// A stack that has sent requests before. An even number, after which a limited response comes next.
fn warm<C: Client + 'static>(mut client: C) -> Send {
    let template = C::template();
    let mut send = move || {
        black_box(at_once(client.send(&template)));
    };
    (0..100).for_each(|_| send());
    Box::new(send)
}

fn good() -> Upstream {
    Upstream::good()
}

fn with_headers() -> Upstream {
    Upstream::good().with_headers()
}

fn limited_first() -> Upstream {
    Upstream::limited_first()
}

#[library_benchmark]
#[bench::bare(warm(good()))]
#[bench::add_authorization(warm(support::add_authorization(good())))]
#[bench::hand_made(warm(support::hand_made(good())))]
#[bench::four_layers(warm(support::four_layers(&accounts(4), good())))]
#[bench::four_layers_apart(warm(support::four_layers_apart(&accounts(4), good())))]
#[bench::four_layers_nothing_kept(warm(support::four_layers_once(&one_key(), good())))]
#[bench::one_layer(warm(support::one_layer(&accounts(4), good())))]
#[bench::one_layer_nothing_kept(warm(support::one_layer_once(&one_key(), good())))]
#[bench::auth_header_alone(warm(support::auth_header(&accounts(4), good())))]
fn happy(mut send: Send) -> Send {
    send();
    send
}

// The response has six headers, three of them about limits, which are read.
#[library_benchmark]
#[bench::bare(warm(with_headers()))]
#[bench::hand_made(warm(support::hand_made(with_headers())))]
#[bench::four_layers(warm(support::four_layers(&accounts(4), with_headers())))]
#[bench::one_layer(warm(support::one_layer(&accounts(4), with_headers())))]
fn happy_with_limit_headers(mut send: Send) -> Send {
    send();
    send
}

// A 429, then a 200 for another account. `bare` is one of these two requests.
#[library_benchmark]
#[bench::bare(warm(limited_first()))]
#[bench::hand_made(warm(support::hand_made(limited_first())))]
#[bench::four_layers(warm(support::four_layers(&accounts(4), limited_first())))]
#[bench::four_layers_apart(warm(support::four_layers_apart(&accounts(4), limited_first())))]
#[bench::one_layer(warm(support::one_layer(&accounts(4), limited_first())))]
fn rotation(mut send: Send) -> Send {
    send();
    send
}

library_benchmark_group!(name = requests, benchmarks = [happy, happy_with_limit_headers, rotation]);

#[cfg(not(feature = "reqwest-middleware"))]
main!(library_benchmark_groups = requests);

#[cfg(feature = "reqwest-middleware")]
mod through_reqwest {
    use super::*;

    #[library_benchmark]
    #[bench::bare(warm(clients::bare(good())))]
    #[bench::reqwest_retry(warm(clients::retrying(good())))]
    #[bench::credentials_middleware(warm(clients::credentials_middleware(&accounts(4), good())))]
    #[bench::tower_middleware(warm(clients::tower_middleware(&accounts(4), good())))]
    fn middleware(mut send: Send) -> Send {
        send();
        send
    }

    #[library_benchmark]
    #[bench::bare(warm(clients::service(good())))]
    #[bench::reqwest_layer(warm(clients::reqwest_layer(&accounts(4), good())))]
    fn service(mut send: Send) -> Send {
        send();
        send
    }

    library_benchmark_group!(name = reqwest_requests, benchmarks = [middleware, service]);
}

#[cfg(feature = "reqwest-middleware")]
use through_reqwest::reqwest_requests;

#[cfg(feature = "reqwest-middleware")]
main!(library_benchmark_groups = requests, reqwest_requests);
