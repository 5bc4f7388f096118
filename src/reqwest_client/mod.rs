//! The layers over [`reqwest`]: as a service of reqwest's requests, and, with the feature
//! `reqwest-middleware`, as a middleware of reqwest-middleware's.
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
//! [`ReqwestLayer`] takes any stack of tower's layers over [`http`]'s types, those of this crate and
//! others. What it makes of a client is a [`Service`](tower_service::Service) of `reqwest::Request`, as
//! the client itself is. A stack can also stand on a [`HttpService`] alone, with requests of `http`'s.
//!
//! # As a middleware
//!
//! For a client of reqwest-middleware's take `CredentialsMiddleware`: it does this crate's own jobs over the
//! rest of the request's chain, and needs no more. Take `TowerMiddleware` if layers of others (a timeout for
//! each attempt, a concurrency limit) stand in the stack: it keeps one stack for all requests and hands each of
//! them over to its chain, which costs more.
//!
//! # What stays as it is
//!
//! A client's proxies, decompression, cookies, versions of HTTP and timeouts: each attempt is a request of
//! the client's. So a timeout of reqwest's, the client's or the request's, bounds an attempt and its
//! body; a timeout over the whole is a layer above these ones. Of a response, `url` and `remote_addr` are
//! reqwest's. The fragment of a URL, which is never sent, is lost where a layer changes where a request goes.
//!
//! A request is sent again if its body is in memory, as `reqwest::Request::try_clone` has it. One that
//! streams is sent once, and so is a multipart form, which reqwest makes a stream of even if all its parts are in
//! memory. A [`ReplayLayer`](crate::ReplayLayer) over the layers records such a body as it is sent, up to a bound, so that
//! it can be sent again.
//!
//! Proxies are reqwest's affair as well. It takes those of the environment, and sends requests by plain HTTP through
//! `HTTP_PROXY`, those to a loopback host, too, unless `NO_PROXY` names it. So an API on this machine gets its requests
//! through that proxy, which reads the credential in clear. Build a client for such an API with
//! `ClientBuilder::no_proxy`:
//!
//! ```
//! # fn client() -> reqwest::Result<reqwest::Client> {
//! reqwest::Client::builder().no_proxy().build()
//! # }
//! ```
//!
//! Requests by HTTPS go through `HTTPS_PROXY` as a tunnel, in which the proxy reads nothing.
//!
//! # Redirects
//!
//! reqwest follows redirects by itself, under all layers. To another origin it sends `x-api-key`,
//! `x-goog-api-key` and all other headers on but `authorization` and cookies, as well as a body. Build
//! the client with a [`redirect_policy`], with which it follows a redirect within an origin only; any
//! other is an answer like every other. Whoever wants to follow it does so above the layers, which then
//! check where it leads.
//!
//! A client has no way to tell which policy it was built with. Where a response comes from another origin
//! than the request went to, and the request carried a secret that reqwest sends on, the response is
//! withheld with [`Error::Redirected`](crate::Error::Redirected). The secret has left by then: it must be
//! replaced. A chain of redirects that leads back to the first origin is not noticed.
//!
//! A client under `oauth::OAuthHttp` takes no token along: it gets bodies that it can't send twice.
//!
//! Default headers of the client are added under all layers, too. Give it none that carry a credential, and no `host`.

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
