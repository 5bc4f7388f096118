//! The layers over [`reqwest`]: as a service for reqwest's requests, and, with the feature
//! `reqwest-middleware`, as a middleware for reqwest-middleware.
//!
//! ```
//! # use tower_credentials::{BoxError, CredentialsLayer, Pool};
//! use reqwest::redirect::Policy;
//! use tower::Layer;
//! use tower_credentials::reqwest_client::{ReqwestLayer, redirect_policy};
//!
//! # async fn ask(pool: Pool) -> Result<(), BoxError> {
//! let client = reqwest::Client::builder().redirect(redirect_policy(Policy::default())).build()?;
//! let layered = ReqwestLayer::new(CredentialsLayer::new(pool)).layer(client.clone());
//!
//! let request = client.post("https://api.example.com/v1/messages").body("hello").build()?;
//! let response = layered.execute(request).await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`ReqwestLayer`] takes any stack of tower layers over [`http`]'s types, of this crate and of others. It makes a
//! client a [`Service`](tower_service::Service) of `reqwest::Request`, as the client itself is. To send
//! `http::Request`s, put a stack on a [`HttpService`] alone.
//!
//! # As a middleware
//!
//! With reqwest-middleware, use `CredentialsMiddleware`: it does the jobs of this crate over the rest of the
//! request's chain. Use `TowerMiddleware` if the stack has layers of other crates, such as a timeout for each attempt
//! or a concurrency limit. It keeps one stack for all requests, and hands each of them over to its chain, which costs
//! more.
//!
//! # What stays as it is
//!
//! Each attempt is a request of the client, with the client's proxies, decompression, cookies, versions of HTTP and
//! timeouts. So a timeout of the client or of the request bounds an attempt and its body. For a timeout over all
//! attempts, put a layer above these. A response has reqwest's `url` and `remote_addr`. The fragment of a URL, which is
//! never sent, is lost if a layer changes the request's destination.
//!
//! A request can be sent again if its body is in memory, as with `reqwest::Request::try_clone`. A body that streams is
//! sent once. So is a multipart form, which reqwest makes a stream even if all its parts are in memory. A
//! [`ReplayLayer`](crate::ReplayLayer) above the layers records such a body as it is sent, up to a bound, so that it can
//! be sent again.
//!
//! reqwest uses the environment's proxies. It sends plain HTTP requests through `HTTP_PROXY`, even those to a loopback
//! host, unless `NO_PROXY` names the host. So requests to an API on this machine go through that proxy, which can read
//! the credential. Build a client for such an API with `ClientBuilder::no_proxy`:
//!
//! ```
//! # fn client() -> reqwest::Result<reqwest::Client> {
//! reqwest::Client::builder().no_proxy().build()
//! # }
//! ```
//!
//! HTTPS requests go through `HTTPS_PROXY` in a tunnel, in which the proxy can read nothing.
//!
//! # Redirects
//!
//! reqwest follows redirects itself, under all layers. It sends all headers but `authorization` and cookies on to
//! another origin, including `x-api-key` and `x-goog-api-key`, and the body, too. Build the client with a
//! [`redirect_policy`], with which it follows a redirect only within an origin. Any other redirect is returned as the
//! response. To follow it, put a layer that does so above these layers, which then check the destination.
//!
//! A client does not say which policy it was built with. If a response comes from another origin than the request
//! went to, and the request carried a secret that reqwest sends on, the response is withheld with
//! [`Error::Redirected`](crate::Error::Redirected). The secret has been sent by then, and must be replaced. A chain of
//! redirects that leads back to the first origin is not noticed.
//!
//! A client under `oauth::OAuthHttp` sends no token on, as it gets bodies that it can't send twice.
//!
//! The client's default headers are added under all layers. They must not carry a credential or a `host`.

mod body;
mod convert;
#[cfg(feature = "reqwest-middleware")]
mod credentials_middleware;
#[cfg(feature = "reqwest-middleware")]
mod exchange;
#[cfg(feature = "reqwest-middleware")]
mod middleware;
mod redirect;
mod service;
#[cfg(feature = "reqwest-middleware")]
mod tower_middleware;

pub use body::{RequestBody, ResponseBody};
#[cfg(feature = "reqwest-middleware")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest-middleware")))]
pub use credentials_middleware::CredentialsMiddleware;
#[cfg(feature = "reqwest-middleware")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest-middleware")))]
pub use middleware::LayerError;
pub use redirect::redirect_policy;
pub use service::{HttpFuture, HttpService, ReqwestFuture, ReqwestLayer, ReqwestService};
#[cfg(feature = "reqwest-middleware")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest-middleware")))]
pub use tower_middleware::{NextFuture, NextService, TowerMiddleware};
