//! Finding a node: at its address, or by asking Sentinels for the primary.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::RedisError;

use super::dial::{Connection, Dialer};
use super::facts::Facts;
use super::fault::Fault;
use super::url::{Address, Login, Target, Topology};

/// Finds one node.
#[derive(Clone)]
pub(super) struct Finder {
    dialer: Dialer,
    target: Arc<Target>,
    /// The node's address; `None` for the primary that Sentinels name.
    address: Option<Address>,
}

impl Finder {
    /// Finds the node at this address.
    pub(super) fn at(dialer: Dialer, target: Arc<Target>, address: Address) -> Self {
        Self { dialer, target, address: Some(address) }
    }

    /// Finds the primary that Sentinels name.
    pub(super) fn of_the_primary(dialer: Dialer, target: Arc<Target>) -> Self {
        Self { dialer, target, address: None }
    }

    pub(super) fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// Connects, and asks the node what it is. The caller limits the time.
    pub(super) async fn connect(
        &self,
        needs_primary: bool,
        within: Duration,
    ) -> Result<(Connection, Address, Facts), Fault> {
        let address = match &self.address {
            Some(address) => address.clone(),
            None => self.primary(within).await?,
        };
        let connection = self.dial(&address, within).await?;
        let facts = Facts::of(&connection).await.map_err(|error| Fault::of(&error, &address))?;
        if facts.is_sentinel {
            return Err(Fault::Refused(format!(
                "{address} is a Sentinel; name it so in the engine's URL, as in redis+sentinel://{address}/SERVICE"
            )));
        }
        if (self.address.is_none() || needs_primary) && facts.is_primary == Some(false) {
            // The Sentinels have not agreed on another one yet, or this one has not become the primary again.
            return Err(Fault::Away(format!("{address} is not the primary any more")));
        }
        Ok((connection, address, facts))
    }

    /// Makes another connection to a node, whose commands have this long to be answered.
    pub(super) async fn dial(&self, address: &Address, within: Duration) -> Result<Connection, Fault> {
        let Target { login, database, .. } = &*self.target;
        let dialing = self.dialer.dial(address, login, *database, within);
        dialing.await.map_err(|error| Fault::of(&error, address))
    }

    /// Asks the Sentinels, one after the other, for the primary's address.
    async fn primary(&self, within: Duration) -> Result<Address, Fault> {
        let Topology::Sentinel { sentinels, service } = &self.target.topology else {
            return Err(Fault::Refused("the engine's URL names no node".to_owned()));
        };
        // One that hangs must not take the time of all.
        let share = within / u32::try_from(sentinels.len() + 1).unwrap_or(1);
        let mut fault = Fault::Away("no Sentinel is known".to_owned());
        for sentinel in sentinels {
            let asking = tokio::time::timeout(share, self.ask(sentinel, service, share));
            let failed = match asking.await {
                Ok(Ok(address)) => return Ok(address),
                Ok(Err(failed)) => failed,
                Err(_) => Fault::Away(format!("the Sentinel {sentinel} takes too long to answer")),
            };
            // One that refuses says more than one that is away.
            if fault.is_away() {
                fault = failed;
            }
        }
        Err(fault)
    }

    async fn ask(&self, sentinel: &Address, service: &str, within: Duration) -> Result<Address, Fault> {
        let failed = |error: RedisError| Fault::of_sentinel(&error, sentinel);
        let login: &Login = &self.target.sentinel_login;
        let connection = self.dialer.dial(sentinel, login, 0, within).await.map_err(failed)?;
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
        let mut commands = connection.commands.clone();
        let found: Option<(String, u16)> = ask.query_async(&mut commands).await.map_err(failed)?;
        match found {
            Some((host, port)) => Ok(Address::new(host, port)),
            None => Err(Fault::Refused(format!(
                "the Sentinel {sentinel} knows no service {service:?}; set its name in the engine's URL"
            ))),
        }
    }
}

impl fmt::Display for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Some(address) => address.fmt(f),
            None => self.target.fmt(f),
        }
    }
}
