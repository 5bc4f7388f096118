//! The responses that the gateway makes itself.

use std::error::Error as StdError;
use std::io;

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use tower_credentials::{BoxError, Error};

/// A response with a JSON body.
pub fn as_json(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{body}\n")));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// An error in the form in which SDKs look for its message.
pub fn error_body(kind: &str, message: &str) -> Value {
    json!({ "type": "error", "error": { "type": kind, "message": message } })
}

pub fn error(status: StatusCode, kind: &str, message: &str) -> Response<Body> {
    as_json(status, &error_body(kind, message))
}

/// The response to a request for another protocol, such as WebSocket. Clients that do not need it go on with HTTP.
pub fn no_upgrade() -> Response<Body> {
    let message = "this gateway forwards HTTP only: no WebSocket and no other upgrade; use the API's HTTP endpoint";
    let mut response = error(StatusCode::UPGRADE_REQUIRED, "upgrade_not_supported", message);
    // The status requires the name of an acceptable protocol (RFC 9110, section 15.5.22).
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("HTTP/1.1"));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response
}

/// The response to a request that the upstream has not answered, with its message.
pub fn failure(failure: &BoxError, upstream: &str) -> (Response<Body>, String) {
    if let Some(own) = failure.downcast_ref::<Error>() {
        let message = own.to_string();
        let (status, kind) = match own {
            Error::UntrustedOrigin { .. } => (StatusCode::BAD_GATEWAY, "untrusted_origin"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "no_account"),
        };
        let mut response = error(status, kind, &message);
        // A person must act first.
        let name = HeaderName::from_static("x-should-retry");
        response.headers_mut().insert(name, HeaderValue::from_static("false"));
        return (response, message);
    }
    if causes(&**failure).any(is_timeout) {
        let message = format!("{upstream} has not answered in time");
        return (error(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", &message), message);
    }
    let reasons: Vec<_> = causes(&**failure).map(ToString::to_string).collect();
    let message = format!("no response from {upstream}: {}", reasons.join(": "));
    (error(StatusCode::BAD_GATEWAY, "upstream_unreachable", &message), message)
}

/// An error and its sources.
pub fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn is_timeout(error: &(dyn StdError + 'static)) -> bool {
    error.is::<tower::timeout::error::Elapsed>()
        || error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}
