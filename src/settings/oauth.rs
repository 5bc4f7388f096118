//! The OAuth settings of a provider: the fields of [`OAuthConfig`], by their names.

use super::layered;
use super::raw::{Raw, origin, word};
use crate::oauth::{Dialect, FlowKind, OAuthConfig, TokenEncoding};
use crate::secret::SecretString;

/// Defines the fields, each with its type and its parser.
macro_rules! fields {
    ($raw:ident; $($field:ident: $type:ty = $read:expr,)*) => {
        layered! {
            #[derive(Clone, Default)]
            struct Fields {
                $($field: $type,)*
            }
        }

        pub(super) const NAMES: &[&str] = &["authorize_params", $(stringify!($field)),*];

        impl Fields {
            /// Takes a field's value; `None` if there is no such field.
            fn put(&mut self, name: &str, $raw: &Raw<'_>) -> Option<Result<(), String>> {
                $(if name == stringify!($field) {
                    return Some($read.map(|value| self.$field = Some(value)));
                })*
                None
            }

            /// Puts the set fields into a config. Returns whether there were any.
            fn apply(&self, config: &mut OAuthConfig) -> bool {
                let mut is_set = false;
                $(if let Some(value) = &self.$field {
                    config.$field = value.clone().into();
                    is_set = true;
                })*
                is_set
            }
        }
    };
}

fields! {
    raw;
    client_id: String = text(raw),
    client_secret: SecretString = raw.text().map(Into::into),
    scopes: Vec<String> = raw.list_of(|scope| Ok(scope.to_owned())),
    flows: Vec<FlowKind> = raw.list_of(flow),
    authorize_url: String = url(raw),
    redirect_uri: String = redirect(raw),
    device_url: String = url(raw),
    token_url: String = url(raw),
    refresh_url: String = url(raw),
    exchange_url: String = url(raw),
    poll_url: String = url(raw),
    account_url: String = url(raw),
    token_encoding: TokenEncoding = raw.one_of(ENCODINGS),
    dialect: Dialect = raw.one_of(DIALECTS),
}

/// The set fields of an [`OAuthConfig`].
#[derive(Clone, Default)]
pub(super) struct OAuthSettings {
    fields: Fields,
    authorize_params: Vec<(String, String)>,
}

const FLOWS: &[(&str, FlowKind)] = &[
    (FlowKind::Loopback.word(), FlowKind::Loopback),
    (FlowKind::PastedCode.word(), FlowKind::PastedCode),
    (FlowKind::Device.word(), FlowKind::Device),
    (FlowKind::LinkPoll.word(), FlowKind::LinkPoll),
];

/// A way to sign in. The program's flag for one of them is `--paste-code`, so that name is accepted, too.
fn flow(text: &str) -> Result<FlowKind, String> {
    word(if text == "paste-code" { FlowKind::PastedCode.word() } else { text }, FLOWS)
}

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
    /// Takes a field's value; `None` if there is no such field.
    pub(super) fn put(&mut self, path: &[&str], raw: &Raw<'_>) -> Option<Result<(), String>> {
        match path {
            ["authorize_params", name] => Some(raw.text().map(|value| {
                self.authorize_params.retain(|(known, _)| known != name);
                self.authorize_params.push(((*name).to_owned(), value.to_owned()));
            })),
            ["authorize_params"] => Some(Err("must be a table of texts".to_owned())),
            [] => Some(Err("must be a table".to_owned())),
            [field] => self.fields.put(field, raw),
            _ => None,
        }
    }

    pub(super) fn fill_from(&mut self, other: &Self) {
        self.fields.fill_from(&other.fields);
        add_missing(&mut self.authorize_params, &other.authorize_params);
    }

    /// The settings that decide where secrets are sent, and whether each is set.
    pub(super) fn leading(&self) -> [(&'static str, bool); 8] {
        let fields = &self.fields;
        [
            ("oauth.authorize_url", fields.authorize_url.is_some()),
            ("oauth.redirect_uri", fields.redirect_uri.is_some()),
            ("oauth.device_url", fields.device_url.is_some()),
            ("oauth.token_url", fields.token_url.is_some()),
            ("oauth.refresh_url", fields.refresh_url.is_some()),
            ("oauth.exchange_url", fields.exchange_url.is_some()),
            ("oauth.poll_url", fields.poll_url.is_some()),
            ("oauth.account_url", fields.account_url.is_some()),
        ]
    }

    /// The provider's own config with these settings in it; `None` if none is set.
    pub(super) fn over(&self, own: Option<&OAuthConfig>) -> Option<OAuthConfig> {
        let mut config = own.cloned().unwrap_or_default();
        let is_set = self.fields.apply(&mut config) || !self.authorize_params.is_empty();
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

fn text(raw: &Raw<'_>) -> Result<String, String> {
    match raw.text()? {
        "" => Err("is empty; leave it out, or give it a value".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// A URL to which secrets may be sent: HTTPS, or plain HTTP with a loopback host.
fn url(raw: &Raw<'_>) -> Result<String, String> {
    let url = text(raw)?;
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url[authority..].find(['/', '?', '#']).map_or(url.len(), |at| authority + at);
    origin(&url[..end])?;
    url.parse::<http::Uri>().map_err(|error| format!("is not a URL: {error}"))?;
    Ok(url)
}

/// The URI to which a browser returns with the code: HTTPS, or plain HTTP with a loopback host (RFC 9700, section 2.6).
/// With a loopback host, port 0 means any free port (RFC 8252, section 7.3).
fn redirect(raw: &Raw<'_>) -> Result<String, String> {
    let uri = text(raw)?;
    let parsed = uri.parse::<http::Uri>().map_err(|error| format!("is not a URI: {error}"))?;
    match (parsed.scheme_str(), parsed.host()) {
        (Some("https"), Some(_)) => Ok(uri),
        (Some("http"), Some(host)) if origin(&format!("http://{host}")).is_ok() => Ok(uri),
        _ => Err("must begin with http://127.0.0.1, http://localhost or https://".to_owned()),
    }
}
