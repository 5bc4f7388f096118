//! After a long cooldown one request tries the account, and the others wait for what comes of it. Accounts whose limits
//! end at the same stated time do not all return in one instant.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tower::ServiceExt;
use tower_credentials::{Cooldowns, CredentialsLayer, Pin, Pool, WhenAllCoolingDown};

use crate::support::{
    Canned, Stack, Upstream, ask, builder, cools, keys, post, post_with, seconds, settle, stack,
    tokio_clock,
};

async fn pool<const N: usize>(labels: [&str; N]) -> Pool {
    builder(keys(labels).await).clock(tokio_clock()).open().await.unwrap()
}

fn over(pool: &Pool, upstream: &Upstream) -> Stack {
    stack(CredentialsLayer::new(pool.clone()), upstream.clone())
}

/// A response that comes once the gate is opened, and tells when it is waited for.
fn held(canned: Canned, gate: &Arc<Notify>) -> Canned {
    let gate = gate.clone();
    canned.after(move || {
        let gate = gate.clone();
        async move { gate.notified().await }
    })
}

fn send(stack: &Stack) -> tokio::task::JoinHandle<u16> {
    let stack = stack.clone();
    tokio::spawn(async move { stack.oneshot(post()).await.unwrap().status().as_u16() })
}

#[tokio::test(start_paused = true)]
async fn one_request_tries_and_the_others_wait_until_it_succeeds() {
    let pool = pool(["a"]).await;
    let gate = Arc::new(Notify::new());
    let upstream =
        Upstream::new().answers("a", [Canned::limited(60), held(Canned::ok(), &gate), Canned::ok()]);
    let stack = over(&pool, &upstream);
    assert_eq!(ask(&stack, post()).await.0, 429);
    tokio::time::advance(seconds(60)).await;
    let requests: Vec<_> = (0..10).map(|_| send(&stack)).collect();
    settle().await;
    assert_eq!(upstream.count("a"), 2, "one of ten is sent");
    gate.notify_one();
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
    assert_eq!(upstream.count("a"), 11);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_still_there_refuses_one_request_and_the_others_use_another_account() {
    let pool = pool(["a", "b"]).await;
    let gate = Arc::new(Notify::new());
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(60), held(Canned::limited(600), &gate)])
        .answers("b", [Canned::ok(), Canned::ok(), Canned::limited(60), Canned::ok()]);
    let stack = over(&pool, &upstream);
    assert_eq!(ask(&stack, post()).await.0, 200);
    tokio::time::advance(seconds(60)).await;
    let trial = {
        let stack = stack.clone();
        tokio::spawn(async move { ask(&stack, post_with(Pin::label("a"))).await.0 })
    };
    settle().await;
    assert_eq!(upstream.count("a"), 2);
    assert_eq!(ask(&stack, post()).await.0, 200);
    assert_eq!(upstream.tokens().last().unwrap(), "b");
    // Now `b` is limited, too. The request waits for the one that tries `a`, and for its word.
    let next = send(&stack);
    settle().await;
    assert_eq!(upstream.count("a"), 2);
    gate.notify_one();
    assert_eq!(trial.await.unwrap(), 429);
    assert_eq!(next.await.unwrap(), 429, "both are limited");
    assert_eq!(upstream.count("a"), 2, "only the first was refused by `a`");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_long_holds_the_others_for_ten_seconds_only() {
    let pool = pool(["a"]).await;
    let gate = Arc::new(Notify::new());
    let upstream =
        Upstream::new().answers("a", [Canned::limited(60), held(Canned::ok(), &gate), Canned::ok()]);
    let stack = over(&pool, &upstream);
    ask(&stack, post()).await;
    tokio::time::advance(seconds(60)).await;
    let long = send(&stack);
    settle().await;
    let next = send(&stack);
    settle().await;
    tokio::time::advance(Duration::from_millis(9_900)).await;
    settle().await;
    assert_eq!(upstream.count("a"), 2);
    assert_eq!(next.await.unwrap(), 200, "it is being served, so there is no limit");
    gate.notify_one();
    assert_eq!(long.await.unwrap(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_or_says_nothing_leaves_the_trial_to_the_next() {
    let pool = pool(["a"]).await;
    let gate = Arc::new(Notify::new());
    let upstream = Upstream::new().answers(
        "a",
        [
            Canned::limited(60),
            held(Canned::ok(), &gate),
            Canned::status(500),
            held(Canned::ok(), &gate),
            Canned::ok(),
        ],
    );
    let stack = over(&pool, &upstream);
    ask(&stack, post()).await;
    tokio::time::advance(seconds(60)).await;
    let first = send(&stack);
    settle().await;
    first.abort();
    settle().await;
    assert_eq!(ask(&stack, post()).await.0, 500);
    let requests = [send(&stack), send(&stack)];
    settle().await;
    assert_eq!(upstream.count("a"), 4, "one tries again");
    gate.notify_one();
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_short_cooldown_or_a_reset_all_are_sent_at_once() {
    let pool = pool(["a"]).await;
    let gate = Arc::new(Notify::new());
    let upstream = Upstream::new().answers(
        "a",
        [
            Canned::limited(59),
            held(Canned::ok(), &gate),
            held(Canned::ok(), &gate),
            Canned::limited(600),
            held(Canned::ok(), &gate),
            held(Canned::ok(), &gate),
        ],
    );
    let stack = over(&pool, &upstream);
    let both = async || {
        let before = upstream.count("a");
        let requests = [send(&stack), send(&stack)];
        settle().await;
        assert_eq!(upstream.count("a"), before + 2);
        gate.notify_waiters();
        for request in requests {
            assert_eq!(request.await.unwrap(), 200);
        }
    };
    ask(&stack, post()).await;
    tokio::time::advance(seconds(59)).await;
    both().await;
    assert_eq!(ask(&stack, post()).await.0, 429);
    let id = pool.status()[0].credential.id;
    pool.reset(id).await.unwrap();
    both().await;
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_came_back_early_is_noticed_by_the_first_request_that_succeeds() {
    let pool = builder(keys(["a"]).await)
        .clock(tokio_clock())
        .when_all_cooling_down(WhenAllCoolingDown::Fail)
        .open()
        .await
        .unwrap();
    let upstream = Upstream::new().answers("a", [Canned::limited(600_000), Canned::ok()]);
    let stack = over(&pool, &upstream);
    ask(&stack, post()).await;
    assert_eq!(cools(&pool, "a"), seconds(600_000));
    assert_eq!(ask(&stack, post_with(Pin::label("a"))).await.0, 200);
    assert_eq!(cools(&pool, "a"), Duration::ZERO);
    assert_eq!(ask(&stack, post()).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn stated_times_are_spread_by_a_hundredth_and_always_to_later() {
    const LABELS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for (stated, most) in [(59, 0), (60, 600), (1_000, 10_000), (600_000, 30_000)] {
        let upstream = Upstream::new();
        LABELS.iter().for_each(|label| upstream.set(label, [Canned::limited(stated)]));
        let pool = builder(keys(LABELS).await)
            .cooldowns(Cooldowns::default())
            .clock(tokio_clock())
            .open()
            .await
            .unwrap();
        ask(&over(&pool, &upstream), post()).await;
        let late: Vec<_> = LABELS.iter().map(|label| cools(&pool, label) - seconds(stated)).collect();
        assert!(late.iter().all(|late| *late <= Duration::from_millis(most)), "{stated}: {late:?}");
        let different: HashSet<_> = late.iter().collect();
        assert!(most == 0 || different.len() > 4, "{stated}: {late:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_states_the_same_time_again_moves_no_cooldown() {
    let pool = builder(keys(["a"]).await)
        .cooldowns(Cooldowns::default())
        .clock(tokio_clock())
        .open()
        .await
        .unwrap();
    let upstream = Upstream::new().answers("a", [Canned::limited(600)]);
    let stack = over(&pool, &upstream);
    ask(&stack, post()).await;
    let before = cools(&pool, "a");
    for _ in 0..20 {
        ask(&stack, post_with(Pin::label("a"))).await;
    }
    assert_eq!(cools(&pool, "a"), before);
}
