//! The terminal while the screen is on it, and its way back: once, whatever ends the program.
//!
//! `ratatui::init` restores a terminal on a panic alone, twice if that is followed by a `restore`, and prints if it can't,
//! which panics if there is nobody to print to. So this is done here, by one guard: when it is dropped, which a signal does
//! as well, since that drops the command's future; and before a panic's message, by whichever comes first.

use std::io::{self, Stdout, Write, stdout};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{execute, queue};
use ratatui::layout::Size;
use ratatui::{Frame, Terminal};

use super::Stage;

/// Whether the screen is on the terminal.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// The screen on the terminal. Dropping it restores the terminal.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    has_mouse: bool,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn open(has_mouse: bool) -> io::Result<Self> {
        restore_on_panic();
        let terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        let mut screen = Self { terminal, has_mouse };
        screen.enter()?;
        Ok(screen)
    }

    fn enter(&mut self) -> io::Result<()> {
        // From here on it is restored, even if only a part of this is done.
        IS_SHOWN.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste, Hide)?;
        if self.has_mouse {
            execute!(stdout(), EnableMouseCapture)?;
        }
        Ok(())
    }
}

impl Stage for Screen {
    fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }

    fn size(&self) -> io::Result<Size> {
        self.terminal.size()
    }

    fn redraw(&mut self) -> io::Result<()> {
        // Not by `clear`, which asks the terminal where its cursor is: the answer would go to the thread that reads keys.
        execute!(stdout(), Clear(ClearType::All))?;
        self.terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        Ok(())
    }

    async fn suspend(&mut self) -> io::Result<()> {
        restore();
        stop().await;
        self.go_on().await
    }

    async fn go_on(&mut self) -> io::Result<()> {
        // Continued behind a shell's back, it has no terminal: it waits for `fg`.
        while !has_terminal() && stop().await {}
        // What stopped it may have left the screen on the terminal, and the shell has changed the settings.
        restore();
        self.enter()?;
        // The size may be another by now.
        self.redraw()
    }

    /// By OSC 52, if the terminal knows that. It is seen nowhere.
    fn copy(&mut self, text: &str) -> io::Result<()> {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(text);
        let mut out = stdout();
        write!(out, "\x1b]52;c;{text}\x07")?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal, if the screen is on it. Errors are for nobody: the terminal may be gone.
fn restore() {
    if !IS_SHOWN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = stdout();
    // What was never turned on is not harmed by being turned off.
    let _ = queue!(out, DisableMouseCapture, DisableBracketedPaste, LeaveAlternateScreen, Show);
    let _ = out.flush();
    let _ = disable_raw_mode();
}

/// Restores the terminal before the message of a panic.
fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
        }));
    });
}

/// Stops the program, and returns when it is continued. A program that no shell can continue goes on: then it returns
/// `false`.
#[cfg(unix)]
async fn stop() -> bool {
    use rustix::process::{Signal, getpgrp, getsid, kill_current_process_group};
    use tokio::signal::unix::{SignalKind, signal};
    // The first process of a session has no shell above it.
    if getsid(None).is_ok_and(|session| session == getpgrp()) {
        return false;
    }
    let Ok(mut continued) = signal(SignalKind::from_raw(Signal::CONT.as_raw())) else { return false };
    // The group, as a terminal would: a program that started this one is stopped, too.
    if kill_current_process_group(Signal::STOP).is_err() {
        return false;
    }
    continued.recv().await.is_some()
}

#[cfg(not(unix))]
async fn stop() -> bool {
    false
}

/// Whether the program is the one that the terminal is for now.
#[cfg(unix)]
fn has_terminal() -> bool {
    let foreground = rustix::termios::tcgetpgrp(std::io::stdin());
    // Without an answer there is no shell that could have taken it.
    foreground.map_or(true, |group| group == rustix::process::getpgrp())
}

#[cfg(not(unix))]
fn has_terminal() -> bool {
    true
}

#[cfg(all(test, unix))]
mod tests {
    use super::Screen;

    /// Set for a process that is to panic while the screen is shown.
    const PANICS: &str = "SCREEN_TEST_PANICS";

    #[test]
    fn a_panic_restores_the_terminal_once_and_then_says_what_is_wrong() {
        let name =
            "tui::terminal::tests::a_panic_restores_the_terminal_once_and_then_says_what_is_wrong";
        if std::env::var_os(PANICS).is_some() {
            let _screen = Screen::open(true).unwrap();
            panic!("something is wrong");
        }
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", name, "--nocapture"]).env(PANICS, "1").env("TERM", "xterm");
        let mut terminal = rexpect::session::spawn_command(command, Some(60_000)).unwrap();
        let shown = terminal.exp_eof().unwrap();
        let count = |sequence: &str| shown.matches(sequence).count();
        assert_eq!((count("\u{1b}[?1049h"), count("\u{1b}[?1049l")), (1, 1), "{shown:?}");
        assert_eq!(
            (count("\u{1b}[?1000l"), count("\u{1b}[?2004l"), count("\u{1b}[?25h")),
            (1, 1, 1),
            "{shown:?}"
        );
        let (before, after) = shown.split_once("\u{1b}[?1049l").unwrap();
        assert!(
            !before.contains("something is wrong") && after.contains("something is wrong"),
            "{shown:?}"
        );
    }
}
