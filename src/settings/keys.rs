//! The names of the settings, with the field and the parser of each.

use super::raw::{Raw, header_name, insecure_origin, origin, trusted_origin};
use super::{Headers, ProviderSettings, SettingsError, nearest, responses};
use crate::origin::Origin;

/// Why a value was not taken.
pub(super) enum Problem {
    /// No setting has this name. With the most similar one.
    Unknown(Option<String>),
    Invalid(String),
}

impl Problem {
    pub(super) fn at(self, place: &str, key: &str) -> SettingsError {
        let (place, key) = (place.to_owned(), key.to_owned());
        match self {
            Self::Unknown(nearest) => SettingsError::UnknownKey { place, key, nearest },
            Self::Invalid(reason) => SettingsError::Invalid { place, key, reason },
        }
    }
}

/// A setting: its name, and a function that takes its value.
type Key = (&'static str, fn(&mut ProviderSettings, &Raw<'_>) -> Result<(), String>);

macro_rules! keys {
    ($raw:ident; $($name:literal => $field:ident: $value:expr,)*) => {
        const KEYS: &[Key] = &[$((
            $name,
            |to, $raw| {
                to.values.$field = Some($value?);
                Ok(())
            },
        )),*];
    };
}

keys! {
    raw;
    "type" => kind: raw.text().map(str::to_owned),
    "mode" => mode: raw.mode(),
    "namespace" => namespace: raw.namespace(),
    "max_attempts" => max_attempts: raw.at_least_one(),
    "max_in_flight" => max_in_flight: raw.at_least_one(),
    "cooldown_limited" => cooldown_limited: raw.duration(),
    "cooldown_refused" => cooldown_refused: raw.duration(),
    "cooldown_cap" => cooldown_cap: raw.duration(),
    "api_key_variable" => api_key_variable: raw.variable(),
    "origins" => origins: raw.list_of(trusted_origin),
    "insecure_http_origins" => insecure_http_origins: raw.list_of(insecure_origin),
    "endpoint_hosts" => endpoint_hosts: raw.list_of(host),
    "subscription_endpoint" => subscription_endpoint: raw.endpoint(),
    "models_url" => models_url: raw.models_url(),
    "models_shape" => models_shape: raw.models_shape(),
    "header" => header: raw.header_name(),
    "prefix" => prefix: raw.prefix(),
    "oauth_header" => oauth_header: raw.header_name(),
    "oauth_prefix" => oauth_prefix: raw.prefix(),
    "query_names" => query_names: raw.list_of(name),
    "quota_headers" => quota_headers: raw.list_of(header_name),
    "aliases" => aliases: raw.list_of(name),
    "responses" => responses: responses::rules(raw),
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("has an empty name".to_owned()) } else { Ok(text.to_owned()) }
}

fn host(text: &str) -> Result<Origin, String> {
    if text.contains("://") { origin(text) } else { origin(&format!("https://{text}")) }
}

/// The tables of settings.
#[cfg(feature = "config")]
pub(super) const TABLES: [&[&str]; 4] =
    [&["headers"], &["extra_headers"], &["oauth"], &["oauth", "authorize_params"]];

#[cfg(feature = "oauth")]
use super::oauth::NAMES as OAUTH_NAMES;
#[cfg(not(feature = "oauth"))]
const OAUTH_NAMES: &[&str] = &[];

/// The names of all settings, each with those of its tables.
pub(super) fn names() -> impl Iterator<Item = Vec<&'static str>> {
    let keys = KEYS.iter().map(|(name, _)| vec![*name]);
    let tables = ["headers", "extra_headers"].map(|name| vec![name]);
    keys.chain(tables).chain(OAUTH_NAMES.iter().map(|name| vec!["oauth", name]))
}

impl ProviderSettings {
    /// Takes the value of the setting at this path.
    pub(super) fn put(&mut self, path: &[&str], raw: &Raw<'_>) -> Result<(), Problem> {
        let taken = match path {
            ["headers", name] => header(&mut self.headers, name, raw),
            ["extra_headers", name] => header(&mut self.extra_headers, name, raw),
            ["headers" | "extra_headers"] => Err("must be a table of headers".to_owned()),
            ["oauth", ..] => return self.put_oauth(&path[1..], raw),
            [key] => match KEYS.iter().find(|(name, _)| name == key) {
                Some((_, set)) => set(self, raw),
                None => return Err(unknown(path)),
            },
            _ => return Err(unknown(path)),
        };
        taken.map_err(Problem::Invalid)
    }

    #[cfg(feature = "oauth")]
    fn put_oauth(&mut self, path: &[&str], raw: &Raw<'_>) -> Result<(), Problem> {
        match self.oauth.put(path, raw) {
            Some(taken) => taken.map_err(Problem::Invalid),
            None => Err(unknown(&[&["oauth"], path].concat())),
        }
    }

    #[cfg(not(feature = "oauth"))]
    fn put_oauth(&mut self, _: &[&str], _: &Raw<'_>) -> Result<(), Problem> {
        let reason = "needs the feature `oauth` of tower-credentials, which this program lacks";
        Err(Problem::Invalid(reason.to_owned()))
    }
}

fn header(headers: &mut Headers, name: &str, raw: &Raw<'_>) -> Result<(), String> {
    let name = header_name(name)?;
    let value = raw.header_value()?;
    headers.retain(|(known, _)| *known != name);
    headers.push((name, value));
    Ok(())
}

fn unknown(path: &[&str]) -> Problem {
    let names: Vec<_> = names().map(|name| name.join(".")).collect();
    Problem::Unknown(nearest(&path.join("."), names.iter().map(String::as_str)))
}

#[cfg(all(test, not(feature = "oauth")))]
mod tests {
    use crate::registry::Registry;
    use crate::settings::ProviderSettings;

    #[test]
    fn an_oauth_setting_without_the_feature_is_an_error_that_names_it() {
        let error = ProviderSettings::new().set("oauth.client_id", "x").unwrap_err().to_string();
        assert!(error.contains("the feature `oauth`"), "{error}");
        let variables = [("TOWER_CREDENTIALS_OPENAI_OAUTH_CLIENT_ID", "x")];
        let error = Registry::builder().environment(variables).build().unwrap_err().to_string();
        assert!(error.contains("the feature `oauth`"), "{error}");
    }
}
