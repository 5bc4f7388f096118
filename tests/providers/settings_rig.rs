//! Registries with settings from a file or the environment.

#![cfg(all(feature = "config", feature = "oauth"))]

use tower_credentials::registry::{Registry, RegistryBuilder};
use tower_credentials::settings::SettingsError;

pub(crate) fn with_file(text: &str) -> RegistryBuilder {
    Registry::builder().toml("credentials.toml", text)
}

pub(crate) fn refused(builder: RegistryBuilder) -> SettingsError {
    builder.build().expect_err("it was taken")
}

pub(crate) fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
