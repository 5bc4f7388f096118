//! A layer that adds the API key of an environment variable to a pool that has none stored.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use sha2::{Digest, Sha256};
use tower_layer::Layer;
use tower_service::Service;

use super::fair_lock::{FairLock, FairLockFuture};
use super::{
    Begun, Changes, Damage, OrderChange, RefreshLease, Replaced, Revision, StoredPool, VaultError,
    VaultRequest, VaultResponse, check_kind, now,
};
use crate::BoxError;
use crate::accessors::accessors;
use crate::api_key::NotAnApiKey;
use crate::clock::Timestamp;
use crate::credential::{Credential, CredentialId, Generation, Kind, Metadata, PoolKey, Record, Secret};
use crate::secret::SecretString;
use crate::standing::{Outcome, Standing};

/// Adds the API key of an environment variable to a pool that has no API key stored.
///
/// The credential's id is derived from the variable's name, so it is the same in every run. Its standing is kept in memory,
/// and its secret is never written: requests for it do not reach the inner vault, and all others pass through.
///
/// ```
/// use tower_credentials::vault::{EnvironmentLayer, MemoryVault, VaultExt};
/// use tower_credentials::{PoolKey, SecretString};
/// use tower_layer::Layer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_credentials::BoxError> {
/// let key = PoolKey::new("example");
/// let read = || std::env::var("EXAMPLE_API_KEY").ok().map(SecretString::from);
/// # let read = || Some(SecretString::from("sk-1"));
/// let layer = EnvironmentLayer::new(key.clone(), "EXAMPLE_API_KEY", read);
/// let vault = layer.layer(MemoryVault::new());
/// assert_eq!(vault.load_pool(key).await?.credentials[0].metadata.label.as_ref(), "$EXAMPLE_API_KEY");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EnvironmentLayer {
    shared: Arc<Shared>,
}

impl EnvironmentLayer {
    /// Adds the credential of the environment variable `variable` to this pool. `read` returns the variable's value; it is
    /// called with each request for the pool or its revision. An empty value counts as unset. A value that is not an
    /// [API key](SecretString::api_key) is reported as [`Damage`] under the variable's name, if it would be used.
    pub fn new(
        pool: PoolKey,
        variable: impl Into<String>,
        read: impl Fn() -> Option<SecretString> + Send + Sync + 'static,
    ) -> Self {
        let variable = variable.into();
        let digest = Sha256::digest([b"environment variable ", variable.as_bytes()].concat());
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        let id = CredentialId::from_bytes(id);
        let state = Mutex::new(State::default());
        let shared = Shared { id, pool, variable, read: Box::new(read), state, leases: FairLock::new() };
        Self { shared: Arc::new(shared) }
    }
}

impl<V> Layer<V> for EnvironmentLayer {
    type Service = EnvironmentVault<V>;

    fn layer(&self, inner: V) -> EnvironmentVault<V> {
        EnvironmentVault { inner, shared: self.shared.clone() }
    }
}

impl fmt::Debug for EnvironmentLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentLayer")
            .field("variable", &self.shared.variable)
            .finish_non_exhaustive()
    }
}

/// A vault with one more credential; see [`EnvironmentLayer`].
#[derive(Clone)]
pub struct EnvironmentVault<V> {
    inner: V,
    shared: Arc<Shared>,
}

accessors!(EnvironmentVault, inner);

impl<V: fmt::Debug> fmt::Debug for EnvironmentVault<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentVault").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<V> Service<VaultRequest> for EnvironmentVault<V>
where
    V: Service<VaultRequest, Response = VaultResponse, Error: Into<BoxError>>,
{
    type Response = VaultResponse;
    type Error = VaultError;
    type Future = EnvironmentFuture<V::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        self.inner.poll_ready(cx).map_err(failed)
    }

    fn call(&mut self, request: VaultRequest) -> Self::Future {
        let shared = self.shared.clone();
        let stage = match shared.route(request) {
            Route::Inner { request, then } => Stage::Inner { response: self.inner.call(request), then },
            Route::Ready(response) => Stage::Ready { response: Some(response) },
            Route::Lease => Stage::Leasing { lock: shared.leases.lock(shared.id) },
        };
        EnvironmentFuture { stage, shared }
    }
}

fn failed(error: impl Into<BoxError>) -> VaultError {
    error.into().into()
}

pin_project! {
    /// The future of an [`EnvironmentVault`]'s response.
    pub struct EnvironmentFuture<F> {
        #[pin]
        stage: Stage<F>,
        shared: Arc<Shared>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F> {
        Inner { #[pin] response: F, then: Then },
        Leasing { #[pin] lock: FairLockFuture<CredentialId> },
        Ready { response: Option<Result<VaultResponse, VaultError>> },
    }
}

impl<F, E> Future for EnvironmentFuture<F>
where
    F: Future<Output = Result<VaultResponse, E>>,
    E: Into<BoxError>,
{
    type Output = Result<VaultResponse, VaultError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.stage.project() {
            StageProj::Inner { response, then } => {
                let response = ready!(response.poll(cx)).map_err(failed)?;
                Poll::Ready(this.shared.finish(response, std::mem::take(then)))
            }
            StageProj::Leasing { lock } => {
                lock.poll(cx).map(|guard| Ok(VaultResponse::Lease(RefreshLease::new(guard))))
            }
            StageProj::Ready { response } => response.take().map_or(Poll::Pending, Poll::Ready),
        }
    }
}

impl<F> fmt::Debug for EnvironmentFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentFuture").finish_non_exhaustive()
    }
}

/// Who handles a request.
enum Route {
    /// The inner vault; its response is then processed.
    Inner { request: VaultRequest, then: Then },
    /// This layer, at once.
    Ready(Result<VaultResponse, VaultError>),
    /// This layer, once the lease is free.
    Lease,
}

/// How to process the inner vault's response.
#[derive(Default)]
enum Then {
    #[default]
    PassOn,
    /// Add the credential to the pool.
    Add,
    /// Merge these outcomes, and combine the two revisions. Not earlier: if the inner vault fails, the pool sends the
    /// outcomes again.
    Merge(Vec<Outcome>),
    /// Combine the two revisions, unless this credential has changed since, or its place here may have.
    Translate { changes: u64 },
}

struct Shared {
    id: CredentialId,
    pool: PoolKey,
    variable: String,
    read: Box<dyn Fn() -> Option<SecretString> + Send + Sync>,
    state: Mutex<State>,
    leases: FairLock<CredentialId>,
}

#[derive(Default)]
struct State {
    standing: Standing,
    /// The number of changes so far.
    changes: u64,
    /// The last revisions that were given, oldest first.
    given: VecDeque<Given>,
    /// The variable's value when it was last read.
    seen: Option<SecretString>,
    /// The secret in use as long as the variable has this value: the value, or a secret that has replaced it.
    current: Option<Current>,
    /// Why the variable's value is not a key.
    unusable: Option<NotAnApiKey>,
    /// The generation of the newest secret so far.
    generation: Generation,
    /// The generation whose refresh began last, and when.
    begun: Option<(Generation, Timestamp)>,
}

/// A revision of the pool with this credential, and what it was made of.
#[derive(Clone, Copy)]
struct Given {
    both: Revision,
    inner: Revision,
    changes: u64,
}

/// How many revisions are kept: those of the pools that are open and of a save or two.
const GIVEN: usize = 16;

impl State {
    /// Returns the revision of the inner vault's pool together with this credential.
    fn revision(&mut self, inner: Revision) -> Revision {
        let changes = self.changes;
        let is_same = |given: &&Given| given.inner == inner && given.changes == changes;
        if let Some(given) = self.given.iter().rev().find(is_same) {
            return given.both;
        }
        let digest = Sha256::digest([&inner.as_bytes()[..], &changes.to_be_bytes()].concat());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let both = Revision::from_bytes(bytes);
        if self.given.len() == GIVEN {
            self.given.pop_front();
        }
        self.given.push_back(Given { both, inner, changes });
        both
    }
}

struct Current {
    secret: Secret,
    updated_at: Timestamp,
}

impl Shared {
    /// Reads the variable and returns the state.
    fn look(&self) -> MutexGuard<'_, State> {
        let value = (self.read)().filter(|value| !value.expose().trim().is_empty());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_seen =
            value.as_ref().map(SecretString::expose) == state.seen.as_ref().map(SecretString::expose);
        if !is_seen {
            state.changes += 1;
            let key = value.as_ref().map(|value| SecretString::api_key(value.expose()));
            let (token, unusable) = match key.transpose() {
                Ok(token) => (token, None),
                Err(error) => (None, Some(error)),
            };
            state.unusable = unusable;
            state.current = token.map(|token| Current {
                secret: Secret::WellKnown { variable: self.variable.clone(), token },
                updated_at: now(),
            });
            if state.current.is_some() {
                state.generation = state.generation.next();
            }
            state.seen = value;
        }
        state
    }

    /// The damage to report if the variable's value is not a key.
    fn damage(&self, state: &State) -> Option<Damage> {
        let Self { variable, .. } = self;
        let reason =
            format!("this is not an API key: {}; set {variable} to the key alone", state.unusable?);
        let damage = Damage::new(format!("the environment variable {variable}"), reason);
        Some(damage.of(self.id, Some(Kind::WellKnown)))
    }

    /// The credential, or an error if there is none.
    fn get(&self, state: &State) -> Result<Credential, VaultError> {
        let missing = || self.damage(state).map_or(VaultError::NotFound(self.id), VaultError::Damaged);
        self.credential(state).ok_or_else(missing)
    }

    fn credential(&self, state: &State) -> Option<Credential> {
        let Current { secret, updated_at } = state.current.as_ref()?;
        let metadata = Metadata {
            id: self.id,
            pool: self.pool.clone(),
            // People don't choose such labels, so it stands out among theirs.
            label: format!("${}", self.variable).into(),
            kind: Kind::WellKnown,
            generation: state.generation,
            created_at: *updated_at,
            updated_at: *updated_at,
            attributes: Default::default(),
        };
        Some(Record { metadata, secret: secret.clone() })
    }

    fn is_ours(&self, pool: &PoolKey, id: CredentialId) -> bool {
        id == self.id && *pool == self.pool
    }

    fn route(&self, request: VaultRequest) -> Route {
        match request {
            VaultRequest::Load(pool) if pool == self.pool => {
                Route::Inner { request: VaultRequest::Load(pool), then: Then::Add }
            }
            VaultRequest::Revision(pool) if pool == self.pool => {
                Route::Inner { request: VaultRequest::Revision(pool), then: Then::Merge(Vec::new()) }
            }
            VaultRequest::Changes { pool, since, told } if pool == self.pool => {
                let known = self.look().given.iter().rev().find(|given| given.both == since).copied();
                match known {
                    Some(given) => Route::Inner {
                        request: VaultRequest::Changes { pool, since: given.inner, told },
                        then: Then::Translate { changes: given.changes },
                    },
                    None => Route::Ready(Ok(VaultResponse::Changes(None))),
                }
            }
            VaultRequest::Record { pool, outcomes, batch } if pool == self.pool => {
                let (ours, others): (Vec<_>, Vec<_>) =
                    outcomes.into_iter().partition(|outcome| outcome.id == self.id);
                let request = if others.is_empty() {
                    VaultRequest::Revision(pool)
                } else {
                    VaultRequest::Record { pool, outcomes: others, batch }
                };
                Route::Inner { request, then: Then::Merge(ours) }
            }
            VaultRequest::Get { pool, id } if self.is_ours(&pool, id) => {
                Route::Ready(self.get(&self.look()).map(VaultResponse::Credential))
            }
            // There is no place to keep its attributes.
            VaultRequest::ReplaceSecret { pool, id, expected, secret, .. }
                if self.is_ours(&pool, id) =>
            {
                Route::Ready(self.replace(expected, secret).map(VaultResponse::Replaced))
            }
            VaultRequest::BeginRefresh { pool, id, expected } if self.is_ours(&pool, id) => {
                Route::Ready(self.begin(expected).map(VaultResponse::Begun))
            }
            // No other process has this credential, so no wait is kept.
            VaultRequest::RefreshFailed { pool, id, .. } if self.is_ours(&pool, id) => {
                self.look().begun = None;
                Route::Ready(Ok(VaultResponse::Done))
            }
            VaultRequest::LeaseRefresh { pool, id } if self.is_ours(&pool, id) => {
                match self.get(&self.look()) {
                    Ok(_) => Route::Lease,
                    Err(error) => Route::Ready(Err(error)),
                }
            }
            VaultRequest::Put(record) if record.metadata.id == self.id => {
                Route::Ready(Err(VaultError::Exists(self.id)))
            }
            VaultRequest::Relabel { pool, id, .. }
            | VaultRequest::Move { pool, id, .. }
            | VaultRequest::Remove { pool, id }
            | VaultRequest::Reseal { pool, id, .. }
                if self.is_ours(&pool, id) =>
            {
                let variable = &self.variable;
                let error = format!("it is the environment variable {variable}'s; change that instead");
                Route::Ready(Err(VaultError::Layer(error.into())))
            }
            other => Route::Inner { request: other, then: Then::PassOn },
        }
    }

    /// Replaces the variable's value as long as the process lives and the variable stays the same: the secret was exchanged
    /// for another one, which can't be stored anywhere.
    fn replace(&self, expected: Generation, secret: Secret) -> Result<Replaced, VaultError> {
        let mut state = self.look();
        let stored = self.get(&state)?;
        check_kind(&stored.metadata, &secret)?;
        if stored.metadata.generation != expected {
            return Ok(Replaced::Conflict(stored));
        }
        state.generation = expected.next();
        state.changes += 1;
        state.current = Some(Current { secret, updated_at: now() });
        Ok(Replaced::Swapped(state.generation))
    }

    fn begin(&self, expected: Generation) -> Result<Begun, VaultError> {
        let mut state = self.look();
        let record = self.get(&state)?;
        if record.metadata.generation != expected {
            return Ok(Begun::new(record));
        }
        let before = state.begun.replace((expected, now()));
        let unfinished = before.filter(|(generation, _)| *generation == expected).map(|(_, at)| at);
        Ok(Begun { unfinished, ..Begun::new(record) })
    }

    fn finish(&self, response: VaultResponse, then: Then) -> Result<VaultResponse, VaultError> {
        match (response, then) {
            (response, Then::PassOn) => Ok(response),
            (VaultResponse::Pool(pool), Then::Add) => Ok(VaultResponse::Pool(self.add_to(pool))),
            (VaultResponse::Revision(revision), Then::Merge(outcomes)) => {
                let mut state = self.look();
                if !outcomes.is_empty() {
                    state.changes += 1;
                }
                outcomes.iter().for_each(|outcome| state.standing.merge(&outcome.change));
                Ok(VaultResponse::Revision(state.revision(revision)))
            }
            (VaultResponse::Changes(inner), Then::Translate { changes }) => {
                let mut state = self.look();
                // A key that is stored or removed may take this credential's place, or give it back.
                let is_same = |inner: &Changes| {
                    state.changes == changes && inner.credentials.is_empty() && inner.removed.is_empty()
                };
                let mut inner = inner.filter(is_same);
                if let Some(inner) = &mut inner {
                    inner.revision = state.revision(inner.revision);
                    if let OrderChange::Whole { order, preferred } = &mut inner.order {
                        order.push(self.id);
                        preferred.push(self.id);
                    }
                }
                Ok(VaultResponse::Changes(inner))
            }
            _ => Err(VaultError::UnexpectedResponse),
        }
    }

    fn add_to(&self, pool: StoredPool) -> StoredPool {
        let StoredPool { mut credentials, mut standings, revision, mut damaged } = pool;
        let mut state = self.look();
        let is_key = |kind| matches!(kind, Kind::Api | Kind::WellKnown);
        // A key that can't be read counts, too: another one must not be billed in its place.
        let has_key = credentials.iter().any(|stored| is_key(stored.metadata.kind))
            || damaged.iter().any(|damage| damage.may_be(is_key));
        damaged.extend(self.damage(&state).filter(|_| !has_key));
        if let Some(credential) = self.credential(&state).filter(|_| !has_key) {
            standings.push(self.id);
            standings.credentials.insert(self.id, state.standing.clone());
            credentials.push(credential);
        }
        StoredPool::new(credentials, standings, state.revision(revision), damaged)
    }
}
