//! The engine: which node a pool's commands go to, and who follows a cluster's redirections.
//!
//! All keys of a pool are in one slot, so its name stands for the slot: any node says by `MOVED` which one has it.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind};

use super::clocks::EngineTime;
use super::dial::{Connection, Dialer};
use super::facts::Facts;
use super::fault::Fault;
use super::find::Finder;
use super::node::{Ask, Live, Node};
use super::script::Call;
use super::url::{Address, Target, Topology};

/// How often a command is sent on to another node.
const MOST_REDIRECTIONS: usize = 4;

pub(super) struct Engine {
    dialer: Dialer,
    target: Arc<Target>,
    nodes: Mutex<Nodes>,
    pub(super) has_learned: AtomicBool,
    /// How long a command may take.
    pub(super) within: Duration,
}

/// The nodes that are known. Without a cluster there is one, without an address if Sentinels know it.
#[derive(Default)]
pub(super) struct Nodes {
    by_address: HashMap<Option<Address>, Arc<Node>>,
    /// Every address that may be asked which node has a slot.
    pub(super) addresses: Vec<Address>,
    /// Where the pools' slots were.
    routes: HashMap<String, Address>,
}

impl Engine {
    pub(super) fn new(target: Target, dialer: Dialer, within: Duration) -> Self {
        let addresses = match &target.topology {
            Topology::Cluster(nodes) => nodes.clone(),
            Topology::Alone(_) | Topology::Sentinel { .. } => Vec::new(),
        };
        let nodes = Mutex::new(Nodes { addresses, ..Nodes::default() });
        Self { dialer, target: Arc::new(target), nodes, has_learned: AtomicBool::new(false), within }
    }

    /// Runs a script on the node that has this slot.
    pub(super) async fn run<T: FromRedisValue>(&self, slot: &str, call: &Call) -> Result<T, Fault> {
        self.run_within(slot, call, self.within).await
    }

    /// Like [`run`](Self::run), with another bound.
    pub(super) async fn run_within<T: FromRedisValue>(
        &self,
        slot: &str,
        call: &Call,
        within: Duration,
    ) -> Result<T, Fault> {
        match self.send(slot, within, &call.by_digest()).await? {
            Ok(value) => Ok(value),
            Err((error, _)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let sent = self.send(slot, within, &call.whole()).await?;
                sent.map_err(|(error, address)| Fault::of(&error, &address))
            }
            Err((error, address)) => Err(Fault::of(&error, &address)),
        }
    }

    /// Sends a command to the node that has this slot.
    pub(super) async fn command<T: FromRedisValue>(
        &self,
        slot: &str,
        command: &Cmd,
    ) -> Result<T, Fault> {
        let sent = self.send(slot, self.within, command).await?;
        sent.map_err(|(error, address)| Fault::of(&error, &address))
    }

    /// Sends a command to any node. The inner error is the node's own.
    pub(super) async fn ask_any<T: FromRedisValue>(
        &self,
        command: &Cmd,
    ) -> Result<Result<T, RedisError>, Fault> {
        let sent = self.send("", self.within, command).await?;
        Ok(sent.map_err(|(error, _)| error))
    }

    /// Returns what any node says of itself now.
    pub(super) async fn facts(&self) -> Result<Facts, Fault> {
        Ok(self.node("").live_with_facts(Duration::ZERO).await?.facts)
    }

    /// Sends a command, and follows redirections. The inner error is the node's own.
    async fn send<T: FromRedisValue>(
        &self,
        slot: &str,
        within: Duration,
        command: &Cmd,
    ) -> Result<Result<T, (RedisError, Address)>, Fault> {
        let mut node = self.node(slot);
        let mut is_sent_on = false;
        for _ in 0..MOST_REDIRECTIONS {
            let error = match node.ask(within, Ask { command, is_sent_on }).await {
                Ok(Ok(value)) => {
                    if !is_sent_on {
                        self.learn_route(slot, &node);
                    }
                    return Ok(Ok(value));
                }
                Ok(Err(error)) => error,
                Err(fault) => {
                    // Another node may have the slot by now.
                    self.nodes().routes.remove(slot);
                    return Err(fault);
                }
            };
            let address = node.live().await.map(|live| live.address)?;
            match self.redirected(slot, &error, &address) {
                Some((next, for_now)) => (node, is_sent_on) = (next, for_now),
                None => return Ok(Err((error, address))),
            }
        }
        Err(Fault::Away("the cluster sends a command on and on; it is tried again".to_owned()))
    }

    /// Keeps which node of a cluster has a slot.
    fn learn_route(&self, slot: &str, node: &Node) {
        if let (Topology::Cluster(_), Some(address)) = (&self.target.topology, node.address()) {
            let mut nodes = self.nodes();
            // Another node may have had it before, and be dead now.
            if !slot.is_empty() && nodes.routes.get(slot) != Some(address) {
                nodes.routes.insert(slot.to_owned(), address.clone());
            }
        }
    }

    /// Returns the node to which an error sends on, and whether it has the slot only for now.
    pub(super) fn redirected(
        &self,
        slot: &str,
        error: &RedisError,
        from: &Address,
    ) -> Option<(Arc<Node>, bool)> {
        let asking = match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => false,
            ErrorKind::Server(ServerErrorKind::Ask) => true,
            _ => return None,
        };
        let (place, _) = error.redirect_node()?;
        let (host, port) = place.rsplit_once(':')?;
        // Without a host it is another port of the same one.
        let host = if host.is_empty() { from.host.clone() } else { host.into() };
        let address = Address::new(host, port.parse().ok()?);
        if !asking {
            self.nodes().routes.insert(slot.to_owned(), address.clone());
        }
        Some((self.node_at(Some(address)), asking))
    }

    /// Returns the node that has this slot, as far as is known, or one that redirects to it. A node that has failed is asked only
    /// if no other one is there, or if another one redirects to it.
    pub(super) fn node(&self, slot: &str) -> Arc<Node> {
        let known = match &self.target.topology {
            Topology::Alone(address) => return self.node_at(Some(address.clone())),
            Topology::Sentinel { .. } => return self.node_at(None),
            Topology::Cluster(_) => {
                let nodes = self.nodes();
                let route = nodes.routes.get(slot);
                route.into_iter().chain(&nodes.addresses).cloned().collect::<Vec<_>>()
            }
        };
        let nodes: Vec<_> = known.into_iter().map(|address| self.node_at(Some(address))).collect();
        let well = nodes.iter().find(|node| node.is_well());
        let open = well.or_else(|| nodes.iter().find(|node| node.is_open())).or(nodes.first());
        open.cloned().unwrap_or_else(|| self.node_at(None))
    }

    /// Returns the run of the node that has this slot: another one after each start of its process, and on another node.
    pub(super) async fn run_id(&self, slot: &str) -> Result<Arc<str>, Fault> {
        Ok(self.sure_node(slot).await?.live().await?.facts.run)
    }

    /// Returns what the clock of the node says that has this slot, or has said no longer ago than this.
    pub(super) async fn time(&self, slot: &str, not_older: Duration) -> Result<EngineTime, Fault> {
        self.sure_node(slot).await?.time(not_older).await
    }

    /// Returns the node that has this slot. Asks which node of a cluster it is, if that is not known or if it has failed.
    pub(super) async fn sure_node(&self, slot: &str) -> Result<Arc<Node>, Fault> {
        if !self.is_cluster() {
            return Ok(self.node(slot));
        }
        if let Some(known) = self.known_node(slot)
            && known.is_well()
        {
            return Ok(known);
        }
        let mut ask = redis::cmd("EXISTS");
        ask.arg(slot);
        self.command::<u8>(slot, &ask).await?;
        Ok(self.known_node(slot).unwrap_or_else(|| self.node(slot)))
    }

    fn known_node(&self, slot: &str) -> Option<Arc<Node>> {
        let address = self.nodes().routes.get(slot).cloned()?;
        Some(self.node_at(Some(address)))
    }

    pub(super) fn node_at(&self, address: Option<Address>) -> Arc<Node> {
        let mut nodes = self.nodes();
        if let Some(node) = nodes.by_address.get(&address) {
            return node.clone();
        }
        let finder = match &address {
            Some(address) => {
                if !nodes.addresses.contains(address) {
                    nodes.addresses.push(address.clone());
                }
                Finder::at(self.dialer.clone(), self.target.clone(), address.clone())
            }
            None => Finder::of_the_primary(self.dialer.clone(), self.target.clone()),
        };
        let node = Arc::new(Node::new(finder, self.within));
        nodes.by_address.insert(address, node.clone());
        node
    }

    /// Makes a connection of its own to the node that has this slot: for commands that block.
    pub(super) async fn dial(&self, live: &Live, within: Duration) -> Result<Connection, Fault> {
        let finder = Finder::at(self.dialer.clone(), self.target.clone(), live.address.clone());
        let dialing = finder.dial(&live.address, within);
        match tokio::time::timeout(self.within, dialing).await {
            Ok(result) => result,
            Err(_) => Err(Fault::Away(format!(
                "{} takes more than {:?} to connect",
                live.address, self.within
            ))),
        }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn nodes(&self) -> MutexGuard<'_, Nodes> {
        // Each change is one insertion or removal.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
