//! Engines of several nodes.

use crate::children::eventually;
use crate::server::Server;
pub(crate) use crate::server::sentinel::Sentinel;

impl Sentinel {
    /// Waits until it knows a replica, which it has to before the primary dies.
    pub(crate) async fn knows_a_replica(&self) {
        let knows_it = async || {
            self.ask(None, &["REPLICAS", "main"]).filter(|replicas| !replicas.is_empty()).map(drop)
        };
        eventually("the Sentinel knows the replica", knows_it).await;
    }
}

/// A primary and its replica, which has all that the primary has.
pub(crate) async fn primary_and_replica() -> Option<[Server; 2]> {
    let primary = Server::start(&[])?;
    let replica = Server::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()])?;
    is_up_to_date(&replica).await;
    Some([primary, replica])
}

/// Waits until a replica has what its primary has.
pub(crate) async fn is_up_to_date(replica: &Server) {
    says("the replica is up to date", replica, &["INFO", "replication"], "master_link_status:up").await;
}

/// Waits until a node's response to a command contains this. The engine tells nobody when that is so.
pub(crate) async fn says(what: &str, node: &Server, command: &[&str], text: &str) {
    eventually(what, async || node.tell::<String>(command).contains(text).then_some(())).await;
}

/// A cluster whose slots are shared by two nodes.
pub(crate) async fn cluster_of_two() -> Option<[Server; 2]> {
    let options = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"];
    let (one, other) = (Server::start(&options)?, Server::start(&options)?);
    one.tell::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
    other.tell::<()>(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    one.tell::<()>(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()]);
    for node in [&one, &other] {
        says("the cluster is complete", node, &["CLUSTER", "INFO"], "cluster_state:ok").await;
    }
    Some([one, other])
}
