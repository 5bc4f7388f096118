//! The layer, the service and its future.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::Sealed;
use super::cipher::{Cipher, Shut};
use crate::BoxError;
use crate::credential::{Credential, CredentialId, Generation, Metadata, Record, Secret};
use crate::vault::key::VaultKey;
use crate::vault::{Replaced, StoredPool, VaultError, VaultRequest, VaultResponse};

/// Seals secrets on their way into a backend and opens them on their way out; see [the module](super).
#[derive(Clone)]
pub struct SealLayer {
    seals: Arc<Seals>,
}

impl SealLayer {
    /// Seals and opens with this key.
    pub fn new(key: &VaultKey) -> Self {
        Self { seals: Arc::new(Seals { cipher: Cipher::new(key), name: Box::new(|id| id.to_string()) }) }
    }

    /// As [`SealLayer::new`], where `name` says how a backend's user knows a record, for what is said of
    /// a damaged one: a file's path, say. Otherwise it is the credential's id.
    pub fn with_names(
        key: &VaultKey,
        name: impl Fn(CredentialId) -> String + Send + Sync + 'static,
    ) -> Self {
        Self { seals: Arc::new(Seals { cipher: Cipher::new(key), name: Box::new(name) }) }
    }
}

impl fmt::Debug for SealLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealLayer").finish_non_exhaustive()
    }
}

impl<V> Layer<V> for SealLayer {
    type Service = Seal<V>;

    fn layer(&self, inner: V) -> Seal<V> {
        Seal { inner, seals: self.seals.clone() }
    }
}

/// A vault over a backend of sealed secrets; see [the module](super).
///
/// One damaged record is left out of a loaded pool and named in it. A pool of which nothing opens,
/// because it was sealed with another key, is [`VaultError::Key`].
#[derive(Clone)]
pub struct Seal<V> {
    inner: V,
    seals: Arc<Seals>,
}

impl<V> Seal<V> {
    /// The vault over `inner`, with this key.
    pub fn new(inner: V, key: &VaultKey) -> Self {
        SealLayer::new(key).layer(inner)
    }

    /// The backend.
    pub fn get_ref(&self) -> &V {
        &self.inner
    }

    /// The backend, to be changed.
    pub fn get_mut(&mut self) -> &mut V {
        &mut self.inner
    }

    /// The backend, and no vault any more.
    pub fn into_inner(self) -> V {
        self.inner
    }
}

impl<V: fmt::Debug> fmt::Debug for Seal<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<V> Service<VaultRequest> for Seal<V>
where
    V: Service<VaultRequest<Sealed>, Response = VaultResponse<Sealed>, Error: Into<BoxError>> + Clone,
{
    type Response = VaultResponse;
    type Error = VaultError;
    type Future = SealFuture<V>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        self.inner.poll_ready(cx).map_err(backend_failed)
    }

    fn call(&mut self, request: VaultRequest) -> SealFuture<V> {
        let state = match self.seals.request(request) {
            Ok(Request::Sealed(request)) => State::Answering { answer: self.inner.call(request) },
            Ok(Request::Swap(swap)) => {
                // Sealing needs the metadata, which only the backend knows.
                let get = self.inner.call(VaultRequest::Get { id: swap.id });
                State::Reading { get, swap: Some((swap, self.inner.clone())) }
            }
            Err(error) => State::Failed { error: Some(error) },
        };
        SealFuture { state, seals: self.seals.clone() }
    }
}

fn backend_failed(error: impl Into<BoxError>) -> VaultError {
    error.into().into()
}

enum Request {
    Sealed(VaultRequest<Sealed>),
    Swap(Swap),
}

/// A [`VaultRequest::ReplaceSecret`] that is not sealed yet.
struct Swap {
    id: CredentialId,
    expected: Generation,
    secret: Secret,
}

pin_project! {
    /// The answer of a [`Seal`].
    pub struct SealFuture<V: Service<VaultRequest<Sealed>>> {
        #[pin]
        state: State<V>,
        seals: Arc<Seals>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<V: Service<VaultRequest<Sealed>>> {
        /// Refused before the backend was asked.
        Failed { error: Option<VaultError> },
        /// Waits for the metadata that a new secret is sealed with.
        Reading { #[pin] get: V::Future, swap: Option<(Swap, V)> },
        /// Waits until the backend takes the sealed secret.
        Swapping { backend: V, request: Option<VaultRequest<Sealed>> },
        /// Waits for the backend's answer.
        Answering { #[pin] answer: V::Future },
    }
}

impl<V> Future for SealFuture<V>
where
    V: Service<VaultRequest<Sealed>, Response = VaultResponse<Sealed>, Error: Into<BoxError>>,
{
    type Output = Result<VaultResponse, VaultError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Failed { error } => match error.take() {
                    Some(error) => return Poll::Ready(Err(error)),
                    None => return Poll::Pending,
                },
                StateProj::Reading { get, swap } => {
                    let stored = match ready!(get.poll(cx)).map_err(backend_failed)? {
                        VaultResponse::Credential(stored) => stored,
                        _ => return Poll::Ready(Err(VaultError::UnexpectedResponse)),
                    };
                    let Some((swap, backend)) = swap.take() else { return Poll::Pending };
                    // Opened first: metadata that was tampered with must not get a valid seal this way.
                    let stored = this.seals.open(stored)?;
                    if stored.metadata.generation != swap.expected {
                        let conflict = VaultResponse::Replaced(Replaced::Conflict(stored));
                        return Poll::Ready(Ok(conflict));
                    }
                    let request = this.seals.swap(stored.metadata, swap)?;
                    State::Swapping { backend, request: Some(request) }
                }
                StateProj::Swapping { backend, request } => {
                    ready!(backend.poll_ready(cx)).map_err(backend_failed)?;
                    let Some(request) = request.take() else { return Poll::Pending };
                    State::Answering { answer: backend.call(request) }
                }
                StateProj::Answering { answer } => {
                    let answer = ready!(answer.poll(cx)).map_err(backend_failed)?;
                    return Poll::Ready(this.seals.response(answer));
                }
            };
            this.state.set(next);
        }
    }
}

impl<V: Service<VaultRequest<Sealed>>> fmt::Debug for SealFuture<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealFuture").finish_non_exhaustive()
    }
}

/// What requests and answers are sealed and opened with.
struct Seals {
    cipher: Cipher,
    name: Box<dyn Fn(CredentialId) -> String + Send + Sync>,
}

impl Seals {
    fn request(&self, request: VaultRequest) -> Result<Request, VaultError> {
        let request = match request {
            VaultRequest::Put(Record { metadata, secret }) => {
                let secret = self.cipher.seal(&metadata, &secret)?;
                VaultRequest::Put(Record { metadata, secret })
            }
            VaultRequest::ReplaceSecret { id, expected, secret } => {
                return Ok(Request::Swap(Swap { id, expected, secret }));
            }
            VaultRequest::Load(pool) => VaultRequest::Load(pool),
            VaultRequest::List => VaultRequest::List,
            VaultRequest::Relabel { id, label } => VaultRequest::Relabel { id, label },
            VaultRequest::Move { id, place } => VaultRequest::Move { id, place },
            VaultRequest::Remove { id } => VaultRequest::Remove { id },
            VaultRequest::Get { id } => VaultRequest::Get { id },
            VaultRequest::Record { pool, outcomes } => VaultRequest::Record { pool, outcomes },
            VaultRequest::LeaseRefresh { id } => VaultRequest::LeaseRefresh { id },
            VaultRequest::Revision(pool) => VaultRequest::Revision(pool),
        };
        Ok(Request::Sealed(request))
    }

    /// The request that swaps the secret. The backend checks the generation once more.
    fn swap(&self, mut metadata: Metadata, swap: Swap) -> Result<VaultRequest<Sealed>, VaultError> {
        let Swap { id, expected, secret } = swap;
        metadata.generation = expected.next();
        let secret = self.cipher.seal(&metadata, &secret)?;
        Ok(VaultRequest::ReplaceSecret { id, expected, secret })
    }

    fn response(&self, response: VaultResponse<Sealed>) -> Result<VaultResponse, VaultError> {
        Ok(match response {
            VaultResponse::Pool(pool) => VaultResponse::Pool(self.pool(pool)?),
            VaultResponse::Credential(record) => VaultResponse::Credential(self.open(record)?),
            VaultResponse::Replaced(Replaced::Conflict(record)) => {
                VaultResponse::Replaced(Replaced::Conflict(self.open(record)?))
            }
            VaultResponse::Replaced(Replaced::Swapped(generation)) => {
                VaultResponse::Replaced(Replaced::Swapped(generation))
            }
            VaultResponse::List(listing) => VaultResponse::List(listing),
            VaultResponse::Stored(metadata) => VaultResponse::Stored(metadata),
            VaultResponse::Lease(lease) => VaultResponse::Lease(lease),
            VaultResponse::Revision(revision) => VaultResponse::Revision(revision),
            VaultResponse::Done => VaultResponse::Done,
        })
    }

    fn open(&self, record: Record<Sealed>) -> Result<Credential, VaultError> {
        let Record { metadata, secret } = record;
        match self.cipher.open(&metadata, secret) {
            Ok(secret) => Ok(Record { metadata, secret }),
            Err(shut) => Err(self.cipher.error(shut, (self.name)(metadata.id))),
        }
    }

    fn pool(&self, pool: StoredPool<Sealed>) -> Result<StoredPool, VaultError> {
        let StoredPool { credentials: records, standings, revision, mut damaged } = pool;
        let mut credentials = Vec::with_capacity(records.len());
        let mut other_key = None;
        for Record { metadata, secret } in records {
            match self.cipher.open(&metadata, secret) {
                Ok(secret) => credentials.push(Record { metadata, secret }),
                Err(shut) => {
                    if let Shut::OtherKey(sealed_with) = shut {
                        other_key = Some(sealed_with);
                    }
                    damaged.push(self.cipher.damage(shut, (self.name)(metadata.id)));
                }
            }
        }
        match other_key {
            Some(sealed_with) if credentials.is_empty() => {
                Err(self.cipher.error(Shut::OtherKey(sealed_with), String::new()))
            }
            _ => Ok(StoredPool { credentials, standings, revision, damaged }),
        }
    }
}
