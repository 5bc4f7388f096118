//! An upgrade through the layers: it is rotated and renewed like any request, and then belongs to the caller.

#![cfg(feature = "hyper")]

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt};
use tower_credentials::provider::GenericProvider;
use tower_credentials::{CredentialsLayer, Error, Pool};

use crate::support::{Journal, accounts, renewing};
use crate::wire::soon;

/// A server that limits the first account, refuses the second one's old token, and echoes with its new one.
async fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                loop {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await?);
                    }
                    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
                    assert!(
                        head.contains("connection: upgrade") && head.contains("upgrade: echo"),
                        "{head}"
                    );
                    let response = match head {
                        head if head.contains("bearer a-1") => "429 Limited\r\nretry-after: 3000",
                        head if head.contains("bearer b-1") => "401 Refused",
                        _ => "101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo",
                    };
                    let length = if response.starts_with("101") { "" } else { "content-length: 0\r\n" };
                    stream.write_all(format!("HTTP/1.1 {response}\r\n{length}\r\n").as_bytes()).await?;
                    if response.starts_with("101") {
                        let (mut reader, mut writer) = stream.split();
                        return tokio::io::copy(&mut reader, &mut writer).await;
                    }
                }
            });
        }
    });
    origin
}

async fn pool(origin: &str) -> Pool {
    let provider = GenericProvider::bearer("x").origin(origin).unwrap();
    Pool::builder(provider, accounts(["a", "b"]).await).open().await.unwrap()
}

#[tokio::test]
async fn an_upgrade_is_rotated_and_renewed_and_its_connection_goes_to_the_caller() {
    let origin = serve().await;
    let pool = pool(&origin).await;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let layer = CredentialsLayer::new(pool.clone()).refresher(renewing(&Journal::new()));
    let request = Request::get(&origin)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "echo")
        .body(Full::<Bytes>::default())
        .unwrap();
    let response = soon("a response", layer.layer(client).oneshot(request)).await.unwrap();
    assert_eq!(response.status(), 101);
    let counters = pool.counters();
    assert_eq!((counters.attempts, counters.rotations, counters.refreshes), (3, 1, 1));
    let mut stream = TokioIo::new(soon("the connection", hyper::upgrade::on(response)).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    soon("the echo", stream.read_exact(&mut echo)).await.unwrap();
    assert_eq!(&echo, b"hello");
}

#[tokio::test]
async fn a_connect_is_refused_before_it_leaves() {
    let pool = pool("http://127.0.0.1:9").await;
    let client = CredentialsLayer::new(pool).layer(Client::builder(TokioExecutor::new()).build_http());
    let request = Request::connect("127.0.0.1:9").body(Full::<Bytes>::default()).unwrap();
    let error = client.oneshot(request).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::UntrustedOrigin { .. })), "{error:?}");
}
