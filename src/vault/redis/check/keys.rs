//! All keys of a vault, as far as the engine tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use redis::RedisError;

use super::super::Inner;
use super::super::fault::Fault;
use super::super::node::{Ask, Node};

/// How many keys the engine looks at in one step.
const AT_A_TIME: u32 = 1_000;

/// The keys of a vault by their pool, which is named by what comes before its keys' last part.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The parts of each pool's keys.
    pub(super) pools: BTreeMap<String, BTreeSet<String>>,
    /// All others.
    pub(super) others: Vec<String>,
}

impl Found {
    /// Sorts a key in.
    fn add(&mut self, prefix: &str, key: String) {
        let of_pool = || {
            let name = key.strip_prefix(prefix)?.strip_prefix(":{")?;
            let (name, part) = name.split_once("}:")?;
            // A client's lease has no pool.
            (name.contains('/')).then(|| (format!("{prefix}:{{{name}}}"), part.to_owned()))
        };
        match of_pool() {
            Some((pool, part)) => {
                self.pools.entry(pool).or_default().insert(part);
            }
            None => self.others.push(key),
        }
    }
}

impl Inner {
    /// Returns all keys of the vault; the inner error is that of an engine that does not tell them.
    pub(super) async fn keys(&self) -> Result<Result<Found, RedisError>, Fault> {
        let mut found = Found::default();
        for node in self.engine.primaries().await? {
            if let Err(error) = self.scan(&node, &mut found).await? {
                return Ok(Err(error));
            }
        }
        found.others.sort();
        // A key may be told twice.
        found.others.dedup();
        Ok(Ok(found))
    }

    async fn scan(&self, node: &Arc<Node>, found: &mut Found) -> Result<Result<(), RedisError>, Fault> {
        let mut cursor = 0u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{}:*", self.prefix));
            scan.arg("COUNT").arg(AT_A_TIME);
            let ask = Ask { command: &scan, is_sent_on: false };
            match node.ask::<(u64, Vec<Vec<u8>>)>(self.engine.within, ask).await? {
                Ok((next, keys)) => {
                    let text = |key: Vec<u8>| String::from_utf8_lossy(&key).into_owned();
                    keys.into_iter().map(text).for_each(|key| found.add(&self.prefix, key));
                    cursor = next;
                }
                Err(error) => return Ok(Err(error)),
            }
            if cursor == 0 {
                return Ok(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_of_its_pool_or_of_none() {
        let mut found = Found::default();
        for key in ["tc:{a%7db/c}:log", "tc:{a%7db/c}:lease:1", "tc:pools", "tc:{client:x}:lease"] {
            found.add("tc", key.to_owned());
        }
        let pools: Vec<_> = found.pools.iter().map(|(name, parts)| (&**name, parts.len())).collect();
        assert_eq!(pools, [("tc:{a%7db/c}", 2)]);
        assert_eq!(found.others, ["tc:pools", "tc:{client:x}:lease"]);
    }
}
