//! Other programs' files with accounts, and the secrets that no message may show.
#![allow(dead_code, reason = "each file of tests uses a part")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tower_credentials::migrate::{Found, Source, read};

/// Part of every secret in the fixtures.
pub(crate) const PLANTED: &str = "pLaNtEd";

/// Returns the fixture of each source's file.
pub(crate) fn fixture(source: Source) -> &'static str {
    match source {
        Source::Opencode => include_str!("../fixtures/migrate/opencode-auth.json"),
        Source::OpencodeMcp => include_str!("../fixtures/migrate/opencode-mcp-auth.json"),
        Source::Codex => include_str!("../fixtures/migrate/codex-auth.json"),
        Source::Claude => include_str!("../fixtures/migrate/claude-credentials.json"),
        Source::Gemini => include_str!("../fixtures/migrate/gemini-oauth_creds.json"),
        Source::Qwen => include_str!("../fixtures/migrate/qwen-oauth_creds.json"),
        other => panic!("{other} has no fixture"),
    }
}

pub(crate) fn json(source: Source) -> Value {
    serde_json::from_str(fixture(source)).unwrap()
}

/// Returns Claude Code's file with an account of this name whose access token expires then, in milliseconds since 1970.
pub(crate) fn claude(name: &str, end: u64) -> String {
    let account = serde_json::json!({
        "accessToken": format!("{PLANTED}-{name}-access"),
        "refreshToken": format!("{PLANTED}-{name}-refresh"),
        "expiresAt": end,
    });
    serde_json::json!({"claudeAiOauth": account}).to_string()
}

/// A person's home directory.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns where the source's program keeps its file.
    pub(crate) fn place(&self, source: Source) -> PathBuf {
        source.place(self.path(), |_| None)
    }

    /// Writes the source's file to its place.
    pub(crate) fn write(&self, source: Source, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.place(source);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes the source's file to its place, and reads it.
    pub(crate) fn found(&self, source: Source, text: impl AsRef<[u8]>) -> Found {
        read(source, self.write(source, text)).unwrap()
    }

    /// Writes every source's fixture to its place, and reads it.
    pub(crate) fn all(&self) -> Vec<Found> {
        Source::ALL.map(|source| self.found(source, fixture(source))).into()
    }
}

/// Returns every planted string in a file.
pub(crate) fn secrets(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) if text.contains(PLANTED) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(secrets).collect(),
        Value::Object(members) => members.values().flat_map(secrets).collect(),
        _ => Vec::new(),
    }
}

#[track_caller]
pub(crate) fn is_clean(text: &str) {
    assert!(!text.contains(PLANTED), "{text}");
}
