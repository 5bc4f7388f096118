//! The implementations that every layer's service has: accessors, `Clone`, and `Service` itself.

/// Implements a layer's service, which is a newtype of `Core`.
macro_rules! service {
    ($service:ident, $sends:ty) => {
        $crate::accessors::accessors!($service, 0.inner);

        impl<S: Clone> Clone for $service<S> {
            fn clone(&self) -> Self {
                Self(self.0.clone_for::<Self>())
            }
        }

        impl<S, B, R> tower_service::Service<http::Request<B>> for $service<S>
        where
            S: tower_service::Service<http::Request<B>, Response = http::Response<R>> + Clone,
            S::Error: Into<$crate::BoxError>,
            $sends: $crate::layers::sends::Sends<B, R>,
        {
            type Response = http::Response<R>;
            type Error = $crate::BoxError;
            type Future = $crate::layers::future::ResponseFuture<S, $sends, B, R>;

            #[inline]
            fn poll_ready(
                &mut self,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<(), $crate::BoxError>> {
                self.0.poll_ready(cx)
            }

            #[inline]
            fn call(&mut self, request: http::Request<B>) -> Self::Future {
                self.0.call(request)
            }
        }
    };
}
pub(super) use service;
