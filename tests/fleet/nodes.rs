//! Engines of several nodes.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::children::eventually;
use crate::server::{self, Server};

/// A Sentinel of the service `main`, which ends with the test.
pub(crate) struct Sentinel {
    child: Child,
    port: u16,
    _directory: TempDir,
}

impl Sentinel {
    pub(crate) fn of(server: &Server) -> Self {
        Self::with(server, 5_000)
    }

    /// Starts one that tries a failover again after twice this time, in milliseconds, and that leaves a replica which does not
    /// follow the primary directly alone for as long.
    pub(crate) fn with(server: &Server, failover_timeout: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = directory.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main {failover_timeout}\n",
            directory.path().display(),
            server.port(),
        );
        fs::write(&file, text).unwrap();
        let mut command = Command::new(server::program());
        command.arg(&file).arg("--sentinel").stdout(Stdio::null());
        Self { child: command.spawn().unwrap(), port, _directory: directory }
    }

    /// Waits until it knows a replica, which it has to before the primary dies.
    pub(crate) async fn knows_a_replica(&self) {
        let replicas = |mut ask: redis::Connection| {
            redis::cmd("SENTINEL").arg("REPLICAS").arg("main").query::<Vec<redis::Value>>(&mut ask)
        };
        let knows_it = async || {
            let sentinel = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
            let replicas = replicas(sentinel.get_connection().ok()?).ok()?;
            (!replicas.is_empty()).then_some(())
        };
        eventually("the Sentinel knows the replica", knows_it).await;
    }

    /// Returns a URL, whose first Sentinel is not there.
    pub(crate) fn url(&self, service: &str) -> String {
        format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/{service}", self.port)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
