//! The backend as a service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::lease::Leased;
use super::{Inner, RedisBackend};
use crate::standing::shift::Shift;
use crate::vault::seal::Sealed;
use crate::vault::{VaultError, VaultRequest, VaultResponse};

type Response = Result<VaultResponse<Sealed>, VaultError>;

/// The future of a [`RedisBackend`]'s response. If it is dropped, a change that was sent may be made all the same.
#[must_use = "a future does nothing unless polled"]
pub struct RedisFuture(Pin<Box<dyn Future<Output = Response> + Send>>);

impl Future for RedisFuture {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for RedisFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisFuture").finish_non_exhaustive()
    }
}

impl Service<VaultRequest<Sealed>> for RedisBackend {
    type Response = VaultResponse<Sealed>;
    type Error = VaultError;
    type Future = RedisFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: VaultRequest<Sealed>) -> RedisFuture {
        let inner = self.0.clone();
        // The place in the line is taken now, and not at the first poll.
        RedisFuture(match request {
            VaultRequest::LeaseRefresh { pool, id } => {
                let turn = inner.lines.lock(Leased::Refresh(id));
                Box::pin(async move {
                    let pool = inner.pool(&pool);
                    inner.lease_refresh(pool, id, turn).await.map(VaultResponse::Lease)
                })
            }
            VaultRequest::LeaseClient { client } => {
                let turn = inner.lines.lock(Leased::Client(client.clone()));
                Box::pin(async move { inner.lease_client(client, turn).await.map(VaultResponse::Lease) })
            }
            request => Box::pin(inner.respond(request)),
        })
    }
}

impl Inner {
    async fn respond(self: Arc<Self>, request: VaultRequest<Sealed>) -> Response {
        self.engine.learn_nodes_once();
        Ok(match request {
            VaultRequest::Load(pool) => VaultResponse::Pool(self.load(&self.pool(&pool)).await?),
            VaultRequest::List => VaultResponse::List(self.list().await?),
            VaultRequest::Put(mut record) => {
                let difference = self.difference(&self.pool(&record.metadata.pool)).await?;
                record.shift(difference.ahead);
                VaultResponse::Stored(difference.here(self.put(record).await?))
            }
            VaultRequest::Relabel { pool, id, label } => {
                let pool = self.pool(&pool);
                let difference = self.difference(&pool).await?;
                VaultResponse::Stored(difference.here(self.relabel(&pool, id, label).await?))
            }
            VaultRequest::Move { pool, id, place } => {
                self.move_to(&self.pool(&pool), id, place).await?;
                VaultResponse::Done
            }
            VaultRequest::Remove { pool, id } => {
                self.remove(&self.pool(&pool), id).await?;
                VaultResponse::Done
            }
            VaultRequest::Get { pool, id } => {
                let pool = self.pool(&pool);
                let difference = self.difference(&pool).await?;
                VaultResponse::Credential(difference.here(self.stored(&pool, id).await?.1))
            }
            VaultRequest::ReplaceSecret { pool, id, expected, secret, attributes } => {
                let (pool, generations) = (self.pool(&pool), (expected, expected.next()));
                let difference = self.difference(&pool).await?;
                let replaced = self.replace(&pool, id, generations, secret, attributes).await?;
                VaultResponse::Replaced(difference.here(replaced))
            }
            VaultRequest::Reseal { pool, id, expected, secret } => {
                let (pool, generations) = (self.pool(&pool), (expected, expected));
                let difference = self.difference(&pool).await?;
                let replaced = self.replace(&pool, id, generations, secret, None).await?;
                VaultResponse::Replaced(difference.here(replaced))
            }
            VaultRequest::Record { pool, outcomes, batch } => {
                VaultResponse::Revision(self.record(&self.pool(&pool), outcomes, batch).await?)
            }
            VaultRequest::Revision(pool) => {
                VaultResponse::Revision(self.revision(&self.pool(&pool)).await?)
            }
            VaultRequest::Changes { pool, since, told } => {
                VaultResponse::Changes(self.changes(&self.pool(&pool), since, told).await?)
            }
            VaultRequest::Watch(pool) => VaultResponse::Watch(Some(self.watch(&self.pool(&pool)))),
            VaultRequest::BeginRefresh { pool, id, expected } => {
                let pool = self.pool(&pool);
                let difference = self.difference(&pool).await?;
                VaultResponse::Begun(difference.here(self.begin(&pool, id, expected).await?))
            }
            VaultRequest::RefreshFailed { pool, id, expected, failed } => {
                self.failed(&self.pool(&pool), id, expected, &failed).await?;
                VaultResponse::Done
            }
            // They are taken care of where the place in the line is taken.
            VaultRequest::LeaseRefresh { .. } | VaultRequest::LeaseClient { .. } => {
                return Err(VaultError::Unsupported { request: request.name() });
            }
        })
    }
}
