//! What a browser shows at the end of a sign-in.

use std::fmt;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

/// A page of a few words.
#[derive(Clone, Debug)]
pub(super) struct Page {
    status: StatusCode,
    title: &'static str,
    text: String,
}

impl Page {
    /// Names the account, if it is known: it could be somebody else's.
    pub(super) fn signed_in(account: Option<&str>) -> Self {
        let text = match account {
            Some(account) => format!("It worked. The account is {account}. You can close this page."),
            None => "It worked. You can close this page.".to_owned(),
        };
        Self::new(StatusCode::OK, "Signed in", text)
    }

    pub(super) fn failed(error: &dyn fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Not signed in", error)
    }

    pub(super) fn ignored(reason: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Not a response to this sign-in", reason)
    }

    pub(super) fn ended() -> Self {
        Self::new(StatusCode::GONE, "Ended", "This sign-in has ended already.")
    }

    pub(super) fn not_yet() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Not yet", "This page can't be prefetched.")
    }

    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "Not found",
            "This server waits for a sign-in, at another path.",
        )
    }

    pub(super) fn not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Not allowed", "A sign-in comes here with GET.")
    }

    fn new(status: StatusCode, title: &'static str, text: impl fmt::Display) -> Self {
        Self { status, title, text: text.to_string() }
    }

    /// The page as a response that nothing may cache, and that may load nothing. Its address has a code in it, so no other
    /// site gets it as a referrer.
    pub(super) fn response(&self) -> Response<Full<Bytes>> {
        let title = self.title;
        let text = escaped(&self.text);
        let html = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
             <h1>{title}</h1><p>{text}</p></html>"
        );
        let mut response = Response::new(Full::from(html));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
            (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
        }
        response
    }
}

/// A redirect to another page that also sets a cookie.
pub(super) fn onward(to: &HeaderValue, cookie: HeaderValue) -> Response<Full<Bytes>> {
    let mut response =
        Page::new(StatusCode::SEE_OTHER, "Sign in", "Continue at the vendor's page.").response();
    response.headers_mut().insert(header::LOCATION, to.clone());
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

/// Escapes text for HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
