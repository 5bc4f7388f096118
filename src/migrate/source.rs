//! The programs whose files can be read, the places of their files, and how to recognize one.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;

use super::json::{Object, Value};

/// A kind of file in which another program keeps accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Source {
    /// opencode's accounts and keys: `auth.json`.
    Opencode,
    /// opencode's accounts at MCP servers: `mcp-auth.json`.
    OpencodeMcp,
    /// Codex's account and key: `auth.json`.
    Codex,
    /// Claude Code's account, and its accounts at MCP servers: `.credentials.json`.
    Claude,
    /// Gemini CLI's account: `oauth_creds.json`.
    Gemini,
    /// Qwen Code's account: `oauth_creds.json`.
    Qwen,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 6] =
        [Self::Opencode, Self::OpencodeMcp, Self::Codex, Self::Claude, Self::Gemini, Self::Qwen];

    /// Returns its name: `opencode`, `opencode-mcp`, `codex`, `claude`, `gemini` or `qwen`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opencode => "opencode",
            Self::OpencodeMcp => "opencode-mcp",
            Self::Codex => "codex",
            Self::Claude => "claude",
            Self::Gemini => "gemini",
            Self::Qwen => "qwen",
        }
    }

    /// Returns the path of the program's file, for the person with this home directory. `variable` returns the value
    /// of an environment variable. Those that move the program's own directory count: `XDG_DATA_HOME`,
    /// `CODEX_HOME`, `CLAUDE_CONFIG_DIR` and `GEMINI_CLI_HOME`. An empty value counts as none.
    ///
    /// ```
    /// use std::path::Path;
    /// use tower_credentials::migrate::Source;
    ///
    /// let place = Source::Codex.place("/home/me", |_| None);
    /// assert_eq!(place, Path::new("/home/me/.codex/auth.json"));
    /// let moved = |name: &str| (name == "CODEX_HOME").then(|| "/srv/codex".into());
    /// assert_eq!(Source::Codex.place("/home/me", moved), Path::new("/srv/codex/auth.json"));
    /// ```
    pub fn place(self, home: impl AsRef<Path>, variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
        let home = home.as_ref();
        let named = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        match self {
            Self::Opencode | Self::OpencodeMcp => {
                // A relative one must be ignored (XDG Base Directory Specification, "Basics").
                let data = named("XDG_DATA_HOME").filter(|directory| directory.is_absolute());
                // On every system: the program uses the same directory on macOS and Windows.
                let data = data.unwrap_or_else(|| home.join(".local/share"));
                data.join("opencode").join(match self {
                    Self::OpencodeMcp => "mcp-auth.json",
                    _ => "auth.json",
                })
            }
            Self::Codex => named("CODEX_HOME").unwrap_or_else(|| home.join(".codex")).join("auth.json"),
            Self::Claude => named("CLAUDE_CONFIG_DIR")
                .unwrap_or_else(|| home.join(".claude"))
                .join(".credentials.json"),
            Self::Gemini => named("GEMINI_CLI_HOME")
                .unwrap_or_else(|| home.to_owned())
                .join(".gemini/oauth_creds.json"),
            Self::Qwen => home.join(".qwen/oauth_creds.json"),
        }
    }

    /// The possible sources of a file, by its contents and directory. Exactly one if it is clear.
    pub(super) fn candidates(object: &Object<'_>, path: &Path) -> Vec<Self> {
        if object.has("claudeAiOauth") || object.has("mcpOAuth") {
            return vec![Self::Claude];
        }
        let holds = |value: Value<'_>, names: &[&str]| {
            value.object().is_ok_and(|entry| names.iter().any(|name| entry.has(name)))
        };
        let tokens = object.get("tokens");
        let has_tokens = tokens.is_some_and(|value| holds(value, &["access_token", "refresh_token"]));
        if object.has("OPENAI_API_KEY") || has_tokens {
            return vec![Self::Codex];
        }
        if object.has("access_token") || object.has("refresh_token") {
            let directory = path.parent().and_then(Path::file_name);
            let is_in = |name: &str| directory.is_some_and(|directory| directory == name);
            return match (object.has("resource_url") || is_in(".qwen"), is_in(".gemini")) {
                (true, false) => vec![Self::Qwen],
                (false, true) => vec![Self::Gemini],
                _ => vec![Self::Gemini, Self::Qwen],
            };
        }
        // Both have arbitrary names at the top.
        let any = |names: &[&str]| object.members().iter().any(|member| holds(member.value, names));
        let auth = any(&["type"]);
        let mcp = any(&["tokens", "clientInfo", "codeVerifier", "oauthState", "serverUrl"]);
        match (auth, mcp) {
            (true, false) => vec![Self::Opencode],
            (false, true) => vec![Self::OpencodeMcp],
            (true, true) => vec![Self::Opencode, Self::OpencodeMcp],
            (false, false) => Vec::new(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The error of a text that is not a source's name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownSource;

impl fmt::Display for UnknownSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Source::ALL.map(Source::as_str).join(", ");
        write!(f, "no such source; it is one of {names}")
    }
}

impl std::error::Error for UnknownSource {}

impl FromStr for Source {
    type Err = UnknownSource;

    fn from_str(name: &str) -> Result<Self, UnknownSource> {
        Self::ALL.into_iter().find(|source| source.as_str() == name).ok_or(UnknownSource)
    }
}
