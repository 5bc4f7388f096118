//! Translates between a vendor's endpoint and the `oauth2` crate.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

use http::{HeaderValue, Request, StatusCode, header};
use oauth2::{
    AsyncHttpClient, ErrorResponseType, HttpRequest, HttpResponse, RequestTokenError,
    StandardErrorResponse,
};
use serde::Serializer;
use serde::ser::SerializeMap;
use serde_json::json;
use url::{Url, form_urlencoded};
use zeroize::{Zeroize, Zeroizing};

use super::client::OAuthClient;
use super::config::TokenEncoding;
use super::error::OAuthError;
use super::http::{EndpointResponse, Received};
use super::members::members;
use super::progress::{Events, Progress};
use super::redact::Secrets;
use super::refusal::{Refusal, refused};
use super::token_response::EXPECTED;
use crate::secret::SecretString;

/// A vendor's endpoint as an HTTP client of the `oauth2` crate.
pub(super) struct Endpoint<'a> {
    client: &'a OAuthClient,
    pub(super) url: Url,
    pub(super) encoding: TokenEncoding,
    secrets: Secrets,
    pub(super) expected: &'static str,
    /// Rewrites a response's members before they are read.
    pub(super) adapt: fn(Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>>,
    /// The channel of progress, if the endpoint is polled.
    pub(super) events: Option<Events>,
    /// The status of the last response.
    status: AtomicU16,
    /// Whether the last response was a web page.
    is_page: AtomicBool,
    received: Mutex<Received>,
}

impl<'a> Endpoint<'a> {
    pub(super) fn new<'s>(
        client: &'a OAuthClient,
        url: Url,
        secrets: impl IntoIterator<Item = &'s str>,
    ) -> Self {
        Self {
            client,
            url,
            encoding: client.config().token_encoding,
            secrets: client.client_secret().into_iter().fold(Secrets::new(secrets), Secrets::and),
            expected: EXPECTED,
            adapt: |members| members,
            events: None,
            status: AtomicU16::new(0),
            is_page: AtomicBool::new(false),
            received: Mutex::default(),
        }
    }

    /// Sends a request in the encoding that the server takes, and rewrites the response into the standard's form: an error has
    /// an error's status (GitHub sends 200), and its code is in `error` (OpenAI sends an object).
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, OAuthError> {
        let request = match self.encoding {
            TokenEncoding::Form => request,
            TokenEncoding::Json => in_json(request),
        };
        let mut received = Received::default();
        let sent = self.client.http().send_keeping(request, &self.secrets, &mut received).await;
        self.receive(received);
        let response = sent?;
        let refusal = Refusal::read(&response);
        // Some servers say "keep polling" with the status of a limit.
        let is_pending =
            |refusal: &Refusal| matches!(&*refusal.code, "authorization_pending" | "slow_down");
        let keeps_polling = self.events.is_some() && refusal.as_ref().is_some_and(is_pending);
        let response = if keeps_polling { response } else { response.available()? };
        if self.events.is_some() {
            self.check_transient(&response, refusal.as_ref())?;
        }
        self.status.store(response.status.as_u16(), Ordering::Relaxed);
        self.is_page.store(response.is_page(), Ordering::Relaxed);
        let (status, body) = match refusal {
            Some(Refusal { code, words }) => {
                if code == "slow_down" {
                    self.emit(Progress::SlowedDown);
                }
                let body = json!({ "error": code, "error_description": words });
                (StatusCode::BAD_REQUEST, body.to_string().into_bytes())
            }
            None if response.status.is_success() => {
                let members = members(&response.body).map(|members| (self.adapt)(members).to_vec());
                self.receive(Received(response.body));
                (StatusCode::OK, members.unwrap_or_default())
            }
            None => (response.status, Vec::new()),
        };
        // The headers are dropped: some servers label their JSON as text.
        let mut standard = HttpResponse::new(body);
        *standard.status_mut() = status;
        Ok(standard)
    }

    /// Returns an error for a response that may be different later, so that polling goes on: the crate goes on after an error
    /// of its HTTP client, and stops at any response that it can't read.
    fn check_transient(
        &self,
        response: &EndpointResponse,
        refusal: Option<&Refusal>,
    ) -> Result<(), OAuthError> {
        let error = match refusal {
            Some(Refusal { code, words }) => refused(self.client, &self.secrets, code, words.as_deref()),
            None if response.is_page() => response.unreadable(self.expected),
            None => return Ok(()),
        };
        if error.is_transient() { Err(error) } else { Ok(()) }
    }

    fn receive(&self, received: Received) {
        *self.received.lock().unwrap_or_else(PoisonError::into_inner) = received;
    }

    /// The last response, if it could not be read, or was incomplete.
    pub(super) fn into_received(self) -> Option<SecretString> {
        self.received.into_inner().unwrap_or_else(PoisonError::into_inner).into_secret()
    }

    fn emit(&self, progress: Progress) {
        if let Some(events) = &self.events {
            let _ = events.send(progress);
        }
    }

    pub(super) fn failed<E>(
        &self,
        error: RequestTokenError<OAuthError, StandardErrorResponse<E>>,
    ) -> OAuthError
    where
        E: ErrorResponseType + std::fmt::Display + 'static,
    {
        match error {
            RequestTokenError::Request(error) => error,
            RequestTokenError::ServerResponse(error) => {
                let description = error.error_description().map(String::as_str);
                refused(self.client, &self.secrets, &error.error().to_string(), description)
            }
            // The crate's own error may quote the body.
            RequestTokenError::Parse(_, mut body) => {
                body.zeroize();
                self.malformed()
            }
            RequestTokenError::Other(_) => self.malformed(),
        }
    }

    pub(super) fn malformed(&self) -> OAuthError {
        let status = StatusCode::from_u16(self.status.load(Ordering::Relaxed));
        let mut url = self.url.clone();
        url.set_query(None);
        OAuthError::Malformed {
            url: url.into(),
            status: status.unwrap_or_default(),
            expected: self.expected,
            is_page: self.is_page.load(Ordering::Relaxed),
        }
    }
}

impl<'c> AsyncHttpClient<'c> for Endpoint<'_> {
    type Error = OAuthError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, OAuthError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let response = self.exchange(request).await;
            if let Err(error) = &response {
                self.emit(Progress::NotReached { reason: error.to_string() });
            }
            response
        })
    }
}

const IN_MEMORY: &str = "text is written to memory";

/// Rewrites a form as a JSON object with the same members.
fn in_json(request: HttpRequest) -> HttpRequest {
    let (mut parts, form) = request.into_parts();
    let form = Zeroizing::new(form);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Allocated once: a buffer that grows leaves copies behind.
    let mut body = Vec::with_capacity(2 * form.len() + 64);
    let mut serializer = serde_json::Serializer::new(&mut body);
    let mut members = serializer.serialize_map(None).expect(IN_MEMORY);
    for (name, value) in form_urlencoded::parse(&form) {
        members.serialize_entry(&name, &value).expect(IN_MEMORY);
        if let Cow::Owned(mut value) = value {
            value.zeroize();
        }
    }
    members.end().expect(IN_MEMORY);
    Request::from_parts(parts, body)
}
