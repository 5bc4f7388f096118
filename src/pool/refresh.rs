//! Renewing a secret: once, however many requests ask, and saved before anyone uses it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tower::util::BoxCloneService;
use tower_service::Service;

use super::{Lease, Pool};
use crate::BoxError;
use crate::credential::{Credential, Metadata, Record, Secret};
use crate::events::{Event, Tally};
use crate::standing::{Change, Health};
use crate::vault::{Replaced, VaultExt};

/// Exchanges a credential for a new secret, at the vendor's token endpoint for instance.
///
/// ```
/// use tower_credentials::{Credential, OAuthTokens, RefreshError, Refresher, Secret};
///
/// let refresher = Refresher::new(|credential: Credential| async move {
///     let token = credential.secret.refresh_token().ok_or(RefreshError::rejected("no token"))?;
///     // Ask the token endpoint here.
///     Ok::<Secret, RefreshError>(OAuthTokens::new("new").refresh(token.clone()).into())
/// });
/// ```
#[derive(Clone)]
pub struct Refresher(Arc<Mutex<BoxCloneService<Credential, Secret, BoxError>>>);

impl Refresher {
    /// A refresher that calls an async function. The function's error may be a [`RefreshError`]; any
    /// other is taken for a failure that may pass.
    pub fn new<F, Fut, E>(exchange: F) -> Self
    where
        F: FnMut(Credential) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<Secret, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::from_service(tower::service_fn(exchange))
    }

    /// A refresher that calls a service: one with a timeout around it, say. Errors as at [`new`](Self::new).
    pub fn from_service<S>(service: S) -> Self
    where
        S: Service<Credential, Response = Secret, Error: Into<BoxError>, Future: Send + 'static>
            + Clone
            + Send
            + 'static,
    {
        let service = tower::util::MapErr::new(service, Into::into as fn(S::Error) -> BoxError);
        Self(Arc::new(Mutex::new(BoxCloneService::new(service))))
    }

    async fn exchange(&self, credential: Credential) -> Result<Secret, RefreshError> {
        let mut service = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
        Ok(service.call(credential).await?)
    }
}

impl fmt::Debug for Refresher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Refresher")
    }
}

/// Why a secret could not be renewed.
#[derive(Debug)]
#[non_exhaustive]
pub enum RefreshError {
    /// The vendor's own verdict that the refresh token is no good (`invalid_grant`, RFC 6749, section
    /// 5.2): only a new sign-in helps.
    Rejected {
        /// The vendor's reason, in words. Shown to people and saved: nothing secret.
        reason: String,
    },
    /// Anything that may pass: the network, a server's trouble.
    Failed(BoxError),
}

impl RefreshError {
    /// That the vendor has rejected the refresh token.
    pub fn rejected(reason: impl Into<String>) -> Self {
        Self::Rejected { reason: reason.into() }
    }

    /// Without the secret, where its text quotes it: token endpoints do that, and errors are shown.
    fn redacted(self, secret: &Secret) -> Self {
        match self {
            Self::Rejected { reason } => Self::Rejected { reason: secret.redact(reason) },
            Self::Failed(error) => {
                let text = error.to_string();
                let redacted = secret.redact(text.clone());
                if redacted == text { Self::Failed(error) } else { Self::Failed(redacted.into()) }
            }
        }
    }
}

impl fmt::Display for RefreshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected { reason } => write!(f, "a new sign-in is needed: {reason}"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RefreshError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Rejected { .. } => None,
            Self::Failed(error) => error.source(),
        }
    }
}

impl From<BoxError> for RefreshError {
    fn from(error: BoxError) -> Self {
        error.downcast().map_or_else(Self::Failed, |error| *error)
    }
}

/// A refresh that a request waits for: what to use now, or `None` where it did not help.
#[derive(Debug)]
pub(crate) enum Refreshing {
    Done(Option<Lease>),
    Waiting(oneshot::Receiver<Option<Lease>>),
}

impl Future for Refreshing {
    type Output = Option<Lease>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Lease>> {
        match self.get_mut() {
            Self::Done(lease) => Poll::Ready(lease.take()),
            Self::Waiting(receiver) => Pin::new(receiver).poll(cx).map(Result::unwrap_or_default),
        }
    }
}

/// How far a credential's refresh is.
#[derive(Debug, Default)]
pub(crate) enum RefreshStage {
    #[default]
    Idle,
    /// Under way; these wait for it.
    Running(Vec<oneshot::Sender<Option<Lease>>>),
    /// The new secret can't be saved yet: nobody is made to wait for it, and none exchanges again.
    Late,
}

/// How often a new secret is tried to be saved before those who wait are told that it did not work;
/// after that it is tried on, alone.
const TRIES: u32 = 3;

/// How long after a failed save the next try is made: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

impl Pool {
    /// Renews the secret that this lease has, unless that is done or being done already. With `saves`,
    /// a verdict that nobody waits for any more is saved.
    pub(crate) fn refresh(&self, lease: &Lease, refresher: &Refresher, saves: bool) -> Refreshing {
        let (sender, receiver) = oneshot::channel();
        let is_first = self.with_book(|book, _| {
            let slot = &mut book.slots[lease.slot()];
            if slot.lease.credential().generation > lease.credential().generation {
                return Err(Some(slot.lease.clone()));
            }
            match &mut slot.refresh {
                RefreshStage::Late => Err(None),
                RefreshStage::Running(waiters) => {
                    waiters.push(sender);
                    Ok(false)
                }
                idle @ RefreshStage::Idle => {
                    *idle = RefreshStage::Running(vec![sender]);
                    Ok(true)
                }
            }
        });
        match is_first {
            Err(known) => return Refreshing::Done(known),
            Ok(false) => {}
            Ok(true) => {
                let task = Exchange { pool: self.clone(), lease: lease.clone(), renewed: None, saves };
                tokio::spawn(task.run(refresher.clone()));
            }
        }
        Refreshing::Waiting(receiver)
    }
}

/// The one task that renews a credential's secret. However it ends, those who wait are told.
struct Exchange {
    pool: Pool,
    lease: Lease,
    renewed: Option<Lease>,
    saves: bool,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let renewed = self.renewed.take();
        self.end(RefreshStage::Idle, renewed);
    }
}

impl Exchange {
    async fn run(mut self, refresher: Refresher) {
        match self.exchange(&refresher).await {
            Ok(lease) => self.renewed = Some(lease),
            Err(error) => {
                let credential = self.credential();
                self.pool.emit(&Event::RefreshFailed { credential, error: &error.to_string() });
                if let RefreshError::Rejected { reason } = error {
                    self.pool.emit(&Event::NeedsSignIn { credential, reason: &reason });
                    let generation = credential.generation;
                    self.change(Change::Health(Health::NeedsSignIn { reason, generation }));
                }
            }
        }
    }

    fn credential(&self) -> &Metadata {
        self.lease.credential()
    }

    fn change(&self, change: Change) {
        let now = self.pool.now();
        self.pool.with_book(|book, config| book.change(self.lease.slot(), change, config, now));
    }

    async fn exchange(&self, refresher: &Refresher) -> Result<Lease, RefreshError> {
        let id = self.credential().id;
        let vault = self.pool.vault();
        let failed = |error: crate::vault::VaultError| RefreshError::Failed(error.into());
        let _held = vault.lease_refresh(id).await.map_err(failed)?;
        let stored = vault.get(id).await.map_err(failed)?;
        if stored.metadata.generation > self.credential().generation {
            return self.adopt(&stored);
        }
        let exchanged = refresher.exchange(stored.clone()).await;
        match exchanged.map_err(|error| error.redacted(&stored.secret)) {
            Ok(secret) => self.store(stored, secret).await,
            Err(RefreshError::Rejected { reason }) => {
                // Whoever has rotated the token meanwhile has made the verdict void.
                match vault.get(id).await {
                    Ok(now) if now.metadata.generation > stored.metadata.generation => self.adopt(&now),
                    _ => Err(RefreshError::Rejected { reason }),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Saves the new secret; only then is it used. The old refresh token is spent, so this is tried
    /// until it works.
    async fn store(&self, old: Credential, secret: Secret) -> Result<Lease, RefreshError> {
        let Metadata { id, generation, .. } = old.metadata;
        let mut backoff = BACKOFF.0;
        let mut tries = 0;
        loop {
            match self.pool.vault().replace_secret(id, generation, secret.clone()).await {
                Ok(Replaced::Swapped(generation)) => {
                    let metadata = Metadata { generation, ..old.metadata };
                    Tally::add(&self.pool.tally().refreshes);
                    let lease = self.adopt(&Record { metadata, secret })?;
                    self.pool.emit(&Event::Refreshed { credential: lease.credential() });
                    return Ok(lease);
                }
                Ok(Replaced::Conflict(theirs)) => return self.adopt(&theirs),
                Err(crate::vault::VaultError::NotFound(id)) => {
                    return Err(RefreshError::Failed(crate::vault::VaultError::NotFound(id).into()));
                }
                Err(error) => {
                    let credential = self.credential();
                    self.pool.emit(&Event::SecretNotSaved { credential, error: &error.to_string() });
                    tries += 1;
                    if tries == TRIES {
                        self.end(RefreshStage::Late, None);
                    }
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    fn adopt(&self, credential: &Credential) -> Result<Lease, RefreshError> {
        let now = self.pool.now();
        let provider = self.pool.provider();
        self.pool
            .with_book(|book, config| book.adopt(credential, provider, config, now))
            .map_err(|error| RefreshError::Failed(error.into()))
    }

    /// Tells those who wait, and what those who come from now on find.
    fn end(&self, stage: RefreshStage, lease: Option<Lease>) {
        let before = self
            .pool
            .with_book(|book, _| std::mem::replace(&mut book.slots[self.lease.slot()].refresh, stage));
        if let RefreshStage::Running(waiters) = before {
            let mut is_heard = false;
            for waiter in waiters {
                is_heard |= waiter.send(lease.clone()).is_ok();
            }
            if self.saves && !is_heard {
                let _ = self.pool.start_saving();
            }
        }
    }
}
