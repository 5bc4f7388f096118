//! The gateway with curl, as a person would try it.

use std::process::Stdio;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::mpsc;

use super::process::{Gateway, home_of_x, open_to};
use crate::support::{Canned, Server, Upstream};
use crate::wire::{Wire, channel, full, soon, whole};

async fn curl(arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*"]).args(arguments).stdin(Stdio::null());
    let output = command.output().await.expect("these tests need curl: apt-get install curl");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn curl_uses_the_vaults_accounts_in_place_of_its_own() {
    let wire = Wire::start(async |request: Request<hyper::body::Incoming>| {
        let (head, body) = request.into_parts();
        let names = ["authorization", "x-api-key", "connection", "x-one-hop", "x-kept"];
        let value = |name| head.headers.get(name).map_or("-", |value| value.to_str().unwrap());
        let headers = names.map(|name| format!("{name}={} ", value(name)));
        let body = String::from_utf8(whole(body).await.0.to_vec()).unwrap();
        Response::new(full(format!("{} {} {}{body}", head.method, head.uri, headers.concat())))
    })
    .await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    let url = gateway.url("/x/v1/messages?beta=true&key=own");
    let own = ["-H", "authorization: Bearer own", "-H", "x-api-key: own"];
    let hop = ["-H", "connection: x-one-hop", "-H", "x-one-hop: 1", "-H", "x-kept: 1"];
    let expected = "authorization=Bearer a-key x-api-key=- connection=- x-one-hop=- x-kept=1 ";
    for (more, method, body) in [
        (&["-d", "hello"][..], "POST", "hello"),
        (&["-d", "hello", "-H", "transfer-encoding: chunked"], "POST", "hello"),
        (&["-d", "hello", "-H", "expect: 100-continue"], "POST", "hello"),
        (&["-d", "hello", "--http1.0"], "POST", "hello"),
        (&["-X", "PATCH", "-d", "hello"], "PATCH", "hello"),
        (&["-X", "DELETE"], "DELETE", ""),
        (&["--http1.1"], "GET", ""),
    ] {
        let arguments = [&[&*url], &own[..], &hop[..], more].concat();
        let seen = curl(&arguments).await;
        assert_eq!(seen, format!("{method} /v1/messages?beta=true {expected}{body}"), "{more:?}");
    }
    // It speaks HTTP/1.1 only, and says no more to HTTP/2 than to any other protocol.
    let mut command = Command::new("curl");
    command.args(["--silent", "--noproxy", "*", "--http2-prior-knowledge", &url]);
    assert!(!soon("curl's end", command.status()).await.unwrap().success());
}

#[tokio::test]
async fn curl_sees_server_sent_events_as_they_come() {
    let (bodies, mut made) = mpsc::unbounded_channel();
    let wire = Wire::start(move |_| {
        let (events, body) = channel();
        bodies.send(events).unwrap();
        async { Response::builder().header("content-type", "text/event-stream").body(body).unwrap() }
    })
    .await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    let mut command = Command::new("curl");
    command.args(["--silent", "--no-buffer", "--noproxy", "*", &gateway.url("/x/v1/stream")]);
    let mut curl = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut output = curl.stdout.take().unwrap();
    let events = soon("a request", made.recv()).await.unwrap();
    for number in 0..3 {
        let event = Bytes::from(format!("data: {number}\n\n"));
        events.send(Frame::data(event.clone())).await.unwrap();
        let mut seen = vec![0; event.len()];
        soon("the event", output.read_exact(&mut seen)).await.unwrap();
        assert_eq!(seen, event);
    }
    drop(events);
    assert!(soon("curl's end", curl.wait()).await.unwrap().success());
}

#[tokio::test]
async fn curl_sees_how_long_to_wait_if_every_account_is_limited() {
    let limited = |seconds| Canned::limited(seconds).body("slow down");
    let upstream = Upstream::new().answers("a-key", [limited(3000)]).answers("b-key", [limited(4000)]);
    let server = Server::start(&upstream).await;
    let home = home_of_x(&server.origin(), &["a", "b"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    let seen = curl(&["--include", &gateway.url("/x/")]).await;
    assert!(seen.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{seen}");
    for expected in
        ["\r\nretry-after: ", "\r\nretry-after-ms: ", "\r\nx-should-retry: false\r\n", "slow down"]
    {
        assert!(seen.contains(expected), "{expected:?} is not in {seen}");
    }
}
