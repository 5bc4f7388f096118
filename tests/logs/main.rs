//! What is logged, and what never is.
//!
//! The log belongs to the whole process: for each place in the source, tracing asks once who listens, and the answer of
//! the first thread counts for all. So each test that logs begins with [`log`].

#![cfg(feature = "file")]

#[path = "../support/mod.rs"]
mod support;

mod levels;
mod no_refresher;
mod secrets;
mod spans;

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};

/// Everything that was logged in this process, at all levels, by any thread and crate.
fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_ansi(false)
            .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
            .without_time()
            .with_writer(move || writer.clone())
            .init();
        log
    })
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}
