//! The account that each policy picks.

use std::collections::HashMap;

use tower_credentials::policy::{
    LeastRecentlyUsed, MostHeadroom, Policy, RoundRobin, SoonestReset, Sticky, Weighted,
};
use tower_credentials::*;

use super::{by, left};
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn sticky_keeps_to_the_first_until_it_is_limited_and_does_not_go_back() {
    let upstream = Upstream::new().answers("a", [Canned::ok(), Canned::limited(10), Canned::ok()]);
    let rig = by(Sticky, ["a", "b"], upstream).await;
    assert_eq!(rig.tokens(3).await, ["a", "a", "b", "b"]);
    tokio::time::advance(seconds(11)).await;
    assert_eq!(rig.tokens(2).await, ["b", "b"]);
}

#[tokio::test(start_paused = true)]
async fn round_robin_takes_each_in_turn_and_an_account_that_was_away_does_not_catch_up() {
    let upstream = Upstream::new().answers("b", [Canned::ok(), Canned::limited(10), Canned::ok()]);
    let rig = by(RoundRobin, ["a", "b", "c"], upstream).await;
    assert_eq!(rig.tokens(4).await, ["a", "b", "c", "a"]);
    assert_eq!(rig.tokens(1).await, ["b", "c"]);
    let without_b = rig.tokens(20).await;
    assert_eq!(without_b.iter().filter(|token| *token == "a").count(), 10);
    tokio::time::advance(seconds(11)).await;
    let with_b = rig.tokens(9).await;
    assert_eq!(with_b.iter().filter(|token| *token == "b").count(), 3, "{with_b:?}");
}

#[tokio::test(start_paused = true)]
async fn least_recently_used_takes_the_account_that_rested_longest() {
    let upstream = Upstream::new().answers("b", [Canned::limited(10), Canned::ok()]);
    let rig = by(LeastRecentlyUsed, ["a", "b", "c"], upstream).await;
    assert_eq!(rig.tokens(4).await, ["a", "b", "c", "a", "c"]);
    tokio::time::advance(seconds(11)).await;
    assert_eq!(rig.tokens(4).await, ["b", "a", "c", "b"]);
}

#[tokio::test(start_paused = true)]
async fn weighted_takes_each_in_proportion_and_spread_evenly() {
    let weights: HashMap<&str, u32> = [("a", 5), ("b", 3), ("c", 1)].into();
    let policy = Weighted::by(move |metadata| weights[&*metadata.label]);
    let rig = by(policy, ["a", "b", "c"], Upstream::new()).await;
    let tokens = rig.tokens(900).await;
    let count = |token: &str| tokens.iter().filter(|seen| *seen == token).count();
    let counts = [count("a"), count("b"), count("c")];
    for (count, expected) in counts.into_iter().zip([500usize, 300, 100]) {
        assert!(count.abs_diff(expected) <= 2, "{counts:?}");
    }
    for ten in tokens.chunks(10) {
        assert!((4..=7).contains(&ten.iter().filter(|token| *token == "a").count()), "{ten:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_weight_of_zero_counts_as_one() {
    let rig = by(Weighted::by(|_| 0), ["a", "b"], Upstream::new()).await;
    assert_eq!(rig.tokens(4).await, ["a", "b", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn soonest_reset_takes_the_account_whose_allowance_is_renewed_first() {
    let upstream = Upstream::new()
        .answers("a", [left(50, 3000)])
        .answers("b", [left(50, 100)])
        .answers("c", [left(50, 2000)]);
    let rig = by(SoonestReset, ["a", "b", "c"], upstream).await;
    for label in ["a", "b", "c"] {
        let request = pinned(label);
        ask(&rig.service, request).await;
    }
    assert_eq!(rig.tokens(2).await, ["b", "b"]);
    rig.upstream.set("b", [Canned::limited(50)]);
    assert_eq!(rig.tokens(1).await, ["b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn most_headroom_takes_the_account_with_the_largest_fraction_left() {
    let upstream = Upstream::new()
        .answers("a", [left(20, 3000)])
        .answers("b", [left(90, 3000), left(10, 3000)])
        .answers("c", [left(50, 3000)]);
    let rig = by(MostHeadroom, ["a", "b", "c"], upstream).await;
    assert_eq!(rig.tokens(3).await, ["a", "b", "c"], "one that is not known counts as untouched");
    assert_eq!(rig.tokens(2).await, ["b", "c"], "b has reported that little is left");
    assert_eq!(rig.tokens(2).await, ["c", "c"]);
}

#[tokio::test(start_paused = true)]
async fn policies_combine_and_the_second_breaks_ties() {
    let upstream = Upstream::new()
        .answers("a", [left(50, 3000)])
        .answers("b", [left(50, 3000)])
        .answers("c", [left(40, 3000)]);
    let rig = by(MostHeadroom.then(LeastRecentlyUsed), ["a", "b", "c"], upstream).await;
    rig.tokens(3).await;
    assert_eq!(rig.tokens(4).await, ["a", "b", "a", "b"]);

    let even = |metadata: &Metadata| u32::from(&*metadata.label == "a") + 1;
    let rig = by(Sticky.then(Weighted::by(even)), ["a", "b"], Upstream::new()).await;
    let tokens = rig.tokens(9).await;
    assert_eq!(tokens.iter().filter(|token| *token == "a").count(), 6, "{tokens:?}");
}
