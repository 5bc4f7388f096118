//! What a person, or another program, sees.
//!
//! What was asked for goes to standard output, everything else to standard error. Colours are for terminals;
//! `--color` and `NO_COLOR` have the last word. All text goes through one filter: files, accounts and vendors may have
//! names that move a cursor, or are not seen.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::progress;
use crate::shell::{command_and_remark, with_flags};
use crate::unprintable::is_unprintable;

/// When to use colours.
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

/// Says something on standard error, so that a script that reads the output does not see it.
pub(crate) fn say(text: impl Display) {
    let text = Zeroizing::new(text.to_string());
    match text.contains(": credentials ") {
        true => say_exactly(suggestion(&text)),
        // It may contain a secret, of which no copy is made.
        false => say_exactly(text.as_str()),
    }
}

fn say_exactly(text: impl Display) {
    let text = shown(text);
    if let Some(listener) = &*listener()
        && listener.send(console::strip_ansi_codes(&text).into_owned()).is_ok()
    {
        return;
    }
    // If this fails, there is nobody to tell.
    let _ = progress::aside(|| writeln!(anstream::stderr(), "{}", *text));
}

/// Who hears what is said in place of standard error.
fn listener() -> std::sync::MutexGuard<'static, Option<mpsc::UnboundedSender<String>>> {
    static LISTENER: Mutex<Option<mpsc::UnboundedSender<String>>> = Mutex::new(None);
    LISTENER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While it is there, what is said is heard elsewhere: on a screen, text beside it would tear it.
#[cfg(feature = "tui")]
pub(crate) struct Listening(());

/// Hears what is said from here on, without its colours, until the first is dropped.
#[cfg(feature = "tui")]
pub(crate) fn listen() -> (Listening, mpsc::UnboundedReceiver<String>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    *listener() = Some(sender);
    (Listening(()), receiver)
}

#[cfg(feature = "tui")]
impl Drop for Listening {
    fn drop(&mut self) {
        *listener() = None;
    }
}

/// Whether what is said is heard elsewhere.
pub(crate) fn is_heard_elsewhere() -> bool {
    listener().is_some()
}

/// Says something that a person may not know, and that may be intended.
pub(crate) fn note(text: impl Display) {
    say(format_args!("{} {text}", strong("note:")));
}

/// The flags of this run that a command needs to be about the same vault, and the names of the commands.
static SUGGESTED: OnceLock<(String, Vec<String>)> = OnceLock::new();

/// Adds these flags to the commands that are suggested from here on.
pub(crate) fn suggest_with(flags: String, commands: Vec<String>) {
    // A path that could move the cursor, or end the line, is not repeated.
    if plain(&flags) == flags {
        let _ = SUGGESTED.set((flags, commands));
    }
}

/// Returns a suggestion whose commands are about the same vault as this one.
pub(crate) fn suggestion(text: &str) -> String {
    match SUGGESTED.get() {
        Some((flags, commands)) => with_flags(text, flags, commands),
        None => text.to_owned(),
    }
}

/// Says what to try, on a line below the problem.
pub(crate) fn way_out(text: impl Display) {
    say_exactly(WayOut::new(&text.to_string()));
}

/// What to try, about the same vault as this run. It is shown on lines below the problem.
#[derive(Clone, Serialize)]
pub(crate) struct WayOut {
    /// A command alone, so that it can be typed as it is, or what to do in words.
    #[serde(rename = "try")]
    what: String,
    /// A remark about that command.
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<String>,
}

impl WayOut {
    pub(crate) fn new(text: &str) -> Self {
        let text = suggestion(text);
        let (what, remark) = command_and_remark(&text);
        Self { what: what.to_owned(), remark: remark.map(str::to_owned) }
    }
}

impl WayOut {
    /// Returns its lines without styles, for a screen.
    #[cfg(feature = "tui")]
    pub(crate) fn lines(&self) -> Vec<String> {
        let first = format!("try: {}", plain(&self.what));
        std::iter::once(first).chain(self.remark.as_deref().map(plain)).collect()
    }
}

impl Display for WayOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {} {}", strong("try:"), self.what)?;
        match &self.remark {
            Some(remark) => write!(f, "\n       {remark}"),
            None => Ok(()),
        }
    }
}

/// Warns a person of something.
pub(crate) fn warn(text: impl Display) {
    say(format_args!("{} {text}", doubtful("warning:")));
}

/// Says why a command failed, and what helps, on standard error.
pub(crate) fn report(failure: &Failure) {
    if !failure.message().is_empty() {
        say_failure(bad("error:"), failure);
    }
}

/// Says the same as a warning: the command goes on.
pub(crate) fn warn_of(failure: &Failure) {
    say_failure(doubtful("warning:"), failure);
}

fn say_failure(lead: impl Display, failure: &Failure) {
    // Each on one line: a name may contain a line break, and go on like an error of ours.
    say(format_args!("{lead} {}", plain(failure.message())));
    for item in failure.items() {
        say(format_args!("  {}", plain(item)));
    }
    for cause in failure.causes() {
        say(format_args!("  because {}", plain(cause)));
    }
    if let Some(help) = failure.help() {
        way_out(help);
    }
}

/// Asks a person something.
pub(crate) fn ask(question: impl Display) -> io::Result<()> {
    let mut stderr = anstream::stderr();
    write!(stderr, "{}", *shown(question))?;
    stderr.flush()
}

/// Writes lines that were asked for to standard output.
pub(crate) fn print(text: impl Display) -> Result<(), Failure> {
    let text = shown(text);
    let mut stdout = anstream::stdout();
    // The stream removes the styles piece by piece, with a write for each line. There may be thousands.
    match stdout.current_choice() {
        anstream::ColorChoice::Never => {
            let mut plain = Zeroizing::new(String::with_capacity(text.len()));
            plain.extend(anstream::adapter::strip_str(&text));
            write_line(plain.as_str())
        }
        _ => written(writeln!(stdout, "{}", *text)),
    }
}

fn write_line(text: impl Display) -> Result<(), Failure> {
    written(writeln!(io::stdout(), "{text}"))
}

/// Writes a line to standard output unchanged, unless that is a terminal: a program must get a secret unchanged.
pub(crate) fn print_exactly(text: impl Display) -> Result<(), Failure> {
    if is_for_a_person() { print(text) } else { write_line(text) }
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
    write_line(escaped(text))
}

/// Writes a value as one line of JSON to standard output, at once.
pub(crate) fn print_json_line(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::failed("could not write JSON").because(error))?;
    write_line(escaped(text))
}

/// Escapes the unprintable characters in JSON strings, which JSON leaves to the writer.
fn escaped(json: String) -> String {
    let is_printable = |char: char| char == '\n' || !is_unprintable(char);
    if json.chars().all(is_printable) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for char in json.chars() {
        if is_printable(char) {
            escaped.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
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

/// The escape sequences of styles, the only ones that reach a terminal.
const STYLES: [&str; 5] = ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m"];

/// Returns a text with a mark in place of each unprintable character, except line ends and the styles of this module. The
/// text may contain a secret.
fn shown(text: impl Display) -> Zeroizing<String> {
    let text = Zeroizing::new(text.to_string());
    if !text.contains(|char| char != '\n' && is_unprintable(char)) {
        return text;
    }
    // A mark has three bytes, and stands for one at least.
    let mut shown = Zeroizing::new(String::with_capacity(3 * text.len()));
    let mut rest = text.as_str();
    while let Some(at) = rest.find(|char| char != '\n' && is_unprintable(char)) {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        let style = STYLES.into_iter().find(|style| rest.starts_with(style));
        shown.push_str(style.unwrap_or("\u{fffd}"));
        let taken = style.map(str::len).or_else(|| rest.chars().next().map(char::len_utf8));
        rest = &rest[taken.unwrap_or(rest.len())..];
    }
    shown.push_str(rest);
    shown
}

/// Returns a path for display; anybody may have chosen its name.
pub(crate) fn path(path: &Path) -> String {
    plain(&path.display().to_string())
}

/// Returns a text from elsewhere, without what a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|char| if is_unprintable(char) { '\u{fffd}' } else { char }).collect()
}
