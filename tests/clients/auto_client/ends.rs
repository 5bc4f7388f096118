//! How a connection ends, and what becomes of its requests.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use tokio::time::{advance, pause, resume};
use tower::{Layer, ServiceExt};
use tower_credentials::https::AutoClient;
use tower_credentials::{CredentialsLayer, is_connect_error};

use super::{Site, answered, unprocessed, with_authority};
use crate::frames::ok;
use crate::unprocessed::{Frames, PERHAPS_PROCESSED, UNPROCESSED};
use crate::wire::{full, soon};

/// Lets this time pass.
async fn pass(time: Duration) {
    // What waits for the network must not see time pass meanwhile.
    pause();
    advance(time).await;
    resume();
}

#[test]
fn an_idle_connection_is_closed_after_90_s_and_one_in_use_is_not() {
    with_authority(an_idle_connection_is_closed_after_90_s_and_one_in_use_is_not, async |acceptor| {
        let site = Site::new(acceptor).await;
        let sent = site.get();
        let mut first = site.accept(100).await;
        first.serve(sent).await;
        // Each request begins the time anew.
        for _ in 0..2 {
            pass(Duration::from_secs(89)).await;
            let sent = site.get();
            first.serve(sent).await;
        }
        // A response that has not ended is a request under way.
        let sent = site.get();
        let id = first.request().await;
        ok(&mut first.0, id, 0).await.unwrap();
        let response = soon("a response", sent).await.unwrap().unwrap();
        pass(Duration::from_secs(200)).await;
        let sent = site.get();
        first.serve(sent).await;
        drop(response);

        // Once it is known that the last one has ended.
        pass(Duration::from_secs(1)).await;
        pass(Duration::from_secs(90)).await;
        first.closed().await;
        let sent = site.get();
        let mut second = site.accept(100).await;
        second.serve(sent).await;
    });
}

#[test]
fn what_a_goaway_leaves_out_is_sent_again_if_all_of_it_is_still_there() {
    with_authority(
        what_a_goaway_leaves_out_is_sent_again_if_all_of_it_is_still_there,
        async |acceptor| {
            let site = Site::new(acceptor).await;
            let one = site.get();
            let mut first = site.accept(100).await;
            let id_of_one = first.request().await;
            let (two, three) = (site.get(), site.send(Method::POST, full("body")));
            first.request().await;
            first.request().await;
            first.go_away(id_of_one).await;
            // That with a body is for the layers, which may have kept it.
            unprocessed(three).await;
            let mut second = site.accept(100).await;
            let id_of_two = second.serve(two).await;
            first.respond(id_of_one).await;
            answered(one).await;
            first.closed().await;
            // A server that ends each connection with its first request would be asked for ever.
            second.go_away(id_of_two).await;
            second.closed().await;
            let sent = site.get();
            let mut third = site.accept(100).await;
            third.request().await;
            third.go_away(0).await;
            unprocessed(sent).await;
        },
    );
}

#[test]
fn what_a_server_says_it_did_not_process_is_sent_again_by_the_layers_and_nothing_else() {
    with_authority(
        what_a_server_says_it_did_not_process_is_sent_again_by_the_layers_and_nothing_else,
        async |acceptor| {
            let again = UNPROCESSED.map(|act| (act, Ok(200), 2));
            let once = PERHAPS_PROCESSED.map(|act| (act, Err(false), 1));
            for (act, expected, requests) in again.into_iter().chain(once) {
                let acceptor = acceptor.clone();
                let accept = move |stream| {
                    let acceptor = acceptor.clone();
                    async move { acceptor.accept(stream).await.unwrap() }
                };
                let server = Frames::over("https", [act], accept).await;
                let pool = server.pool().await;
                let client = CredentialsLayer::new(pool.clone()).layer(AutoClient::new().unwrap());
                let request = Request::post(&server.origin).body(Full::<Bytes>::from("hi")).unwrap();
                let outcome = soon("a response", client.oneshot(request)).await;
                let outcome = outcome.map(|response| response.status().as_u16());
                assert_eq!(outcome.map_err(|error| is_connect_error(&error)), expected, "{act:?}");
                assert_eq!((server.requests(), pool.counters().rotations), (requests, 0), "{act:?}");
            }
        },
    );
}
