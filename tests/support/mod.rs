//! Test support: scripted upstreams, vaults that fail as planned, pools, stacks of the layers, and clocks.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

mod clocks;
mod journal;
mod planned_vault;
mod pools;
mod provider;
mod stacks;
mod upstream;

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower_credentials::{BoxError, Pin as AccountPin};

pub(crate) use clocks::*;
pub(crate) use journal::*;
pub(crate) use planned_vault::*;
pub(crate) use pools::*;
pub(crate) use provider::*;
pub(crate) use stacks::*;
pub(crate) use upstream::*;

pub(crate) const ORIGIN: &str = "https://api.test";

pub(crate) type Asked = Request<Full<Bytes>>;
pub(crate) type Reply = Response<Full<Bytes>>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(crate) fn post() -> Asked {
    Request::post(format!("{ORIGIN}/v1/messages")).body(Full::from("a question")).unwrap()
}

/// A request with this in its extensions: a pin, an affinity or a scope.
pub(crate) fn post_with<T: Clone + Send + Sync + 'static>(option: T) -> Asked {
    let mut request = post();
    request.extensions_mut().insert(option);
    request
}

/// A request that may use this account only.
pub(crate) fn pinned(label: &str) -> Asked {
    post_with(AccountPin::label(label))
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
