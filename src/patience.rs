//! A timeout that is right even if the process is stopped meanwhile.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// The longest step in which time is measured.
const STEP: Duration = Duration::from_secs(1);

/// How many steps a short time is divided into.
const STEPS: u32 = 8;

/// The time is up.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// Waits for a future, at most this long.
///
/// If the process was stopped (Ctrl-Z, a paused container), that time does not count: data that came meanwhile is
/// still in a socket, and its reader has not run either. So the time is measured in steps, and a step that took far
/// longer than it should does not count.
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

/// Returns how long a step takes at least if the process was stopped meanwhile.
fn late(step: Duration) -> Duration {
    2 * step + STEP
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_timeout_is_exact_to_a_fraction_of_a_second() {
        for most in [0, 1, 7, 250, 1_000, 1_001, 30_000, 300_000].map(Duration::from_millis) {
            let began = Instant::now();
            assert!(within(most, std::future::pending::<()>()).await.is_err());
            let late = began.elapsed().saturating_sub(most);
            assert!(began.elapsed() >= most && late <= Duration::from_millis(300), "{most:?}: {late:?}");
        }
    }

    /// The reader of the socket runs once more after the timer has fired.
    #[tokio::test(start_paused = true)]
    async fn data_that_came_while_the_process_was_stopped_is_read_before_the_timeout() {
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
