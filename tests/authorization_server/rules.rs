//! The rules of a server, and each vendor's peculiarities.

use std::time::Duration;

use tower_credentials::oauth::{OAuthConfig, TokenEncoding};

/// The only client that the server knows.
pub(crate) const CLIENT_ID: &str = "client-of-the-tests";
/// Its secret, if the vendor's clients have one.
pub(crate) const CLIENT_SECRET: &str = "secret-of-the-client";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vendor {
    Anthropic,
    OpenAi,
    Google,
    Copilot,
    Qwen,
    Cursor,
}

impl Vendor {
    pub(crate) const ALL: [Self; 6] =
        [Self::Anthropic, Self::OpenAi, Self::Google, Self::Copilot, Self::Qwen, Self::Cursor];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::Google => "google",
            Self::Copilot => "github-copilot",
            Self::Qwen => "qwen",
            Self::Cursor => "cursor",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) vendor: Vendor,
    pub(crate) encoding: TokenEncoding,
    pub(crate) client_secret: Option<&'static str>,
    /// The lifetime of access tokens.
    pub(crate) access_lifetime: Duration,
    /// Whether responses state it.
    pub(crate) states_lifetime: bool,
    /// Whether a refresh token works once, and each response contains a new one.
    pub(crate) rotates: bool,
    /// How long a spent refresh token still gets the same tokens.
    pub(crate) grace: Option<Duration>,
    /// The lifetime of GitHub's own tokens, which are exchanged for Copilot's. `None` means for ever, without a refresh
    /// token.
    pub(crate) github_lifetime: Option<Duration>,
    /// The API's host, if token responses name it. Defaults to the vendor's. `{}` is the server's port.
    pub(crate) api: Option<&'static str>,
    pub(crate) device_interval: Option<u64>,
    pub(crate) device_lifetime: Duration,
}

impl Rules {
    /// The known rules of the vendor's server.
    pub(crate) fn of(vendor: Vendor) -> Self {
        Self {
            vendor,
            encoding: match vendor {
                Vendor::Anthropic | Vendor::Cursor => TokenEncoding::Json,
                _ => TokenEncoding::Form,
            },
            client_secret: (vendor == Vendor::Google).then_some(CLIENT_SECRET),
            access_lifetime: Duration::from_secs(8 * 3600),
            states_lifetime: true,
            rotates: vendor != Vendor::Google,
            grace: None,
            api: None,
            github_lifetime: None,
            device_interval: Some(5),
            device_lifetime: Duration::from_secs(900),
        }
    }
}

/// Returns the vendor's configuration with its endpoints at this server, in whichever process that is.
pub(crate) fn config(vendor: Vendor, server: &str) -> OAuthConfig {
    let mut config = match vendor {
        Vendor::Anthropic => OAuthConfig::anthropic(),
        Vendor::OpenAi => OAuthConfig::openai(),
        Vendor::Google => OAuthConfig::google().client_secret(CLIENT_SECRET),
        Vendor::Copilot => OAuthConfig::github_copilot(),
        Vendor::Qwen => OAuthConfig::qwen(),
        Vendor::Cursor => OAuthConfig::cursor(),
    };
    // The path of the redirect URI stays the vendor's; its port becomes any.
    if let Some(redirect) = &mut config.redirect_uri {
        let mut url = url::Url::parse(redirect).unwrap();
        url.set_port(Some(0)).unwrap();
        *redirect = url.into();
    }
    let at = |url: &mut Option<String>, path: &str| {
        if url.is_some() {
            *url = Some(format!("{server}{path}"));
        }
    };
    at(&mut config.authorize_url, if vendor == Vendor::Cursor { "/login" } else { "/authorize" });
    at(&mut config.device_url, "/device");
    at(&mut config.token_url, "/token");
    at(&mut config.refresh_url, "/refresh");
    at(&mut config.exchange_url, "/exchange");
    at(&mut config.poll_url, "/poll");
    at(&mut config.account_url, "/user");
    if vendor == Vendor::Cursor { config } else { config.client_id(CLIENT_ID) }
}
