//! An endpoint of a vendor's, between what it speaks and what the `oauth2` crate does.

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
use super::redact::Secrets;
use super::refusal::{Refusal, refused};
use super::sign_in::{Events, Progress};
use super::token_response::EXPECTED;
use crate::secret::SecretString;

/// An endpoint of a vendor's, made to speak as the `oauth2` crate expects it.
pub(super) struct Endpoint<'a> {
    client: &'a OAuthClient,
    pub(super) url: Url,
    pub(super) encoding: TokenEncoding,
    secrets: Secrets,
    pub(super) expected: &'static str,
    /// What is made of an answer's members before they are read.
    pub(super) adapt: fn(Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>>,
    /// Where it is told what happens, if it is asked until it has an answer.
    pub(super) events: Option<Events>,
    /// Of the last answer.
    status: AtomicU16,
    /// Whether that was a web page.
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

    /// Sends a request in the encoding that the server takes. The answer is put as the standard has it:
    /// an error is one whatever its status (GitHub's is 200), and has its code in `error` (OpenAI's is an
    /// object's).
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, OAuthError> {
        let request = match self.encoding {
            TokenEncoding::Form => request,
            TokenEncoding::Json => in_json(request),
        };
        let mut received = Received::default();
        let sent = self.client.http().send_keeping(request, &self.secrets, &mut received).await;
        self.receive(received);
        let answer = sent?;
        let refusal = Refusal::read(&answer);
        // Some servers say so by the status of a limit.
        let waits = |refusal: &Refusal| matches!(&*refusal.code, "authorization_pending" | "slow_down");
        let is_told_to_wait = self.events.is_some() && refusal.as_ref().is_some_and(waits);
        let answer = if is_told_to_wait { answer } else { answer.available()? };
        if self.events.is_some() {
            self.end_only_for_good(&answer, refusal.as_ref())?;
        }
        self.status.store(answer.status.as_u16(), Ordering::Relaxed);
        self.is_page.store(answer.is_a_page(), Ordering::Relaxed);
        let (status, body) = match refusal {
            Some(Refusal { code, words }) => {
                if code == "slow_down" {
                    self.emit(Progress::SlowedDown);
                }
                let body = json!({ "error": code, "error_description": words });
                (StatusCode::BAD_REQUEST, body.to_string().into_bytes())
            }
            None if answer.status.is_success() => {
                let members = members(&answer.body).map(|members| (self.adapt)(members).to_vec());
                self.receive(Received(answer.body));
                (StatusCode::OK, members.unwrap_or_default())
            }
            None => (answer.status, Vec::new()),
        };
        // Without its headers: some servers call their JSON text.
        let mut response = HttpResponse::new(body);
        *response.status_mut() = status;
        Ok(response)
    }

    /// Who is asked again and again is asked on after an answer that may be another at another time: the crate goes
    /// on after an error of the way there, and ends at any answer that it can't read.
    fn end_only_for_good(
        &self,
        answer: &EndpointResponse,
        refusal: Option<&Refusal>,
    ) -> Result<(), OAuthError> {
        let error = match refusal {
            Some(Refusal { code, words }) => refused(self.client, &self.secrets, code, words.as_deref()),
            None if answer.is_a_page() => answer.unreadable(self.expected),
            None => return Ok(()),
        };
        if error.is_transient() { Err(error) } else { Ok(()) }
    }

    fn receive(&self, received: Received) {
        *self.received.lock().unwrap_or_else(PoisonError::into_inner) = received;
    }

    /// The last answer, if it could not be read, or did not come whole.
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
            RequestTokenError::ServerResponse(answer) => {
                let description = answer.error_description().map(String::as_str);
                refused(self.client, &self.secrets, &answer.error().to_string(), description)
            }
            // What the crate says of it may quote it.
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
            let answer = self.exchange(request).await;
            if let Err(error) = &answer {
                self.emit(Progress::NotReached { reason: error.to_string() });
            }
            answer
        })
    }
}

const IN_MEMORY: &str = "text is written to memory";

/// A form as a JSON object with the same members.
fn in_json(request: HttpRequest) -> HttpRequest {
    let (mut parts, form) = request.into_parts();
    let form = Zeroizing::new(form);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Room for all of it at once: a growing buffer leaves copies behind.
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
