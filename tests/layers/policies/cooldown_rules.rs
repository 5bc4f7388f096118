//! Which responses begin a cooldown, for how long, and how many accounts a request may try.

use std::num::NonZeroU32;
use std::time::Duration;

use tower_credentials::policy::Sticky;
use tower_credentials::standing::Reason;
use tower_credentials::*;

use super::{Rig, by, left};
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_used_up_allowance_cools_the_account_before_a_429_does() {
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
async fn the_allowance_can_be_ignored() {
    let cooldowns = exact().heed_allowance(false);
    let build = builder(keys(["a", "b"]).await).cooldowns(cooldowns);
    let rig = Rig::new(build, Upstream::new().answers("a", [left(0, 60)])).await;
    assert_eq!(rig.tokens(2).await, ["a", "a"]);
    assert_eq!(cools(&rig.pool, "a"), Duration::ZERO);
}

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
async fn any_status_can_mean_a_limit() {
    let cooldowns = exact().limited_statuses(|status| status == 529);
    let upstream =
        Upstream::new().answers("a", [Canned::status(529)]).answers("b", [Canned::limited(30)]);
    let rig = Rig::new(builder(keys(["a", "b", "c"]).await).cooldowns(cooldowns), upstream).await;
    assert_eq!(rig.ask().await, 429, "which is then none");
    assert_eq!(rig.upstream.tokens(), ["a", "b"]);
    assert!(cools(&rig.pool, "a") > Duration::ZERO && cools(&rig.pool, "b") == Duration::ZERO);
}

/// The guessed cooldowns of this many limits in a row.
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
async fn jitter_only_prolongs_and_by_no_more_than_its_fraction() {
    let cooldowns = || exact().limited(seconds(100)).growth(1.0).cap(seconds(10_000)).jitter(0.5);
    let guessed = guessed(cooldowns(), 200).await;
    let (least, most) = (guessed.iter().min().unwrap(), guessed.iter().max().unwrap());
    assert!(*least >= seconds(100) && *most <= seconds(150), "{least:?} to {most:?}");
    assert!(*least < seconds(110) && *most > seconds(140), "it is spread: {least:?} to {most:?}");
}

#[tokio::test(start_paused = true)]
async fn a_success_restarts_the_growth() {
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
async fn even_a_403_can_mean_a_limit() {
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
