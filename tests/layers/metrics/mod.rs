//! A pool's metrics: each sync publishes what the pool has counted, and how its accounts stand.

mod recorder;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::Unit;
use tokio::sync::Semaphore;
use tower_credentials::metrics::{Metrics, names};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;
use recorder::Recording;

const POOL: &str = "provider=x, namespace=default";

fn of_pool(name: &str) -> String {
    format!("{name}{{{POOL}}}")
}

fn with(name: &str, attribute: &str) -> String {
    format!("{name}{{{POOL}, {attribute}}}")
}

/// A pool on tokio's clock, and the recorder that it publishes to.
async fn published(vault: MemoryVault, metrics: Metrics) -> (Pool, Recording) {
    let recording = Recording::default();
    let metrics = metrics.recorder(recording.clone());
    let pool = builder(vault).clock(tokio_clock()).metrics(metrics).open().await.unwrap();
    (pool, recording)
}

/// Lets this much time pass, and the pools sync at its end.
async fn pass(time: u64) {
    tokio::time::sleep(seconds(time)).await;
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn each_sync_publishes_what_was_counted_and_how_the_accounts_stand() {
    let recording = Recording::default();
    let metrics = Metrics::new().recorder(recording.clone());
    let vault = accounts(["a", "b", "c"]).await;
    let pool = builder(vault).sync_every(None).metrics(metrics).open().await.unwrap();
    let upstream = Upstream::new()
        .answers("a-1", [Canned::limited(60)])
        .answers("b-1", [Canned::status(401)])
        .answers("c-1", [Canned::ok(), Canned::status(500)]);
    let service = stack(four(&pool, &no_refresh()), upstream);
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(ask(&service, post()).await.0, 500);
    assert_eq!(recording.calls(), 0, "no request calls the recorder");
    pool.sync().await.unwrap();

    assert_eq!(recording.count(&of_pool("requests")), 2);
    let counted = |name: &str, attribute: &str, values: &[(&str, u64)]| {
        for (value, count) in values {
            let series = with(name, &format!("{attribute}={value}"));
            assert_eq!(recording.count(&series), *count, "{series}");
        }
    };
    let attempts = [("succeeded", 1), ("limited", 1), ("refused", 1), ("other", 1)];
    counted("attempts", "outcome", &attempts);
    counted("attempts", "outcome", &[("out_of_use", 0), ("failed", 0), ("cancelled", 0)]);
    let rotations =
        [("limited", 1), ("refused", 1), ("out_of_use", 0), ("no_token", 0), ("overloaded", 0)];
    counted("rotations", "reason", &rotations);
    counted("refreshes", "outcome", &[("rejected", 1), ("renewed", 0), ("adopted", 0), ("failed", 0)]);
    assert_eq!(recording.count(&of_pool("vault.errors")), 0);
    let gauges = ["ready", "cooling", "needs_sign_in", "waiting", "cooldown.remaining", "sync.age"];
    assert_eq!(gauges.map(|name| recording.gauge(&of_pool(name))), [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);

    let calls = recording.calls();
    assert_eq!(ask(&service, post()).await.0, 500);
    assert_eq!(recording.calls(), calls, "no request calls the recorder");
    pool.close(seconds(1)).await.unwrap();
    assert_eq!(recording.count(&of_pool("requests")), 3, "the last numbers are published at the end");
}

#[tokio::test(start_paused = true)]
async fn every_name_is_described_with_its_unit() {
    let (pool, recording) = published(keys(["a"]).await, Metrics::new()).await;
    pool.sync().await.unwrap();
    let (count, time) = (Some(Unit::Count), Some(Unit::Seconds));
    let expected = [
        ("allowance.age", "gauge", time),
        ("allowance.headroom", "gauge", None),
        ("attempts", "counter", count),
        ("cooldown.remaining", "gauge", time),
        ("cooling", "gauge", count),
        ("needs_sign_in", "gauge", count),
        ("ready", "gauge", count),
        ("refreshes", "counter", count),
        ("requests", "counter", count),
        ("rotations", "counter", count),
        ("sync.age", "gauge", time),
        ("vault.errors", "counter", count),
        ("waiting", "gauge", count),
    ];
    assert_eq!(recording.described(), expected.map(|(name, kind, unit)| (name.to_owned(), kind, unit)));
    assert_eq!(names::SYNC_AGE, "tower_credentials.sync.age");
    let described =
        |series: &String| expected.iter().any(|(name, ..)| series.starts_with(&format!("{name}{{")));
    assert!(recording.series().iter().all(described), "{:?}", recording.series());
}

#[tokio::test(start_paused = true)]
async fn an_account_is_named_only_on_request_by_the_first_digits_of_its_id() {
    let vault = keys(["ann@example.com", "b"]).await;
    let [(whole, in_sum), (by_account, in_parts)] = [
        published(vault.clone(), Metrics::new()).await,
        published(vault.clone(), Metrics::new().by_account(true)).await,
    ];
    let upstream = Upstream::new().answers("ann@example.com", [Canned::limited(60)]);
    for pool in [&whole, &by_account] {
        assert_eq!(ask(&stack(four(pool, &no_refresh()), upstream.clone()), post()).await.0, 200);
    }
    pass(1).await;
    let id = |label| id_of(&by_account, label).to_string();
    let ids = [id("ann@example.com"), id("b")];
    let of = |name: &str, id: &str| with(name, &format!("credential.id={}", &id[..8]));
    for series in in_sum.series() {
        assert!(!series.contains("credential.id"), "{series}");
    }
    for series in in_parts.series() {
        assert!(!series.contains("ann") && !ids.iter().any(|id| series.contains(id)), "{series}");
    }
    let cooling = [&in_sum.gauge(&of_pool("cooling")), &in_parts.gauge(&of("cooling", &ids[0]))];
    assert_eq!((cooling, in_parts.gauge(&of("cooling", &ids[1]))), ([&1.0, &1.0], 0.0));
    let remaining = ids.each_ref().map(|id| in_parts.gauge(&of("cooldown.remaining", id)));
    assert_eq!((remaining, in_sum.gauge(&of_pool("cooldown.remaining"))), ([59.0, 0.0], 0.0));
    let attempts = |id: &str, outcome: &str| {
        in_parts.count(&of("attempts", id).replace('}', &format!(", outcome={outcome}}}")))
    };
    assert_eq!((attempts(&ids[0], "limited"), attempts(&ids[1], "succeeded")), (1, 1));
    assert_eq!(in_parts.count(&of_pool("requests")), 1);

    // One that is gone has no gauges, and its counters stay.
    vault.remove(&key(), id_of(&by_account, "ann@example.com")).await.unwrap();
    pass(1).await;
    assert_eq!(in_parts.gauge(&of("cooling", &ids[0])), 0.0, "a sum stays a number");
    assert!(in_parts.gauge(&of("cooldown.remaining", &ids[0])).is_nan());
    assert_eq!(attempts(&ids[0], "limited"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_is_published_with_its_age_until_it_can_be_true_no_more() {
    let (pool, recording) = published(keys(["a", "b"]).await, Metrics::new()).await;
    let said = |left: &str| {
        Canned::ok()
            .header("x-ratelimit-limit-tokens", "1000")
            .header("x-ratelimit-remaining-tokens", left)
            .header("x-ratelimit-reset-tokens", "90s")
            .header("x-ratelimit-limit-requests", "10")
            .header("x-ratelimit-remaining-requests", "5")
    };
    let upstream = Upstream::new().answers("a", [said("250")]).answers("b", [said("750")]);
    let service = stack(four(&pool, &no_refresh()), upstream);
    for label in ["a", "b"] {
        assert_eq!(ask(&service, pinned(label)).await.0, 200);
    }
    let gauge = |name: &str, window: &str| recording.gauge(&with(name, &format!("window={window}")));
    pass(1).await;
    assert_eq!((gauge("allowance.headroom", "tokens"), gauge("allowance.age", "tokens")), (0.75, 1.0));
    assert_eq!(gauge("allowance.headroom", "requests"), 0.5);
    pass(88).await;
    assert_eq!((gauge("allowance.headroom", "tokens"), gauge("allowance.age", "tokens")), (0.75, 89.0));
    pass(1).await;
    assert!(gauge("allowance.headroom", "tokens").is_nan(), "it was reset");
    assert!(gauge("allowance.age", "tokens").is_nan());
    assert_eq!(gauge("allowance.age", "requests"), 90.0, "it names no reset");
    pass(3600).await;
    assert!(gauge("allowance.headroom", "requests").is_nan(), "nobody knows any more");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_names_ever_more_windows_does_not_fill_the_recorder() {
    let (pool, recording) = published(keys(["a"]).await, Metrics::new()).await;
    let upstream = Upstream::new();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    for number in 0..200 {
        upstream.set(
            "a",
            [Canned::ok()
                .header("ratelimit", &format!("\"w{number}\";r=1;t=9"))
                .header("ratelimit-policy", &format!("\"w{number}\";q=2;w=9"))],
        );
        assert_eq!(ask(&service, post()).await.0, 200);
        pool.sync().await.unwrap();
    }
    let windows = recording.series().iter().filter(|series| series.contains("window=")).count();
    assert_eq!(windows, 2 * 64);
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_fails_or_hangs_is_seen() {
    for plan in [Plan::Fail, Plan::Hang] {
        let fails = matches!(plan, Plan::Fail);
        let vault = Planned::new(&keys(["a"]).await, move |kind, before| match kind {
            "revision" if (1..4).contains(&before) => plan.clone(),
            _ => Plan::Pass,
        });
        let recording = Recording::default();
        let metrics = Metrics::new().recorder(recording.clone());
        let pool = builder(vault).clock(tokio_clock()).metrics(metrics).open().await.unwrap();
        let numbers =
            || (recording.gauge(&of_pool("sync.age")), recording.count(&of_pool("vault.errors")));
        pass(1).await;
        assert_eq!(numbers(), (0.0, 0));
        pass(3).await;
        assert_eq!(numbers(), (3.0, if fails { 3 } else { 0 }));
        pass(1).await;
        assert_eq!(numbers(), if fails { (0.0, 3) } else { (4.0, 0) });
        assert_eq!(pool.counters().vault_errors, numbers().1);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_for_an_account_are_published() {
    let recording = Recording::default();
    let gate = Arc::new(Semaphore::new(0));
    let pool = builder(keys(["a"]).await)
        .max_in_flight(NonZeroU32::MIN)
        .metrics(Metrics::new().recorder(recording.clone()));
    let pool = pool.open().await.unwrap();
    let upstream = Upstream::new().answers("a", [Canned::ok().gated(&gate)]);
    let service = stack(four(&pool, &no_refresh()), upstream);
    let mut requests: Vec<_> = (0..4).map(|_| tokio::spawn(ask(&service, post()))).collect();
    settle().await;
    pass(1).await;
    assert_eq!((recording.gauge(&of_pool("waiting")), recording.gauge(&of_pool("ready"))), (3.0, 0.0));
    requests.pop().unwrap().abort();
    pass(1).await;
    assert_eq!(recording.gauge(&of_pool("waiting")), 2.0, "one has given up");
    gate.add_permits(3);
    for request in requests {
        assert_eq!(request.await.unwrap().0, 200);
    }
    pass(1).await;
    assert_eq!((recording.gauge(&of_pool("waiting")), recording.gauge(&of_pool("ready"))), (0.0, 1.0));
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_is_set_after_the_pool_was_opened_gets_all_numbers() {
    let pool = builder(keys(["a"]).await).metrics(Metrics::new()).open().await.unwrap();
    let silent = builder(keys(["a"]).await).open().await.unwrap();
    for pool in [&pool, &silent] {
        assert_eq!(ask(&stack(four(pool, &no_refresh()), Upstream::new()), post()).await.0, 200);
    }
    pass(1).await;
    let recording = Recording::default();
    let _set = ::metrics::set_default_local_recorder(&recording);
    pass(1).await;
    assert_eq!(recording.count(&of_pool("requests")), 1, "of the pool that has metrics");
    assert!(!recording.described().is_empty());
}

#[tokio::test]
async fn a_pool_that_never_syncs_publishes_when_it_is_told_to_and_at_its_end() {
    let recording = Recording::default();
    let metrics = Metrics::new().recorder(recording.clone());
    let pool = builder(keys(["a"]).await).sync_every(None).metrics(metrics).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), Upstream::new());
    for requests in 1..3 {
        assert_eq!(ask(&service, post()).await.0, 200);
        match requests {
            1 => pool.sync().await.unwrap(),
            _ => pool.close(Duration::from_secs(1)).await.unwrap(),
        }
        assert_eq!(recording.count(&of_pool("requests")), requests);
    }
}
