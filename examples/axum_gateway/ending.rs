//! The gateway's end, which loses no account.

use std::io;
#[cfg(unix)]
use std::task::Poll;
use std::time::Duration;

use tower_credentials::Pool;
use tower_credentials::history::{History, Recording};
use tower_credentials::setup::Setup;

use crate::say;

/// The signals that end the program.
pub struct Signals {
    #[cfg(unix)]
    signals: Vec<tokio::signal::unix::Signal>,
}

impl Signals {
    pub fn new() -> io::Result<Self> {
        #[cfg(unix)]
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            #[cfg(unix)]
            signals: [
                SignalKind::interrupt(),
                SignalKind::terminate(),
                SignalKind::hangup(),
                SignalKind::quit(),
            ]
            .into_iter()
            .filter(|kind| !is_ignored(kind.as_raw_value()))
            .map(signal)
            .collect::<Result<_, _>>()?,
        })
    }

    pub async fn next(&mut self) {
        #[cfg(unix)]
        std::future::poll_fn(|cx| {
            let came = self.signals.iter_mut().any(|signal| signal.poll_recv(cx).is_ready());
            if came { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Whether the program was started with this signal ignored, as by `nohup`.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

/// How long to wait at the end for tokens that are being renewed.
const LAST_PATIENCE: Duration = Duration::from_secs(60);

/// How long the end waits for the disk that the history is on.
const HISTORY_PATIENCE: Duration = Duration::from_secs(2);

/// Records what happens to the accounts, for `credentials history`, unless the settings say otherwise.
pub fn record(setup: &Setup, pool: &Pool) -> Option<Recording> {
    let is_off = setup.registry().vault_settings().history == Some(false);
    (!is_off).then(|| History::of(setup.vault_directory()).record(pool))
}

/// Waits for everything that would be lost, unless another signal comes.
pub async fn close(pool: &Pool, recording: Option<Recording>, signals: &mut Signals) {
    for account in pool.renewing() {
        say(&format!(
            "waiting until the tokens of account {} are renewed; another signal ends this at once, and may \
             lose them",
            account.label
        ));
    }
    tokio::select! {
        closed = pool.close(LAST_PATIENCE) => {
            if let Err(unfinished) = closed {
                say(&unfinished.to_string());
            }
        }
        () = signals.next() => {
            for account in pool.renewing() {
                say(&format!("the new tokens of account {} may be lost: sign in again", account.label));
            }
        }
    }
    if let Some(recording) = recording {
        let _ = tokio::time::timeout(HISTORY_PATIENCE, recording.close()).await;
    }
}
