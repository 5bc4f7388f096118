//! What an engine's settings promise.

use std::fmt;
use std::sync::Arc;

use redis::RedisError;

use super::Inner;
use super::facts::Facts;
use crate::vault::VaultError;

/// Something in an engine's settings that a person should know. Shown in words, with the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// The engine writes no append-only file: a restart loses what has changed since its last dump.
    NoAppendOnlyFile,
    /// The append-only file is not synced after each change. The setting of `appendfsync` is here.
    NotSyncedEachTime(String),
    /// The engine deletes keys if it is full. The setting of `maxmemory-policy` is here.
    Evicts(String),
    /// The engine has replicas, which lag behind it: after a failover the last changes may be gone.
    ReplicasLag(usize),
    /// The engine is older than Redis 7 or Valkey 7.2. Its version is here.
    TooOld(String),
    /// The engine is a read-only replica.
    ReadOnly,
    /// The engine does not say what this setting is.
    Unknown(String),
}

impl Finding {
    /// Returns whether a new secret may be lost although the engine has stored it: one restart loses a sign-in.
    pub fn loses_secrets(&self) -> bool {
        match self {
            Self::NoAppendOnlyFile | Self::Evicts(_) | Self::TooOld(_) | Self::ReadOnly => true,
            Self::NotSyncedEachTime(setting) => setting != "everysec",
            Self::ReplicasLag(_) | Self::Unknown(_) => false,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAppendOnlyFile => f.write_str(
                "the engine writes no append-only file, so a restart loses new sign-ins; set `appendonly yes`",
            ),
            Self::NotSyncedEachTime(setting) => write!(
                f,
                "the engine's append-only file is not synced after each change (appendfsync {setting}), so a power cut \
                 may lose the last ones; set `appendfsync always` if sign-ins must not be lost"
            ),
            Self::Evicts(setting) => write!(
                f,
                "the engine deletes keys if it is full (maxmemory-policy {setting}), so accounts may vanish; set \
                 `maxmemory-policy noeviction`"
            ),
            Self::ReplicasLag(count) => write!(
                f,
                "the engine has {count} replica(s), which lag behind it; after a failover each host gives back what it \
                 has seen, so keep at least one host running"
            ),
            Self::TooOld(version) => {
                write!(f, "the engine is {version}; use Redis 7 or Valkey 7.2, or a later one")
            }
            Self::ReadOnly => f.write_str(
                "the engine is a read-only replica; give the address of the primary, or of its Sentinels",
            ),
            Self::Unknown(setting) => write!(
                f,
                "the engine does not say what {setting} is; allow CONFIG GET and INFO to this user, or see its settings \
                 yourself"
            ),
        }
    }
}

impl Inner {
    /// Looks at the engine's settings.
    pub(super) async fn examine(&self) -> Result<Vec<Finding>, VaultError> {
        let facts = self.engine.facts().await?;
        let mut findings = of_the_facts(&facts);
        let mut unknown = Vec::new();
        for setting in ["appendonly", "appendfsync", "maxmemory-policy"] {
            match self.setting(setting).await? {
                Some(value) => findings.extend(of_a_setting(setting, value)),
                None => unknown.push(setting),
            }
        }
        if facts.has_log == Some(false) && !findings.contains(&Finding::NoAppendOnlyFile) {
            findings.push(Finding::NoAppendOnlyFile);
        }
        if facts.has_log.is_some() {
            unknown.retain(|setting| *setting != "appendonly");
        }
        if facts.version.is_none() {
            unknown.push("its version");
        }
        if !unknown.is_empty() {
            findings.push(Finding::Unknown(unknown.join(", ")));
        }
        // What is not written is not synced either.
        if findings.contains(&Finding::NoAppendOnlyFile) {
            findings.retain(|finding| !matches!(finding, Finding::NotSyncedEachTime(_)));
        }
        Ok(findings)
    }

    /// Returns a setting; `None` if the engine does not tell it to this user.
    async fn setting(&self, name: &str) -> Result<Option<String>, VaultError> {
        let mut ask = redis::cmd("CONFIG");
        ask.arg("GET").arg(name);
        let asked: Result<Vec<String>, RedisError> = self.engine.ask_any(&ask).await?;
        Ok(asked.ok().and_then(|said| said.into_iter().nth(1)))
    }
}

fn of_the_facts(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if facts.is_primary == Some(false) {
        findings.push(Finding::ReadOnly);
    }
    if let Some((name, version)) = &facts.version
        && is_too_old(name, version)
    {
        findings.push(Finding::TooOld(format!("{name} {version}")));
    }
    findings.extend(facts.replicas.filter(|count| *count > 0).map(Finding::ReplicasLag));
    findings
}

fn is_too_old(name: &Arc<str>, version: &str) -> bool {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    &**name == "Redis" && major.is_some_and(|major| major < 7)
}

fn of_a_setting(name: &str, value: String) -> Option<Finding> {
    match (name, value.as_str()) {
        ("appendonly", "no") => Some(Finding::NoAppendOnlyFile),
        ("appendfsync", "always") => None,
        ("appendfsync", _) => Some(Finding::NotSyncedEachTime(value)),
        ("maxmemory-policy", "noeviction") => None,
        ("maxmemory-policy", _) => Some(Finding::Evicts(value)),
        _ => None,
    }
}
