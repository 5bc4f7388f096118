//! A span for each sending of a request, in a layer below: the first has no `http.request.resend_count`, the others do.
//!
//! `cargo run --example resend_count --features hyper`
//!
//! A layer above this crate's sees one request, however often it is sent. One below sees each sending, and the
//! extension `Attempt` tells it how often the request was sent before. The names are OpenTelemetry's, and so is the rule
//! that each sending is a client's span of its own: with `tracing-opentelemetry` they go to any collector.
//!
//! The upstream is a local server on 127.0.0.1, which limits the account `work`. The request succeeds with the account
//! `spare`, and the spans of both sendings are printed.

mod support {
    pub mod accounts;
    pub mod asking;
    pub mod spans;
    pub mod upstream;
}

use std::time::Duration;

use http::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use support::accounts::{builder, close, tell_end};
use support::asking::ask;
use support::spans::Spans;
use support::upstream::Upstream;
use tower::ServiceBuilder;
use tower_credentials::{Attempt, BoxError, CredentialsLayer};
use tower_http::classify::ServerErrorsFailureClass;
use tower_http::trace::TraceLayer;
use tracing::Span;
use tracing::field::Empty;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Makes the span of one sending.
fn client_span<B>(request: &Request<B>) -> Span {
    let uri = request.uri();
    let span = tracing::info_span!(
        target: "client",
        "HTTP request",
        otel.kind = "client",
        otel.name = request.method().as_str(),
        http.request.method = request.method().as_str(),
        http.request.resend_count = Empty,
        http.response.status_code = Empty,
        error.type = Empty,
        server.address = uri.host(),
        server.port = uri.port_u16(),
        // Without the query, which may hold a secret.
        url.full = uri.to_string().split('?').next(),
    );
    let resends = request.extensions().get::<Attempt>().map_or(0, Attempt::resend_count);
    if resends > 0 {
        span.record("http.request.resend_count", resends);
    }
    span
}

/// Records how the sending has ended. For a client, a 4xx is an error, too.
fn record_response<B>(response: &Response<B>, _: Duration, span: &Span) {
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_client_error() || status.is_server_error() {
        span.record("error.type", status.as_str());
    }
}

fn record_failure(failure: ServerErrorsFailureClass, _: Duration, span: &Span) {
    if let ServerErrorsFailureClass::Error(_) = failure {
        span.record("error.type", "_OTHER");
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let spans = Spans::of_target("client");
    tracing_subscriber::registry().with(spans.clone()).init();
    let upstream = Upstream::start().await?;
    // So that each attempt's request names its attempt.
    let pool = builder(&upstream.origin()).await?.expose_attempts(true).open().await?;

    let trace = TraceLayer::new_for_http()
        .make_span_with(client_span)
        .on_request(())
        .on_response(record_response)
        .on_failure(record_failure);
    let client = ServiceBuilder::new()
        .layer(CredentialsLayer::new(pool.clone()))
        .layer(trace)
        .service(Client::builder(TokioExecutor::new()).build_http());
    let response = ask(client, &upstream.origin()).await;
    close(&pool).await?;
    tell_end(&pool, upstream.api_requests(), &response?, "hello, spare")?;

    let sendings = spans.all();
    for sending in &sendings {
        println!("{sending:?}");
    }
    let field = |name| sendings.iter().map(|sending| sending.get(name).map(String::as_str)).collect();
    let recorded: [Vec<Option<&str>>; 3] =
        ["http.request.resend_count", "http.response.status_code", "error.type"].map(field);
    if recorded != [[None, Some("1")], [Some("429"), Some("200")], [Some("429"), None]] {
        return Err(format!("other sendings were recorded: {recorded:?}").into());
    }
    Ok(())
}
