//! The signals that ask the program to stop.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(unix)]
use std::task::Poll;

use crate::failure::{Exit, Failure};

/// The signals that end the program: Ctrl-C, and on Unix the one that `kill` sends, the one of a terminal that is
/// closed, and Ctrl-\.
pub(crate) struct Interrupts {
    #[cfg(unix)]
    signals: Vec<(tokio::signal::unix::Signal, u8)>,
}

/// The exit code of a program that Ctrl-C ended, as in shells: 128 plus the signal's number.
pub(crate) const INTERRUPTED: u8 = 130;

/// Whether Ctrl-C is how the command ends.
static ENDS_BY_CTRL_C: AtomicBool = AtomicBool::new(false);

/// Lets Ctrl-C end the command well: it goes on until then.
pub(crate) fn end_by_ctrl_c() {
    ENDS_BY_CTRL_C.store(true, Ordering::Relaxed);
}

/// Returns the end of the program after the signal with this exit code.
pub(crate) fn end(signal: u8) -> Result<Exit, Failure> {
    match signal == INTERRUPTED && ENDS_BY_CTRL_C.load(Ordering::Relaxed) {
        true => Ok(Exit::Ended),
        false => Err(Failure::interrupted(signal)),
    }
}

impl Interrupts {
    /// Listens from now on; the signals then end the program only through [`next`](Self::next).
    pub(crate) fn listen() -> Result<Self, Failure> {
        Self::new().map_err(|error| Failure::failed("could not listen for Ctrl-C").because(error))
    }

    /// As [`listen`](Self::listen), but does not end by SIGHUP unless the program has a terminal, which was closed then.
    #[cfg(feature = "serve")]
    pub(crate) fn listen_as_server() -> Result<Self, Failure> {
        let mut interrupts = Self::listen()?;
        #[cfg(unix)]
        if !io::IsTerminal::is_terminal(&io::stdin()) {
            let hangup = tokio::signal::unix::SignalKind::hangup().as_raw_value();
            interrupts.signals.retain(|(_, code)| i32::from(*code) != 128 + hangup);
        }
        Ok(interrupts)
    }

    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind: SignalKind| {
            // As in shells: 128 plus the signal's number.
            let code = u8::try_from(128 + kind.as_raw_value()).unwrap_or(INTERRUPTED);
            Ok::<_, io::Error>((signal(kind)?, code))
        };
        let signals = vec![
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
            listen(SignalKind::quit())?,
        ];
        Ok(Self { signals })
    }

    /// Waits for something, unless a signal comes first.
    #[cfg(feature = "serve")]
    pub(crate) async fn unless_one_comes<T>(
        &mut self,
        done: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            signal = self.next() => Err(Failure::interrupted(signal)),
            done = done => done,
        }
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for a signal, and returns its exit code.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) -> u8 {
        std::future::poll_fn(|cx| {
            let signals = &mut self.signals;
            let mut came = signals
                .iter_mut()
                .filter_map(|(signal, code)| signal.poll_recv(cx).is_ready().then_some(*code));
            came.next().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) -> u8 {
        match tokio::signal::ctrl_c().await {
            Ok(()) => INTERRUPTED,
            Err(_) => std::future::pending().await,
        }
    }
}
