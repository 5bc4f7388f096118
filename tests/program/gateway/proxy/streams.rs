//! Streams and WebSockets within a tunnel.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body::Frame;
use tokio_tungstenite::client_async;

use super::{API, World, get};
use crate::gateway::websockets::Echo;
use crate::wire::{full, piece, piecewise, soon};

#[tokio::test(flavor = "multi_thread")]
async fn each_piece_of_a_stream_comes_at_once() {
    let (upstream, mut made) =
        piecewise(&[("content-type", "text/event-stream"), ("alt-svc", "h3=\":443\"")]).await;
    let world = World::of(upstream.address, upstream.address, &["good-1"]).await;
    let tunnels = world.start(&[]).await;
    let mut http1 = tunnels.http1().await;
    let mut http2 = tunnels.http2().await;
    for is_h2 in [false, true] {
        let uri = if is_h2 { format!("https://{API}/v1/chat") } else { "/v1/chat".to_owned() };
        let request = get(&uri).body(full("")).unwrap();
        let responding = async {
            match is_h2 {
                true => http2.send_request(request).await,
                false => http1.send_request(request).await,
            }
        };
        let sending = async {
            let pieces = soon("a request", made.recv()).await.unwrap();
            pieces.send(Frame::data(Bytes::from("data: {\"delta\": 1}\n\n"))).await.unwrap();
            pieces
        };
        let (response, pieces) = soon("a response", async { tokio::join!(responding, sending) }).await;
        let response = response.unwrap();
        // It would lead past the proxy.
        assert!(!response.headers().contains_key("alt-svc"), "{response:?}");
        let mut body = response.into_body();
        assert_eq!(piece(&mut body).await, "data: {\"delta\": 1}\n\n");
        for text in ["data: {\"delta\": 2}\n\n", "data: [DONE]\n\n"] {
            pieces.send(Frame::data(Bytes::from(text))).await.unwrap();
            assert_eq!(piece(&mut body).await, text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_gets_an_account() {
    let mut upstream = Echo::start().await;
    let world = World::of(upstream.address, upstream.address, &["limited-1", "good-2"]).await;
    let mut tunnels = world.start(&[]).await;
    let stream = tunnels.tls("http/1.1").await;
    let url = format!("wss://{API}/v1/realtime?model=gpt-realtime");
    let (mut websocket, _) = soon("the handshake", client_async(url, stream)).await.unwrap();
    for key in ["limited-1", "good-2"] {
        let (target, headers) = upstream.asked().await;
        assert_eq!(target, "/v1/realtime?model=gpt-realtime");
        assert_eq!(headers["authorization"], format!("Bearer {key}-key"));
        assert_eq!(headers["host"], API);
    }
    websocket.send("hello".into()).await.unwrap();
    let said = soon("a message", websocket.next()).await.unwrap().unwrap();
    assert_eq!(said.to_text().unwrap(), "hello");
    drop(websocket);
    upstream.ended().await;
    let line = tunnels.gateway.access().await;
    assert!(line.contains(&format!("GET https://{API}/v1/realtime 101 ")), "{line}");
    tunnels.gateway.stop_without_a_word().await;
}
