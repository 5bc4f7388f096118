//! What a person, or another program, sees.
//!
//! What was asked for goes to standard output, everything else to standard error. Colours are for terminals;
//! `--color` and `NO_COLOR` have the last word.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::failure::Failure;
use crate::odd::is_odd;
use crate::progress;

/// When to write in colour.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    pub(crate) fn apply(self) {
        match self {
            Self::Auto => return,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

/// Shows what the library warns of, on standard error: `-v` shows more of it.
pub(crate) fn show_warnings(verbose: u8) {
    let level = match verbose {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        2 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    // Of this crate alone: an HTTP client may tell at the last level what it sends.
    let of_ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    let of_ours = of_ours.with_target("tower_credentials", level);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(anstream::stderr)
        .without_time()
        .with_target(verbose > 0)
        .with_filter(of_ours);
    tracing_subscriber::registry().with(lines).init();
}

fn styled(style: Style, text: impl Display) -> impl Display {
    struct Styled<T>(Style, T);
    impl<T: Display> Display for Styled<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}{}{}", self.0, self.1, self.0.render_reset())
        }
    }
    Styled(style, text)
}

pub(crate) fn strong(text: impl Display) -> impl Display {
    styled(Style::new().bold(), text)
}

pub(crate) fn good(text: impl Display) -> impl Display {
    styled(AnsiColor::Green.on_default(), text)
}

pub(crate) fn doubtful(text: impl Display) -> impl Display {
    styled(AnsiColor::Yellow.on_default(), text)
}

pub(crate) fn bad(text: impl Display) -> impl Display {
    styled(AnsiColor::Red.on_default().bold(), text)
}

/// Tells a person something, on standard error: a script that reads the output does not see it.
pub(crate) fn say(text: impl Display) {
    // Where nobody can be told, nobody can be told that either.
    let _ = progress::aside(|| writeln!(anstream::stderr(), "{text}"));
}

/// Says what helps, below what it helps against.
pub(crate) fn way_out(text: impl Display) {
    say(format_args!("  {} {text}", strong("try:")));
}

/// Warns a person of something.
pub(crate) fn warn(text: impl Display) {
    say(format_args!("{} {text}", doubtful("warning:")));
}

/// Writes lines that were asked for to standard output.
pub(crate) fn print(text: impl Display) -> Result<(), Failure> {
    written(writeln!(anstream::stdout(), "{text}"))
}

/// Writes bytes to standard output as they are.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    written(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

/// Writes a value as JSON to standard output.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::failed("could not write JSON").because(error))?;
    written(writeln!(io::stdout(), "{text}"))
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::nobody_reads(),
        _ => Failure::failed("could not write to standard output").because(error),
    })
}

/// Whether standard output is a terminal.
pub(crate) fn is_for_a_person() -> bool {
    io::stdout().is_terminal()
}

/// A text that comes from somewhere else, without what a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|char| if is_odd(char) { '\u{fffd}' } else { char }).collect()
}
