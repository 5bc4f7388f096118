//! Events are read as the HTML standard says (section 9.2.6), however a stream is cut into pieces.

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use proptest::prelude::*;
use tokio::runtime::Runtime;
use tower::{Layer, ServiceExt, service_fn};
use tower_credentials::provider::{EventMeaning, GenericProvider, Provider, StreamEvent};
use tower_credentials::*;

use super::{CONTENT, LIMIT, event, failing, good};
use crate::support::*;
use crate::wire::frames;

/// A vendor whose events say nothing. It notes them.
struct Silent(GenericProvider, Journal<(String, String)>);

impl Provider for Silent {
    as_the_generic_one!();

    fn event(&self, event: &StreamEvent<'_>) -> EventMeaning {
        self.1.push((event.name.to_owned(), event.data.to_owned()));
        EventMeaning::Nothing
    }
}

fn generic() -> GenericProvider {
    GenericProvider::bearer("x").origin(ORIGIN).unwrap()
}

/// The status and the text of a response that streams these pieces, through the layer.
async fn through(provider: impl Provider, pieces: Vec<Bytes>) -> (u16, Bytes) {
    let pool = Pool::builder(provider, keys(["a"]).await).open().await.unwrap();
    let service = FirstEventLayer::new(pool).layer(service_fn(move |_: Asked| {
        let mut response = Response::new(frames(pieces.clone().into_iter().map(Frame::data)));
        let kind = HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert("content-type", kind);
        async move { Ok::<_, BoxError>(response) }
    }));
    let response = service.oneshot(post()).await.unwrap();
    (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes())
}

/// The events of a whole stream, by the standard: first the text, then its lines, then their fields.
fn by_the_standard(stream: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(stream).replace("\r\n", "\n").replace('\r', "\n");
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let Some((lines, _)) = text.rsplit_once('\n') else { return Vec::new() };
    let (mut events, mut name, mut data) = (Vec::new(), "", Vec::new());
    for line in lines.split('\n') {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                let lines = std::mem::take(&mut data);
                let name = match std::mem::take(&mut name) {
                    "" => "message",
                    name => name,
                };
                if !lines.is_empty() {
                    events.push((name.to_owned(), lines.join("\n")));
                }
            }
            "event" => name = value,
            "data" => data.push(value),
            _ => {}
        }
    }
    events
}

/// Cuts a text at these places.
fn cut(text: &[u8], at: &[prop::sample::Index]) -> Vec<Bytes> {
    let mut at: Vec<_> = at.iter().map(|index| index.index(text.len() + 1)).collect();
    at.push(text.len());
    at.sort_unstable();
    let mut begin = 0;
    let piece = |end| {
        let piece = Bytes::copy_from_slice(&text[begin..end]);
        begin = end;
        piece
    };
    at.into_iter().map(piece).collect()
}

fn token() -> impl Strategy<Value = &'static [u8]> {
    prop::sample::select(vec![
        &b"\r"[..],
        b"\n",
        b"\r\n",
        b"\n\n",
        b":",
        b" ",
        b"data",
        b"data:",
        b"data: x",
        b"event: ping",
        b"event:",
        b"id: 1",
        b"retry: 9",
        b"Data: x",
        b"\xef\xbb\xbf",
        "é".as_bytes(),
        b"\xe2\x82",
        b"\0",
    ])
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn events_are_read_by_the_standard_however_they_are_cut(
        tokens in prop::collection::vec(token(), 0..40),
        cuts in cuts(),
    ) {
        let stream = tokens.concat();
        let seen = Journal::new();
        let provider = Silent(generic(), seen.clone());
        let (_, body) = Runtime::new().unwrap().block_on(through(provider, cut(&stream, &cuts)));
        prop_assert_eq!(seen.all(), by_the_standard(&stream));
        prop_assert_eq!(body, stream);
    }

    #[test]
    fn any_cut_of_a_stream_has_the_same_result(cuts in cuts(), ends in 0usize..3) {
        let end = ["\n", "\r", "\r\n"][ends];
        let after_content = format!("{CONTENT}{}", event("error", LIMIT));
        let runtime = Runtime::new().unwrap();
        for (stream, status) in [(failing(LIMIT), 429), (good(), 200), (after_content, 200)] {
            let stream = stream.replace('\n', end);
            let result = runtime.block_on(through(generic(), cut(stream.as_bytes(), &cuts)));
            let body = if status == 429 { LIMIT } else { &stream };
            prop_assert_eq!(result, (status, Bytes::from(body.to_owned())));
        }
    }
}

#[tokio::test]
async fn the_standards_examples_are_read_as_it_says() {
    let message = |data: &str| ("message".to_owned(), data.to_owned());
    for (stream, events) in [
        ("data: YHOO\ndata: +2\ndata: 10\n\n", vec![message("YHOO\n+2\n10")]),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
            vec![message("first event"), message("second event")],
        ),
        ("data\n\ndata\ndata\n\ndata:", vec![message(""), message("\n")]),
        ("data:test\n\ndata: test\n\n", vec![message("test"), message("test")]),
    ] {
        let seen = Journal::new();
        let pieces = vec![Bytes::from(stream)];
        through(Silent(generic(), seen.clone()), pieces).await;
        assert_eq!(seen.all(), events, "{stream:?}");
        assert_eq!(by_the_standard(stream.as_bytes()), events, "{stream:?}");
    }
}
