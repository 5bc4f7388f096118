//! Following changes of the settings, the clients and the certificate while a gateway runs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;
use tokio::time::{Interval, MissedTickBehavior};

use crate::context::Context;
use crate::failure::Failure;
use crate::gateway::{CertificateFiles, Clients, Forward, Rules};
use crate::output;
use crate::running::{self, Running};

/// How often to look whether something has changed.
const EVERY: Duration = Duration::from_secs(1);

/// How long renewals may take at the end of pools that are replaced.
const CLOSING: Duration = Duration::from_secs(60);

/// Asks the gateways of a vault to read their settings again, once these have been checked.
pub(super) fn ask(context: &Context) -> Result<(), Failure> {
    let own = context.own_files()?;
    if !own.is_dir() {
        return Err(Failure::not_found("there is no vault yet").way_out("credentials login PROVIDER"));
    }
    let path = running::told_by(own);
    let failed = |error| Failure::failed(format!("could not write {}", path.display())).because(error);
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    file.set_modified(SystemTime::now()).map_err(failed)?;
    output::say(match running::is_noticed(own) {
        true => "The settings are good. Gateways of this vault follow them within a second",
        false => "The settings are good. No gateway of this vault is running",
    });
    Ok(())
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|found| found.modified()).ok()
}

/// How often to look whether a vault can be reached that could not.
const VAULT_EVERY: Duration = Duration::from_millis(500);

/// Waits until the vault can be reached.
pub(super) async fn vault_is_back(context: &Context) {
    loop {
        // An engine that can't be reached tells nobody when it can.
        tokio::time::sleep(VAULT_EVERY).await;
        match context.vault().await {
            Err(failure) if failure.is_away() => {}
            _ => return,
        }
    }
}

/// What has changed.
pub(super) enum Changed {
    Settings,
    Certificate(Arc<CertifiedKey>),
}

/// What has been followed so far.
pub(super) struct Reload {
    certificate: Option<CertificateFiles>,
    asked: PathBuf,
    running: Running,
    asked_at: Option<SystemTime>,
    every: Interval,
    hangups: Hangups,
}

impl Reload {
    pub(super) fn new(
        context: &Context,
        providers: &[String],
        certificate: Option<CertificateFiles>,
    ) -> Self {
        let asked = running::told_by(&context.places.own);
        let running = Running::of(context, providers);
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            certificate,
            asked_at: modified(&asked),
            asked,
            running,
            every,
            #[cfg(not(unix))]
            hangups: (),
            #[cfg(unix)]
            hangups: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok(),
        }
    }

    /// Waits for the next change, and lets the clients follow theirs.
    pub(super) async fn next(&mut self, clients: &Clients) -> Changed {
        loop {
            tokio::select! {
                () = hangup(&mut self.hangups) => return Changed::Settings,
                _ = self.every.tick() => {}
            }
            // Before its accounts are read: one that is stored later is told of.
            if self.running.notice() {
                return Changed::Settings;
            }
            let asked_at = modified(&self.asked);
            if std::mem::replace(&mut self.asked_at, asked_at) != asked_at {
                return Changed::Settings;
            }
            clients.look();
            match self.certificate.as_mut().and_then(CertificateFiles::look) {
                Some(Ok(certificate)) => return Changed::Certificate(certificate),
                Some(Err(failure)) => {
                    output::warn_of(&failure);
                    output::say("The certificate so far stays in use");
                }
                None => {}
            }
        }
    }
}

#[cfg(unix)]
type Hangups = Option<tokio::signal::unix::Signal>;
#[cfg(not(unix))]
type Hangups = ();

/// Waits for SIGHUP, if the system has it.
async fn hangup(hangups: &mut Hangups) {
    #[cfg(unix)]
    if let Some(hangups) = hangups {
        hangups.recv().await;
        return;
    }
    std::future::pending().await
}

/// Closes the pools of rules that were replaced, once the requests under them have ended.
pub(super) async fn close<S: Forward>(rules: Arc<Rules<S>>) {
    while Arc::strong_count(&rules) > 1 {
        // Nothing tells when the last request lets go of them.
        tokio::time::sleep(EVERY).await;
    }
    for route in rules.pools() {
        // What is unfinished is waited for again when the program ends.
        let _ = route.pool().close(CLOSING).await;
    }
}
