//! An account is left before its vendor refuses it, by how much is left or by how fast it is used.

use std::time::Duration;

use tower_credentials::policy::{LeastRecentlyUsed, Pace, Policy, Reserve};
use tower_credentials::{CredentialsLayer, Pin, Pool};

use crate::support::{Canned, HandClock, Stack, Upstream, ask, builder, keys, post, seconds, stack};

const HOUR: u64 = 60 * 60;

struct Rig {
    pool: Pool,
    clock: HandClock,
    upstream: Upstream,
    service: Stack,
}

impl Rig {
    async fn new<const N: usize>(policy: impl Policy, labels: [&str; N], upstream: Upstream) -> Self {
        let clock = HandClock::new();
        let pool = builder(keys(labels).await).policy(policy).clock(clock.clock()).open().await.unwrap();
        let service = stack(CredentialsLayer::new(pool.clone()), upstream.clone());
        Self { pool, clock, upstream, service }
    }

    /// Returns which account this many requests in a row used. Each is the one that was said to be next.
    async fn used(&self, requests: usize) -> Vec<String> {
        let before = self.upstream.tokens().len();
        for _ in 0..requests {
            self.clock.advance(Duration::from_millis(1));
            let next = self.pool.active().unwrap();
            ask(&self.service, post()).await;
            let status = self.pool.status();
            let next = status.iter().find(|status| status.credential.id == next).unwrap();
            assert_eq!(Some(&*next.credential.label), self.upstream.tokens().last().map(|x| &**x));
        }
        self.upstream.tokens().split_off(before)
    }

    async fn pinned(&self, label: &str) {
        self.clock.advance(Duration::from_millis(1));
        let mut request = post();
        request.extensions_mut().insert(Pin::label(label));
        ask(&self.service, request).await;
    }
}

/// A good response that says what was used of a window, in percent, and when it resets, in seconds.
fn used(window: &'static str, percent: u32, reset: u64) -> Canned {
    let minutes = match window {
        "5h" => "300",
        "7d" => "10080",
        other => panic!("{other}"),
    };
    Canned::ok()
        .header("x-codex-primary-used-percent", &percent.to_string())
        .header("x-codex-primary-window-minutes", minutes)
        .header("x-codex-primary-reset-after-seconds", &reset.to_string())
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_down_to_its_reserve_is_left_until_its_window_resets() {
    let upstream =
        Upstream::new().answers("a", [used("5h", 89, 600), used("5h", 90, 600), Canned::ok()]);
    let rig = Rig::new(Reserve::percent(10), ["a", "b"], upstream).await;
    assert_eq!(rig.used(4).await, ["a", "a", "b", "b"]);
    rig.clock.advance(seconds(599));
    assert_eq!(rig.used(1).await, ["b"]);
    rig.clock.advance(seconds(1));
    assert_eq!(rig.used(2).await, ["a", "a"], "what was said is no longer true");
}

#[tokio::test(start_paused = true)]
async fn a_window_of_a_name_has_its_own_reserve() {
    let upstream = Upstream::new()
        .answers("a", [used("7d", 97, HOUR), used("7d", 98, HOUR)])
        .answers("b", [used("5h", 91, HOUR)]);
    let policy = Reserve::percent(10).window("7d", 2);
    let rig = Rig::new(policy, ["a", "b", "c"], upstream).await;
    assert_eq!(rig.used(4).await, ["a", "a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn the_reserve_serves_pinned_requests_and_those_for_which_nothing_else_is_left() {
    let upstream =
        Upstream::new().answers("a", [used("5h", 95, 900)]).answers("b", [used("5h", 96, 900)]);
    let rig = Rig::new(Reserve::percent(10), ["a", "b"], upstream).await;
    assert_eq!(rig.used(2).await, ["a", "b"]);
    assert_eq!(rig.used(2).await, ["a", "a"], "both are down to it: the order decides");
    rig.pinned("b").await;
    assert_eq!(rig.upstream.tokens().last().unwrap(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_response_that_says_more_is_left_ends_it() {
    let upstream = Upstream::new().answers("a", [used("5h", 95, 900), used("5h", 5, 900)]);
    let rig = Rig::new(Reserve::percent(10), ["a", "b"], upstream).await;
    assert_eq!(rig.used(2).await, ["a", "b"]);
    rig.pinned("a").await;
    assert_eq!(rig.used(1).await, ["a"], "the vendor has given more");
}

#[tokio::test(start_paused = true)]
async fn what_another_process_was_told_counts() {
    let (clock, vault) = (HandClock::new(), keys(["a", "b"]).await);
    let open = async || {
        let builder = builder(vault.clone()).policy(Reserve::percent(10));
        builder.clock(clock.clock()).open().await.unwrap()
    };
    let (ours, theirs) = (open().await, open().await);
    let upstream = Upstream::new().answers("a", [used("5h", 95, 900)]);
    ask(&stack(CredentialsLayer::new(ours.clone()), upstream.clone()), post()).await;
    ours.save().await.unwrap();
    theirs.sync().await.unwrap();
    ask(&stack(CredentialsLayer::new(theirs), upstream.clone()), post()).await;
    assert_eq!(upstream.tokens(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_used_too_fast_for_its_window_comes_after_the_others() {
    // Of five hours one has passed: a fifth is used in time, more is not.
    let upstream = Upstream::new()
        .answers("a", [used("5h", 20, 4 * HOUR), used("5h", 21, 4 * HOUR)])
        // Two of seven days.
        .answers("b", [used("7d", 28, 5 * 24 * HOUR), used("7d", 29, 5 * 24 * HOUR)]);
    let rig = Rig::new(Pace, ["a", "b", "c"], upstream).await;
    assert_eq!(rig.used(6).await, ["a", "a", "b", "b", "c", "c"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_tenth_of_a_window_says_nothing_about_its_pace() {
    let upstream =
        Upstream::new().answers("a", [used("5h", 60, 5 * HOUR - 60), used("5h", 60, 4 * HOUR)]);
    let rig = Rig::new(Pace, ["a", "b"], upstream).await;
    assert_eq!(rig.used(3).await, ["a", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn windows_without_a_known_length_or_part_have_no_pace() {
    let unknown = || {
        Canned::ok()
            .header("x-ratelimit-limit-tokens", "100")
            .header("x-ratelimit-remaining-tokens", "1")
            .header("x-ratelimit-reset-tokens", "60s")
    };
    let upstream = Upstream::new().answers("a", [unknown()]);
    let rig = Rig::new(Pace, ["a", "b"], upstream).await;
    assert_eq!(rig.used(2).await, ["a", "a"]);
}

#[tokio::test(start_paused = true)]
async fn policies_of_the_allowance_combine_with_others() {
    let upstream = Upstream::new().answers("b", [used("5h", 99, 900)]);
    let policy = Reserve::percent(10).then(Pace).then(LeastRecentlyUsed);
    let rig = Rig::new(policy, ["a", "b", "c"], upstream).await;
    assert_eq!(rig.used(7).await, ["a", "b", "c", "a", "c", "a", "c"]);
}
