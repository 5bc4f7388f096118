//! The responses that the gateway makes itself.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{Either, Full};
use serde_json::{Value, json};
use tower_credentials::{BoxError, Error};

use super::clients::Busy;
use super::events::Events;

/// The body of a response of the gateway's own.
pub(super) type OwnBody = Either<Full<Bytes>, Events>;

/// A response of the gateway's own.
pub(super) type Own = Response<OwnBody>;

/// Some SDKs obey it, whatever the status.
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

pub(super) fn as_json(status: StatusCode, body: &Value) -> Own {
    with_type(status, "application/json", format!("{body}\n"))
}

pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Own {
    with_type(status, "text/plain; charset=utf-8", text.into())
}

fn with_type(status: StatusCode, kind: &'static str, body: String) -> Own {
    let mut response = Response::new(Either::Left(Full::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Lines of JSON, for as long as somebody reads them.
pub(super) fn lines(events: Events) -> Own {
    let mut response = Response::new(Either::Right(events));
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// An error in the form in which SDKs look for its message.
pub(super) fn error(status: StatusCode, kind: &str, message: impl fmt::Display) -> Own {
    let message = message.to_string();
    as_json(status, &json!({ "type": "error", "error": { "type": kind, "message": message } }))
}

/// An error for a request that may be meant for another server, or that another server would read otherwise. What follows
/// it on its connection is not read.
pub(super) fn refused(status: StatusCode, kind: &str, message: impl fmt::Display) -> Own {
    let mut response = error(status, kind, message);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An error that stays until a person does something.
pub(super) fn lasting_error(status: StatusCode, kind: &str, message: impl fmt::Display) -> Own {
    let mut response = error(status, kind, message);
    response.headers_mut().insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
    response
}

/// A redirect to another path of the gateway.
pub(super) fn moved(to: &'static str) -> Own {
    let mut response = text(StatusCode::PERMANENT_REDIRECT, "");
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(to));
    response
}

/// The response to a request without a client's token, with what to do.
pub(super) fn unauthorized(advice: &str) -> Own {
    let mut response = lasting_error(StatusCode::UNAUTHORIZED, "authentication_error", advice);
    // RFC 6750, section 3.
    let challenge = HeaderValue::from_static("Bearer realm=\"credentials\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// The response to a CONNECT without a client's token, with what to do.
pub(super) fn proxy_unauthorized(advice: &str) -> Own {
    let mut response =
        refused(StatusCode::PROXY_AUTHENTICATION_REQUIRED, "authentication_error", advice);
    // RFC 7617, section 2.
    let challenge = HeaderValue::from_static("Basic realm=\"credentials\"");
    response.headers_mut().insert(header::PROXY_AUTHENTICATE, challenge);
    response
}

pub(super) fn busy(busy: Busy) -> Own {
    let (message, wait) = match busy {
        Busy::InFlight(bound) => {
            (format!("this client may have {bound} requests under way at once"), Duration::from_secs(1))
        }
        Busy::PerMinute { bound, wait } => {
            (format!("this client may send {bound} requests per minute"), wait)
        }
    };
    let mut response = error(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message);
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// The response for as long as the vault can't be reached, in seconds after which it is looked for again.
pub(super) fn away() -> Own {
    let message = "the vault of this gateway can't be reached now; it is tried again";
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "vault_unreachable", message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The 429 if every account is known to be limited.
pub(super) fn limited(head: http::response::Parts) -> Own {
    let wait = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let message = match wait {
        Some(wait) => format!("every account is limited; the first is ready in {wait} s"),
        None => "every account is limited, and none of their upstreams has said for how long".to_owned(),
    };
    let mut response = error(head.status, "rate_limit_error", message);
    response.headers_mut().extend(head.headers);
    response
}

/// The response to a request for another protocol than HTTP and WebSocket. Clients that do not need it go on with HTTP.
pub(super) fn no_upgrade() -> Own {
    let message = "this gateway forwards HTTP and WebSockets, and this request is neither; a WebSocket begins with a GET of HTTP/1.1 without a body";
    let mut response = error(StatusCode::UPGRADE_REQUIRED, "upgrade_not_supported", message);
    // The status requires the name of an acceptable protocol (RFC 9110, section 15.5.22).
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("HTTP/1.1"));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response
}

/// The response where the upstream goes on with a protocol that nobody has asked for.
pub(super) fn strange_upgrade(upstream: impl fmt::Display) -> (Own, String) {
    let message = format!("{upstream} has changed the protocol, and not to the one that was asked for");
    (error(StatusCode::BAD_GATEWAY, "upstream_protocol", &message), message)
}

/// The response to a request that the upstream has not answered, with its message.
pub(super) fn failure(failure: &BoxError, upstream: impl fmt::Display) -> (Own, String) {
    if let Some(own) = failure.downcast_ref::<Error>() {
        let message = own.to_string();
        let (status, kind) = match own {
            Error::UntrustedOrigin { .. } => (StatusCode::BAD_GATEWAY, "untrusted_origin"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "no_account"),
        };
        return (lasting_error(status, kind, &message), message);
    }
    if causes(&**failure).any(is_timeout) {
        let message = format!("{upstream} has not answered in time");
        return (error(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", &message), message);
    }
    let reasons: Vec<_> = causes(&**failure).map(ToString::to_string).collect();
    let message = format!("no response from {upstream}: {}", reasons.join(": "));
    (error(StatusCode::BAD_GATEWAY, "upstream_unreachable", &message), message)
}

pub(super) fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> + Clone {
    std::iter::successors(Some(error), |&error| error.source())
}

fn is_timeout(error: &(dyn StdError + 'static)) -> bool {
    error.is::<tower::timeout::error::Elapsed>()
        || error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}
