//! The vendors' own configurations, as publicly known in December 2025. None has a client id.

use super::config::{Dialect, FlowKind, OAuthConfig, TokenEncoding};

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn url(url: &str) -> Option<String> {
    Some(url.to_owned())
}

const BROWSER: [FlowKind; 2] = [FlowKind::Loopback, FlowKind::PastedCode];

impl OAuthConfig {
    /// Anthropic: a browser. Token requests are JSON; if the server wants forms, set
    /// [`token_encoding`](Self::token_encoding).
    pub fn anthropic() -> Self {
        Self {
            scopes: texts(&["org:create_api_key", "user:profile", "user:inference"]),
            flows: BROWSER.to_vec(),
            authorize_url: url("https://claude.ai/oauth/authorize"),
            authorize_params: pairs(&[("code", "true")]),
            redirect_uri: url("http://localhost:54545/callback"),
            token_url: url("https://console.anthropic.com/v1/oauth/token"),
            token_encoding: TokenEncoding::Json,
            dialect: Dialect::Anthropic,
            ..Self::default()
        }
    }

    /// OpenAI: a browser. A refresh token works once.
    pub fn openai() -> Self {
        Self {
            scopes: texts(&["openid", "email", "profile", "offline_access"]),
            flows: BROWSER.to_vec(),
            authorize_url: url("https://auth.openai.com/oauth/authorize"),
            authorize_params: pairs(&[("prompt", "login"), ("id_token_add_organizations", "true")]),
            redirect_uri: url("http://localhost:1455/auth/callback"),
            token_url: url("https://auth.openai.com/oauth/token"),
            dialect: Dialect::OpenAi,
            ..Self::default()
        }
    }

    /// Google: a browser. Its clients for desktop programs have a client secret.
    pub fn google() -> Self {
        Self {
            scopes: texts(&[
                "https://www.googleapis.com/auth/cloud-platform",
                "https://www.googleapis.com/auth/userinfo.email",
                "https://www.googleapis.com/auth/userinfo.profile",
            ]),
            flows: BROWSER.to_vec(),
            authorize_url: url("https://accounts.google.com/o/oauth2/v2/auth"),
            authorize_params: pairs(&[("access_type", "offline"), ("prompt", "consent")]),
            redirect_uri: url("http://localhost:8085/oauth2callback"),
            token_url: url("https://oauth2.googleapis.com/token"),
            ..Self::default()
        }
    }

    /// GitHub Copilot: a device code, and then GitHub's token is exchanged for a short-lived one. GitHub exchanges tokens of
    /// GitHub Apps, not of OAuth Apps.
    pub fn github_copilot() -> Self {
        Self {
            scopes: texts(&["user:email"]),
            flows: vec![FlowKind::Device],
            device_url: url("https://github.com/login/device/code"),
            token_url: url("https://github.com/login/oauth/access_token"),
            exchange_url: url("https://api.github.com/copilot_internal/v2/token"),
            account_url: url("https://api.github.com/user"),
            dialect: Dialect::Copilot,
            ..Self::default()
        }
    }

    /// Qwen: a device code, with PKCE. The vendor ended this sign-in in April 2026; for servers compatible
    /// with it, set the URLs.
    pub fn qwen() -> Self {
        Self {
            scopes: texts(&["openid", "profile", "email", "model.completion"]),
            flows: vec![FlowKind::Device],
            device_url: url("https://chat.qwen.ai/api/v1/oauth2/device/code"),
            token_url: url("https://chat.qwen.ai/api/v1/oauth2/token"),
            dialect: Dialect::Qwen,
            ..Self::default()
        }
    }

    /// Cursor: a link to open. There is no client id.
    pub fn cursor() -> Self {
        Self {
            flows: vec![FlowKind::LinkPoll],
            authorize_url: url("https://authenticator.cursor.sh/login"),
            poll_url: url("https://api2.cursor.sh/auth/poll"),
            refresh_url: url("https://api2.cursor.sh/auth/refresh"),
            token_encoding: TokenEncoding::Json,
            dialect: Dialect::Cursor,
            ..Self::default()
        }
    }
}
