//! The fleet: an engine, three hosts over it, and the servers that they talk to.

use std::collections::{BTreeMap, HashMap};

use tempfile::TempDir;
use tower_credentials::oauth::FlowKind;
use tower_credentials::standing::Health;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::{BoxError, Clock, Credential, Secret};

use crate::authorization_server::{AuthorizationServer, Kind, Rules, Vendor};
use crate::engine::Server;
use crate::gateway;
use crate::host::{Heard, Host, Served};
use crate::lines::State;
use crate::report::Report;
use crate::upstream::{Seen, Upstream};
use crate::vault::{pool, vault};

/// Accounts that have signed in. Each refresh token of theirs works once.
const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];
const KEYS: [&str; 2] = ["key-1", "key-2"];
const HOSTS: usize = 3;

pub struct Fleet {
    pub engine: Server,
    pub server: AuthorizationServer,
    pub upstream: Upstream,
    pub hosts: Vec<Host>,
    pub report: Report,
    key: VaultKey,
    logs: TempDir,
}

/// How often refresh tokens were presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presented {
    pub times: usize,
    /// With a token that has been presented before.
    pub reuses: usize,
}

impl Presented {
    pub fn since(self, before: Self) -> Self {
        Self { times: self.times - before.times, reuses: self.reuses - before.reuses }
    }
}

/// What the vault has of an account.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    pub generation: u64,
    pub is_cooling_down: bool,
    pub is_signed_in: bool,
}

impl Fleet {
    pub async fn start(engine: Server) -> Result<Self, BoxError> {
        let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
        let keys = KEYS.map(|label| (format!("sk-{label}"), label.to_owned()));
        let upstream = Upstream::start(server.url(), HashMap::from(keys.clone())).await?;
        let (key, logs) = (VaultKey::generate(), tempfile::tempdir()?);
        let (hosts, report) = (Vec::new(), Report::default());
        let mut fleet = Self { engine, server, upstream, hosts, report, key, logs };
        for person in PEOPLE {
            fleet.sign_in(person).await?;
        }
        let vault = vault(&fleet.engine.url(), &fleet.key)?;
        for (secret, label) in keys {
            vault.put(Credential::new(pool(), label, Secret::api_key(secret))).await?;
        }
        for index in 0..HOSTS {
            let host = fleet.start_host(index).await?;
            fleet.hosts.push(host);
        }
        Ok(fleet)
    }

    /// Signs a person in, for the first time or again.
    pub async fn sign_in(&self, person: &str) -> Result<(), BoxError> {
        self.server.person(person);
        let account = self.server.sign_in(&self.server.client(), FlowKind::Loopback).await?;
        account.store(&vault(&self.engine.url(), &self.key)?, pool(), person).await?;
        Ok(())
    }

    async fn start_host(&self, index: usize) -> Result<Host, BoxError> {
        let (engine, key) = (self.engine.url(), self.key.to_base64());
        let settings = [
            (gateway::ENGINE, engine.as_str()),
            (gateway::UPSTREAM, &self.upstream.origin),
            (gateway::SERVER, self.server.url()),
            // Not an argument, which others on the machine could read.
            (VaultKey::VARIABLE, key.expose()),
        ];
        Host::start(index + 1, settings, self.logs.path()).await
    }

    /// Starts a host again that has ended.
    pub async fn start_again(&mut self, index: usize) -> Result<(), BoxError> {
        self.hosts[index] = self.start_host(index).await?;
        Ok(())
    }

    /// Sends this many requests at once through each host.
    pub async fn ask_all(&self, requests: usize) -> Result<Served, BoxError> {
        let asked: Vec<_> = self.hosts.iter().map(|host| host.ask(requests)).collect();
        let mut served = Served::default();
        for result in asked {
            served.add(result.await?);
        }
        Ok(served)
    }

    /// Returns the account that all hosts use now.
    pub async fn active(&self) -> Result<String, BoxError> {
        let served = self.ask_all(1).await?;
        let mut accounts = served.by.keys();
        match (accounts.next(), accounts.next()) {
            (Some(account), None) if served.failed.is_empty() => Ok(account.clone()),
            _ => Err(format!("the hosts do not use one account: {served:?}").into()),
        }
    }

    /// Waits until these hosts know that the account is in this state. Returns what each has said.
    pub async fn all_know(
        &self,
        hosts: &[usize],
        account: &str,
        state: State,
    ) -> Result<Vec<Heard>, BoxError> {
        let what = format!("it knows that {account} is {state:?}");
        let mut heard = Vec::new();
        for index in hosts {
            let knows = |heard: &Heard| heard.since(account, state).is_some();
            heard.push(self.hosts[*index].until(&what, knows).await?);
        }
        Ok(heard)
    }

    /// Returns the requests that have reached the upstream since it had seen this many.
    pub fn seen_since(&self, before: usize) -> Vec<Seen> {
        self.upstream.seen().split_off(before)
    }

    /// Returns how often refresh tokens were presented so far.
    pub fn presented(&self) -> Presented {
        Presented { times: self.server.asked(Kind::Refresh), reuses: self.server.reuses() }
    }

    /// Returns what a new host finds in the vault.
    pub async fn stored(&self) -> Result<BTreeMap<String, Stored>, BoxError> {
        let stored = vault(&self.engine.url(), &self.key)?.load_pool(pool()).await?;
        let now = Clock::system().now();
        let account = |credential: &Credential| {
            let metadata = &credential.metadata;
            let standing = stored.standings.credentials.get(&metadata.id).cloned().unwrap_or_default();
            let is_cooling_down = standing.cooldown(None).is_some_and(|one| now < one.until);
            let is_signed_in = !matches!(standing.health, Health::NeedsSignIn { .. });
            let generation = metadata.generation.get();
            (metadata.label.to_string(), Stored { generation, is_cooling_down, is_signed_in })
        };
        Ok(stored.credentials.iter().map(account).collect())
    }

    /// Waits until a new host finds this in the vault. The vault says when to look.
    pub async fn until_stored(
        &self,
        is_so: impl Fn(&BTreeMap<String, Stored>) -> bool,
    ) -> Result<BTreeMap<String, Stored>, BoxError> {
        let vault = vault(&self.engine.url(), &self.key)?;
        let mut watch = vault.watch(pool()).await?.ok_or("the vault tells of no changes")?;
        loop {
            let stored = self.stored().await?;
            if is_so(&stored) {
                return Ok(stored);
            }
            if !watch.changed().await {
                return Err("the vault tells of no more changes".into());
            }
        }
    }

    pub async fn end(&mut self) -> Result<(), BoxError> {
        for host in &mut self.hosts {
            host.end().await?;
        }
        Ok(())
    }

    /// Prints what the hosts have logged.
    pub fn print_logs(&self) {
        for (index, host) in self.hosts.iter().enumerate() {
            eprintln!("\nlog of host {}\n{}", index + 1, host.log());
        }
    }
}
