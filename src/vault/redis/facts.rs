//! What a node says of itself.

use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::dial::Connection;
use super::state::Info;

/// What a node says of itself when it is connected to. A field is `None` if the node does not say it to this user.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Another one after each start of the engine's process.
    pub(super) run: Arc<str>,
    /// `Redis` or `Valkey`, and its version.
    pub(super) version: Option<(Arc<str>, Arc<str>)>,
    pub(super) is_primary: Option<bool>,
    /// Whether it is a Sentinel.
    pub(super) is_sentinel: bool,
    pub(super) replicas: Option<usize>,
    /// Whether it writes an append-only file.
    pub(super) has_log: Option<bool>,
}

impl Facts {
    /// Asks a node.
    pub(super) async fn of(connection: &Connection) -> Result<Self, RedisError> {
        let mut commands = connection.commands.clone();
        match redis::cmd("INFO").query_async::<String>(&mut commands).await {
            Ok(info) => Ok(Self::parse(&info)),
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {
                Ok(Self::default())
            }
            Err(error) => Err(error),
        }
    }

    fn parse(info: &str) -> Self {
        let info = Info(info);
        let version = info.name().zip(info.version());
        Self {
            run: info.value("run_id").unwrap_or_default().into(),
            version: version.map(|(name, version)| (name.into(), version.into())),
            is_sentinel: ["redis_mode", "server_mode"]
                .iter()
                .any(|name| info.value(name) == Some("sentinel")),
            is_primary: info.value("role").map(|role| role == "master"),
            replicas: info.value("connected_slaves").and_then(|count| count.parse().ok()),
            has_log: info.flag("aof_enabled"),
        }
    }

    /// Whether the engine can say when its append-only file is on the disk (`WAITAOF`): Redis 7.2, and each Valkey.
    pub(super) fn has_waitaof(&self) -> bool {
        let Some((name, version)) = &self.version else { return false };
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0u32));
        let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        &**name == "Valkey" || version >= (7, 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_the_nodes_own_words() {
        let info = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\nrun_id:abc\r\n\
                    # Persistence\r\naof_enabled:1\r\n# Replication\r\nrole:master\r\nconnected_slaves:2\r\n";
        let facts = Facts::parse(info);
        assert_eq!((&*facts.run, facts.is_primary, facts.replicas), ("abc", Some(true), Some(2)));
        assert_eq!(
            facts.version.as_ref().map(|(name, version)| (&**name, &**version)),
            Some(("Valkey", "8.1.0"))
        );
        assert!(facts.has_waitaof() && facts.has_log == Some(true));
        assert!(!Facts::parse("redis_version:7.0.15\r\n").has_waitaof());
        assert!(Facts::parse("redis_version:7.2.0\r\n").has_waitaof());
    }
}
