//! Reading other programs' files: each field gets to its place, and errors show nothing of the content.
#![cfg(feature = "migrate")]

mod bad_fields;
mod bad_files;
mod fields;
mod sources;

use std::collections::BTreeMap;

use serde_json::Value;
use tower_credentials::migrate::{Entry, Found};
use tower_credentials::{OAuthTokens, Secret};

fn entry<'f>(found: &'f Found, name: &str) -> &'f Entry {
    let names = || found.entries.iter().map(|entry| &entry.name).collect::<Vec<_>>();
    let entry = found.entries.iter().find(|entry| entry.name == name);
    entry.unwrap_or_else(|| panic!("{name} is none of {:?}", names()))
}

fn tokens(entry: &Entry) -> &OAuthTokens {
    match &entry.secret {
        Secret::OAuth(tokens) | Secret::Mcp(tokens) => tokens,
        other => panic!("{other:?}"),
    }
}

fn attributes(entry: &Entry) -> BTreeMap<&str, &str> {
    entry.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Returns the path of every value within a value.
fn places(value: &Value, at: Vec<String>) -> Vec<Vec<String>> {
    let inner: Vec<_> = match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| places(value, [at.clone(), vec![name.clone()]].concat()))
            .collect(),
        _ => Vec::new(),
    };
    [vec![at], inner].concat()
}
