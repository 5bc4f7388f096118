//! Which requests this layer answers, and what it adds to the inner vault's responses.

use super::key::Shared;
use crate::credential::Kind;
use crate::standing::Outcome;
use crate::vault::{Changes, OrderChange, StoredPool, VaultError, VaultRequest, VaultResponse};

/// Who handles a request.
pub(super) enum Route {
    /// The inner vault; its response is then processed.
    Inner { request: VaultRequest, then: Then },
    /// This layer, at once.
    Ready(Result<VaultResponse, VaultError>),
    /// This layer, once the lease is free.
    Lease,
}

/// How to process the inner vault's response.
#[derive(Default)]
pub(super) enum Then {
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

impl Shared {
    pub(super) fn route(&self, request: VaultRequest) -> Route {
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

    pub(super) fn finish(
        &self,
        response: VaultResponse,
        then: Then,
    ) -> Result<VaultResponse, VaultError> {
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
