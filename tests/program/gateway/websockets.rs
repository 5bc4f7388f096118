//! WebSockets through the gateway: each is a request with an account, and then the client's own.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Request, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::handshake::server;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

use super::process::{Gateway, client, home};
use crate::cli::Home;
use crate::wire::soon;

/// What became of a WebSocket at the upstream.
#[derive(Debug)]
enum Told {
    Asked(String, HeaderMap),
    Ended,
}

/// An upstream that says back what it is told over a WebSocket. A token with `limited` in it gets a 429.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    told: mpsc::UnboundedReceiver<Told>,
}

impl Echo {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(echo(stream, tell.clone()));
            }
        });
        Self { address, told }
    }

    pub(crate) async fn home(&self, labels: &[&str]) -> Home {
        let home = Home::new();
        home.settings(&format!("[providers.openai]\norigins = [\"http://{}\"]\n", self.address));
        for label in labels {
            home.add("openai", label, &format!("{label}-key")).await;
        }
        home
    }

    pub(crate) async fn asked(&mut self) -> (String, HeaderMap) {
        match soon("a handshake", self.told.recv()).await.unwrap() {
            Told::Asked(target, headers) => (target, headers),
            Told::Ended => panic!("a WebSocket has ended"),
        }
    }

    pub(crate) async fn ended(&mut self) {
        assert!(matches!(soon("an end", self.told.recv()).await, Some(Told::Ended)));
    }
}

#[allow(clippy::result_large_err, reason = "as tungstenite has it")]
async fn echo(stream: TcpStream, tell: mpsc::UnboundedSender<Told>) {
    let respond = |request: &server::Request, mut response: server::Response| {
        let headers = request.headers().clone();
        let is_limited = format!("{:?}", headers["authorization"].to_str()).contains("limited");
        if headers
            .get("sec-websocket-protocol")
            .is_some_and(|value| value.as_bytes().starts_with(b"realtime"))
        {
            response.headers_mut().insert("sec-websocket-protocol", "realtime".parse().unwrap());
        }
        let _ = tell.send(Told::Asked(request.uri().to_string(), headers));
        if !is_limited {
            return Ok(response);
        }
        let refused = http::Response::builder().status(429).header("retry-after", "3600");
        Err(refused.header("content-length", "0").header("connection", "close").body(None).unwrap())
    };
    let Ok(mut websocket) = accept_hdr_async(stream, respond).await else { return };
    while let Some(Ok(message)) = websocket.next().await {
        if message.to_text().is_ok_and(|text| text == "close") {
            let frame = CloseFrame { code: CloseCode::Library(4000), reason: "as asked".into() };
            let _ = websocket.close(Some(frame)).await;
        } else if !message.is_close() && !message.is_ping() {
            let _ = websocket.send(message).await;
        }
    }
    let _ = tell.send(Told::Ended);
}

/// Opens a WebSocket at the gateway.
async fn open(
    gateway: &Gateway,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<(WebSocketStream<TcpStream>, http::Response<Option<Vec<u8>>>), Error> {
    let mut request = format!("ws://{}{path}", gateway.address).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    soon("the handshake", client_async(request, stream)).await
}

async fn says(websocket: &mut WebSocketStream<TcpStream>, message: impl Into<Message>) -> Message {
    websocket.send(message.into()).await.unwrap();
    soon("a message", websocket.next()).await.unwrap().unwrap()
}

/// The status of a handshake that was refused.
fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> http::Response<Option<Vec<u8>>> {
    match result.unwrap_err() {
        Error::Http(response) => *response,
        error => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_gets_an_account_and_the_next_one_if_that_is_limited() {
    let mut upstream = Echo::start().await;
    let home = upstream.home(&["limited-1", "good-2"]).await;
    let before = std::fs::read_to_string(home.settings_file()).unwrap();
    let route = "path = \"/of-a-model\"\nprovider = \"openai\"\nmodel = \"gpt-realtime*\"\n";
    home.settings(&format!("{before}[[serve.route]]\n{route}"));
    let token = client(&home, &["laptop"]);
    let mut gateway = Gateway::start(&home, &["--access-log", "json"]).await;
    let authorization = format!("Bearer {token}");
    let path = format!("/of-a-model/v1/realtime?model=gpt-realtime&api_key={token}");
    let headers = [("authorization", &*authorization), ("openai-beta", "realtime=v1")];
    let other = refused(open(&gateway, "/of-a-model/v1/realtime?model=gpt-5", &headers).await);
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
    let (mut websocket, response) = open(&gateway, &path, &headers).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    for expected in ["Bearer limited-1-key", "Bearer good-2-key"] {
        let (target, headers) = upstream.asked().await;
        assert_eq!(target, "/v1/realtime?model=gpt-realtime");
        assert_eq!(headers["authorization"], expected);
        assert_eq!(headers["openai-beta"], "realtime=v1");
        assert_eq!(headers["host"], upstream.address.to_string());
        assert_eq!(headers["upgrade"], "websocket");
        assert!(headers.contains_key("sec-websocket-key"), "{headers:?}");
    }
    assert_eq!(says(&mut websocket, "hello").await.to_text().unwrap(), "hello");
    let long = Bytes::from(vec![7; 3 * 1024 * 1024]);
    assert_eq!(says(&mut websocket, Message::Binary(long.clone())).await.into_data(), long);

    // The upstream ends it, and its words arrive.
    let Message::Close(Some(frame)) = says(&mut websocket, "close").await else { panic!("no close") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4000, "as asked"));
    assert!(soon("the end", websocket.next()).await.is_none());
    drop(websocket);
    upstream.ended().await;
    let line = gateway.access().await;
    let not_found = line;
    assert!(not_found.contains(":404,"), "{not_found}");
    let line = gateway.access().await;
    home.check(&line);
    let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&entry["status"], &entry["attempts"]), (&101.into(), &2.into()), "{line}");
    assert_eq!((&entry["client"], &entry["is_whole"]), (&"laptop".into(), &true.into()), "{line}");
    for name in ["bytes", "received_bytes"] {
        assert!(entry[name].as_u64().unwrap() > 3 * 1024 * 1024, "{name}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_a_request_of_its_client_until_it_ends() {
    let mut upstream = Echo::start().await;
    let home = upstream.home(&["good-1"]).await;
    let token = client(&home, &["ci", "--max-in-flight", "1"]);
    let mut gateway = Gateway::start(&home, &[]).await;
    let headers = [("x-api-key", &*token)];
    let (websocket, _) = open(&gateway, "/openai/v1/realtime", &headers).await.unwrap();
    upstream.asked().await;
    let response = refused(open(&gateway, "/openai/v1/realtime", &headers).await);
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    // A client that goes away ends the upstream's side.
    drop(websocket);
    upstream.ended().await;
    assert!(gateway.access().await.contains(" 429 "));
    let line = gateway.access().await;
    assert!(line.contains(" 101 ") && line.contains("received="), "{line}");
    open(&gateway, "/openai/v1/realtime", &headers).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pages_token_is_taken_from_its_subprotocols_and_goes_no_further() {
    let mut upstream = Echo::start().await;
    let home = upstream.home(&["good-1"]).await;
    let token = client(&home, &["laptop"]);
    let gateway = Gateway::start(&home, &["--allow-origin", "app://obsidian.md"]).await;
    let of_openai = format!("realtime, openai-insecure-api-key.{token}, openai-beta.realtime-v1");
    let bare = format!("realtime,{token}");
    for (offered, expected) in [(&of_openai, "realtime, openai-beta.realtime-v1"), (&bare, "realtime")] {
        let headers = [("sec-websocket-protocol", &**offered), ("origin", "app://obsidian.md")];
        let (_, response) = open(&gateway, "/openai/v1/realtime", &headers).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "realtime");
        let (_, headers) = upstream.asked().await;
        assert_eq!(headers["sec-websocket-protocol"], expected);
        upstream.ended().await;
    }
    let other = [("sec-websocket-protocol", "realtime, openai-insecure-api-key.sk-other")];
    let response = refused(open(&gateway, "/openai/v1/realtime", &other).await);
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let strange = [("sec-websocket-protocol", &*of_openai), ("origin", "https://evil.example")];
    let response = refused(open(&gateway, "/openai/v1/realtime", &strange).await);
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_upgrades_are_refused_before_an_account_is_used() {
    let upstream = super::process::upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let token = client(&home, &["laptop"]);
    let gateway = Gateway::start(&home, &[]).await;
    for (method, names) in [
        ("GET", &[("connection", "upgrade"), ("upgrade", "irc/6.9")][..]),
        ("POST", &[("connection", "upgrade"), ("upgrade", "websocket")]),
        ("GET", &[("upgrade", "websocket")]),
    ] {
        let mut request = gateway.get("/openai/x", &token).method(method);
        for (name, value) in names {
            request = request.header(*name, *value);
        }
        let (status, body) = gateway.send(request).await;
        assert_eq!(status, StatusCode::UPGRADE_REQUIRED, "{names:?}: {body}");
    }
    assert_eq!(upstream.connections(), 0);
    // An upstream that does not know WebSockets answers as it does otherwise, and the connection goes on.
    let request = gateway.get("/openai/x", &token).header("connection", "upgrade");
    let (status, body) = gateway.send(request.header("upgrade", "websocket")).await;
    assert_eq!((status, &*body), (StatusCode::OK, "GET /x Bearer good-1-key\n"));
    let request = Request::get(gateway.url("/openai/y")).header("x-api-key", &token);
    assert_eq!(gateway.send(request).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_ended_when_the_gateway_has_waited_for_it() {
    let mut upstream = Echo::start().await;
    let home = upstream.home(&["good-1"]).await;
    let token = client(&home, &["laptop"]);
    let mut gateway = Gateway::start(&home, &["--drain", "1"]).await;
    let (mut websocket, _) =
        open(&gateway, "/openai/v1/realtime", &[("x-api-key", &token)]).await.unwrap();
    upstream.asked().await;
    gateway.signal("TERM").await;
    gateway.says("Waiting for the requests under way").await;
    assert_eq!(says(&mut websocket, "still here").await.to_text().unwrap(), "still here");
    gateway.says("broken off").await;
    assert!(soon("the end", websocket.next()).await.is_none_or(|message| message.is_err()));
    upstream.ended().await;
    gateway.ended().await.ok();
}
