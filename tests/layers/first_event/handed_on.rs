//! Responses that are handed on as they came.

use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body, Frame};
use tower::{ServiceExt, service_fn};
use tower_credentials::provider::{Anthropic, OpenAi};
use tower_credentials::*;

use super::*;
use crate::wire::{WireBody, channel, frames, whole};

/// The response's text, if the account `a` gets this response, and how it stands with `a` then.
async fn handed_on(pool: &Pool, canned: Canned) -> (u16, String) {
    let upstream = Upstream::new().answers("a", [canned]);
    let response = ask(&STACKS[0](pool, under(pool, &upstream)), post()).await;
    assert_eq!(upstream.tokens(), ["a"]);
    assert_eq!(cools(pool, "a"), seconds(0));
    response
}

#[tokio::test]
async fn content_is_handed_on_byte_for_byte_and_an_error_after_it_is_the_callers() {
    let pool = pool_of(Anthropic::new().origin(ORIGIN).unwrap()).await;
    let late = format!("{}{}", good(), event("error", LIMIT));
    for stream in [good(), late] {
        assert_eq!(handed_on(&pool, streams(stream.clone())).await, (200, stream));
    }
}

#[tokio::test]
async fn an_error_without_a_consequence_stays_in_its_stream() {
    let anthropic = pool_of(Anthropic::new().origin(ORIGIN).unwrap()).await;
    let openai = pool_of(OpenAi::new().origin(ORIGIN).unwrap()).await;
    // As a 529, a 500 and a 400 are returned, and cool nothing down.
    let failed = |code: &str| {
        event(
            "response.failed",
            &format!(r#"{{"type":"response.failed","response":{{"error":{{"code":"{code}"}}}}}}"#),
        )
    };
    let invalid = r#"{"type":"error","error":{"type":"invalid_request_error","message":"no"}}"#;
    for (pool, stream) in [
        (&anthropic, failing(OVERLOAD)),
        (&anthropic, failing(invalid)),
        (&openai, failed("server_error")),
        (&openai, failed("nobody_knows")),
    ] {
        assert_eq!(handed_on(pool, streams(stream.clone())).await, (200, stream));
    }
}

#[tokio::test]
async fn a_stream_that_ends_before_it_tells_anything_is_handed_on() {
    let pool = pool_of(Anthropic::new().origin(ORIGIN).unwrap()).await;
    // The standard discards an event that no blank line ends.
    let unfinished = format!("{SILENCE}event: error\ndata: {LIMIT}\n");
    for stream in [String::new(), SILENCE.to_owned(), unfinished] {
        assert_eq!(handed_on(&pool, streams(stream.clone())).await, (200, stream));
    }
}

#[tokio::test]
async fn only_streams_of_events_with_a_status_of_200_are_looked_at() {
    let pool = pool_of(Anthropic::new().origin(ORIGIN).unwrap()).await;
    let text = failing(LIMIT);
    let of_type = |kind: &str| Canned::ok().header("content-type", kind).body(text.clone());
    let events = "text/event-stream";
    for canned in [
        of_type("application/x-ndjson"),
        of_type("text/event-streams"),
        Canned::ok().body(text.clone()),
        of_type(events).header("content-encoding", "gzip"),
    ] {
        assert_eq!(handed_on(&pool, canned).await, (200, text.clone()));
    }
    let created = Canned::status(201).header("content-type", events).body(text.clone());
    assert_eq!(handed_on(&pool, created).await, (201, text.clone()));
    // The type is compared without its parameters and its case, and `identity` is no coding.
    let other = of_type("Text/Event-Stream ;x=y").header("content-encoding", "identity");
    let upstream = Upstream::new().answers("a", [other]);
    let service = STACKS[0](&pool, under(&pool, &upstream));
    assert_eq!(ask(&service, post()).await, (200, "b".to_owned()));
}

/// The response of a service that streams this body, through the layer.
async fn through(body: WireBody) -> Response<service::PeekedBody<WireBody>> {
    let pool = pool_of(Anthropic::new().origin(ORIGIN).unwrap()).await;
    let body = std::sync::Mutex::new(Some(body));
    let service = FirstEventLayer::new(pool).layer(service_fn(move |_: Asked| {
        let mut response = Response::new(body.lock().unwrap().take().unwrap());
        let kind = HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert("content-type", kind);
        async move { Ok::<_, BoxError>(response) }
    }));
    service.oneshot(post()).await.unwrap()
}

#[tokio::test]
async fn trailers_and_the_size_of_the_body_are_kept() {
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("7"))]);
    for stream in [SILENCE.to_owned(), good()] {
        let pieces = [Frame::data(Bytes::from(stream.clone())), Frame::trailers(trailers.clone())];
        let response = through(frames(pieces)).await;
        assert_eq!(response.body().size_hint().lower(), stream.len() as u64);
        assert_eq!(whole(response.into_body()).await, (stream.into(), trailers.clone()));
    }
    // A body of known length has it also after it was looked at.
    let response = through(crate::wire::full(good())).await;
    assert_eq!(response.body().size_hint().exact(), Some(good().len() as u64));
}

#[tokio::test]
async fn the_stream_of_an_error_is_dropped_when_the_error_has_come() {
    let (pieces, body) = channel();
    let (response, ()) = tokio::join!(through(body), async {
        for piece in [SILENCE.to_owned(), event("error", LIMIT)] {
            pieces.send(Frame::data(piece.into())).await.unwrap();
        }
        // Its end never comes.
        crate::wire::soon("the end of the stream", pieces.closed()).await;
    });
    assert_eq!(response.status(), 429);
    assert_eq!(response.body().size_hint().exact(), Some(LIMIT.len() as u64));
}
