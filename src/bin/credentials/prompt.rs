//! What a person is asked.
//!
//! Each question is asked by a thread of its own: a runtime that ends would wait for one of its own threads,
//! and the program is to end at once on Ctrl-C.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::thread;

use tokio::sync::{mpsc, oneshot};
use tower_credentials::SecretString;
use zeroize::Zeroizing;

use crate::failure::{Exit, Failure};
use crate::output;

/// Whether there is a person to ask.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a yes; `anyway` is the flag that says it beforehand.
pub(crate) async fn confirm(question: &str, anyway: &str) -> Result<(), Failure> {
    if !can_ask() {
        let message = format!("{question} There is no terminal to ask at");
        return Err(Failure::usage(message).way_out(format!("the same with {anyway}, if that is meant")));
    }
    let question = format!("{question} [y/N] ");
    let answer = on_a_thread(move || {
        let mut stderr = anstream::stderr();
        write!(stderr, "{question}")?;
        stderr.flush()?;
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
        let question = format!("{what}: ");
        on_a_thread(move || Ok(Zeroizing::new(rpassword::prompt_password(question)?))).await?
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
    let what = what.to_owned();
    on_a_thread(move || {
        // Room for all of it, so that no copy is left behind.
        let mut text = Zeroizing::new(String::with_capacity(MOST as usize + 1));
        io::stdin().lock().take(MOST + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MOST {
            return Err(io::Error::other(format!("a {what} has at most {MOST} bytes")));
        }
        Ok(text)
    })
    .await
}

/// The lines that a person types from here on, one after another.
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

async fn on_a_thread<T: Send + 'static>(
    ask: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || sender.send(ask()));
    let answer = receiver.await.unwrap_or_else(|_| Err(io::Error::other("the thread has ended")));
    answer.map_err(|error| match error.kind() {
        // Ctrl-C at a hidden prompt is a character to the terminal, not a signal.
        io::ErrorKind::Interrupted => {
            output::say("");
            Failure::new(Exit::Interrupted, "")
        }
        _ => Failure::failed("could not read the answer").because(error),
    })
}
