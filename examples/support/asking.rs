//! A request of the examples that look at a pool rather than at a client.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use tower::{Service, ServiceExt};
use tower_credentials::BoxError;

/// Sends one request through these layers, and returns the response's text.
pub async fn ask<S, B>(client: S, origin: &str) -> Result<String, BoxError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body<Error: Into<BoxError>>,
{
    let body = Full::from(r#"{"prompt":"hello"}"#);
    let request = Request::post(format!("{origin}/v1/messages?token=private")).body(body)?;
    let response = client.oneshot(request).await.map_err(Into::into)?;
    let body = response.into_body().collect().await.map_err(Into::into)?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}
