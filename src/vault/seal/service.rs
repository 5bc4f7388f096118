//! The layer, the service and its future.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::vec;

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::Sealed;
use super::cipher::{Cipher, Shut};
use super::rules::{Barred, Rules, VaultId};
use crate::BoxError;
use crate::credential::{Credential, CredentialId, Generation, Metadata, Record, Secret};
use crate::secret::leaving_no_copy;
use crate::vault::key::{KeyId, VaultKey};
use crate::vault::{Begun, Replaced, StoredPool, VaultError, VaultRequest, VaultResponse};

/// Seals secrets on their way into a backend and opens them on their way out; see [the module](super).
#[derive(Clone)]
pub struct SealLayer {
    seals: Arc<Seals>,
}

impl SealLayer {
    /// Seals and opens with this key.
    pub fn new(key: &VaultKey) -> Self {
        Self::with_names(key, |id| id.to_string())
    }

    /// As [`SealLayer::new`], where `name` says how a backend's user knows a record, for what is said of
    /// a damaged one: a file's path, say. Otherwise it is the credential's id.
    pub fn with_names(
        key: &VaultKey,
        name: impl Fn(CredentialId) -> String + Send + Sync + 'static,
    ) -> Self {
        Self { seals: Arc::new(Seals::new(key, name)) }
    }

    /// For the backend of this id: a secret that was sealed for another one does not open. Without an id, one of
    /// another backend with the same key does.
    #[must_use]
    pub fn vault(self, id: VaultId) -> Self {
        let rules = Rules { vault: Some(id), ..Rules::default() };
        Self { seals: Arc::new(self.seals.with_rules(rules)) }
    }

    /// What [`Seal::reseal`] does with attributes that no seal has bound: nothing, unless set.
    #[must_use]
    pub fn unbound_attributes(self, unbound: UnboundAttributes) -> Self {
        let mut seals = Seals::clone(&self.seals);
        seals.set_unbound(unbound);
        Self { seals: Arc::new(seals) }
    }

    /// Also opens what this key has sealed; nothing is sealed with it any more. [`Seal::reseal`] makes it
    /// dispensable.
    #[must_use]
    pub fn old_key(self, key: &VaultKey) -> Self {
        Self { seals: Arc::new(self.seals.with_old(key)) }
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

    /// The key that seals from now on.
    pub fn key_id(&self) -> KeyId {
        self.seals.cipher.key_id()
    }

    /// The vault over `inner` with these, which others may have as well.
    #[cfg(feature = "file")]
    pub(crate) fn with_seals(inner: V, seals: Arc<Seals>) -> Self {
        Self { inner, seals }
    }
}

impl<V> Seal<V>
where
    V: Service<VaultRequest<Sealed>, Response = VaultResponse<Sealed>, Error: Into<BoxError>> + Clone,
{
    /// Seals a credential's secret anew with the present key and in the present format, at the same generation, if it
    /// is sealed otherwise. Waits for the credential's lease: a refresh whose process has only the old key could not
    /// save its result.
    ///
    /// # Errors
    /// [`VaultError::Key`] where none of the keys opens it, [`VaultError::Damaged`] where it does not open,
    /// or whatever the backend answers. The record is then as it was.
    pub async fn reseal(&self, id: CredentialId) -> Result<Resealed, VaultError> {
        if self.seals.is_present(&self.stored(id).await?.secret) {
            return Ok(Resealed::Already);
        }
        let VaultResponse::Lease(_lease) = self.ask(VaultRequest::LeaseRefresh { id }).await? else {
            return Err(VaultError::UnexpectedResponse);
        };
        loop {
            let stored = self.stored(id).await?;
            if self.seals.is_present(&stored.secret) {
                return Ok(Resealed::Already);
            }
            let was_bound = Seals::binds_attributes(&stored);
            let expected = stored.metadata.generation;
            let Record { mut metadata, secret } = self.seals.open(stored, &mut Noted::default())?;
            let request = match (was_bound, self.seals.unbound) {
                (true, _) | (false, UnboundAttributes::Keep) => {
                    let secret = self.seals.cipher.seal(&metadata, &secret)?;
                    VaultRequest::Reseal { id, expected, secret }
                }
                (false, UnboundAttributes::Drop) => {
                    // They change with a secret, if only by its generation.
                    metadata.attributes.clear();
                    metadata.generation = expected.next();
                    let secret = self.seals.cipher.seal(&metadata, &secret)?;
                    let attributes = Some(BTreeMap::new());
                    VaultRequest::ReplaceSecret { id, expected, secret, attributes }
                }
                (false, UnboundAttributes::Ask) => return Ok(Resealed::Unconfirmed),
            };
            match self.ask(request).await? {
                VaultResponse::Replaced(Replaced::Swapped(_)) => return Ok(Resealed::Done),
                // Somebody has replaced it, without a lease: perhaps with the old key again.
                VaultResponse::Replaced(Replaced::Conflict(_)) => {}
                _ => return Err(VaultError::UnexpectedResponse),
            }
        }
    }

    async fn stored(&self, id: CredentialId) -> Result<Record<Sealed>, VaultError> {
        match self.ask(VaultRequest::Get { id }).await? {
            VaultResponse::Credential(record) => Ok(record),
            _ => Err(VaultError::UnexpectedResponse),
        }
    }

    async fn ask(&self, request: VaultRequest<Sealed>) -> Result<VaultResponse<Sealed>, VaultError> {
        let mut backend = self.inner.clone();
        poll_fn(|cx| backend.poll_ready(cx)).await.map_err(backend_failed)?;
        backend.call(request).await.map_err(backend_failed)
    }
}

/// What sealing a record anew came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resealed {
    /// It is sealed with the present key, and in the present format, now.
    Done,
    /// It was already.
    Already,
    /// It has attributes that no seal has bound, and [nothing says](SealLayer::unbound_attributes) what is to become of
    /// them. It is left as it was.
    Unconfirmed,
}

/// What becomes of attributes that no seal has bound when their record is sealed anew: seals of version 1 did not, so
/// that whoever could write a record could edit them, and a new seal would vouch for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnboundAttributes {
    /// The record is not sealed anew, and is named.
    #[default]
    Ask,
    /// They are kept, and bound: somebody has looked at them.
    Keep,
    /// They are dropped.
    Drop,
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
                State::Reading { get, then: Some((Then::Swap(swap), self.inner.clone())) }
            }
            Ok(Request::Begin { id, expected }) => {
                let get = self.inner.call(VaultRequest::Get { id });
                let then = Then::Begin { id, expected };
                State::Reading { get, then: Some((then, self.inner.clone())) }
            }
            Err(error) => State::Failed { error: Some(error) },
        };
        SealFuture { state, seals: self.seals.clone(), noted: Noted::default() }
    }
}

fn backend_failed(error: impl Into<BoxError>) -> VaultError {
    error.into().into()
}

enum Request {
    Sealed(VaultRequest<Sealed>),
    Swap(Swap),
    /// Whoever can't open the record has nothing to exchange, and must not say that it begins to.
    Begin {
        id: CredentialId,
        expected: Generation,
    },
}

/// What follows once the stored record is open.
enum Then {
    Swap(Swap),
    Begin { id: CredentialId, expected: Generation },
}

/// A [`VaultRequest::ReplaceSecret`] or [`VaultRequest::Reseal`] that is not sealed yet.
struct Swap {
    id: CredentialId,
    expected: Generation,
    secret: Secret,
    attributes: Option<BTreeMap<String, String>>,
    /// Whether it is a new secret, with a generation of its own.
    is_new: bool,
}

pin_project! {
    /// The answer of a [`Seal`].
    pub struct SealFuture<V: Service<VaultRequest<Sealed>>> {
        #[pin]
        state: State<V>,
        seals: Arc<Seals>,
        noted: Noted,
    }
}

impl<V: Service<VaultRequest<Sealed>>> SealFuture<V> {
    /// What was noted of the present keys and rules; known once there is an answer.
    #[cfg(feature = "file")]
    pub(crate) fn take_noted(self: Pin<&mut Self>) -> Noted {
        std::mem::take(self.project().noted)
    }
}

/// What opening has shown of the keys and rules that it was done with.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// Which credentials none of the keys opens, and which key would.
    pub(crate) shut: Vec<(KeyId, CredentialId)>,
    /// Whether a look at what the vault says of itself may change the answer: an old key was needed, or the vault's
    /// id is not known.
    pub(crate) is_strange: bool,
}

pin_project! {
    #[project = StateProj]
    enum State<V: Service<VaultRequest<Sealed>>> {
        /// Refused before the backend was asked.
        Failed { error: Option<VaultError> },
        /// Waits for the stored record: its metadata is what a new secret is sealed with.
        Reading { #[pin] get: V::Future, then: Option<(Then, V)> },
        /// Waits until the backend takes the sealed secret.
        Swapping { backend: V, request: Option<VaultRequest<Sealed>> },
        /// Waits for the backend's answer.
        Answering { #[pin] answer: V::Future },
        /// Opens a pool's secrets, some at a time.
        Opening { opening: Option<Opening> },
    }
}

/// The last version of a seal that does not bind the attributes.
const UNBOUND: u32 = 1;

/// How many secrets are opened in one poll: each takes some microseconds, and others are to have their turn.
const AT_ONCE: usize = 64;

/// A pool whose secrets are being opened.
struct Opening {
    sealed: vec::IntoIter<Record<Sealed>>,
    opened: StoredPool,
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
                StateProj::Reading { get, then } => {
                    let stored = match ready!(get.poll(cx)).map_err(backend_failed)? {
                        VaultResponse::Credential(stored) => stored,
                        _ => return Poll::Ready(Err(VaultError::UnexpectedResponse)),
                    };
                    let Some((then, backend)) = then.take() else { return Poll::Pending };
                    let was_bound = Seals::binds_attributes(&stored);
                    // Opened first: metadata that was tampered with must not get a valid seal this way.
                    let stored = this.seals.open(stored, this.noted)?;
                    let request = match then {
                        Then::Swap(swap) if stored.metadata.generation != swap.expected => {
                            let conflict = VaultResponse::Replaced(Replaced::Conflict(stored));
                            return Poll::Ready(Ok(conflict));
                        }
                        Then::Swap(swap) => this.seals.swap(stored.metadata, swap, was_bound)?,
                        Then::Begin { id, expected } => VaultRequest::BeginRefresh { id, expected },
                    };
                    State::Swapping { backend, request: Some(request) }
                }
                StateProj::Swapping { backend, request } => {
                    ready!(backend.poll_ready(cx)).map_err(backend_failed)?;
                    let Some(request) = request.take() else { return Poll::Pending };
                    State::Answering { answer: backend.call(request) }
                }
                StateProj::Answering { answer } => {
                    match ready!(answer.poll(cx)).map_err(backend_failed)? {
                        VaultResponse::Pool(pool) => {
                            State::Opening { opening: Some(Opening::new(pool)) }
                        }
                        answer => return Poll::Ready(this.seals.response(answer, this.noted)),
                    }
                }
                StateProj::Opening { opening } => {
                    let Some(pool) = opening else { return Poll::Pending };
                    if !pool.go_on(this.seals, this.noted) {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    let Some(pool) = opening.take() else { return Poll::Pending };
                    return Poll::Ready(
                        pool.finish(this.seals, &this.noted.shut).map(VaultResponse::Pool),
                    );
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

impl Opening {
    fn new(pool: StoredPool<Sealed>) -> Self {
        let StoredPool { credentials, standings, revision, damaged } = pool;
        let opened = Vec::with_capacity(credentials.len());
        Self {
            sealed: credentials.into_iter(),
            opened: StoredPool { credentials: opened, standings, revision, damaged },
        }
    }

    /// Opens some more; whether these were the last.
    fn go_on(&mut self, seals: &Seals, noted: &mut Noted) -> bool {
        leaving_no_copy(|| self.open_some(seals, noted));
        self.sealed.len() == 0
    }

    fn open_some(&mut self, seals: &Seals, noted: &mut Noted) {
        for Record { metadata, secret } in self.sealed.by_ref().take(AT_ONCE) {
            match seals.try_open(&metadata, secret, noted) {
                Ok(secret) => self.opened.credentials.push(Record { metadata, secret }),
                Err(shut) => {
                    let damage = seals.cipher.damage(shut, (seals.name)(metadata.id));
                    self.opened.damaged.push(damage.of(metadata.id, Some(metadata.kind)));
                }
            }
        }
    }

    fn finish(self, seals: &Seals, shut: &[(KeyId, CredentialId)]) -> Result<StoredPool, VaultError> {
        match shut.last() {
            Some((sealed_with, _)) if self.opened.credentials.is_empty() => {
                Err(seals.cipher.error(Shut::OtherKey(*sealed_with), String::new()))
            }
            _ => Ok(self.opened),
        }
    }
}

/// What requests and answers are sealed and opened with.
#[derive(Clone)]
pub(crate) struct Seals {
    cipher: Cipher,
    unbound: UnboundAttributes,
    name: Arc<dyn Fn(CredentialId) -> String + Send + Sync>,
}

impl Seals {
    pub(crate) fn new(
        key: &VaultKey,
        name: impl Fn(CredentialId) -> String + Send + Sync + 'static,
    ) -> Self {
        let unbound = UnboundAttributes::default();
        Self { cipher: Cipher::new(key), unbound, name: Arc::new(name) }
    }

    /// Whether the record's seal vouches for its attributes, if it has any.
    fn binds_attributes(record: &Record<Sealed>) -> bool {
        record.secret.version() > UNBOUND || record.metadata.attributes.is_empty()
    }

    /// Whether it is sealed with the present key and in the present format.
    pub(crate) fn is_present(&self, sealed: &Sealed) -> bool {
        sealed.key_id() == self.cipher.key_id() && sealed.version() >= self.cipher.version()
    }

    /// The record's secret sealed anew, at the same generation and beside the same metadata. `None` where there is more to
    /// it: it does not open, or has attributes that nothing has bound and nobody wants kept.
    #[cfg(feature = "file")]
    pub(crate) fn seal_anew(&self, record: Record<Sealed>) -> Option<Sealed> {
        if !Self::binds_attributes(&record) && self.unbound != UnboundAttributes::Keep {
            return None;
        }
        let Record { metadata, secret } = self.open(record, &mut Noted::default()).ok()?;
        self.cipher.seal(&metadata, &secret).ok()
    }

    /// The same, for a vault with these rules.
    #[must_use]
    pub(crate) fn with_rules(&self, rules: Rules) -> Self {
        let mut seals = self.clone();
        seals.cipher.set_rules(rules);
        seals
    }

    #[cfg(feature = "file")]
    pub(crate) fn rules(&self) -> &Rules {
        self.cipher.rules()
    }

    /// Lets in what a person has put back.
    #[cfg(feature = "file")]
    pub(crate) fn trust_restored(&mut self) {
        self.cipher.trust_restored();
    }

    /// What becomes of attributes that no seal has bound.
    pub(crate) fn set_unbound(&mut self, unbound: UnboundAttributes) {
        self.unbound = unbound;
    }

    /// The key that seals.
    #[cfg(feature = "file")]
    pub(crate) fn key_id(&self) -> KeyId {
        self.cipher.key_id()
    }

    /// Whether this key opens here.
    #[cfg(feature = "file")]
    pub(crate) fn knows(&self, key: KeyId) -> bool {
        self.cipher.knows(key)
    }

    /// The same, but sealing with this key, if it is known here.
    #[cfg(feature = "file")]
    #[must_use]
    pub(crate) fn sealing_with(&self, key: KeyId) -> Self {
        let mut seals = self.clone();
        seals.cipher.seal_with(key);
        seals
    }

    /// Opens with this key too.
    #[must_use]
    pub(crate) fn with_old(&self, key: &VaultKey) -> Self {
        let mut seals = self.clone();
        seals.cipher.add_old(key);
        seals
    }
    fn request(&self, request: VaultRequest) -> Result<Request, VaultError> {
        let request = match request {
            VaultRequest::Put(Record { metadata, secret }) => {
                let secret = self.cipher.seal(&metadata, &secret)?;
                VaultRequest::Put(Record { metadata, secret })
            }
            VaultRequest::ReplaceSecret { id, expected, secret, attributes } => {
                return Ok(Request::Swap(Swap { id, expected, secret, attributes, is_new: true }));
            }
            VaultRequest::Reseal { id, expected, secret } => {
                let attributes = None;
                return Ok(Request::Swap(Swap { id, expected, secret, attributes, is_new: false }));
            }
            VaultRequest::Load(pool) => VaultRequest::Load(pool),
            VaultRequest::List => VaultRequest::List,
            VaultRequest::Relabel { id, label } => VaultRequest::Relabel { id, label },
            VaultRequest::Move { id, place } => VaultRequest::Move { id, place },
            VaultRequest::Remove { id } => VaultRequest::Remove { id },
            VaultRequest::Get { id } => VaultRequest::Get { id },
            VaultRequest::Record { pool, outcomes } => VaultRequest::Record { pool, outcomes },
            VaultRequest::LeaseRefresh { id } => VaultRequest::LeaseRefresh { id },
            VaultRequest::LeaseClient { client } => VaultRequest::LeaseClient { client },
            VaultRequest::BeginRefresh { id, expected } => return Ok(Request::Begin { id, expected }),
            VaultRequest::RefreshFailed { id, expected, failed } => {
                VaultRequest::RefreshFailed { id, expected, failed }
            }
            VaultRequest::Revision(pool) => VaultRequest::Revision(pool),
        };
        Ok(Request::Sealed(request))
    }

    /// The request that swaps the secret. The backend checks the generation once more.
    ///
    /// Attributes that nothing has bound so far are not bound by a new secret either: nobody has looked at them.
    fn swap(
        &self,
        mut metadata: Metadata,
        swap: Swap,
        was_bound: bool,
    ) -> Result<VaultRequest<Sealed>, VaultError> {
        let Swap { id, expected, secret, attributes, is_new } = swap;
        if is_new {
            metadata.generation = expected.next();
        }
        if let Some(attributes) = &attributes {
            metadata.attributes = attributes.clone();
        }
        let version = match was_bound || attributes.is_some() {
            true => self.cipher.version(),
            false => UNBOUND,
        };
        let secret = self.cipher.seal_as(version, &metadata, &secret)?;
        Ok(if is_new {
            VaultRequest::ReplaceSecret { id, expected, secret, attributes }
        } else {
            VaultRequest::Reseal { id, expected, secret }
        })
    }

    fn response(
        &self,
        response: VaultResponse<Sealed>,
        noted: &mut Noted,
    ) -> Result<VaultResponse, VaultError> {
        Ok(match response {
            // Opened some at a time instead.
            VaultResponse::Pool(_) => return Err(VaultError::UnexpectedResponse),
            VaultResponse::Credential(record) => VaultResponse::Credential(self.open(record, noted)?),
            VaultResponse::Replaced(Replaced::Conflict(record)) => {
                VaultResponse::Replaced(Replaced::Conflict(self.open(record, noted)?))
            }
            VaultResponse::Replaced(Replaced::Swapped(generation)) => {
                VaultResponse::Replaced(Replaced::Swapped(generation))
            }
            VaultResponse::Begun(Begun { record, unfinished, failed }) => {
                VaultResponse::Begun(Begun { record: self.open(record, noted)?, unfinished, failed })
            }
            VaultResponse::List(listing) => VaultResponse::List(listing),
            VaultResponse::Stored(metadata) => VaultResponse::Stored(metadata),
            VaultResponse::Lease(lease) => VaultResponse::Lease(lease),
            VaultResponse::Revision(revision) => VaultResponse::Revision(revision),
            VaultResponse::Done => VaultResponse::Done,
        })
    }

    /// The pool with its secrets open. `None` if that needs more than these keys, or another look at what the vault says of
    /// itself.
    #[cfg(feature = "file")]
    pub(crate) fn open_pool(&self, pool: StoredPool<Sealed>) -> Option<StoredPool> {
        let (mut opening, mut noted) = (Opening::new(pool), Noted::default());
        while !opening.go_on(self, &mut noted) {}
        (noted.shut.is_empty() && !noted.is_strange).then_some(opening.opened)
    }

    fn open(&self, record: Record<Sealed>, noted: &mut Noted) -> Result<Credential, VaultError> {
        let Record { metadata, secret } = record;
        match self.try_open(&metadata, secret, noted) {
            Ok(secret) => Ok(Record { metadata, secret }),
            Err(shut) => Err(self.cipher.error(shut, (self.name)(metadata.id))),
        }
    }

    /// Opens a secret, and notes what of it the present keys and rules may be wrong about.
    fn try_open(&self, metadata: &Metadata, secret: Sealed, noted: &mut Noted) -> Result<Secret, Shut> {
        let is_old = secret.key_id() != self.cipher.key_id();
        let opened = self.cipher.open(metadata, secret);
        match &opened {
            Ok(_) => noted.is_strange |= is_old,
            Err(Shut::OtherKey(key)) => noted.shut.push((*key, metadata.id)),
            Err(Shut::Barred(Barred::OtherVault(_))) => {
                noted.is_strange |= self.cipher.rules().vault.is_none();
            }
            Err(_) => {}
        }
        opened
    }
}
