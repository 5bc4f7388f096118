//! The runtimes that the cases run in, and the time that work takes in them.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::{spawn, spawn_blocking};

/// Runs this as a task of the runtime. Returns the time that the task has measured.
pub(crate) fn task(
    runtime: &Runtime,
    work: impl Future<Output = Duration> + Send + 'static,
) -> Duration {
    runtime.block_on(async { spawn(work).await.expect("no panic") })
}

pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The runtimes: one with a single thread, which the task shares with everything but file work, and one with many.
pub(crate) struct Runtimes {
    pub(crate) one: Rc<Runtime>,
    pub(crate) many: Rc<Runtime>,
}

impl Runtimes {
    pub(crate) fn new() -> Self {
        let runtime = |mut builder: Builder| Rc::new(builder.enable_all().build().expect("a runtime"));
        Self { one: runtime(Builder::new_current_thread()), many: runtime(Builder::new_multi_thread()) }
    }
}

/// The time to do this so many times, each on a thread for blocking work.
pub(crate) fn blocking(
    runtime: &Runtime,
    times: u64,
    work: impl Fn() + Clone + Send + 'static,
) -> Duration {
    task(runtime, async move {
        let start = Instant::now();
        for _ in 0..times {
            spawn_blocking(work.clone()).await.expect("no panic");
        }
        start.elapsed()
    })
}
