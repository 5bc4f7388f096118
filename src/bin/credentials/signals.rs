//! Being told to stop.

use std::io;

use crate::failure::Failure;

/// The signals that end the program: Ctrl-C, and on Unix the one that `kill` sends.
pub(crate) struct Interrupts {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

/// The exit code of a program that Ctrl-C has ended, as shells have it: 128 and the signal's number.
pub(crate) const INTERRUPTED: u8 = 130;
#[cfg(unix)]
const TERMINATED: u8 = 143;

impl Interrupts {
    /// Listens from here on; the signals end the program only through [`next`](Self::next) then.
    pub(crate) fn listen() -> Result<Self, Failure> {
        Self::new().map_err(|error| Failure::failed("could not listen for Ctrl-C").because(error))
    }

    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for one, and answers the exit code that it asks for.
    #[cfg(unix)]
    pub(crate) async fn next(mut self) -> u8 {
        tokio::select! {
            Some(()) = self.interrupt.recv() => INTERRUPTED,
            Some(()) = self.terminate.recv() => TERMINATED,
        }
    }

    #[cfg(not(unix))]
    pub(crate) async fn next(self) -> u8 {
        match tokio::signal::ctrl_c().await {
            Ok(()) => INTERRUPTED,
            Err(_) => std::future::pending().await,
        }
    }
}
