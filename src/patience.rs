//! Waiting with a bound, in a process that may be stopped meanwhile.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// The longest step in which time is counted.
const STEP: Duration = Duration::from_secs(1);

/// In how many steps a short time is counted.
const STEPS: u32 = 8;

/// The time is up.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// Waits for a future, at most for so long.
///
/// A process that was stopped (Ctrl-Z, a container that is paused) has not waited meanwhile: what came in the
/// meantime lies in a socket, and whoever reads that has not run either. So the time is counted in steps, and one
/// that took far longer than it should does not count.
pub(crate) async fn within<F: Future>(most: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let step = (most / STEPS).clamp(Duration::from_millis(1), STEP);
    let mut left = most;
    loop {
        let step = step.min(left);
        let began = Instant::now();
        if let Ok(output) = timeout(step, &mut future).await {
            return Ok(output);
        }
        if began.elapsed() < late(step) {
            left = left.saturating_sub(step);
        }
        if left.is_zero() {
            return Err(Elapsed);
        }
    }
}

/// From when on a step has taken so long that the process must have been stopped.
fn late(step: Duration) -> Duration {
    2 * step + STEP
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_is_kept_to_the_millisecond() {
        for most in [0, 1, 7, 250, 1_000, 1_001, 30_000, 300_000].map(Duration::from_millis) {
            let began = Instant::now();
            assert!(within(most, std::future::pending::<()>()).await.is_err());
            let late = began.elapsed().saturating_sub(most);
            assert!(began.elapsed() >= most && late <= Duration::from_millis(300), "{most:?}: {late:?}");
        }
    }

    /// Whoever reads the socket runs once more after the timer has fired.
    #[tokio::test(start_paused = true)]
    async fn what_came_while_the_process_was_stopped_is_read_before_the_time_is_up() {
        for most in [Duration::from_millis(250), Duration::from_secs(30)] {
            let (sender, receiver) = oneshot::channel();
            let waiting = tokio::spawn(within(most, receiver));
            tokio::task::yield_now().await;
            // The clock jumps, as it does for a process that goes on after an hour.
            tokio::time::advance(Duration::from_secs(3600)).await;
            tokio::task::yield_now().await;
            sender.send("came meanwhile").unwrap();
            assert_eq!(waiting.await.unwrap().unwrap(), Ok("came meanwhile"));
        }
    }
}
