//! Other programs' files, read: each field in its place, and what is wrong with a file told without what is in
//! it.
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

/// Every place in a value where another could be.
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
