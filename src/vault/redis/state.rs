//! What an engine says of itself now.

use std::time::Duration;

use redis::{ErrorKind, ServerErrorKind};
use serde::Serialize;

use super::Inner;
use super::fault::Fault;
use super::node::Ask;
use crate::clock::Timestamp;
use crate::vault::VaultError;

/// What an engine says of itself now. A field is `None` if the engine does not say it to this user: most of them need the
/// command `INFO`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EngineState {
    /// The node's host and port.
    pub address: String,
    /// `Redis` or `Valkey`.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Whether it is the primary; else it is a replica, which takes no change.
    pub is_primary: Option<bool>,
    /// The replicas that are connected to it.
    pub replicas: Vec<ReplicaState>,
    /// How long a command and its response take.
    pub round_trip: Duration,
    /// By how many milliseconds its clock is ahead of this host's; below zero, behind. It may be wrong by half a round trip.
    pub clock_ahead_ms: i64,
    /// The memory that it uses, in bytes.
    pub used_memory: Option<u64>,
    /// The most memory that it may use (`maxmemory`), in bytes; zero is no limit.
    pub max_memory: Option<u64>,
    /// Whether it still reads its files, and answers nothing else meanwhile.
    pub is_loading: Option<bool>,
    /// Whether it writes an append-only file.
    pub has_append_only_file: Option<bool>,
    /// Whether the last write of its append-only file has failed. It takes no change then.
    pub append_only_file_failed: Option<bool>,
    /// Whether its last dump has failed. By default it takes no change then, if it makes dumps.
    pub dump_failed: Option<bool>,
    /// When it was started, by this host's clock.
    pub started_at: Option<Timestamp>,
}

/// A replica, as its primary sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReplicaState {
    /// Its host and port.
    pub address: String,
    /// Whether it gets each change as it is made; else it is still being brought up to date.
    pub is_online: bool,
    /// How many bytes of changes it has not confirmed. It confirms each second, so a few bytes are none to worry about.
    pub lag_bytes: u64,
}

impl Inner {
    /// Asks the node that has the list of pools.
    pub(super) async fn state(&self) -> Result<EngineState, VaultError> {
        let node = self.engine.sure_node(&self.pools_key).await?;
        let address = node.live().await?.address;
        let time = node.time(Duration::ZERO).await?;
        let info = redis::cmd("INFO");
        let asked = node.ask::<String>(self.engine.within, Ask { command: &info, is_sent_on: false });
        let info = match asked.await? {
            Ok(info) => info,
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => String::new(),
            Err(error) => return Err(Fault::of(&error, &address).into()),
        };
        let info = Info(&info);
        let clock = &self.settings.clock;
        let uptime = info.number("uptime_in_seconds").map(Duration::from_secs);
        Ok(EngineState {
            address: address.to_string(),
            name: info.name().map(str::to_owned),
            version: info.version().map(str::to_owned),
            is_primary: info.value("role").map(|role| role == "master"),
            replicas: info.replicas(),
            round_trip: time.round_trip(),
            clock_ahead_ms: time.ahead_of(clock).0,
            used_memory: info.number("used_memory"),
            max_memory: info.number("maxmemory"),
            is_loading: info.flag("loading"),
            has_append_only_file: info.flag("aof_enabled"),
            append_only_file_failed: info.has_failed("aof_last_write_status"),
            dump_failed: info.has_failed("rdb_last_bgsave_status"),
            started_at: uptime.map(|uptime| clock.now().before(uptime)),
        })
    }
}

/// The response to `INFO`.
pub(super) struct Info<'a>(pub(super) &'a str);

impl<'a> Info<'a> {
    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        self.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.value(name)?.parse().ok()
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.value(name).map(|value| value == "1")
    }

    /// Returns `Redis` or `Valkey`. A Valkey says the version of a Redis, too.
    pub(super) fn name(&self) -> Option<&'static str> {
        match (self.value("valkey_version"), self.value("redis_version")) {
            (Some(_), _) => Some("Valkey"),
            (None, Some(_)) => Some("Redis"),
            (None, None) => None,
        }
    }

    pub(super) fn version(&self) -> Option<&'a str> {
        self.value("valkey_version").or_else(|| self.value("redis_version"))
    }

    fn has_failed(&self, name: &str) -> Option<bool> {
        self.value(name).map(|status| status != "ok")
    }

    fn replicas(&self) -> Vec<ReplicaState> {
        let own = self.number("master_repl_offset").unwrap_or(0);
        let replica = |line: &str| {
            let (number, fields) = line.strip_prefix("slave")?.split_once(':')?;
            number.parse::<u32>().ok()?;
            let field = |name: &str| {
                fields.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
            };
            let offset: u64 = field("offset")?.trim().parse().ok()?;
            Some(ReplicaState {
                address: format!("{}:{}", field("ip")?, field("port")?),
                is_online: field("state") == Some("online"),
                lag_bytes: own.saturating_sub(offset),
            })
        };
        self.lines().filter_map(replica).collect()
    }

    fn lines(&self) -> std::str::Lines<'a> {
        self.0.lines()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_and_how_far_they_lag_are_read_from_the_nodes_own_words() {
        let info = "role:master\r\nconnected_slaves:2\r\n\
                    slave0:ip=127.0.0.1,port=7001,state=online,offset=90,lag=1\r\n\
                    slave1:ip=::1,port=7002,state=wait_bgsave,offset=0,lag=0\r\nmaster_repl_offset:100\r\n\
                    slave_expires_tracked_keys:0\r\n";
        let replicas = Info(info).replicas();
        let seen: Vec<_> =
            replicas.iter().map(|one| (&*one.address, one.is_online, one.lag_bytes)).collect();
        assert_eq!(seen, [("127.0.0.1:7001", true, 10), ("::1:7002", false, 100)]);
    }
}
