//! Settings from environment variables.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use super::keys::{self, Problem};
use super::raw::Raw;
use super::{Faults, ProviderSettings, SettingsError, nearest};

const PREFIX: &str = "TOWER_CREDENTIALS_";

/// Variables with the prefix that are not settings of a provider.
const OTHERS: [&str; 9] = [
    "TOWER_CREDENTIALS_CONFIG",
    "TOWER_CREDENTIALS_DIR",
    "TOWER_CREDENTIALS_KEYRING",
    "TOWER_CREDENTIALS_KEY_COMMAND",
    "TOWER_CREDENTIALS_KEY_FILE",
    "TOWER_CREDENTIALS_VAULT",
    "TOWER_CREDENTIALS_VAULT_KEY",
    "TOWER_CREDENTIALS_VAULT_PASSWORD",
    "TOWER_CREDENTIALS_VAULT_SENTINEL_PASSWORD",
];

/// A name as a part of an environment variable's name.
fn variable_name(name: &str) -> String {
    let upper = |char: char| if char.is_ascii_alphanumeric() { char.to_ascii_uppercase() } else { '_' };
    name.chars().map(upper).collect()
}

/// A setting from an environment variable that decides where a provider's secrets are sent, or which secret is used.
/// `Display` describes it in words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FromEnvironment {
    /// The provider.
    pub provider: String,
    /// The setting: `oauth.token_url`.
    pub setting: String,
    /// The variable.
    pub variable: String,
}

impl fmt::Display for FromEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { provider, setting, variable } = self;
        write!(f, "{variable} in the environment replaces the setting `{setting}` of {provider}")
    }
}

/// The settings of the environment by provider, and the variable of each setting.
pub(crate) type Environment = (BTreeMap<String, ProviderSettings>, Vec<FromEnvironment>);

/// Reads the settings of the environment. `known` has each name or alias, with the provider's own name. A variable that is
/// wrong is left out, and is one of the faults.
pub(crate) fn read(
    variables: &[(OsString, OsString)],
    known: &[(String, String)],
    faults: &mut Faults,
) -> Environment {
    let mut names: Vec<_> =
        known.iter().map(|(name, provider)| (variable_name(name) + "_", name, provider)).collect();
    // The longest first: `openai-eu` is not `openai` with a setting `eu_…`.
    names.sort_by_key(|(variable, ..)| Reverse(variable.len()));
    let mut settings: BTreeMap<String, ProviderSettings> = BTreeMap::new();
    let mut set_by = BTreeMap::new();
    for (variable, value) in variables {
        let Some(variable) = variable.to_str() else { continue };
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        if OTHERS.contains(&variable) {
            continue;
        }
        let place = format!("the environment variable {variable}");
        let Some((prefix, _, provider)) = names.iter().find(|(prefix, ..)| rest.starts_with(prefix))
        else {
            faults.value(unless_a_setting(rest, known, place));
            continue;
        };
        let key = &rest[prefix.len()..];
        let Some(path) = path(key) else {
            let before = &variable[..variable.len() - key.len()];
            let upper = key.to_ascii_uppercase();
            let nearest = nearest(&upper, ends().iter().map(String::as_str));
            let nearest = nearest.map(|key| format!("{before}{key}"));
            faults.add(SettingsError::UnknownKey { place, key: key.to_owned(), nearest });
            continue;
        };
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        let key = path.join(".");
        let other = names.iter().find(|(other, _, of)| other == prefix && of != provider);
        let taken = match (other, set_by.insert((*provider, key.clone()), variable), value.to_str()) {
            (Some((.., other)), ..) => Err(Problem::Invalid(format!(
                "may be {provider}'s or {other}'s; set it in a file instead"
            ))),
            (_, Some(other), _) => {
                Err(Problem::Invalid(format!("is set by {other}, too; keep one of them")))
            }
            (.., None) => Err(Problem::Invalid("must be UTF-8".to_owned())),
            (.., Some(value)) => {
                settings.entry((*provider).clone()).or_default().put(&path, &Raw::Plain(value))
            }
        };
        if let Err(problem) = taken {
            faults.add(problem.at(&place, &key));
        }
    }
    let variables = set_by.into_iter().map(|((provider, setting), variable)| FromEnvironment {
        provider: provider.clone(),
        setting,
        variable: variable.to_owned(),
    });
    (settings, variables.collect())
}

/// The ends of variables' names, one per setting.
fn ends() -> Vec<String> {
    keys::names().map(|path| variable_name(&path.join("_"))).collect()
}

/// The path of the setting that the end of a variable's name means.
fn path(key: &str) -> Option<Vec<String>> {
    if let Some(path) = keys::names().find(|path| variable_name(&path.join("_")) == key) {
        return Some(path.into_iter().map(str::to_owned).collect());
    }
    for (table, name) in [("HEADERS_", "headers"), ("EXTRA_HEADERS_", "extra_headers")] {
        if let Some(header) = key.strip_prefix(table) {
            let header = header.to_ascii_lowercase().replace('_', "-");
            return Some(vec![name.to_owned(), header]);
        }
    }
    // Recognized, so that the error names the missing feature.
    #[cfg(not(feature = "oauth"))]
    if let Some(field) = key.strip_prefix("OAUTH_") {
        return Some(vec!["oauth".to_owned(), field.to_ascii_lowercase()]);
    }
    let name = key.strip_prefix("OAUTH_AUTHORIZE_PARAMS_")?.to_ascii_lowercase();
    Some(["oauth", "authorize_params", &name].map(str::to_owned).into())
}

/// Refuses a variable whose name is misspelt: one that ends in a setting's name but begins with no provider's, or that
/// resembles one of the others. Warns that any other variable does nothing.
fn unless_a_setting(rest: &str, known: &[(String, String)], place: String) -> Result<(), SettingsError> {
    let is_of = |key: &String| rest.strip_suffix(key.as_str())?.strip_suffix('_').map(str::to_owned);
    // The longest: `…_OAUTH_CLIENT_ID` rather than some `…_ID`.
    let Some(name) = ends().iter().filter_map(is_of).min_by_key(String::len) else {
        return unless_misspelt(rest, place);
    };
    let names: Vec<_> = known.iter().map(|(name, _)| variable_name(name)).collect();
    let nearest = nearest(&name, names.iter().map(String::as_str));
    Err(SettingsError::UnknownProvider { place: Some(place), name, nearest })
}

fn unless_misspelt(rest: &str, place: String) -> Result<(), SettingsError> {
    let others = OTHERS.iter().filter_map(|other| other.strip_prefix(PREFIX));
    let nearest = others.min_by_key(|other| strsim::damerau_levenshtein(rest, other));
    if let Some(nearest) = nearest.filter(|other| strsim::damerau_levenshtein(rest, other) <= 2) {
        let (key, nearest) = (rest.to_owned(), Some(format!("{PREFIX}{nearest}")));
        return Err(SettingsError::UnknownKey { place, key, nearest });
    }
    tracing::warn!("{place} is not known, and does nothing");
    Ok(())
}
