//! How many attempts one request may cost.

use std::collections::HashSet;
use std::io::ErrorKind;

use tower::ServiceExt;
use tower_credentials::Attempt;

use crate::support::*;

#[tokio::test]
async fn a_request_makes_at_most_one_attempt_per_credential_one_per_refresh_and_the_repeats() {
    let labels = ["a", "b", "c"];
    let upstream = labels.iter().fold(Upstream::new(), |upstream, label| {
        upstream
            .answers(&format!("{label}-1"), [Canned::status(401)])
            .answers(&format!("{label}-2"), [Canned::limited(30)])
    });
    let refused = [Canned::fails(ErrorKind::ConnectionRefused), Canned::status(401)];
    let upstream = upstream.answers("a-1", refused);
    let pool = builder(accounts(labels).await).expose_attempts(true).open().await.unwrap();
    let (refreshes, resends) = (Journal::new(), Journal::new());
    let noted = {
        let resends = resends.clone();
        tower::util::MapRequestLayer::new(move |request: Asked| {
            resends.push(request.extensions().get::<Attempt>().unwrap().resend_count());
            request
        })
    };
    let service = stack((four(&pool, &renewing(&refreshes)), noted), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 429);
    assert_eq!(upstream.tokens(), ["a-1", "a-1", "a-2", "b-1", "b-2", "c-1", "c-2"]);
    assert_eq!(refreshes.all(), labels);
    assert_eq!(resends.all(), [0, 1, 2, 3, 4, 5, 6], "whatever the reason was");
    let counters = pool.counters();
    assert_eq!(
        (counters.requests, counters.attempts, counters.rotations, counters.refreshes),
        (1, 7, 2, 3)
    );
}

#[tokio::test]
async fn one_request_tries_every_credential_however_many_refreshes_the_others_need() {
    let labels = ["a", "b", "c", "d"];
    let upstream = ["a", "b", "c"].iter().fold(Upstream::new(), |upstream, label| {
        upstream
            .answers(&format!("{label}-1"), [Canned::status(401)])
            .answers(&format!("{label}-2"), [Canned::status(401)])
    });
    let pool = builder(accounts(labels).await).open().await.unwrap();
    let service = stack(four(&pool, &renewing(&Journal::new())), upstream.clone());
    assert_eq!(ask(&service, post()).await, (200, "d-1".into()));
    let tried: HashSet<_> = upstream.tokens().into_iter().collect();
    assert_eq!(tried.len(), 7);
}

#[tokio::test(start_paused = true)]
async fn the_first_request_is_repeated_no_more_often_than_later_ones() {
    for stacked in ORDERS {
        let pool = builder(keys(["a", "b"]).await).open().await.unwrap();
        let refused = Canned::fails(std::io::ErrorKind::ConnectionRefused);
        let upstream = Upstream::new().answers("a", [refused]);
        let service = stacked(&pool, upstream.clone());
        for attempts in [2, 4] {
            service.clone().oneshot(post()).await.unwrap_err();
            assert_eq!(upstream.count("a"), attempts);
        }
    }
}
