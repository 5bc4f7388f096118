//! The nodes of a cluster.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::engine::Engine;
use super::fault::Fault;
use super::node::Node;
use super::url::{Address, Topology};

impl Engine {
    /// Learns the addresses of a cluster's other nodes, in a task and once, so that one of them can be asked if the known ones
    /// are gone.
    pub(super) fn learn_nodes_once(self: &Arc<Self>) {
        if self.is_cluster() && !self.has_learned.swap(true, Ordering::AcqRel) {
            let engine = self.clone();
            tokio::spawn(async move {
                if engine.learn_nodes().await.is_err() {
                    engine.has_learned.store(false, Ordering::Release);
                }
            });
        }
    }

    async fn learn_nodes(&self) -> Result<(), Fault> {
        for address in self.slots().await?.into_iter().flatten() {
            let mut nodes = self.nodes();
            if !nodes.addresses.contains(&address) {
                nodes.addresses.push(address);
            }
        }
        Ok(())
    }

    /// Returns the nodes that have the keys: all primaries of a cluster, or the one primary.
    pub(super) async fn primaries(&self) -> Result<Vec<Arc<Node>>, Fault> {
        if !self.is_cluster() {
            return Ok(vec![self.node("")]);
        }
        let mut addresses: Vec<Address> = Vec::new();
        for nodes in self.slots().await? {
            let primary = nodes.into_iter().next();
            addresses.extend(primary.filter(|primary| !addresses.contains(primary)));
        }
        Ok(addresses.into_iter().map(|address| self.node_at(Some(address))).collect())
    }

    /// Returns the addresses of the nodes that have each range of slots, with the primary first.
    async fn slots(&self) -> Result<Vec<Vec<Address>>, Fault> {
        let mut ask = redis::cmd("CLUSTER");
        ask.arg("SLOTS");
        let slots: Vec<redis::Value> = self.command("", &ask).await?;
        let nodes_of = |slot| {
            let redis::Value::Array(parts) = slot else { return Vec::new() };
            parts.into_iter().skip(2).filter_map(address_of).collect()
        };
        Ok(slots.into_iter().map(nodes_of).collect())
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.target().topology, Topology::Cluster(_))
    }
}

/// Reads a node's address in a response to `CLUSTER SLOTS`.
fn address_of(node: redis::Value) -> Option<Address> {
    let redis::Value::Array(node) = node else { return None };
    let mut parts = node.into_iter();
    let host = redis::from_redis_value::<String>(parts.next()?).unwrap_or_default();
    let port = redis::from_redis_value::<u16>(parts.next()?).unwrap_or_default();
    (!host.is_empty()).then(|| Address::new(host, port))
}
