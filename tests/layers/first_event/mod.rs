//! Errors in place of content in a response that streams, and what follows from them.

mod acted_on;
mod bounds;
mod handed_on;
mod meanings;
mod over_sockets;
mod places;
mod splits;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};
use tower_credentials::provider::Provider;
use tower_credentials::service::PeekedBody;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;

/// What Anthropic streams before it knows whether the request works.
const SILENCE: &str = "event: message_start\n\
    data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"role\":\"assistant\",\"content\":[]}}\n\
    \n\
    event: ping\n\
    data: {\"type\": \"ping\"}\n\
    \n\
    : a comment\n\
    \n";

const CONTENT: &str = "event: content_block_start\n\
    data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\
    \n\
    event: content_block_delta\n\
    data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\
    \n";

const LIMIT: &str =
    "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"Limited\"}}";
const OVERLOAD: &str =
    "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}";

fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// A stream that fails before any content.
fn failing(error: &str) -> String {
    format!("{SILENCE}{}", event("error", error))
}

/// A stream with content.
fn good() -> String {
    format!("{SILENCE}{CONTENT}")
}

/// A response that streams this text.
fn streams(text: impl Into<String>) -> Canned {
    Canned::ok().header("content-type", "text/event-stream; charset=utf-8").body(text.into())
}

/// The upstream under the layer.
fn under(pool: &Pool, upstream: &Upstream) -> Stack {
    over(FirstEventLayer::new(pool.clone()), boxed(upstream))
}

/// The layer over a service, with a body as all the tests' stacks have it.
fn over(layer: FirstEventLayer, inner: Stack) -> Stack {
    stack((), layer.layer(inner).and_then(gathered))
}

async fn gathered(response: Response<PeekedBody<Full<Bytes>>>) -> Result<Reply, BoxError> {
    let (head, body) = response.into_parts();
    Ok(Response::from_parts(head, Full::new(body.collect().await?.to_bytes())))
}

/// A pool of this vendor's accounts `a` and `b`, whose tokens are the same.
async fn pool_of(provider: impl Provider) -> Pool {
    let vault = MemoryVault::new();
    for label in ["a", "b"] {
        let credential =
            Credential::new(PoolKey::new(provider.name()), label, OAuthTokens::new(label).refresh("r"));
        vault.put(credential).await.unwrap();
    }
    let clock = HandClock::new();
    Pool::builder(provider, vault).cooldowns(exact()).clock(clock.clock()).open().await.unwrap()
}
