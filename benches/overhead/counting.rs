//! What it costs a request to be counted.
//!
//! A pool always counts, so there is no stack without counters to compare with. This measures their operations alone: the
//! two that a request makes if its first attempt succeeds, as `src/counters/stats.rs` does them, on numbers that are laid
//! out alike. Beside other work a processor may hide a part of them, so it is rather more than what they add.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

#[derive(Default)]
struct Stats {
    attempts: AtomicU64,
    outcomes: [AtomicU64; 7],
}

/// Returns the nanoseconds that counting adds to a request: the median of this many rounds.
pub(crate) fn nanoseconds(rounds: usize, per_round: u64) -> f64 {
    let stats = Stats::default();
    let counted = median(rounds, per_round, |outcome| {
        stats.attempts.fetch_add(1, Ordering::Relaxed);
        stats.outcomes[outcome].fetch_add(1, Ordering::Release);
    });
    counted - median(rounds, per_round, |_| ())
}

fn median(rounds: usize, per_round: u64, work: impl Fn(usize)) -> f64 {
    let round = |_| {
        let start = Instant::now();
        for _ in 0..per_round {
            work(black_box(0));
        }
        start.elapsed().as_nanos() as f64 / per_round as f64
    };
    let mut times: Vec<_> = (0..rounds).map(round).collect();
    times.sort_by(f64::total_cmp);
    times[rounds / 2]
}
