//! The limit of one model does not stop an account's requests for others.

#![cfg(feature = "providers")]

use std::convert::Infallible;
use std::pin::Pin as Pinned;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::sync::mpsc;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_credentials::provider::{GenericProvider, Google, OpenAi, Provider};
use tower_credentials::standing::Scope;
use tower_credentials::vault::VaultExt;
use tower_credentials::*;

use crate::support::*;

/// The scope that a request has below the layer.
async fn scope_of<B: http_body::Body + TryCloneBody + Send + 'static>(
    request: Request<B>,
) -> Option<String> {
    let pool = builder(accounts(["a"]).await).open().await.unwrap();
    let inner = service_fn(|request: Request<B>| {
        let scope = request.extensions().get::<Scope>().map(|scope| scope.as_str().to_owned());
        std::future::ready(Ok::<_, BoxError>(scope))
    });
    ModelScopeLayer::new(pool).layer(inner).call(request).await.unwrap()
}

fn request(path: &str, body: &str) -> Request<Full<Bytes>> {
    Request::post(format!("{ORIGIN}{path}")).body(Full::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn the_model_is_read_from_the_path_or_the_body() {
    let long = "x".repeat(1_000_000);
    for (path, body, expected) in [
        ("/v1/chat", r#"{"model":"large","messages":[]}"#, Some("large")),
        ("/v1/chat", r#" { "messages" : [{"model":"inner"}], "model" : "large" }"#, Some("large")),
        ("/v1/chat", &format!(r#"{{"messages":"{long}","model":"large"}}"#), Some("large")),
        ("/v1/chat", r#"{"m\u006fdel":"l\u0061rge"}"#, Some("large")),
        ("/v1/chat", r#"{"model":"large","more":"#, Some("large")),
        ("/v1beta/models/gemini-x:generateContent", "{}", Some("gemini-x")),
        (
            "/v1/projects/p/locations/l/publishers/google/models/gemini-x:streamGenerateContent",
            "",
            Some("gemini-x"),
        ),
        (
            "/openai/deployments/mine/chat/completions?api-version=1",
            r#"{"model":"other"}"#,
            Some("mine"),
        ),
        ("/model/some.model-v1/invoke", "{}", Some("some.model-v1")),
        ("/v1internal:generateContent", r#"{"model":"models/gemini-x"}"#, Some("gemini-x")),
        ("/v1/realtime?model=realtime-x", "", Some("realtime-x")),
        ("/v1/realtime?a=1&mod%65l=realtime%2Dx&model=other", "", Some("realtime-x")),
        ("/openai/realtime?api-version=1&deployment=mine", "", Some("mine")),
        ("/v1/chat?model=other", r#"{"model":"large"}"#, Some("large")),
        ("/v1/realtime?model=", "", None),
        ("/v1/realtime?model=two%20words", "", None),
        ("/v1/realtime?model", "", None),
        ("/v1/realtime?xmodel=x&model%=x", "", None),
        ("/v1/models", "", None),
        ("/v1/chat", "", None),
        ("/v1/chat", r#"{"messages":[]}"#, None),
        ("/v1/chat", r#"{"model":7}"#, None),
        ("/v1/chat", r#"{"model":""}"#, None),
        ("/v1/chat", r#"{"model":"two words"}"#, None),
        ("/v1/chat", r#"{"model":"lar"#, None),
        ("/v1/chat", r#"["model","large"]"#, None),
        ("/v1/chat", "model=large", None),
    ] {
        assert_eq!(scope_of(request(path, body)).await.as_deref(), expected, "{path} {body:.60}");
    }
}

#[tokio::test]
async fn the_callers_own_scope_stays() {
    let mut request = request("/v1/chat", r#"{"model":"large"}"#);
    request.extensions_mut().insert(Scope::new("own"));
    assert_eq!(scope_of(request).await.as_deref(), Some("own"));
}

#[tokio::test]
async fn a_recorded_body_of_known_length_is_read_for_its_model_and_sent_whole() {
    let text = r#"{"model":"large","messages":[]}"#;
    let body = ReplayBody::new(SendOnce::new(Full::<Bytes>::from(text)));
    let request = Request::post(ORIGIN).body(body).unwrap();
    let pool = builder(accounts(["a"]).await).open().await.unwrap();
    let upstream = Upstream::new();
    let inner = upstream.clone();
    let inner = service_fn(move |request: Request<ReplayBody<SendOnce<Full<Bytes>>>>| {
        assert_eq!(request.extensions().get::<Scope>(), Some(&Scope::new("large")));
        inner.clone().oneshot(request)
    });
    ModelScopeLayer::new(pool).layer(inner).oneshot(request).await.unwrap();
    assert_eq!(upstream.seen.all()[0].body, text);
}

#[tokio::test]
async fn a_body_that_streams_has_no_scope_and_is_sent_whole() {
    let text = r#"{"model":"large","messages":[]}"#;
    for length in [None, Some(text.len() as u64)] {
        let (sender, receiver) = mpsc::unbounded_channel();
        let body = ReplayBody::with_bound(SendOnce::new(Late(receiver, length)), 40);
        let request = Request::post(ORIGIN).body(body).unwrap();
        let pool = builder(accounts(["a"]).await).open().await.unwrap();
        let upstream = Upstream::new();
        let inner = upstream.clone();
        let inner = service_fn(move |request: Request<ReplayBody<SendOnce<Late>>>| {
            assert_eq!(request.extensions().get::<Scope>(), None);
            inner.clone().oneshot(request)
        });
        let response = tokio::spawn(ModelScopeLayer::new(pool).layer(inner).oneshot(request));
        for piece in text.as_bytes().chunks(4) {
            tokio::task::yield_now().await;
            sender.send(Bytes::copy_from_slice(piece)).unwrap();
        }
        drop(sender);
        response.await.unwrap().unwrap();
        assert_eq!(upstream.seen.all()[0].body, text);
    }
}

/// A body whose data comes later than the request.
struct Late(mpsc::UnboundedReceiver<Bytes>, Option<u64>);

impl Body for Late {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pinned<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        self.1.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

async fn pool(provider: impl Provider, name: &str) -> Pool {
    let vault = vault::MemoryVault::new();
    for label in ["a", "b"] {
        vault
            .put(Credential::new(PoolKey::new(name), label, OAuthTokens::new(format!("{label}-1"))))
            .await
            .unwrap();
    }
    Pool::builder(provider, vault).clock(HandClock::new().clock()).open().await.unwrap()
}

#[tokio::test]
async fn an_account_limited_for_one_model_still_serves_the_others() {
    let pool = pool(GenericProvider::bearer("x").origin(ORIGIN).unwrap(), "x").await;
    let upstream = Upstream::new()
        .answers("a-1", [Canned::limited(300), Canned::ok()])
        .answers("b-1", [Canned::limited(300), Canned::ok()]);
    let layers = ServiceBuilder::new()
        .layer(ModelScopeLayer::new(pool.clone()))
        .layer(CredentialsLayer::new(pool.clone()))
        .into_inner();
    let service = stack(layers, upstream.clone());
    assert_eq!(ask(&service, request("/v1/chat", r#"{"model":"large"}"#)).await.0, 429);
    assert_eq!(ask(&service, request("/v1/chat", r#"{"model":"small"}"#)).await.0, 200);
    assert_eq!(upstream.tokens(), ["a-1", "b-1", "a-1"]);
    assert_eq!(cools(&pool, "a"), seconds(0));
}

#[tokio::test]
async fn a_limit_of_the_account_holds_for_every_model() {
    let account = r#"{"error":{"type":"usage_limit_reached","resets_in_seconds":300}}"#;
    let model = r#"{"error":{"code":"rate_limit_exceeded","resets_in_seconds":300}}"#;
    for (body, second) in [(account, "b-1"), (model, "a-1")] {
        let pool = pool(OpenAi::new().origin(ORIGIN).unwrap(), "openai").await;
        let upstream = Upstream::new().answers("a-1", [Canned::status(429).body(body), Canned::ok()]);
        let layers = ServiceBuilder::new()
            .layer(ModelScopeLayer::new(pool.clone()))
            .layer(CredentialsLayer::new(pool.clone()))
            .layer(ErrorBodyLayer::new(pool.clone()))
            .into_inner();
        let service = stack(layers, upstream.clone());
        ask(&service, request("/v1/chat", r#"{"model":"large"}"#)).await;
        ask(&service, request("/v1/chat", r#"{"model":"small"}"#)).await;
        assert_eq!(upstream.tokens(), ["a-1", "b-1", second]);
    }
    assert_eq!(Google::new().model(&"/v1/models/x:y".parse().unwrap(), b""), Some("x".to_owned()));
}
