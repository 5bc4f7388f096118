//! How long attempts took is counted on request, and told once.

use std::time::Duration;

use tower_credentials::events::{Event, EventKind};

use crate::support::*;

/// Returns an observer that keeps the duration of each attempt.
fn durations(seen: &Journal<Duration>) -> impl Fn(&Event) + Send + Sync + 'static {
    let seen = seen.clone();
    move |event| {
        if let EventKind::Attempt { elapsed, .. } = event.kind {
            seen.push(elapsed);
        }
    }
}

#[tokio::test]
async fn the_histogram_and_the_events_have_the_same_durations() {
    for stacked in ORDERS {
        let seen = Journal::new();
        let pool = builder(keys(["a", "b"]).await).time_attempts(true).on_event(durations(&seen));
        let pool = pool.open().await.unwrap();
        let upstream = Upstream::new().answers("a", [Canned::limited(60)]);
        let service = stacked(&pool, upstream);
        for _ in 0..3 {
            assert_eq!(ask(&service, post()).await.0, 200);
        }
        let told: Duration = seen.all().iter().sum();
        let counted = pool.counters().durations;
        assert_eq!((counted.count, counted.sum), (4, told.as_secs_f64()));
    }
}

#[tokio::test]
async fn attempts_that_are_only_observed_are_not_counted_by_duration() {
    let seen = Journal::new();
    let pool = builder(keys(["a"]).await).on_event(durations(&seen)).open().await.unwrap();
    assert_eq!(ask(&ORDERS[0](&pool, Upstream::new()), post()).await.0, 200);
    assert_eq!((seen.all().len(), pool.counters().durations.count), (1, 0));
}
