//! Generated requests and responses: all of a message arrives but hop-by-hop headers and the client's own credential,
//! and the account's is added.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::process::open_to;
use crate::wire::{Wire, WireReply, frames, soon, whole, wire_client};

/// A request's or a response's headers, the pieces of its body, and its trailers.
#[derive(Clone, Debug)]
struct Message {
    headers: Vec<(String, Vec<u8>)>,
    pieces: Vec<Vec<u8>>,
    trailers: Vec<(String, Vec<u8>)>,
}

#[derive(Clone, Debug)]
struct Exchange {
    method: String,
    path: String,
    query: Option<Vec<Parameter>>,
    request: Message,
    /// The client's own credentials, in headers and in trailers.
    stripped: Vec<(String, Vec<u8>)>,
    stripped_trailers: Vec<(String, Vec<u8>)>,
    /// Headers that `connection` names.
    named: Vec<String>,
    status: u16,
    response: Message,
}

#[derive(Clone, Debug)]
enum Parameter {
    Kept(String),
    Credential(String),
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    // RFC 9110, section 5.5: visible characters and obs-text, with white space in between.
    let edge = prop_oneof![33_u8..=126, 128_u8..=255];
    let inside = prop_oneof![33_u8..=126, 128_u8..=255, Just(b' '), Just(b'\t')];
    let several = (edge.clone(), vec(inside, 0..20), edge.clone()).prop_map(|(first, middle, last)| {
        let mut value = vec![first];
        value.extend(middle);
        value.push(last);
        value
    });
    prop_oneof![Just(Vec::new()), edge.prop_map(|byte| vec![byte]), several]
}

fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    // Few names, so that some come twice.
    let name = prop_oneof![
        "x-[a-d]",
        "[a-z][a-z0-9!#$%&'*+.^_`|~-]{0,8}-y",
        Just("accept".to_owned()),
        Just("accept-language".to_owned()),
        Just("cookie".to_owned()),
        Just("user-agent".to_owned()),
        Just("anthropic-beta".to_owned()),
    ];
    vec((name, value()), 0..8)
}

fn message() -> impl Strategy<Value = Message> {
    let trailers = vec(("x-t[a-c]", value()), 0..3);
    let pieces = vec(vec(any::<u8>(), 1..3000), 0..5);
    (headers(), pieces, trailers).prop_map(|(headers, pieces, trailers)| Message {
        headers,
        trailers: if pieces.is_empty() { Vec::new() } else { trailers },
        pieces,
    })
}

fn path() -> impl Strategy<Value = String> {
    // RFC 3986, section 3.3, with escapes, dots and empty segments, which must all stay unchanged. Those that lead out of a
    // route are refused.
    let is_dots = |segment: &str| {
        let segment = segment.replace("%2E", ".").replace("%2F", "/").replace("%5C", "/");
        segment.split('/').any(|part| matches!(part.split(';').next(), Some("." | "..")))
    };
    vec("([a-zA-Z0-9._~!$&'()*+,;=:@-]|%[0-9A-F]{2}){0,6}", 1..5)
        .prop_map(|segments| format!("/{}", segments.join("/")))
        .prop_filter("it has no dot segments", move |path| !is_dots(path))
}

fn parameter() -> impl Strategy<Value = Parameter> {
    let credential = prop_oneof![
        Just("key=own-secret"),
        Just("KEY=own-secret"),
        Just("api_key=own-secret"),
        Just("api-key=own-secret"),
        Just("api%5Fkey=own-secret"),
        Just("access_token=own-secret"),
        Just("key"),
    ];
    prop_oneof![
        3 => "[a-j]{1,3}(=([a-zA-Z0-9._~/?:@!$'()*+,;=-]|%[0-9A-F]{2}){0,6})?".prop_map(Parameter::Kept),
        1 => credential.prop_map(|text| Parameter::Credential(text.to_owned())),
    ]
}

fn stripped() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = prop_oneof![
        Just("authorization"),
        Just("x-api-key"),
        Just("api-key"),
        Just("x-goog-api-key"),
        Just("proxy-authorization"),
    ];
    vec(name.prop_map(|name| (name.to_owned(), b"own-secret".to_vec())), 0..3)
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let method = prop_oneof![
        4 => prop_oneof!["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"],
        1 => "[A-Z]{3,8}-[A-Z]{2}",
    ];
    let status =
        prop_oneof![Just(200_u16), Just(201), Just(204), Just(302), Just(404), Just(500), Just(503)];
    let ways = (message(), message());
    let extra = (stripped(), stripped(), vec("x-hop-[a-c]", 0..3));
    (method, path(), proptest::option::of(vec(parameter(), 0..5)), ways, extra, status).prop_map(
        |(method, path, query, (request, mut response), extra, status)| {
            let (stripped, stripped_trailers, named) = extra;
            if !may_have_body(&method, status) {
                (response.pieces, response.trailers) = (Vec::new(), Vec::new());
            }
            Exchange {
                method,
                path,
                query,
                request,
                stripped,
                stripped_trailers,
                named,
                status,
                response,
            }
        },
    )
}

/// Whether a response may have a body (RFC 9110, sections 9.3.2 and 15.3.5).
fn may_have_body(method: &str, status: u16) -> bool {
    method != "HEAD" && status != 204
}

fn map(headers: &[(String, Vec<u8>)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_bytes(value).unwrap());
    }
    map
}

impl Message {
    fn data(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    /// Its form on the wire. Trailers are announced, since HTTP/1.1 has none otherwise.
    fn parts(&self) -> (HeaderMap, crate::wire::WireBody) {
        self.parts_with(&[])
    }

    /// With more trailers.
    fn parts_with(&self, more: &[(String, Vec<u8>)]) -> (HeaderMap, crate::wire::WireBody) {
        let mut headers = map(&self.headers);
        let mut all: Vec<_> =
            self.pieces.iter().map(|piece| Frame::data(Bytes::from(piece.clone()))).collect();
        if !self.trailers.is_empty() {
            headers.insert("trailer", HeaderValue::from_static(ANNOUNCED));
            all.push(Frame::trailers(map(&[&self.trailers, more].concat())));
        }
        (headers, frames(all))
    }
}

const ANNOUNCED: &str = "x-ta, x-tb, x-tc, x-api-key, api-key, x-goog-api-key, proxy-authorization";

/// A message that arrived, without the headers of its framing.
#[derive(Debug, Clone)]
struct Arrived {
    method: Method,
    target: String,
    headers: HeaderMap,
    data: Bytes,
    trailers: HeaderMap,
}

fn without_framing(mut headers: HeaderMap) -> HeaderMap {
    for name in ["host", "content-length", "transfer-encoding", "date"] {
        headers.remove(name);
    }
    headers
}

impl Exchange {
    fn target(&self, with_credentials: bool) -> String {
        let Some(query) = &self.query else { return self.path.clone() };
        let texts = query.iter().filter_map(|parameter| match parameter {
            Parameter::Kept(text) => Some(text.as_str()),
            Parameter::Credential(text) => with_credentials.then_some(text.as_str()),
        });
        let texts: Vec<_> = texts.collect();
        if texts.is_empty() && !query.is_empty() {
            return self.path.clone();
        }
        format!("{}?{}", self.path, texts.join("&"))
    }

    fn sent(&self, authority: &str) -> Request<crate::wire::WireBody> {
        let (mut headers, body) = self.request.parts_with(&self.stripped_trailers);
        headers.extend(map(&self.stripped));
        headers.insert("te", HeaderValue::from_static("trailers"));
        if !self.request.pieces.is_empty() {
            // hyper's client sends no body with a GET unless it is told to.
            headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
        }
        let mut list = vec!["te".to_owned(), "X-Hop-Z".to_owned()];
        for name in &self.named {
            headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::from_static("one hop"));
            list.push(name.to_uppercase());
        }
        headers.insert("connection", HeaderValue::try_from(list.join(" ,,")).unwrap());
        headers.insert("keep-alive", HeaderValue::from_static("timeout=5"));
        headers.insert("proxy-connection", HeaderValue::from_static("keep-alive"));
        let mut request = Request::new(body);
        *request.method_mut() = self.method.parse().unwrap();
        *request.uri_mut() = format!("http://{authority}/x{}", self.target(true)).parse().unwrap();
        *request.headers_mut() = headers;
        request
    }

    fn response(&self) -> WireReply {
        let (mut headers, body) = self.response.parts();
        for (name, value) in [("connection", "x-hop"), ("x-hop", "1"), ("proxy-authenticate", "Basic")] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        *response.headers_mut() = headers;
        response
    }

    fn expected_headers(&self) -> HeaderMap {
        let (mut headers, _) = self.request.parts();
        headers.insert("te", HeaderValue::from_static("trailers"));
        headers.insert("connection", HeaderValue::from_static("te"));
        headers.insert("authorization", HeaderValue::from_static("Bearer a-key"));
        headers
    }
}

#[test]
fn everything_arrives_but_stripped_headers_and_the_accounts_own_are_added() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let planned: Arc<Mutex<Option<Exchange>>> = Arc::default();
    let arrived: Arc<Mutex<Option<Arrived>>> = Arc::default();
    let (plan, log) = (planned.clone(), arrived.clone());
    let wire = runtime.block_on(Wire::start(move |request: Request<hyper::body::Incoming>| {
        let (plan, log) = (plan.clone(), log.clone());
        async move {
            let (head, body) = request.into_parts();
            let (data, trailers) = whole(body).await;
            *log.lock().unwrap() = Some(Arrived {
                method: head.method,
                target: head.uri.path_and_query().unwrap().to_string(),
                headers: without_framing(head.headers),
                data,
                trailers,
            });
            plan.lock().unwrap().as_ref().unwrap().response()
        }
    }));
    let (_home, gateway) = runtime.block_on(open_to(&wire.origin(), &["--access-log", "off"]));
    let client = runtime.block_on(async { wire_client(false) });
    let authority = gateway.address.to_string();
    let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
    let tried = TestRunner::new(config).run(&exchange(), |exchange| {
        *planned.lock().unwrap() = Some(exchange.clone());
        let request = exchange.sent(&authority);
        let (head, (data, trailers)) = runtime.block_on(async {
            let response = soon("a response", client.request(request)).await.unwrap();
            let (head, body) = response.into_parts();
            (head, whole(body).await)
        });
        let arrived = arrived.lock().unwrap().take().expect("nothing arrived");
        prop_assert_eq!(arrived.method.as_str(), &exchange.method);
        prop_assert_eq!(arrived.target, exchange.target(false));
        prop_assert_eq!(arrived.headers, exchange.expected_headers());
        prop_assert_eq!(arrived.data, exchange.request.data());
        prop_assert_eq!(arrived.trailers, map(&exchange.request.trailers));

        prop_assert_eq!(head.status.as_u16(), exchange.status);
        prop_assert_eq!(without_framing(head.headers), exchange.response.parts().0);
        prop_assert_eq!(data, exchange.response.data());
        prop_assert_eq!(trailers, map(&exchange.response.trailers));
        Ok(())
    });
    tried.unwrap();
    runtime.block_on(gateway.stop_without_a_word());
}
