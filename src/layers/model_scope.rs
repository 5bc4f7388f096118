//! Giving requests the scope of the model that they are for.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use http::Request;
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::accessors::accessors;
use crate::body::TryCloneBody;
use crate::pool::Pool;
use crate::standing::Scope;

/// How much of a body is looked through for the model: bodies with long conversations may name it last.
const MOST: usize = 2 * 1024 * 1024;

/// Gives each request the [`Scope`] of the model that it is for, so that the limit of one model keeps no requests for
/// others from an account. Where the model stands, the pool's provider [knows](crate::provider::Provider::model): in
/// the path, or in a JSON body. A scope that the request has already is left.
///
/// It belongs over the layers that pick a credential, and under [`ReplayLayer`](crate::ReplayLayer).
///
/// A body is looked into where it is at hand, at most the first 2 MiB of it: one of known length that can be
/// [cloned](TryCloneBody), such as `Full<Bytes>`. Of a body that streams, of one that is compressed or of a form with
/// several parts, the model is not read: such requests have no scope, unless the path names the model.
///
/// ```
/// # use tower_credentials::{CredentialsLayer, ErrorBodyLayer, ModelScopeLayer, Pool};
/// # fn stack(pool: Pool) {
/// let layers = tower::ServiceBuilder::new()
///     .layer(ModelScopeLayer::new(pool.clone()))
///     .layer(CredentialsLayer::new(pool.clone()))
///     .layer(ErrorBodyLayer::new(pool));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ModelScopeLayer {
    pool: Pool,
}

impl ModelScopeLayer {
    /// Reads for the provider of this pool.
    pub fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

impl<S> Layer<S> for ModelScopeLayer {
    type Service = ModelScope<S>;

    fn layer(&self, inner: S) -> ModelScope<S> {
        ModelScope { inner, pool: self.pool.clone() }
    }
}

/// The service of [`ModelScopeLayer`].
#[derive(Clone, Debug)]
pub struct ModelScope<S> {
    inner: S,
    pool: Pool,
}

accessors!(ModelScope, inner);

impl<S, B> Service<Request<B>> for ModelScope<S>
where
    S: Service<Request<B>>,
    B: Body + TryCloneBody,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if request.extensions().get::<Scope>().is_none() {
            let body = at_hand(request.body());
            if let Some(model) = self.pool.provider().model(request.uri(), &body) {
                request.extensions_mut().insert(Scope::new(model));
            }
        }
        self.inner.call(request)
    }
}

/// As much of a body as can be read at once. One whose length isn't known is left: to read it here could take it past
/// what is recorded of it for the others.
fn at_hand<B: Body + TryCloneBody>(body: &B) -> Bytes {
    if body.size_hint().exact().is_none_or(|length| length == 0) {
        return Bytes::new();
    }
    let Some(copy) = body.try_clone() else { return Bytes::new() };
    let mut copy = pin!(copy);
    let mut cx = Context::from_waker(Waker::noop());
    let mut read = BytesMut::new();
    while let Poll::Ready(Some(Ok(frame))) = copy.as_mut().poll_frame(&mut cx) {
        let Ok(mut data) = frame.into_data() else { break };
        let length = data.remaining();
        let room = (MOST - read.len()).min(length);
        let piece = data.copy_to_bytes(room);
        if read.is_empty() && (room < length || copy.is_end_stream()) {
            // All that there is: no copy of it is made.
            return piece;
        }
        read.extend_from_slice(&piece);
        if read.len() == MOST {
            break;
        }
    }
    read.freeze()
}
