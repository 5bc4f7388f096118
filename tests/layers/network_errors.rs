//! Which requests are sent again after a network error.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tower::ServiceExt;
use tower_credentials::provider::GenericProvider;
use tower_credentials::*;

use crate::support::*;

/// A server that reads a whole request and closes the connection. Counts the requests.
async fn rude_server() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    use tokio::io::AsyncReadExt;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let requests = count.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"a question") {
                if stream.read_buf(&mut read).await.unwrap() == 0 {
                    break;
                }
            }
            requests.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, count)
}

#[tokio::test]
async fn a_post_that_may_have_been_sent_is_not_sent_again_after_an_error() {
    let (address, count) = rude_server().await;
    let origin = format!("http://{address}");
    let provider = GenericProvider::bearer("x").origin(&origin).unwrap();
    let pool = Pool::builder(provider, keys(["a", "b"]).await).open().await.unwrap();
    let service: Stack<Incoming> = stack(four(&pool, &no_refresh()), client());
    let request = || Request::post(&origin).body(Full::from("a question")).unwrap();
    let error = service.oneshot(request()).await.unwrap_err();
    assert!(!is_connect_error(&error), "{error:?}");
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!((pool.counters().attempts, pool.counters().rotations), (1, 0));

    // Unless the caller allows it.
    let (rotate, ..) = four(&pool, &no_refresh());
    let rotate = rotate.network(NetworkRetry::default().times(2).when(|_| true));
    let service: Stack<Incoming> = stack((rotate, AuthHeaderLayer::new(pool.clone())), client());
    service.oneshot(request()).await.unwrap_err();
    assert_eq!(count.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_post_is_sent_again_after_a_refused_connection() {
    // The first connection goes to a port that nobody listens on, the second one to the server.
    let upstream = Upstream::new();
    let server = Server::start(&upstream).await;
    let pool = server.builder(keys(["a", "b"]).await).open().await.unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (connects, open) = (Arc::new(AtomicUsize::new(0)), server.address);
    let tries = connects.clone();
    let connector = tower::service_fn(move |_: http::Uri| {
        let address = if tries.fetch_add(1, Ordering::SeqCst) == 0 { closed } else { open };
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
        })
    });
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build::<_, Full<bytes::Bytes>>(connector);
    let service: Stack<Incoming> = stack(four(&pool, &no_refresh()), client);
    assert_eq!(ask(&service, server.post()).await, (200, "a".into()));
    assert_eq!(connects.load(Ordering::SeqCst), 2);
    assert_eq!(upstream.seen.all()[0].body, "a question");
}

#[tokio::test]
async fn a_connect_error_is_retried_once_with_the_same_credential_and_does_not_rotate() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let events = Journal::new();
    let provider = GenericProvider::bearer("x").origin(&format!("http://{closed}")).unwrap();
    let pool = Pool::builder(provider, keys(["a", "b"]).await)
        .on_event(events.observer())
        .open()
        .await
        .unwrap();
    let service: Stack<Incoming> = stack(four(&pool, &no_refresh()), client());
    let request = Request::post(format!("http://{closed}/")).body(Full::from("hi")).unwrap();
    let error = service.oneshot(request).await.unwrap_err();
    assert!(is_connect_error(&error), "the client's own error comes out: {error:?}");
    let counters = pool.counters();
    assert_eq!((counters.attempts, counters.rotations), (2, 0));
    assert_eq!(events.count("Repeated"), 1);
    assert!(events.all()[0].contains("label: \"a\""));
    assert_eq!(order(&pool), ["a", "b"]);
    assert!(pool.status().iter().all(|status| status.standing == standing::Standing::default()));
}

#[tokio::test(start_paused = true)]
async fn a_request_succeeds_if_the_second_try_connects() {
    let refused = Canned::fails(std::io::ErrorKind::ConnectionRefused);
    let upstream = Upstream::new().answers("a", [refused, Canned::ok()]);
    let pool = builder(keys(["a", "b"]).await).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens(), ["a", "a"]);
}
