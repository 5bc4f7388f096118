//! How many requests of a connection are under way: one without any is closed after a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// The requests of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests(Arc<watch::Sender<usize>>);

/// A request that is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(Requests);

impl Requests {
    pub(super) fn begin(&self) -> UnderWay {
        self.0.send_modify(|count| *count += 1);
        UnderWay(self.clone())
    }

    /// Waits until no request has been under way for so long.
    pub(super) async fn idle(&self, bound: Duration) {
        let mut counts = self.0.subscribe();
        loop {
            let _ = counts.wait_for(|count| *count == 0).await;
            if tokio::time::timeout(bound, counts.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
