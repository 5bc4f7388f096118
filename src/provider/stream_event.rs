//! What the first events of a stream mean: an error in place of a response, content, or neither yet.

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A server-sent event (HTML standard, section 9.2), as a [`Provider`](super::Provider) reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamEvent<'a> {
    /// The event's type: its field `event`, or else `message`.
    pub name: &'a str,
    /// Its data. Several lines are joined by line feeds.
    pub data: &'a str,
}

impl<'a> StreamEvent<'a> {
    /// Creates an event.
    pub fn new(name: &'a str, data: &'a str) -> Self {
        Self { name, data }
    }
}

/// The meaning of an event at the beginning of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventMeaning {
    /// It says nothing yet: that the response begins, or that the connection is alive. The next event may be an error.
    Nothing,
    /// The response has begun. It is the caller's from here on, whatever comes after.
    Content,
    /// The request has failed.
    Error {
        /// The status that the server would have sent if it had failed before the response's head.
        status: StatusCode,
        /// The body that it would have sent then, as JSON.
        body: Bytes,
    },
}

impl EventMeaning {
    /// Reads an event in one of the usual formats: those of Anthropic, OpenAI (Responses and Chat Completions) and Google,
    /// which other servers have taken over.
    ///
    /// | Event | Meaning |
    /// |---|---|
    /// | no data; `ping`, `keepalive`; `message_start`; `response.created`, `.queued`, `.in_progress` | nothing |
    /// | a chunk of Chat Completions without choices, or whose `delta` has no more than a `role` | nothing |
    /// | an object or a text `error` | an error with this body |
    /// | `response.failed` with an object `response.error` | an error, whose body is `{"error": …}` |
    /// | `error` with `code`, `message` and `param` beside its `type` | the same |
    /// | any other | content |
    ///
    /// An error's status is that of its `code`, `type` or `status`: a number from 400 to 599, or one of the vendors' words,
    /// such as `rate_limit_error` (429), `overloaded_error` (529) and `UNAVAILABLE` (503). If its words are unknown, it is
    /// a 500, which means something to an account only by a [rule](super::ResponseRule).
    ///
    /// ```
    /// use tower_credentials::provider::{EventMeaning, StreamEvent};
    ///
    /// let data = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    /// let meaning = EventMeaning::of(&StreamEvent::new("error", data));
    /// assert!(matches!(meaning, EventMeaning::Error { status, .. } if status == 529));
    /// ```
    pub fn of(event: &StreamEvent<'_>) -> Self {
        let data = event.data.trim();
        // A struct is read from a list as well.
        let message = if data.starts_with('{') { serde_json::from_str(data).ok() } else { None };
        let Some(Message { kind, error, response, choices, code, message, param }) = message else {
            let is_silent = data.is_empty() || SILENT.contains(&event.name);
            return if is_silent { Self::Nothing } else { Self::Content };
        };
        let kind = kind.as_deref().unwrap_or(event.name);
        let is_error =
            |error: &Value| error.is_object() || error.as_str().is_some_and(|text| !text.is_empty());
        let nested = |error: Value| Self::error(&error, json!({ "error": error }).to_string());
        match (kind, error.filter(is_error)) {
            (_, Some(error)) => Self::error(&error, data.to_owned()),
            ("response.failed", None) => {
                response.and_then(|response| response.error).map_or(Self::Content, nested)
            }
            ("error", None) if code.is_null() && message.is_null() => {
                Self::error(&Value::Null, data.to_owned())
            }
            ("error", None) => nested(json!({ "code": code, "message": message, "param": param })),
            _ if SILENT.contains(&kind) => Self::Nothing,
            _ if choices.is_some_and(|choices| choices.iter().all(Choice::is_silent)) => Self::Nothing,
            _ => Self::Content,
        }
    }

    fn error(error: &Value, body: String) -> Self {
        let status = status(error).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::Error { status, body: body.into() }
    }
}

/// The types of events that say nothing yet.
const SILENT: [&str; 6] = [
    "ping",
    "keepalive",
    "message_start",
    "response.created",
    "response.queued",
    "response.in_progress",
];

/// The fields of an event's data that tell.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    #[serde(rename = "type")]
    kind: Option<String>,
    error: Option<Value>,
    response: Option<Failed>,
    choices: Option<Vec<Choice>>,
    // Those of an error that has no object of its own.
    code: Value,
    message: Value,
    param: Value,
}

#[derive(Deserialize)]
struct Failed {
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Map<String, Value>>,
    finish_reason: Option<Value>,
}

impl Choice {
    fn is_silent(&self) -> bool {
        let is_empty = |value: &Value| match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        let says_nothing = |delta: &Map<String, Value>| {
            delta.iter().all(|(name, value)| name == "role" || is_empty(value))
        };
        self.finish_reason.is_none() && self.delta.as_ref().is_some_and(says_nothing)
    }
}

/// Whether an error's body says itself that the server has failed. One in words that nobody knows does not.
pub(crate) fn is_servers_own(body: &[u8]) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    status(&body["error"]).is_some_and(|status| status.is_server_error())
}

/// Returns the status of an error, by the first of its fields that tells.
fn status(error: &Value) -> Option<StatusCode> {
    let code = ["code", "type", "status"].iter().find_map(|name| match error.get(name)? {
        Value::Number(number) => number.as_u64()?.try_into().ok().filter(is_error),
        Value::String(word) => word.parse().ok().filter(is_error).or_else(|| of_word(word)),
        _ => None,
    });
    StatusCode::from_u16(code?).ok()
}

fn is_error(code: &u16) -> bool {
    (400..600).contains(code)
}

/// Returns the status with which the vendors send this code or type if the response has not begun.
fn of_word(word: &str) -> Option<u16> {
    Some(match word {
        "invalid_request_error" | "invalid_prompt" | "INVALID_ARGUMENT" | "FAILED_PRECONDITION" => 400,
        "authentication_error"
        | "invalid_api_key"
        | "token_expired"
        | "token_invalidated"
        | "token_revoked"
        | "account_deactivated"
        | "UNAUTHENTICATED" => 401,
        "billing_error" | "deactivated_workspace" => 402,
        "permission_error" | "missing_scope" | "insufficient_scope" | "PERMISSION_DENIED" => 403,
        "not_found_error" | "model_not_found" | "NOT_FOUND" => 404,
        "request_too_large" => 413,
        "rate_limit_error"
        | "rate_limit_exceeded"
        | "usage_limit_reached"
        | "insufficient_quota"
        | "billing_hard_limit_reached"
        | "billing_not_active"
        | "limit_requests"
        | "quota_exceeded"
        | "too_many_requests"
        | "RESOURCE_EXHAUSTED" => 429,
        "api_error" | "server_error" | "internal_error" | "internal_server_error" | "INTERNAL" => 500,
        "server_is_overloaded" | "service_unavailable_error" | "slow_down" | "UNAVAILABLE" => 503,
        "timeout_error" | "DEADLINE_EXCEEDED" => 504,
        "overloaded_error" => 529,
        _ => return None,
    })
}
