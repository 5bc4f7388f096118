//! The settings of a provider's OAuth: the fields of [`OAuthConfig`], by their names.

use super::layered;
use super::raw::{Raw, origin, word};
use crate::oauth::{Dialect, FlowKind, OAuthConfig, TokenEncoding};
use crate::secret::SecretString;

layered! {
    #[derive(Clone, Default)]
    struct Fields {
        client_id: String,
        client_secret: SecretString,
        scopes: Vec<String>,
        flows: Vec<FlowKind>,
        authorize_url: String,
        redirect_uri: String,
        device_url: String,
        token_url: String,
        refresh_url: String,
        exchange_url: String,
        poll_url: String,
        account_url: String,
        token_encoding: TokenEncoding,
        dialect: Dialect,
    }
}

/// What is set of an [`OAuthConfig`].
#[derive(Clone, Default)]
pub(super) struct OAuthSettings {
    fields: Fields,
    authorize_params: Vec<(String, String)>,
}

pub(super) const NAMES: &[&str] = &[
    "client_id",
    "client_secret",
    "scopes",
    "flows",
    "authorize_url",
    "authorize_params",
    "redirect_uri",
    "device_url",
    "token_url",
    "refresh_url",
    "exchange_url",
    "poll_url",
    "account_url",
    "token_encoding",
    "dialect",
];

const FLOWS: &[(&str, FlowKind)] = &[
    ("loopback", FlowKind::Loopback),
    ("pasted-code", FlowKind::PastedCode),
    ("device", FlowKind::Device),
    ("link-poll", FlowKind::LinkPoll),
];

const ENCODINGS: &[(&str, TokenEncoding)] =
    &[("form", TokenEncoding::Form), ("json", TokenEncoding::Json)];

const DIALECTS: &[(&str, Dialect)] = &[
    ("standard", Dialect::Standard),
    ("anthropic", Dialect::Anthropic),
    ("openai", Dialect::OpenAi),
    ("copilot", Dialect::Copilot),
    ("qwen", Dialect::Qwen),
    ("cursor", Dialect::Cursor),
];

impl OAuthSettings {
    /// Takes a field's value; `None` where there is no such field.
    pub(super) fn put(&mut self, path: &[&str], raw: &Raw<'_>) -> Option<Result<(), String>> {
        let fields = &mut self.fields;
        Some(match path {
            ["client_id"] => set(&mut fields.client_id, text(raw)),
            ["client_secret"] => set(&mut fields.client_secret, raw.text().map(Into::into)),
            ["scopes"] => set(&mut fields.scopes, raw.list_of(|scope| Ok(scope.to_owned()))),
            ["flows"] => set(&mut fields.flows, raw.list_of(|flow| word(flow, FLOWS))),
            ["authorize_url"] => set(&mut fields.authorize_url, url(raw)),
            ["redirect_uri"] => set(&mut fields.redirect_uri, uri(raw)),
            ["device_url"] => set(&mut fields.device_url, url(raw)),
            ["token_url"] => set(&mut fields.token_url, url(raw)),
            ["refresh_url"] => set(&mut fields.refresh_url, url(raw)),
            ["exchange_url"] => set(&mut fields.exchange_url, url(raw)),
            ["poll_url"] => set(&mut fields.poll_url, url(raw)),
            ["account_url"] => set(&mut fields.account_url, url(raw)),
            ["token_encoding"] => set(&mut fields.token_encoding, raw.one_of(ENCODINGS)),
            ["dialect"] => set(&mut fields.dialect, raw.one_of(DIALECTS)),
            ["authorize_params", name] => raw.text().map(|value| {
                self.authorize_params.retain(|(known, _)| known != name);
                self.authorize_params.push(((*name).to_owned(), value.to_owned()));
            }),
            ["authorize_params"] => Err("must be a table of texts".to_owned()),
            [] => Err("must be a table".to_owned()),
            _ => return None,
        })
    }

    pub(super) fn fill_from(&mut self, other: &Self) {
        self.fields.fill_from(&other.fields);
        add_missing(&mut self.authorize_params, &other.authorize_params);
    }

    /// The config with what is set here in place of the provider's own; `None` where nothing is.
    pub(super) fn over(&self, own: Option<&OAuthConfig>) -> Option<OAuthConfig> {
        let mut config = own.cloned().unwrap_or_default();
        let mut is_set = !self.authorize_params.is_empty();
        macro_rules! take {
            ($($field:ident)*) => {
                $(if let Some(value) = &self.fields.$field {
                    config.$field = value.clone().into();
                    is_set = true;
                })*
            };
        }
        take!(client_id client_secret scopes flows authorize_url redirect_uri device_url token_url);
        take!(refresh_url exchange_url poll_url account_url token_encoding dialect);
        let mut params = self.authorize_params.clone();
        add_missing(&mut params, &config.authorize_params);
        config.authorize_params = params;
        is_set.then_some(config)
    }
}

fn add_missing(params: &mut Vec<(String, String)>, others: &[(String, String)]) {
    for other in others {
        if params.iter().all(|(name, _)| *name != other.0) {
            params.push(other.clone());
        }
    }
}

fn set<T>(field: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *field = Some(value?);
    Ok(())
}

fn text(raw: &Raw<'_>) -> Result<String, String> {
    match raw.text()? {
        "" => Err("is empty; leave it out, or give it a value".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// A URL that secrets may be sent to: HTTPS, or plain HTTP with a loopback host.
fn url(raw: &Raw<'_>) -> Result<String, String> {
    let url = text(raw)?;
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url[authority..].find(['/', '?', '#']).map_or(url.len(), |at| authority + at);
    origin(&url[..end])?;
    uri(raw)
}

/// A URI that only a browser goes to. Its port may be 0, for any that is free.
fn uri(raw: &Raw<'_>) -> Result<String, String> {
    let uri = text(raw)?;
    uri.parse::<http::Uri>().map_err(|error| format!("is no URL: {error}"))?;
    Ok(uri)
}
