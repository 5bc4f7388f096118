//! The service that loads a vault's key, and two such services one after the other.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::change::Keys;
use super::vault_key::VaultKey;
use crate::BoxError;
use crate::vault::VaultError;

/// A request to a [`KeyService`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyRequest {
    /// Loads the key. The response is `None` if there is none.
    Load,
    /// Loads the key, or makes and stores a new one. The response is `None` if there is none and this place can't store
    /// one.
    LoadOrCreate,
    /// Loads the previous key while a [rotation](super::Rotation) is not finished. The response is `None` if there is none, as
    /// in a place that stores only one key.
    LoadPrevious,
}

/// The place of a vault's key: every `Service<KeyRequest, Response = Option<VaultKey>>` is one.
/// [`EnvKey`](super::EnvKey), [`FileKey`](super::FileKey) and [`CommandKey`](super::CommandKey) come with this
/// crate, and `KeyringKey` with the feature `keyring`; for a key management service, write a service of your own.
///
/// ```
/// use tower_credentials::vault::key::{EnvKey, FileKey, KeyServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("vault.key");
/// // The environment's key if it is set, else the file's, which is made on first use.
/// let key = EnvKey::new("EXAMPLE_VAULT_KEY").or(FileKey::new(&path)).load_or_create().await?;
/// assert_eq!(key.id(), FileKey::new(&path).load().await?.expect("it was made").id());
/// # Ok(())
/// # }
/// ```
pub trait KeyService:
    Service<KeyRequest, Response = Option<VaultKey>, Error: Into<BoxError>, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> KeyService for S where
    S: Service<KeyRequest, Response = Option<VaultKey>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Implements a [`KeyService`] that is always ready, with the type's method `respond`.
macro_rules! key_service {
    ($place:ident) => {
        impl tower_service::Service<$crate::vault::key::KeyRequest> for $place {
            type Response = Option<$crate::vault::key::VaultKey>;
            type Error = $crate::vault::VaultError;
            type Future = $crate::vault::key::KeyFuture;

            fn poll_ready(
                &mut self,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<(), $crate::vault::VaultError>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: $crate::vault::key::KeyRequest) -> Self::Future {
                self.respond(request)
            }
        }
    };
}
pub(crate) use key_service;

/// A method for each [`KeyRequest`], and one that combines two services.
pub trait KeyServiceExt: KeyService {
    /// Loads the key, if there is one.
    ///
    /// # Errors
    /// [`VaultError::Key`] if the stored text is not a key or is not private, and the service's own errors.
    fn load(&self) -> impl Future<Output = Result<Option<VaultKey>, VaultError>> + Send {
        call(self.clone(), KeyRequest::Load)
    }

    /// Loads the key; if there is none, makes and stores a new one.
    ///
    /// # Errors
    /// The errors of [`load`](Self::load), and [`VaultError::Key`] if there is no key and none can be stored.
    fn load_or_create(&self) -> impl Future<Output = Result<VaultKey, VaultError>> + Send {
        let service = self.clone();
        async move {
            let key = call(service, KeyRequest::LoadOrCreate).await?;
            key.ok_or_else(|| {
                VaultError::Key("there is none where it is looked for; make one".to_owned())
            })
        }
    }

    /// Loads the key, and the previous one while a [rotation](super::Rotation) is not finished: opening a vault then needs
    /// both.
    ///
    /// # Errors
    /// The same as those of [`load`](Self::load).
    fn load_keys(&self) -> impl Future<Output = Result<Option<Keys>, VaultError>> + Send {
        let service = self.clone();
        async move {
            loop {
                let Some(current) = call(service.clone(), KeyRequest::Load).await? else {
                    return Ok(None);
                };
                let Some(previous) = call(service.clone(), KeyRequest::LoadPrevious).await? else {
                    return Ok(Some(Keys::new(current)));
                };
                // The rotation may have begun between the two requests.
                let again = call(service.clone(), KeyRequest::Load).await?;
                if again.is_some_and(|again| again.id() == current.id()) {
                    return Ok(Some(Keys::new(current).previous(previous)));
                }
            }
        }
    }

    /// Uses this service's key, or the other's if this one has none. A new key is made only if neither has one, by the first
    /// of them that can store it.
    fn or<S: KeyService>(self, other: S) -> Or<Self, S> {
        Or { first: self, second: other }
    }
}

impl<S: KeyService> KeyServiceExt for S {}

/// A [`KeyService`] of any type: the place of an open vault's keys.
#[cfg(feature = "file")]
pub(in crate::vault) trait KeyPlace: Send + Sync {
    /// Loads the current keys.
    fn keys(&self) -> Pin<Box<dyn Future<Output = Result<Option<Keys>, VaultError>> + Send + '_>>;
}

/// Makes a [`KeyPlace`] of a service, which is cloned for each call and so need not be `Sync`.
#[cfg(feature = "file")]
pub(in crate::vault) struct Place<S>(std::sync::Mutex<S>);

#[cfg(feature = "file")]
impl<S: KeyService> Place<S> {
    pub(in crate::vault) fn new(service: S) -> Self {
        Self(std::sync::Mutex::new(service))
    }
}

#[cfg(feature = "file")]
impl<S: KeyService> KeyPlace for Place<S> {
    fn keys(&self) -> Pin<Box<dyn Future<Output = Result<Option<Keys>, VaultError>> + Send + '_>> {
        // A clone that panicked has broken nothing.
        let service = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        Box::pin(async move { service.load_keys().await })
    }
}

async fn call<S: KeyService>(
    mut service: S,
    request: KeyRequest,
) -> Result<Option<VaultKey>, VaultError> {
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(failed)?;
    service.call(request).await.map_err(failed)
}

fn failed(error: impl Into<BoxError>) -> VaultError {
    error.into().into()
}

/// Two places where a key may be; made by [`KeyServiceExt::or`].
#[derive(Clone, Debug)]
pub struct Or<A, B> {
    first: A,
    second: B,
}

impl<A: KeyService, B: KeyService> Service<KeyRequest> for Or<A, B> {
    type Response = Option<VaultKey>;
    type Error = VaultError;
    type Future = OrFuture<A, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        // Only the responses decide which service is called, and how often: each is made ready when it is called.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: KeyRequest) -> OrFuture<A, B> {
        OrFuture {
            first: self.first.clone(),
            second: self.second.clone(),
            wants: request,
            step: Step::LoadFirst,
            state: State::Unready,
        }
    }
}

/// The requests, in their order. No key is made before both services were asked for theirs. The previous key is loaded from
/// the service that has the key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    LoadFirst,
    LoadSecond,
    CreateFirst,
    CreateSecond,
    PreviousFirst,
    PreviousSecond,
}

pin_project! {
    /// The future of an [`Or`]'s response.
    pub struct OrFuture<A: KeyService, B: KeyService> {
        first: A,
        second: B,
        wants: KeyRequest,
        step: Step,
        #[pin]
        state: State<A::Future, B::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<A, B> {
        Unready,
        First { #[pin] response: A },
        Second { #[pin] response: B },
    }
}

impl<A: KeyService, B: KeyService> Future for OrFuture<A, B> {
    type Output = Result<Option<VaultKey>, VaultError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let key = match this.state.as_mut().project() {
                StateProj::First { response } => ready!(response.poll(cx)).map_err(failed)?,
                StateProj::Second { response } => ready!(response.poll(cx)).map_err(failed)?,
                StateProj::Unready => {
                    let request = match this.step {
                        Step::LoadFirst | Step::LoadSecond => KeyRequest::Load,
                        Step::CreateFirst | Step::CreateSecond => KeyRequest::LoadOrCreate,
                        Step::PreviousFirst | Step::PreviousSecond => KeyRequest::LoadPrevious,
                    };
                    let calling = match this.step {
                        Step::LoadFirst | Step::CreateFirst | Step::PreviousFirst => {
                            ready!(this.first.poll_ready(cx)).map_err(failed)?;
                            State::First { response: this.first.call(request) }
                        }
                        Step::LoadSecond | Step::CreateSecond | Step::PreviousSecond => {
                            ready!(this.second.poll_ready(cx)).map_err(failed)?;
                            State::Second { response: this.second.call(request) }
                        }
                    };
                    this.state.set(calling);
                    continue;
                }
            };
            let next = match (*this.step, *this.wants) {
                (Step::LoadFirst, KeyRequest::LoadPrevious) => Some(match key {
                    Some(_) => Step::PreviousFirst,
                    None => Step::PreviousSecond,
                }),
                _ if key.is_some() => None,
                (Step::LoadFirst, _) => Some(Step::LoadSecond),
                (Step::LoadSecond, KeyRequest::LoadOrCreate) => Some(Step::CreateFirst),
                (Step::CreateFirst, _) => Some(Step::CreateSecond),
                _ => None,
            };
            let Some(next) = next else { return Poll::Ready(Ok(key)) };
            *this.step = next;
            this.state.set(State::Unready);
        }
    }
}

impl<A: KeyService, B: KeyService> fmt::Debug for OrFuture<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrFuture").finish_non_exhaustive()
    }
}
