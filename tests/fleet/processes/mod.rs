//! Hosts that are processes of their own, with one account at a server whose refresh tokens work once: some are killed, some
//! are stopped, and the engine goes away.

mod failover;
mod faults;
mod flooded;
mod killed;
mod one_exchange;
#[cfg(target_os = "linux")]
mod outage;
mod stopped;
mod unfinished;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tower::ServiceExt;
use tower_credentials::events::EventKind;
use tower_credentials::standing::Standing;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::seal::Seal;
use tower_credentials::vault::{StoredPool, VaultExt};
use tower_credentials::{Credential, CredentialId, RefreshError, Refresher, Secret};

use crate::authorization_server::{AuthorizationServer, Kind, Rules};
use crate::children::{self, Child, Job, eventually, hear_while_working, say, setting};
use crate::host::{Bounds, Host, key, oauth, sign_in};
use crate::many_processes::flood;
use crate::server::{Server, sealed};

// The children

#[test]
fn a_child_does_its_job() {
    let Some(job) = children::job() else { return };
    children::on_two_threads(async {
        match &*job {
            "host" => host().await,
            "flood" => flood(sealed(backend().await, &children::key("KEY")), key()).await,
            other => panic!("no such job: {other}"),
        }
    });
}

/// Sends requests at once, whenever it is told `go` and how many, and says what it got.
async fn host() {
    if setting("LOG").is_some() {
        tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(|| Log).init();
    }
    let server = setting("SERVER").unwrap();
    let vault = sealed(backend().await, &children::key("KEY"));
    let host = Host::with(vault, &server, refresher(&server), |builder| {
        builder.on_event(|event| {
            if let EventKind::RefreshFailed { error, .. } = &event.kind {
                say(format!("failed: {error}"));
            }
        })
    });
    let host = host.await;
    say("ready");
    loop {
        match hear_while_working().await.split_once(' ') {
            Some(("go", requests)) => say(format!("got {}", host.ask(requests.parse().unwrap()).await)),
            Some(("limit", requests)) => {
                host.meet_limit();
                say(format!("got {}", host.ask(requests.parse().unwrap()).await));
            }
            Some(("fail", times)) => {
                let failed = || host.pool.counters().vault_errors;
                let enough = failed() + times.parse::<u64>().unwrap();
                let has_failed = async || (failed() >= enough).then_some(());
                eventually("requests to the vault fail", has_failed).await;
                say("failed so often");
            }
            Some(("see", what)) => {
                let (label, what) = what.split_once(' ').unwrap();
                let is_so = async || is_so(&host, label, what).then_some(());
                eventually("it is seen", is_so).await;
                say("seen");
            }
            _ => return,
        }
    }
}

/// Opens the engine with the settings of the parent.
async fn backend() -> RedisBackend {
    let bounds = Bounds::from_json(&setting("BOUNDS").unwrap());
    let builder = bounds.apply(RedisBackend::builder(setting("ENGINE").unwrap()));
    eventually("the engine is there", async || builder.clone().open().await.ok()).await
}

/// Whether the host's pool has it that the account with this label has failed, is paused, or is not any more.
fn is_so(host: &Host, label: &str, what: &str) -> bool {
    let status = host.pool.status();
    let account = status.iter().find(|one| &*one.credential.label == label).unwrap();
    match what {
        "failed" => account.standing.failures > 0,
        "paused" => account.standing.paused,
        "resumed" => !account.standing.paused,
        _ => panic!("{what}"),
    }
}

/// Tells the parent each line of the log.
struct Log;

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        say(format!("log {}", String::from_utf8_lossy(text).trim_end()));
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A refresher that is held once at the place that the parent has set: until it is told to go on, or for ever.
fn refresher(server: &str) -> Refresher {
    let (oauth, hold) = (oauth(server), setting("HOLD").unwrap_or_default());
    let was_held = Arc::new(AtomicBool::new(false));
    Refresher::new(move |credential: Credential| {
        let (oauth, hold, was_held) = (oauth.clone(), hold.clone(), was_held.clone());
        let pause = async move |place| {
            if hold == place && !was_held.swap(true, Ordering::AcqRel) {
                say(format!("held {place}"));
                hear_while_working().await;
            }
        };
        async move {
            pause("before").await;
            let renewed: Result<Secret, RefreshError> = oauth.refresher().oneshot(credential).await;
            pause("after").await;
            renewed
        }
    })
}

// The parent

const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];

struct Scene {
    engine: Server,
    /// Where hosts find the engine.
    url: String,
    server: AuthorizationServer,
    key: VaultKey,
    bounds: Bounds,
}

impl Scene {
    /// An account whose access token has expired; `None` if no engine is installed.
    async fn new(rules: Rules) -> Option<Self> {
        let scene = Self::with(rules, ["alice"]).await?;
        scene.expire();
        Some(scene)
    }

    /// The accounts of these people.
    async fn with<const N: usize>(rules: Rules, people: [&str; N]) -> Option<Self> {
        let engine = Server::start(&[])?;
        let server = AuthorizationServer::start(rules);
        let url = engine.url();
        let scene = Self { engine, url, server, key: VaultKey::generate(), bounds: Bounds::SHORT };
        for person in people {
            sign_in(&scene.server, &scene.vault(), person).await;
        }
        Some(scene)
    }

    /// The same for hosts of which none is killed or stopped.
    fn unhurried(self) -> Self {
        Self { bounds: Bounds::LONG, ..self }
    }

    fn expire(&self) {
        self.server.advance(self.server.rules().access_lifetime + Duration::from_secs(1));
    }

    fn vault(&self) -> Seal<RedisBackend> {
        sealed(self.bounds.apply(self.engine.builder()).build().unwrap(), &self.key)
    }

    async fn stored(&self) -> StoredPool {
        self.vault().load_pool(key()).await.unwrap()
    }

    /// A host that is not started yet.
    fn host(&self) -> Job {
        self.job("host")
    }

    fn job(&self, name: &str) -> Job {
        Job::new(module_path!(), name)
            .key("KEY", &self.key)
            .set("ENGINE", &self.url)
            .set("SERVER", self.server.url())
            .set("BOUNDS", self.bounds.to_json())
    }

    fn start(&self, count: usize) -> Vec<Child> {
        let mut hosts: Vec<_> = (0..count).map(|_| self.host().start()).collect();
        hosts.iter_mut().for_each(|host| host.wait_for("ready"));
        hosts
    }

    /// Waits until so many requests have reached the server.
    async fn requests_have_arrived(&self, count: usize) {
        let have_arrived = async || (self.server.asked(Kind::Resource) >= count).then_some(());
        eventually("the requests arrive", have_arrived).await;
    }

    fn lease_key(&self, id: CredentialId) -> String {
        format!("tower-credentials:{{openai/default}}:lease:{id}")
    }

    /// Returns who holds the lease; `None` if nobody does.
    fn holder(&self, id: CredentialId) -> Option<String> {
        self.engine.tell(&["GET", &self.lease_key(id)])
    }

    /// Returns the note on a refresh that has begun.
    fn note(&self, id: CredentialId) -> Note {
        let key = "tower-credentials:{openai/default}:notes";
        let text: String = self.engine.tell(&["HGET", key, &id.to_string()]);
        let parts: Vec<_> = text.split(':').collect();
        let [_, since, owner, _, found] = parts[..] else { panic!("{text}") };
        Note { since: since.parse().unwrap(), owner: owner.to_owned(), was_found: !found.is_empty() }
    }
}

struct Note {
    /// By the engine's clock, in milliseconds.
    since: u64,
    owner: String,
    /// Whether another host has found that the lease has lapsed.
    was_found: bool,
}

fn go(host: &mut Child, requests: usize) {
    host.tell(&format!("go {requests}"));
}

fn got(host: &mut Child) -> String {
    host.wait_for_one_of("got ")
}

/// Waits until the host has seen this.
fn see(host: &mut Child, what: &str) {
    host.tell(&format!("see {what}"));
    host.wait_for("seen");
}

/// Waits until so many more of the host's requests to the vault have failed.
fn fail(host: &mut Child, times: usize) {
    host.tell(&format!("fail {times}"));
    host.wait_for("failed so often");
}

/// Starts hosts that tell what they log. Their commands end before a pool's patience does.
fn start_with_log(scene: &Scene, count: usize) -> Vec<Child> {
    let bounds = Bounds { command: Duration::from_millis(500), ..scene.bounds };
    let start = |_| scene.host().set("LOG", "all").set("BOUNDS", bounds.to_json()).start();
    let mut hosts: Vec<_> = (0..count).map(start).collect();
    hosts.iter_mut().for_each(|host| host.wait_for("ready"));
    hosts
}

/// Ends a host. Returns how many lines of its log say that the engine is away or refuses, and that this is over.
fn said_of_outages(mut host: Child) -> (usize, usize) {
    host.tell("end");
    let said = host.succeed();
    let count = |texts: [&str; 2]| {
        let logged = said.iter().filter_map(|line| line.strip_prefix("log "));
        logged.filter(|line| texts.iter().any(|text| line.contains(text))).count()
    };
    (count(["engine is away", "save failed"]), count(["engine is back", "saved again"]))
}

fn is_one_outage(host: Child) {
    assert_eq!(said_of_outages(host), (1, 1));
}

fn end(mut host: Child) {
    host.tell("end");
    host.succeed();
}

/// Returns the account with this label.
fn labelled<'a>(pool: &'a StoredPool, label: &str) -> &'a Credential {
    pool.credentials.iter().find(|record| &*record.metadata.label == label).unwrap()
}

/// Returns the id of the account with this label, and its standing.
fn account(pool: &StoredPool, label: &str) -> (CredentialId, Standing) {
    let id = labelled(pool, label).metadata.id;
    (id, pool.standings.credentials.get(&id).cloned().unwrap_or_default())
}
