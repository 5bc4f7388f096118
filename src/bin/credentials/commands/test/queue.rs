//! Runs tests, some at once, and returns their results in the order in which they began.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::tested::Tested;
use crate::failure::Failure;
use crate::progress::Waiting;

/// How many accounts are tested at once.
const AT_ONCE: usize = 8;

/// The tests of one run.
pub(super) struct Queue {
    running: JoinSet<(usize, Tested)>,
    at_once: Arc<Semaphore>,
    /// In the order in which they were begun; `None` while one runs.
    tests: Vec<Option<Tested>>,
}

impl Queue {
    pub(super) fn new() -> Self {
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        Self { running: JoinSet::new(), at_once, tests: Vec::new() }
    }

    /// Begins a test of the account of this name.
    pub(super) fn begin(&mut self, name: String, test: impl Future<Output = Tested> + Send + 'static) {
        let (place, at_once) = (self.tests.len(), self.at_once.clone());
        self.tests.push(None);
        self.running.spawn(async move {
            let _one_of_them = at_once.acquire().await;
            let _waiting = Waiting::begin(format!("testing {name}"));
            (place, test.await)
        });
    }

    /// Adds an account that needs no request.
    pub(super) fn add(&mut self, tested: Tested) {
        self.tests.push(Some(tested));
    }

    /// Waits for all.
    pub(super) async fn end(mut self) -> Result<Vec<Tested>, Failure> {
        while let Some(done) = self.running.join_next().await {
            let (place, done) =
                done.map_err(|error| Failure::failed("a test ended early").because(error))?;
            self.tests[place] = Some(done);
        }
        Ok(self.tests.into_iter().flatten().collect())
    }
}
