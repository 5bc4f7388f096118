//! Questions to a person.
//!
//! Each question is asked by a thread of its own: a runtime that ends would wait for one of its own threads,
//! and the program is to end at once on Ctrl-C.

use std::io::{self, BufRead, IsTerminal, Read};
use std::thread;

use tokio::sync::{mpsc, oneshot};
use tower_credentials::SecretString;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::output;

/// Whether there is a person to ask.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for confirmation; `anyway` is the flag that gives it beforehand.
pub(crate) async fn confirm(question: &str, anyway: &str) -> Result<(), Failure> {
    if !can_ask() {
        let message = format!("{question} There is no terminal to ask on");
        return Err(Failure::usage(message).way_out(format!("add {anyway} to confirm")));
    }
    let question = format!("{question} [y/N] ");
    let answer = on_a_thread(move || {
        output::ask(question)?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(answer)
    });
    match answer.await?.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::failed("nothing was done")),
    }
}

/// The most bytes of a secret that are read.
const MOST: u64 = 64 * 1024;

/// Asks for a secret without showing it; without a terminal, reads it from standard input up to its end.
pub(crate) async fn secret(what: &str) -> Result<SecretString, Failure> {
    let text = if can_ask() {
        hidden::ask(&format!("{what}: ")).await?
    } else {
        secret_from_stdin(what).await?
    };
    let text = text.trim();
    match text {
        "" => Err(Failure::usage(format!("no {what} was given")).way_out("paste it, or pipe it in")),
        text => Ok(SecretString::from(text)),
    }
}

/// Reads a secret from standard input, up to its end.
pub(crate) async fn secret_from_stdin(what: &str) -> Result<Zeroizing<String>, Failure> {
    let bytes = on_a_thread(|| {
        // Allocated at once, so that growing leaves no copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MOST as usize + 1));
        io::stdin().lock().take(MOST + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    })
    .await?;
    let article = if what.starts_with(['A', 'a']) { "an" } else { "a" };
    let refused = |reason: &str| {
        Failure::usage(format!("this is not {article} {what}"))
            .because(reason)
            .way_out(format!("give the {what} alone"))
    };
    if bytes.len() as u64 > MOST {
        return Err(refused(&format!("it is longer than {MOST} bytes")));
    }
    match str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(refused("it is not UTF-8 text")),
    }
}

/// Returns the lines that a person types from now on.
pub(crate) fn lines() -> mpsc::UnboundedReceiver<Zeroizing<String>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.send(Zeroizing::new(line)).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A line that the terminal does not show.
///
/// What the terminal was like is restored by the future that waits, however it ends. `rpassword` does it by the thread
/// that reads, and a program that is ended meanwhile, or just before, leaves a terminal that shows nothing.
#[cfg(unix)]
mod hidden {
    use std::fs::File;
    use std::io::{self, ErrorKind, Read, Write};
    use std::pin::pin;

    use rustix::process::Signal;
    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
    use tokio::signal::unix::{SignalKind, signal};
    use zeroize::Zeroizing;

    use super::{MOST, on_a_thread};
    use crate::failure::Failure;

    pub(super) async fn ask(question: &str) -> Result<Zeroizing<String>, Failure> {
        let failed = |error| Failure::failed("could not ask on the terminal").because(error);
        let mut continued = signal(SignalKind::from_raw(Signal::CONT.as_raw())).map_err(failed)?;
        let mut terminal = Silenced::begin().map_err(failed)?;
        let mut reader = terminal.file.try_clone().map_err(failed)?;
        (&terminal.file).write_all(question.as_bytes()).map_err(failed)?;
        let mut answer = pin!(on_a_thread(move || read_line(&mut reader)));
        loop {
            tokio::select! {
                answer = &mut answer => {
                    terminal.is_answered = true;
                    return answer;
                }
                // A shell that continues a stopped program turns the echo on again.
                _ = continued.recv() => {
                    terminal.silence().map_err(failed)?;
                    (&terminal.file).write_all(question.as_bytes()).map_err(failed)?;
                }
            }
        }
    }

    /// Reads single bytes: the buffer of a reader would keep a copy.
    fn read_line(reader: &mut impl Read) -> io::Result<Zeroizing<String>> {
        let mut line = Zeroizing::new(Vec::with_capacity(MOST as usize));
        let mut byte = Zeroizing::new([0]);
        while line.len() < line.capacity() {
            match reader.read(&mut *byte) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) => break,
                Ok(_) if byte[0] == b'\n' => break,
                read => {
                    read?;
                    line.push(byte[0]);
                }
            }
        }
        let text = str::from_utf8(&line).map_err(|_| io::Error::other("it is not UTF-8 text"))?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// The terminal, while it does not show what is typed.
    struct Silenced {
        file: File,
        before: Termios,
        /// Whether the line has ended, so that the cursor is at the beginning of the next one.
        is_answered: bool,
    }

    impl Silenced {
        fn begin() -> io::Result<Self> {
            let file = File::options().read(true).write(true).open("/dev/tty")?;
            let before = tcgetattr(&file)?;
            let terminal = Self { file, before, is_answered: false };
            terminal.silence()?;
            Ok(terminal)
        }

        fn silence(&self) -> io::Result<()> {
            let mut silent = self.before.clone();
            silent.local_modes.remove(LocalModes::ECHO);
            // The end of the line is shown, though.
            silent.local_modes.insert(LocalModes::ECHONL);
            Ok(tcsetattr(&self.file, OptionalActions::Flush, &silent)?)
        }
    }

    impl Drop for Silenced {
        fn drop(&mut self) {
            let _ = tcsetattr(&self.file, OptionalActions::Now, &self.before);
            if !self.is_answered {
                // The next output begins on a new line if the question was interrupted.
                let _ = (&self.file).write_all(b"\n");
            }
        }
    }
}

#[cfg(not(unix))]
mod hidden {
    use zeroize::Zeroizing;

    use super::on_a_thread;
    use crate::failure::Failure;

    pub(super) async fn ask(question: &str) -> Result<Zeroizing<String>, Failure> {
        let question = question.to_owned();
        on_a_thread(move || Ok(Zeroizing::new(rpassword::prompt_password(question)?))).await
    }
}

async fn on_a_thread<T: Send + 'static>(
    ask: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || sender.send(ask()));
    let answer = receiver.await.unwrap_or_else(|_| Err(io::Error::other("the thread has ended")));
    answer.map_err(|error| match error.kind() {
        #[cfg(not(unix))]
        io::ErrorKind::Interrupted => Failure::interrupted(crate::signals::INTERRUPTED),
        _ => Failure::failed("could not read the input").because(error),
    })
}
