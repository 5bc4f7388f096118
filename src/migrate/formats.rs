//! The formats of the sources' files.

mod accounts;
mod mcp;
mod opencode;

use std::collections::BTreeMap;

use super::found::{Entry, Skipped};
use super::json::{Object, Problem, shown};
use super::source::Source;
use crate::claims::ACCOUNT;
use crate::clock::Timestamp;
use crate::credential::{OAuthTokens, Secret};
use crate::secret::SecretString;
use crate::vault::{VaultError, check_name};

/// The entries that have been read so far.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) entries: Vec<Entry>,
    pub(super) skipped: Vec<Skipped>,
}

impl Reading {
    pub(super) fn of(source: Source, object: Object<'_>) -> Self {
        let mut reading = Self::default();
        match source {
            Source::Opencode => opencode::read(object, &mut reading),
            Source::OpencodeMcp => mcp::read_opencode(object, &mut reading),
            Source::Codex => accounts::read_codex(object, &mut reading),
            Source::Claude => accounts::read_claude(object, &mut reading),
            Source::Gemini | Source::Qwen => accounts::read_gemini(source, object, &mut reading),
        }
        reading
    }

    /// Adds an entry, or a part of one, to the skipped ones.
    pub(super) fn skip(&mut self, entry: &str, problem: Problem) {
        let Problem { name, line, reason } = problem;
        let is_unfinished = UNFINISHED.contains(&reason);
        let reason = match name.is_empty() {
            true => reason.to_owned(),
            false => format!("`{name}` {reason}"),
        };
        self.skipped.push(Skipped { entry: shown(entry), line, reason, is_unfinished });
    }

    /// Adds an entry, or skips it if it can't be read or stored.
    fn add(&mut self, name: &str, line: usize, read: Result<Account, Problem>) {
        let account = read.and_then(|account| {
            let names = [("provider", &account.provider), ("label", &account.label)];
            match names.iter().try_for_each(|(field, name)| check_name(field, name)) {
                Err(VaultError::InvalidName { reason, .. }) => {
                    Err(Problem { name: String::new(), line, reason })
                }
                _ => Ok(account),
            }
        });
        match account {
            Ok(Account { provider, label, secret, attributes }) => {
                self.entries.push(Entry { name: shown(name), line, provider, label, secret, attributes })
            }
            Err(problem) => self.skip(name, problem),
        }
    }

    /// Skips the members that are left, if nothing can keep them.
    fn skip_rest(&mut self, entry: Option<&str>, object: Object<'_>) {
        for member in object.into_members() {
            let problem = Problem {
                name: String::new(),
                line: member.value.line(),
                reason: "isn't known to this version and stays in the file",
            };
            match entry {
                Some(entry) => self.skip(entry, problem.inside(&member.name)),
                None => self.skip(&member.name, problem),
            }
        }
    }
}

/// An entry without its name.
struct Account {
    provider: String,
    label: String,
    secret: Secret,
    attributes: BTreeMap<String, String>,
}

/// Whether an attribute comes from files, so that it is removed once its entry no longer has it.
pub(super) fn is_attribute(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        ACCOUNT,
        "scope",
        "subscription",
        "enterprise_host",
        "server_url",
        "client_id_issued_at",
        "client_secret_expires_at",
    ];
    NAMES.contains(&name) || name.starts_with("metadata.")
}

/// Why there is nothing to bring in: for an account, and for one at an MCP server.
const UNFINISHED: [&str; 2] = [
    "has no token: nobody is signed in, or the sign-in was never finished",
    "has no tokens: its sign-in was never finished",
];

impl Account {
    /// An account from another program, whose name is its label.
    fn oauth(source: Source, provider: &str, tokens: OAuthTokens) -> Self {
        Self {
            provider: provider.to_owned(),
            label: source.as_str().to_owned(),
            secret: Secret::OAuth(tokens),
            attributes: BTreeMap::new(),
        }
    }

    fn key(provider: &str, secret: Secret) -> Self {
        Self {
            provider: provider.to_owned(),
            label: "default".to_owned(),
            secret,
            attributes: BTreeMap::new(),
        }
    }

    fn attribute(mut self, name: &str, value: Option<String>) -> Self {
        self.attributes.extend(value.map(|value| (name.to_owned(), value)));
        self
    }
}

/// An account's tokens. Without an access token they count as expired, so one is fetched before the first request. Without
/// any token, that is a problem.
fn tokens(
    object: &mut Object<'_>,
    [access, refresh, expires]: [&str; 3],
) -> Result<OAuthTokens, Problem> {
    let line = object.line();
    let access = object.token(access)?;
    let refresh = object.token(refresh)?;
    let expires_at = object.moment(expires)?;
    let mut tokens = match (access, &refresh) {
        (Some(access), _) => OAuthTokens { expires_at, ..OAuthTokens::new(access) },
        (None, Some(_)) => OAuthTokens::new("").expires_at(Timestamp::default()),
        (None, None) => {
            return Err(Problem { name: String::new(), line, reason: UNFINISHED[0] });
        }
    };
    tokens.refresh = refresh;
    Ok(tokens)
}

/// Keeps an entry's unknown fields under the source's name, so that no adapter mistakes them for its own.
fn keep_rest(tokens: &mut OAuthTokens, source: Source, rest: Option<SecretString>) {
    tokens.extra.extend(rest.map(|rest| (source.as_str().to_owned(), rest)));
}
