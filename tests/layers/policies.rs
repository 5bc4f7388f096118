//! Which credential a request takes, how long one cools down, and what happens when all do.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;
use tower::ServiceExt;
use tower_credentials::policy::{
    LeastRecentlyUsed, MostHeadroom, Policy, RoundRobin, SoonestReset, Sticky, Weighted,
};
use tower_credentials::standing::{Reason, Scope};
use tower_credentials::*;

use crate::support::*;

struct Rig {
    pool: Pool,
    upstream: Upstream,
    service: Stack,
}

impl Rig {
    async fn new(build: PoolBuilder, upstream: Upstream) -> Self {
        let pool = build.clock(tokio_clock()).open().await.unwrap();
        let service = stack(four(&pool, &no_refresh()), upstream.clone());
        Self { pool, upstream, service }
    }

    async fn ask(&self) -> u16 {
        ask(&self.service, post()).await.0
    }

    /// Which credentials answer this many requests in a row.
    async fn tokens(&self, requests: usize) -> Vec<String> {
        let before = self.upstream.tokens().len();
        for _ in 0..requests {
            self.ask().await;
        }
        self.upstream.tokens().split_off(before)
    }
}

async fn by<const N: usize>(policy: impl Policy, labels: [&str; N], upstream: Upstream) -> Rig {
    Rig::new(builder(keys(labels).await).policy(policy), upstream).await
}

/// A good response that says how much is left, of a hundred, until when.
fn left(remaining: u64, reset: u64) -> Canned {
    Canned::ok()
        .header("x-ratelimit-limit-requests", "100")
        .header("x-ratelimit-remaining-requests", &remaining.to_string())
        .header("x-ratelimit-reset-requests", &format!("{reset}s"))
}

// Policies

#[tokio::test(start_paused = true)]
async fn sticky_keeps_to_the_first_until_it_is_limited_and_does_not_go_back() {
    let upstream = Upstream::new().answers("a", [Canned::ok(), Canned::limited(10), Canned::ok()]);
    let rig = by(Sticky, ["a", "b"], upstream).await;
    assert_eq!(rig.tokens(3).await, ["a", "a", "b", "b"]);
    tokio::time::advance(seconds(11)).await;
    assert_eq!(rig.tokens(2).await, ["b", "b"]);
}

#[tokio::test(start_paused = true)]
async fn round_robin_takes_each_in_turn_and_one_that_was_away_does_not_catch_up() {
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
async fn least_recently_used_takes_the_one_that_rested_longest() {
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
async fn soonest_reset_takes_the_one_whose_allowance_is_renewed_first() {
    let upstream = Upstream::new()
        .answers("a", [left(50, 3000)])
        .answers("b", [left(50, 100)])
        .answers("c", [left(50, 2000)]);
    let rig = by(SoonestReset, ["a", "b", "c"], upstream).await;
    for label in ["a", "b", "c"] {
        let mut request = post();
        request.extensions_mut().insert(Pin::label(label));
        ask(&rig.service, request).await;
    }
    assert_eq!(rig.tokens(2).await, ["b", "b"]);
    rig.upstream.set("b", [Canned::limited(50)]);
    assert_eq!(rig.tokens(1).await, ["b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn most_headroom_takes_the_one_with_the_largest_part_left() {
    let upstream = Upstream::new()
        .answers("a", [left(20, 3000)])
        .answers("b", [left(90, 3000), left(10, 3000)])
        .answers("c", [left(50, 3000)]);
    let rig = by(MostHeadroom, ["a", "b", "c"], upstream).await;
    assert_eq!(rig.tokens(3).await, ["a", "b", "c"], "one that is not known counts as untouched");
    assert_eq!(rig.tokens(2).await, ["b", "c"], "b has told that little is left");
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

// What a request may wish for

fn kept_on(key: &'static str) -> Asked {
    let mut request = post();
    request.extensions_mut().insert(Affinity::new(key));
    request
}

#[tokio::test(start_paused = true)]
async fn affinity_keeps_a_conversation_on_its_account_falls_over_and_stays_there() {
    let rig = by(RoundRobin, ["a", "b", "c"], Upstream::new()).await;
    for key in ["one", "two", "one", "one", "two"] {
        ask(&rig.service, kept_on(key)).await;
    }
    assert_eq!(rig.upstream.tokens(), ["a", "b", "a", "a", "b"]);

    rig.upstream.set("a", [Canned::limited(10), Canned::ok()]);
    ask(&rig.service, kept_on("one")).await;
    let fallen_to = rig.upstream.tokens().pop().unwrap();
    assert_ne!(fallen_to, "a");
    tokio::time::advance(seconds(20)).await;
    for _ in 0..3 {
        ask(&rig.service, kept_on("one")).await;
        assert_eq!(rig.upstream.tokens().pop().unwrap(), fallen_to, "though a is ready again");
    }
    ask(&rig.service, kept_on("two")).await;
    assert_eq!(rig.upstream.tokens().pop().unwrap(), "b", "others are not moved");
}

#[tokio::test(start_paused = true)]
async fn a_pin_takes_the_named_credential_whatever_the_policy() {
    let rig = by(RoundRobin, ["a", "b", "c"], Upstream::new()).await;
    for _ in 0..3 {
        let mut request = post();
        request.extensions_mut().insert(Pin::label("c"));
        ask(&rig.service, request).await;
    }
    assert_eq!(rig.upstream.tokens(), ["c", "c", "c"]);
}

fn of_model(name: &'static str) -> Asked {
    let mut request = post();
    request.extensions_mut().insert(Scope::new(name));
    request
}

#[tokio::test(start_paused = true)]
async fn a_models_limit_cools_the_account_for_that_model_only() {
    let upstream = Upstream::new().answers("a", [Canned::limited(3000), Canned::ok()]);
    let rig = by(Sticky, ["a", "b"], upstream).await;
    ask(&rig.service, of_model("big")).await;
    ask(&rig.service, of_model("small")).await;
    ask(&rig.service, post()).await;
    ask(&rig.service, of_model("big")).await;
    assert_eq!(rig.upstream.tokens(), ["a", "b", "a", "a", "b"]);
    assert_eq!(order(&rig.pool), ["a", "b"], "a model's limit moves nobody");
    let standing = status_of(&rig.pool, "a").standing;
    assert_eq!(standing.cooldowns.len(), 1);
    assert_eq!(
        standing.cooldowns[0].scope,
        Some(Scope::new("big")),
        "a success elsewhere does not clear it"
    );
    tokio::time::advance(seconds(3001)).await;
    ask(&rig.service, of_model("big")).await;
    assert_eq!(rig.upstream.tokens()[5], "a");
}

#[tokio::test(start_paused = true)]
async fn an_accounts_limit_holds_for_every_model() {
    let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
    let rig = by(Sticky, ["a", "b"], upstream).await;
    ask(&rig.service, post()).await;
    ask(&rig.service, of_model("big")).await;
    assert_eq!(rig.upstream.tokens(), ["a", "b", "b"]);
}

// Allowances

#[tokio::test(start_paused = true)]
async fn a_response_that_says_nothing_remains_cools_before_a_429() {
    let rig = by(Sticky, ["a", "b"], Upstream::new().answers("a", [left(0, 60), left(99, 60)])).await;
    assert_eq!(rig.tokens(2).await, ["a", "b"]);
    assert_eq!(cools(&rig.pool, "a"), seconds(60));
    let standing = status_of(&rig.pool, "a").standing;
    assert_eq!((standing.failures, standing.cooldowns[0].reason), (0, Reason::UsedUp));
    tokio::time::advance(seconds(60)).await;
    rig.upstream.set("b", [Canned::limited(10)]);
    assert_eq!(rig.tokens(1).await, ["b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn heeding_the_allowance_can_be_switched_off() {
    let cooldowns = exact().heed_allowance(false);
    let build = builder(keys(["a", "b"]).await).cooldowns(cooldowns);
    let rig = Rig::new(build, Upstream::new().answers("a", [left(0, 60)])).await;
    assert_eq!(rig.tokens(2).await, ["a", "a"]);
    assert_eq!(cools(&rig.pool, "a"), Duration::ZERO);
}

// Waiting instead of rotating

async fn patient(upstream: Upstream, bound: Duration) -> (Pool, Stack) {
    let pool = builder(keys(["a", "b"]).await).clock(tokio_clock()).open().await.unwrap();
    let (rotate, refresh, auth, persist) = four(&pool, &no_refresh());
    let service = stack((rotate.wait_up_to(bound), refresh, auth, persist), upstream);
    (pool, service)
}

#[tokio::test(start_paused = true)]
async fn a_short_limit_is_waited_out_and_a_long_one_rotated_away_from() {
    let upstream = Upstream::new().answers("a", [Canned::limited(2), Canned::ok(), Canned::limited(6)]);
    let (_pool, service) = patient(upstream.clone(), seconds(5)).await;
    let start = Instant::now();
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!((upstream.tokens(), start.elapsed()), (vec!["a".into(), "a".into()], seconds(2)));
    assert_eq!(ask(&service, post()).await, (200, "b".into()));
    assert_eq!(start.elapsed(), seconds(2), "a longer one is not waited for");
}

#[tokio::test(start_paused = true)]
async fn each_limit_is_waited_out_once_and_all_waits_of_a_request_together_keep_to_the_bound() {
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(2)])
        .answers("b", [Canned::limited(4), Canned::ok()]);
    let (_pool, service) = patient(upstream.clone(), seconds(5)).await;
    let start = Instant::now();
    assert_eq!(ask(&service, post()).await.0, 429);
    assert_eq!(upstream.tokens(), ["a", "a", "b"], "with 2 of 5 seconds gone, 4 are too many");
    assert_eq!(start.elapsed(), seconds(2));
}

// All cooling down

async fn all_cooling(then: WhenAllCoolingDown, first: [u64; 2]) -> Rig {
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(first[0]), Canned::ok()])
        .answers("b", [Canned::limited(first[1]), Canned::ok()]);
    let rig = Rig::new(builder(keys(["a", "b"]).await).when_all_cooling_down(then), upstream).await;
    assert_eq!(rig.ask().await, 429);
    rig
}

#[tokio::test(start_paused = true)]
async fn when_all_cool_down_the_soonest_is_tried() {
    let rig = all_cooling(WhenAllCoolingDown::TrySoonest, [3000, 60]).await;
    assert_eq!(rig.tokens(1).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn when_all_cool_down_it_can_be_an_error_that_says_how_long() {
    let rig = all_cooling(WhenAllCoolingDown::Fail, [3000, 60]).await;
    tokio::time::advance(seconds(10)).await;
    let error = rig.service.clone().oneshot(post()).await.unwrap_err();
    let Some(Error::AllCoolingDown { retry_after, .. }) = error.downcast_ref() else {
        panic!("{error:?}")
    };
    assert_eq!(*retry_after, seconds(50));
    assert_eq!(rig.upstream.tokens().len(), 2, "nothing was sent");
    tokio::time::advance(seconds(50)).await;
    assert_eq!(rig.ask().await, 200);
}

#[tokio::test(start_paused = true)]
async fn error_response_layer_makes_that_a_429_with_retry_after() {
    let rig = all_cooling(WhenAllCoolingDown::Fail, [3000, 60]).await;
    tokio::time::advance(Duration::from_millis(500)).await;
    let layered = tower::Layer::layer(&ErrorResponseLayer::new(), rig.service.clone());
    let response = layered.clone().oneshot(post()).await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "60", "whole seconds, never too few");
    assert_eq!(response.headers()["retry-after-ms"], "59500");
    let mut pinned = post();
    pinned.extensions_mut().insert(Pin::label("nobody"));
    let error = layered.oneshot(pinned).await.unwrap_err();
    assert!(error.is::<Error>(), "other errors pass");
}

#[tokio::test(start_paused = true)]
async fn when_all_cool_down_a_request_can_wait_for_the_first_up_to_a_bound() {
    let rig = all_cooling(WhenAllCoolingDown::WaitUpTo(seconds(90)), [3000, 60]).await;
    let start = Instant::now();
    assert_eq!(rig.tokens(1).await, ["b"]);
    assert_eq!(start.elapsed(), seconds(60));

    let rig = all_cooling(WhenAllCoolingDown::WaitUpTo(seconds(30)), [3000, 60]).await;
    let start = Instant::now();
    let error = rig.service.clone().oneshot(post()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::AllCoolingDown { .. })), "{error:?}");
    assert_eq!(start.elapsed(), Duration::ZERO, "a wait that would not do is not begun");
}

// The budget, the statuses and the cooldowns

#[tokio::test(start_paused = true)]
async fn the_attempts_budget_counts_credentials_not_refreshes() {
    let labels = ["a", "b", "c"];
    let upstream = labels.iter().fold(Upstream::new(), |upstream, label| {
        upstream
            .answers(&format!("{label}-1"), [Canned::status(401)])
            .answers(&format!("{label}-2"), [Canned::limited(30)])
    });
    for (budget, expected) in [(1, 2), (2, 4), (3, 6), (9, 6)] {
        let upstream = upstream.clone();
        let before = upstream.tokens().len();
        let pool = builder(accounts(labels).await).clock(tokio_clock()).open().await.unwrap();
        let (rotate, refresh, auth, persist) = four(&pool, &renewing(&Journal::new()));
        let rotate = rotate.max_attempts(NonZeroU32::new(budget).unwrap());
        let service = stack((rotate, refresh, auth, persist), upstream.clone());
        assert_eq!(ask(&service, post()).await.0, 429);
        assert_eq!(upstream.tokens().len() - before, expected, "with a budget of {budget}");
    }
}

#[tokio::test(start_paused = true)]
async fn any_statuses_can_mean_a_limit() {
    let cooldowns = exact().limited_statuses(|status| status == 529);
    let upstream =
        Upstream::new().answers("a", [Canned::status(529)]).answers("b", [Canned::limited(30)]);
    let rig = Rig::new(builder(keys(["a", "b", "c"]).await).cooldowns(cooldowns), upstream).await;
    assert_eq!(rig.ask().await, 429, "which is then none");
    assert_eq!(rig.upstream.tokens(), ["a", "b"]);
    assert!(cools(&rig.pool, "a") > Duration::ZERO && cools(&rig.pool, "b") == Duration::ZERO);
}

/// The cooldowns that are guessed for one limit after the other.
async fn guessed(cooldowns: Cooldowns, limits: usize) -> Vec<Duration> {
    let upstream = Upstream::new().answers("a", [Canned::status(429)]);
    let rig = Rig::new(builder(keys(["a"]).await).cooldowns(cooldowns), upstream).await;
    let mut guessed = Vec::new();
    for _ in 0..limits {
        rig.ask().await;
        guessed.push(cools(&rig.pool, "a"));
        tokio::time::advance(cools(&rig.pool, "a")).await;
    }
    guessed
}

#[tokio::test(start_paused = true)]
async fn a_guessed_cooldown_grows_with_each_limit_in_a_row_up_to_its_cap() {
    let cooldowns = || exact().jitter(0.0);
    let secs = |numbers: &[u64]| numbers.iter().copied().map(seconds).collect::<Vec<_>>();
    assert_eq!(guessed(cooldowns(), 9).await, secs(&[30, 60, 120, 240, 480, 960, 1920, 3600, 3600]));
    let other = cooldowns().limited(seconds(10)).growth(3.0).cap(seconds(100));
    assert_eq!(guessed(other, 5).await, secs(&[10, 30, 90, 100, 100]));
    assert_eq!(guessed(cooldowns().growth(0.1), 3).await, secs(&[30, 30, 30]), "it never shrinks");
    assert_eq!(guessed(cooldowns().growth(f64::NAN), 2).await, secs(&[30, 30]));
    let many = guessed(cooldowns(), 2000).await;
    assert_eq!(*many.last().unwrap(), seconds(3600), "nor overflows");
}

#[tokio::test(start_paused = true)]
async fn jitter_only_prolongs_and_by_no_more_than_its_part() {
    let cooldowns = || exact().limited(seconds(100)).growth(1.0).cap(seconds(10_000)).jitter(0.5);
    let guessed = guessed(cooldowns(), 200).await;
    let (least, most) = (guessed.iter().min().unwrap(), guessed.iter().max().unwrap());
    assert!(*least >= seconds(100) && *most <= seconds(150), "{least:?} to {most:?}");
    assert!(*least < seconds(110) && *most > seconds(140), "it is spread: {least:?} to {most:?}");
}

#[tokio::test(start_paused = true)]
async fn a_success_begins_the_growth_anew() {
    let limited = || Canned::status(429);
    let upstream = Upstream::new().answers("a", [limited(), limited(), Canned::ok(), limited()]);
    let cooldowns = exact().jitter(0.0);
    let rig = Rig::new(builder(keys(["a"]).await).cooldowns(cooldowns), upstream).await;
    for expected in [30, 60, 0, 30] {
        rig.ask().await;
        assert_eq!(cools(&rig.pool, "a"), seconds(expected));
        tokio::time::advance(seconds(expected)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_credentials_cooldown_can_be_set() {
    let cooldowns = exact().refused(seconds(7)).growth(1.0);
    let upstream = Upstream::new().answers("a", [Canned::status(401)]);
    let rig = Rig::new(builder(keys(["a", "b"]).await).cooldowns(cooldowns), upstream).await;
    assert_eq!(rig.tokens(1).await, ["a", "b"]);
    assert_eq!(cools(&rig.pool, "a"), seconds(7));
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_said_to_mean_a_limit_does_even_if_it_is_a_403() {
    let cooldowns = exact().limited_statuses(|status| status == 429 || status == 403);
    let upstream = Upstream::new().answers("a-1", [Canned::status(403).header("retry-after", "60")]);
    let pool = builder(accounts(["a", "b"]).await)
        .clock(tokio_clock())
        .cooldowns(cooldowns)
        .open()
        .await
        .unwrap();
    let refreshes = Journal::new();
    let service = stack(four(&pool, &renewing(&refreshes)), upstream.clone());
    assert_eq!(ask(&service, post()).await, (200, "b-1".into()));
    assert_eq!(cools(&pool, "a"), seconds(60));
    assert!(refreshes.all().is_empty(), "a quota is no reason to renew a token");
}
