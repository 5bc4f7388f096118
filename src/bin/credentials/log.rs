//! What the library logs, on standard error.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{self, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::output;

/// The target of the lines that say that the vault's engine is away, or back.
const ENGINE: &str = "tower_credentials::engine";

/// Whether these lines are shown without `-v`.
static SHOWS_ENGINE: AtomicBool = AtomicBool::new(false);

/// Sets whether the lines that say that the vault's engine is away, or back, are shown. A command shows them once it can go on
/// without the engine; until then it ends with that as its error.
pub(crate) fn show_engine(is_shown: bool) {
    SHOWS_ENGINE.store(is_shown, Ordering::Release);
}

/// Shows the library's warnings on standard error, in the form of the program's own. With `-v`, shows more of its log, with
/// levels and modules.
pub(crate) fn show(verbose: u8) {
    let level = match verbose {
        0 => Level::WARN,
        1 => Level::INFO,
        2 => Level::DEBUG,
        _ => Level::TRACE,
    };
    // Only this crate: at the last level, an HTTP client may log what it sends.
    let targets = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    let targets = targets.with_target("tower_credentials", level);
    // Commands report these in their own words.
    let events = if verbose == 0 { LevelFilter::OFF } else { level.into() };
    let targets = targets.with_target("tower_credentials::event", events);
    let targets = targets.with_target("tower_credentials::refresher", events);
    let shown = match verbose {
        0 => Warnings.boxed(),
        _ => tracing_subscriber::fmt::layer()
            .with_writer(|| Lines)
            .with_ansi(false)
            .without_time()
            .boxed(),
    };
    tracing_subscriber::registry().with(shown.with_filter(targets)).init();
}

/// The library's warnings and errors, for a person.
struct Warnings;

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        if event.metadata().target() == ENGINE && !SHOWS_ENGINE.load(Ordering::Acquire) {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        // On one line: a name may contain a line break, and go on like an error of ours.
        let line = output::plain(&line.into_text());
        match *event.metadata().level() {
            Level::ERROR => output::say(format_args!("{} {line}", output::bad("error:"))),
            _ => output::warn(line),
        }
    }
}

/// The text of an event: its file, its message, its error, then its other fields.
#[derive(Default)]
struct Line {
    message: String,
    error: String,
    /// The file that it is about, and the name under which that is kept.
    path: String,
    kept: String,
    fields: String,
}

impl Line {
    fn into_text(self) -> String {
        let Self { message, error, path, kept, fields } = self;
        let path = if path.is_empty() { path } else { format!("{path}: ") };
        let kept = if kept.is_empty() { kept } else { format!(", {kept}") };
        let error = if error.is_empty() { error } else { format!(": {error}") };
        let fields = if fields.is_empty() { fields } else { format!(" ({fields})") };
        format!("{path}{message}{kept}{error}{fields}")
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "error" => self.error = format!("{value:?}"),
            "path" => self.path = format!("{value:?}"),
            "kept" => self.kept = format!("{value:?}"),
            name => {
                let comma = if self.fields.is_empty() { "" } else { ", " };
                self.fields.push_str(&format!("{comma}{name}: {value:?}"));
            }
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // Without quotes.
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Writes the lines of the log, one at a time.
struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        output::say(output::plain(String::from_utf8_lossy(line).trim_end_matches('\n')));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
