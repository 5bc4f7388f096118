//! What the program waits for, shown on a terminal.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use crate::output;

/// How long something may take before it is shown.
const DELAY: Duration = Duration::from_millis(300);

/// The lines that are shown now.
static LINES: OnceLock<MultiProgress> = OnceLock::new();

/// Shows on standard error, if that is a terminal, what the program waits for and for how long, until it is dropped.
pub(crate) struct Waiting {
    line: Arc<Mutex<Option<ProgressBar>>>,
    later: JoinHandle<()>,
}

impl Waiting {
    /// Begins to wait for this, for example an account's name.
    pub(crate) fn begin(what: impl Into<String>) -> Self {
        let (line, what) = (Arc::new(Mutex::default()), what.into());
        let shown = Arc::clone(&line);
        let later = tokio::spawn(async move {
            tokio::time::sleep(DELAY).await;
            if output::is_heard_elsewhere() {
                return;
            }
            let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
            let bar =
                ProgressBar::new_spinner().with_style(style.unwrap_or(ProgressStyle::default_spinner()));
            // Includes the time before it is shown.
            let bar = bar.with_message(what).with_elapsed(DELAY);
            let bar = LINES.get_or_init(MultiProgress::new).add(bar);
            bar.enable_steady_tick(Duration::from_millis(120));
            *lock(&shown) = Some(bar);
        });
        Self { line, later }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.later.abort();
        if let Some(bar) = lock(&self.line).take() {
            bar.finish_and_clear();
        }
    }
}

fn lock(line: &Mutex<Option<ProgressBar>>) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes something while the lines are out of the way.
pub(crate) fn aside<T>(write: impl FnOnce() -> T) -> T {
    match LINES.get() {
        Some(lines) => lines.suspend(write),
        None => write(),
    }
}
