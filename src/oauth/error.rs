//! Why a sign-in or a refresh failed.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;

use super::config::FlowKind;
use crate::credential::Kind;

/// Why a sign-in or a refresh failed. A URL in it has no query, and words of a server's are bounded, on one
/// line, and without the secrets that were sent to it.
#[derive(Debug)]
#[non_exhaustive]
pub enum OAuthError {
    /// A setting is needed that has no value.
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
        /// The way that was asked for.
        flow: FlowKind,
    },
    /// The redirect URI's port can't be listened at: another program has it.
    PortTaken {
        /// The provider.
        provider: String,
        /// On which address of this machine.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// Listening on this machine failed.
    Listen {
        /// The provider.
        provider: String,
        /// On which address.
        address: IpAddr,
        /// The port; 0 for any that is free.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// No answer came, or not all of it.
    Unreachable {
        /// What was asked.
        url: String,
        /// What the HTTP client says.
        reason: String,
    },
    /// No whole answer came in time.
    TimedOut {
        /// What was asked.
        url: String,
        /// How long was waited.
        after: Duration,
    },
    /// The server can't answer now: 408, 429, 5xx, or 403 where it says when to ask again.
    Unavailable {
        /// What was asked.
        url: String,
        /// The answer's status.
        status: StatusCode,
        /// In how long it wants to be asked again (RFC 9110, section 10.2.3).
        retry_after: Option<Duration>,
    },
    /// The HTTP client has followed a redirect to another origin. The answer that came from there is not used.
    Redirected {
        /// What was asked.
        url: String,
        /// Scheme, host and port of where the answer came from.
        origin: String,
    },
    /// The answer was longer than any of its sort can be. It wasn't read.
    TooLong {
        /// What was asked.
        url: String,
        /// The most bytes that are read.
        most: usize,
    },
    /// The answer isn't what this sort of server answers.
    Malformed {
        /// What was asked.
        url: String,
        /// The answer's status.
        status: StatusCode,
        /// What it should have been.
        expected: &'static str,
        /// Whether it is a web page: that of a captive portal, of a proxy, or of a block, most likely.
        is_page: bool,
    },
    /// The server says no (RFC 6749, sections 4.1.2.1 and 5.2).
    Refused {
        /// The provider.
        provider: String,
        /// The error's code, such as `invalid_grant`.
        code: String,
        /// The server's own words.
        description: Option<String>,
    },
    /// The code was not typed in, or the link not followed, in time.
    Expired,
    /// The text that was pasted belongs to another sign-in, or is forged: its state is not this one's.
    WrongState,
    /// The address that was pasted has no state, so nothing tells which sign-in it is of.
    NoState,
    /// Two browsers have opened the page of a sign-in, and one of them may be somebody else's.
    OpenedTwice,
    /// The text that was pasted has no code in it.
    NoCode,
    /// The sign-in has its code already, or has ended.
    Ended,
    /// A secret that isn't OAuth's can't be renewed.
    NotOAuth {
        /// Which kind it is.
        kind: Kind,
    },
}

impl OAuthError {
    /// Whether the same request may be answered at another time.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Unavailable { .. } => true,
            // A captive portal's, or a challenge to browsers. Where nothing is, the URL is wrong.
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

    /// In how long the server wants to be asked again, if it has said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Where a provider's setting is set.
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

/// Whether an error's code is the answer's status, for want of one.
fn is_status(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit())
}

/// What helps against a server's error code, after what it is.
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
                write!(f, "{provider}: {setting}: {reason}; mend {}", WhereToSet(provider, setting))
            }
            Self::UnsupportedFlow { provider, flow } => write!(
                f,
                "{provider} has no sign-in by {flow}; choose another, or add \"{}\" to {}",
                flow.word(),
                WhereToSet(provider, "flows")
            ),
            Self::PortTaken { provider, address, port } => write!(
                f,
                "port {port} of {address}, where the browser comes back to, is taken by another program; \
                 end that, sign in by {} instead, or name another port in {}",
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
            Self::Unreachable { url, reason } => write!(f, "no answer from {url}: {reason}"),
            Self::TimedOut { url, after } => {
                write!(f, "no whole answer from {url} within {:.1} s", after.as_secs_f64())
            }
            Self::Unavailable { url, status, retry_after: None } => {
                write!(f, "{url} answers {status}; try again later")
            }
            Self::Unavailable { url, status, retry_after: Some(after) } => {
                write!(f, "{url} answers {status}; try again in {} s", after.as_secs_f64().ceil())
            }
            Self::Redirected { url, origin } => write!(
                f,
                "the HTTP client has followed a redirect from {url} to {origin}; the answer is not used, and what was \
                 sent may be known there. Give OAuthHttp a client that follows no redirects, and sign in anew if \
                 {origin} is not the vendor's"
            ),
            Self::TooLong { url, most } => write!(f, "the answer of {url} is longer than {most} bytes"),
            Self::Malformed { url, status, .. } if status.is_redirection() => write!(
                f,
                "{url} answers {status}, a redirect, and nothing secret is sent on to where it leads; set that URL in the \
                 settings to the endpoint itself, or try another network: sign-in pages of networks redirect, too"
            ),
            Self::Malformed { url, status, is_page: true, .. } => write!(
                f,
                "the answer of {url} ({status}) is a web page: a network's sign-in page, a proxy or a block has \
                 answered in the server's place, or the URL is wrong; open it in a browser, or try another network"
            ),
            Self::Malformed { url, status, .. } if !status.is_success() => write!(
                f,
                "{url} answers {status}, and gives no reason that can be read (RFC 6749, section 5.2); see whether that \
                 URL, the client_id and the token_encoding in the settings are right"
            ),
            Self::Malformed { url, status, expected, .. } => {
                write!(
                    f,
                    "the answer of {url} ({status}) is not {expected}; see whether the URL is right"
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
                "the pasted address has no state, so nothing tells which sign-in it is of; paste the whole address at \
                 which the browser has ended",
            ),
            Self::OpenedTwice => f.write_str(
                "two browsers have opened the page of this sign-in, and one of them may be somebody else's, who saw its \
                 address in the arguments of the other; nothing was stored; sign in again, and open the page by hand",
            ),
            Self::NoCode => f.write_str(
                "the pasted text has no code in it; paste the code that the page shows, or the whole \
                 address that the browser ends at",
            ),
            Self::Ended => f.write_str("the sign-in has its code already, or has ended; start another"),
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
