//! Giving each request the scope of the model that it is for.

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

/// How much of a body is searched for the model, in bytes. Bodies with long conversations may name it last.
const MAX_READ: usize = 2 * 1024 * 1024;

/// Gives each request the [`Scope`] of the model that it is for, so that a limit on one model does not keep requests for
/// others from an account. The pool's provider [knows](crate::provider::Provider::model) where the model's name is: in
/// the path, in a JSON body, or in the query. If a request already has a scope, it is kept.
///
/// It belongs above the layers that pick a credential, and under [`ReplayLayer`](crate::ReplayLayer).
///
/// The first 2 MiB of a body are searched if the body has a known length and can be [cloned](TryCloneBody), as
/// `Full<Bytes>` can. Bodies that stream or are compressed, and multipart forms, are not searched: such requests have no
/// scope, unless the URI names the model.
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
    /// Creates a layer that reads for the provider of this pool.
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

/// Returns as much of a body as can be read at once. A body of unknown length is not read: that could take it past the
/// bound up to which it is recorded.
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
        let room = (MAX_READ - read.len()).min(length);
        let chunk = data.copy_to_bytes(room);
        if read.is_empty() && (room < length || copy.is_end_stream()) {
            // Nothing more is needed, so this piece need not be copied.
            return chunk;
        }
        read.extend_from_slice(&chunk);
        if read.len() == MAX_READ {
            break;
        }
    }
    read.freeze()
}
