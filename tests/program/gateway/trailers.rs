//! Trailers are no way around what is removed from headers.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

use super::process::{Gateway, add_settings, home_of_x};
use crate::wire::{Wire, full, whole};

#[tokio::test]
async fn a_clients_credentials_in_trailers_go_no_further() {
    let seen: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
    let log = seen.clone();
    let wire = Wire::start(move |request: Request<hyper::body::Incoming>| {
        let log = log.clone();
        async move {
            let trailers = whole(request.into_body()).await.1;
            log.lock().unwrap().push(trailers);
            Response::new(full(""))
        }
    })
    .await;
    let home = home_of_x(&wire.origin(), &["a"]).await;
    add_settings(&home, "header = \"x-own-key\"\n");
    let gateway = Gateway::open(&home, &[]).await;
    // The names that tools use, that of the provider, and those for one connection only.
    let names = [
        "authorization",
        "x-api-key",
        "X-Goog-Api-Key",
        "api-key",
        "x-own-key",
        "proxy-authorization",
        "keep-alive",
        "connection",
    ];
    let trailers: String = names.iter().map(|name| format!("{name}: planted\r\n")).collect();
    let head =
        "POST /x/v1 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n";
    for announced in [true, false] {
        let announcement =
            if announced { format!("trailer: x-kept, {}\r\n", names.join(", ")) } else { String::new() };
        let body = format!("2\r\nhi\r\n0\r\n{trailers}x-kept: 1\r\n\r\n");
        let said = gateway.raw(format!("{head}{announcement}\r\n{body}")).await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
        let arrived = seen.lock().unwrap().pop().unwrap();
        // hyper sends those that were announced.
        let expected = if announced {
            HeaderMap::from_iter([(HeaderName::from_static("x-kept"), HeaderValue::from_static("1"))])
        } else {
            HeaderMap::new()
        };
        assert_eq!(arrived, expected);
    }
    gateway.stop_without_a_word().await;
}
