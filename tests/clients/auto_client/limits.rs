//! How many requests there are at once on a connection.

use http::Method;

use super::{Site, answered, unprocessed, with_authority};
use crate::frames::HEADERS;
use crate::wire::{channel, soon};

#[test]
fn a_limit_that_is_lowered_sends_the_next_requests_to_another_connection() {
    with_authority(
        a_limit_that_is_lowered_sends_the_next_requests_to_another_connection,
        async |acceptor| {
            let site = Site::new(acceptor).await;
            let one = site.get();
            let mut first = site.accept(2).await;
            let id_of_one = first.request().await;
            first.limit(1).await;
            let two = site.get();
            let mut second = site.accept(1).await;
            let id_of_two = second.request().await;
            // Those under way go on.
            first.respond(id_of_one).await;
            answered(one).await;
            let three = site.get();
            first.serve(three).await;
            second.respond(id_of_two).await;
            answered(two).await;
            // With none at all, a connection is of no use for the time being.
            for connection in [&mut first, &mut second] {
                connection.limit(0).await;
            }
            let four = site.get();
            let mut third = site.accept(1).await;
            third.serve(four).await;
        },
    );
}

#[test]
fn a_limit_that_is_raised_holds_for_the_next_request_and_for_those_that_wait() {
    with_authority(
        a_limit_that_is_raised_holds_for_the_next_request_and_for_those_that_wait,
        async |acceptor| {
            let site = Site::new(acceptor).await;
            let one = site.get();
            let mut first = site.accept(1).await;
            let id_of_one = first.request().await;
            first.limit(2).await;
            let two = site.get();
            let id_of_two = first.request().await;
            // Its connection is still being made when there is a place on the first one.
            let three = site.get();
            let (making, _) = soon("a connection", site.listener.accept()).await.unwrap();
            first.limit(3).await;
            let id_of_three = first.request().await;
            for (id, sent) in [(id_of_three, three), (id_of_two, two), (id_of_one, one)] {
                first.respond(id).await;
                answered(sent).await;
            }
            drop(making);
        },
    );
}

#[test]
fn an_upload_whose_response_is_there_already_counts_until_it_has_ended() {
    with_authority(
        an_upload_whose_response_is_there_already_counts_until_it_has_ended,
        async |acceptor| {
            let site = Site::new(acceptor).await;
            let (pieces, body) = channel();
            let upload = site.send(Method::POST, body);
            let mut first = site.accept(1).await;
            let id_of_upload = first.until(|frame| frame.kind == HEADERS).await;
            first.respond(id_of_upload).await;
            answered(upload).await;
            let sent = site.get();
            let mut second = site.accept(1).await;
            let id = second.request().await;
            let waiting = site.get();
            drop(pieces);
            assert_eq!(first.request().await, id_of_upload);
            // The place is free again.
            let id_of_waiting = first.request().await;
            for (connection, id, sent) in [(&mut first, id_of_waiting, waiting), (&mut second, id, sent)]
            {
                connection.respond(id).await;
                answered(sent).await;
            }
        },
    );
}

#[test]
fn no_request_is_sent_before_the_server_has_said_how_many_it_takes() {
    with_authority(no_request_is_sent_before_the_server_has_said_how_many_it_takes, async |acceptor| {
        let site = Site::new(acceptor).await;
        let sent = [site.get(), site.get()];
        let mut first = site.accept(0).await;
        first.limit(2).await;
        for sent in sent {
            first.serve(sent).await;
        }
        // A server that says nothing, and ends.
        let site = Site::new(site.acceptor).await;
        let sent = site.get();
        let mut mute = site.accept(0).await;
        mute.go_away(0).await;
        unprocessed(sent).await;
        drop(mute);
    });
}
