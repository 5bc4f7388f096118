//! Errors of sign-ins and refreshes.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;

use super::config::FlowKind;
use crate::credential::Kind;

/// An error of a sign-in or a refresh. URLs in it have no query. A server's words are bounded, on one line, and without the
/// secrets that were sent to it.
#[derive(Debug)]
#[non_exhaustive]
pub enum OAuthError {
    /// A required setting has no value.
    MissingSetting {
        /// The provider.
        provider: String,
        /// The field of [`OAuthConfig`](super::OAuthConfig).
        setting: &'static str,
    },
    /// A setting's value can't be used.
    InvalidSetting {
        /// The provider.
        provider: String,
        /// The field of [`OAuthConfig`](super::OAuthConfig).
        setting: &'static str,
        /// What is wrong with the value.
        reason: String,
    },
    /// The provider has no such way to sign in.
    UnsupportedFlow {
        /// The provider.
        provider: String,
        /// The requested way.
        flow: FlowKind,
    },
    /// Another program listens on the redirect URI's port.
    PortTaken {
        /// The provider.
        provider: String,
        /// The address of this machine.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// Listening on this machine failed.
    Listen {
        /// The provider.
        provider: String,
        /// The address of this machine.
        address: IpAddr,
        /// The port; 0 for any free port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// No response arrived, or only a part of it.
    Unreachable {
        /// The URL of the request.
        url: String,
        /// The HTTP client's error.
        reason: String,
    },
    /// No complete response arrived in time.
    TimedOut {
        /// The URL of the request.
        url: String,
        /// The timeout.
        after: Duration,
    },
    /// The server can't answer now: 408, 429, 5xx, or 403 with a time at which to try again.
    Unavailable {
        /// The URL of the request.
        url: String,
        /// The response's status.
        status: StatusCode,
        /// The time to wait before the next request, if the server states one (RFC 9110, section 10.2.3).
        retry_after: Option<Duration>,
    },
    /// The HTTP client followed a redirect to another origin. The response from there is not used.
    Redirected {
        /// The URL of the request.
        url: String,
        /// The scheme, host and port that the response came from.
        origin: String,
    },
    /// The response is too long to be of the expected kind. It wasn't read.
    TooLong {
        /// The URL of the request.
        url: String,
        /// The maximum number of bytes that are read.
        limit: usize,
    },
    /// The response is not of the expected kind.
    Malformed {
        /// The URL of the request.
        url: String,
        /// The response's status.
        status: StatusCode,
        /// The expected contents.
        expected: &'static str,
        /// Whether it is a web page, most likely that of a captive portal, a proxy or a block.
        is_page: bool,
    },
    /// The server refuses (RFC 6749, sections 4.1.2.1 and 5.2).
    Refused {
        /// The provider.
        provider: String,
        /// The error's code, such as `invalid_grant`.
        code: String,
        /// The server's own words.
        description: Option<String>,
    },
    /// Nobody typed in the code, or opened the link, in time.
    Expired,
    /// The pasted text belongs to another sign-in, or is forged: its state is not this one's.
    WrongState,
    /// The pasted address has no state, so nothing says which sign-in it belongs to.
    NoState,
    /// Two browsers have opened the page of a sign-in, and one of them may be somebody else's.
    OpenedTwice,
    /// The pasted text has no code in it.
    NoCode,
    /// The sign-in already has its code, or has ended.
    Ended,
    /// The secret is not one of OAuth, so it can't be renewed.
    NotOAuth {
        /// Its kind.
        kind: Kind,
    },
}

impl OAuthError {
    /// Returns whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Unavailable { .. } => true,
            // The page of a captive portal, or a challenge to browsers. With another status, the URL is wrong.
            Self::Malformed { status, is_page: true, .. } => {
                status.is_success() || *status == StatusCode::FORBIDDEN
            }
            // RFC 6749, section 4.1.2.1.
            Self::Refused { code, .. } => {
                matches!(code.as_str(), "server_error" | "temporarily_unavailable")
            }
            _ => false,
        }
    }

    /// Returns the time to wait before the next request, if the server states one.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The places in which a provider's setting can be set.
struct WhereToSet<'a>(&'a str, &'static str);

impl fmt::Display for WhereToSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(provider, setting) = self;
        let variable: String = format!("{provider}_oauth_{setting}")
            .chars()
            .map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_uppercase() } else { '_' })
            .collect();
        write!(
            f,
            "providers.{provider}.oauth.{setting} in the settings file, TOWER_CREDENTIALS_{variable} in \
             the environment, or OAuthConfig::{setting}"
        )
    }
}

/// Whether an error's code is the response's status, because the response has no code.
fn is_status(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit())
}

/// The setting to check after a server's error code.
fn way_out(code: &str) -> Option<&'static str> {
    match code {
        "invalid_client"
        | "unauthorized_client"
        | "incorrect_client_credentials"
        | "deleted_client"
        | "disabled_client" => Some("client_id"),
        "invalid_scope" => Some("scopes"),
        "redirect_uri_mismatch" => Some("redirect_uri"),
        "invalid_request" | "unsupported_grant_type" => Some("token_encoding"),
        _ => None,
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingSetting { provider, setting } => {
                write!(f, "{provider}: no {setting} is set; set {}", WhereToSet(provider, setting))
            }
            Self::InvalidSetting { provider, setting, reason } => {
                write!(f, "{provider}: {setting}: {reason}; correct {}", WhereToSet(provider, setting))
            }
            Self::UnsupportedFlow { provider, flow } => write!(
                f,
                "{provider} has no sign-in by {flow}; choose another way, or add \"{}\" to {}",
                flow.word(),
                WhereToSet(provider, "flows")
            ),
            Self::PortTaken { provider, address, port } => write!(
                f,
                "port {port} of {address}, to which the browser returns, is taken by another program; \
                 end that program, sign in by {} instead, or name another port in {}",
                FlowKind::PastedCode,
                WhereToSet(provider, "redirect_uri")
            ),
            Self::Listen { provider, address, port, source } => write!(
                f,
                "could not listen on port {port} of {address}: {source}; sign in by {} instead, or name \
                 another port in {}",
                FlowKind::PastedCode,
                WhereToSet(provider, "redirect_uri")
            ),
            Self::Unreachable { url, reason } => write!(f, "no response from {url}: {reason}"),
            Self::TimedOut { url, after } => {
                write!(f, "no complete response from {url} within {:.1} s", after.as_secs_f64())
            }
            Self::Unavailable { url, status, retry_after: None } => {
                write!(f, "{url} answers {status}; try again later")
            }
            Self::Unavailable { url, status, retry_after: Some(after) } => {
                write!(f, "{url} answers {status}; try again in {} s", after.as_secs_f64().ceil())
            }
            Self::Redirected { url, origin } => write!(
                f,
                "the HTTP client followed a redirect from {url} to {origin}; the response is not used, and what was \
                 sent may be known there. Give OAuthHttp a client that follows no redirects, and sign in again if \
                 {origin} is not the vendor's"
            ),
            Self::TooLong { url, limit } => write!(f, "the response from {url} is longer than {limit} bytes"),
            Self::Malformed { url, status, .. } if status.is_redirection() => write!(
                f,
                "{url} answers {status}, a redirect, and nothing secret is sent on to where it leads; set that URL in the \
                 settings to the endpoint itself, or try another network: sign-in pages of networks redirect, too"
            ),
            Self::Malformed { url, status, is_page: true, .. } => write!(
                f,
                "the response from {url} ({status}) is a web page: a network's sign-in page, a proxy or a block has \
                 answered in the server's place, or the URL is wrong; open it in a browser, or try another network"
            ),
            Self::Malformed { url, status, .. } if !status.is_success() => write!(
                f,
                "{url} answers {status}, and gives no readable reason (RFC 6749, section 5.2); check that URL, the \
                 client_id and the token_encoding in the settings"
            ),
            Self::Malformed { url, status, expected, .. } => {
                write!(
                    f,
                    "the response from {url} ({status}) is not {expected}; check the URL"
                )
            }
            Self::Refused { provider, code, description } => {
                match is_status(code) {
                    true => write!(f, "{provider} refuses with the status {code}")?,
                    false => write!(f, "{provider} refuses: {code}")?,
                }
                if let Some(description) = description {
                    write!(f, ": {description}")?;
                }
                way_out(code)
                    .map_or(Ok(()), |setting| write!(f, "; see {}", WhereToSet(provider, setting)))
            }
            Self::Expired => f.write_str("nobody signed in in time; start again"),
            Self::WrongState => f.write_str(
                "the pasted text belongs to another sign-in; paste what this one's page shows",
            ),
            Self::NoState => f.write_str(
                "the pasted address has no state, so nothing says which sign-in it belongs to; paste the whole address at \
                 which the browser ended",
            ),
            Self::OpenedTwice => f.write_str(
                "two browsers have opened the page of this sign-in, and one of them may be somebody else's, who saw its \
                 address in the arguments of the other; nothing was stored; sign in again, and open the page by hand",
            ),
            Self::NoCode => f.write_str(
                "the pasted text has no code in it; paste the code that the page shows, or the whole \
                 address at which the browser ended",
            ),
            Self::Ended => f.write_str("the sign-in already has its code, or has ended; start another"),
            Self::NotOAuth { kind } => {
                write!(f, "a credential of kind {kind} can't be renewed; store a new one in its place")
            }
        }
    }
}

impl std::error::Error for OAuthError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen { source, .. } => Some(source),
            _ => None,
        }
    }
}
