//! Hosts as processes of their own, which say when they know of a cooldown.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use tokio::task::JoinSet;
use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{VaultExt, Watch};
use tower_credentials::{CredentialId, Pool};

use crate::{now, pool_key, vault};

async fn next_notice(watch: &mut Watch) {
    assert!(watch.changed().await, "the watch has ended");
}

/// A host: says the number of failures of the account, and since when, whenever its pool knows of more.
pub async fn host(url: &str, key: &VaultKey, account: CredentialId) {
    let vault = vault(url, key);
    let mut watch = vault.watch(pool_key()).await.expect("the engine").expect("a watch");
    let provider = GenericProvider::bearer("example").origin("http://127.0.0.1:1").expect("an origin");
    // It syncs itself, as the pool's task would do.
    let builder = Pool::builder(provider, vault).sync_every(None);
    let pool = builder.open().await.expect("the engine");
    let mut stdout = std::io::stdout();
    let mut said = None;
    loop {
        // Before the status of all accounts is asked for, which no request does.
        let at = now();
        let failures = pool
            .status()
            .iter()
            .find(|one| one.credential.id == account)
            .map_or(0, |one| one.standing.failures);
        if said != Some(failures) {
            said = Some(failures);
            if writeln!(stdout, "{failures} {}", at.as_nanos()).and_then(|()| stdout.flush()).is_err() {
                return;
            }
        }
        next_notice(&mut watch).await;
        pool.sync().await.expect("the engine");
    }
}

/// Many hosts in one process: each says the same as [`host`], and keeps no pool.
pub async fn light_hosts(count: usize, url: &str, key: &VaultKey, account: CredentialId) {
    let mut hosts = JoinSet::new();
    for _ in 0..count {
        let vault = vault(url, key);
        let mut known = vault.load_pool(pool_key()).await.expect("the engine").revision;
        let mut watch = vault.watch(pool_key()).await.expect("the engine").expect("a watch");
        hosts.spawn(async move {
            let mut stdout = std::io::stdout();
            let mut said = None;
            loop {
                let changes = vault.told_changes(pool_key(), known).await.expect("the engine");
                let failures = if let Some(changes) = changes {
                    known = changes.revision;
                    let of = |(id, _): &&(CredentialId, _)| *id == account;
                    changes.standings.iter().find(of).map(|(_, one)| one.failures)
                } else {
                    // It has fallen behind a log that was trimmed.
                    let stored = vault.load_pool(pool_key()).await.expect("the engine");
                    known = stored.revision;
                    stored.standings.credentials.get(&account).map(|one| one.failures)
                };
                if said.is_none() || failures.is_some() && failures != said {
                    let failures = failures.unwrap_or_default();
                    said = Some(failures);
                    if writeln!(stdout, "{failures} {}", now().as_nanos()).is_err() {
                        return;
                    }
                }
                next_notice(&mut watch).await;
            }
        });
    }
    while let Some(ended) = hosts.join_next().await {
        ended.expect("a host");
    }
}

/// Hosts, and what they say: when, and how many failures each knows.
pub struct Hosts {
    children: Vec<Child>,
    pub count: usize,
    said: Receiver<(Duration, u64)>,
}

impl Hosts {
    /// Starts this many processes; each is so many light hosts, or one with a pool if that is `None`.
    pub fn start(
        processes: usize,
        light: Option<usize>,
        url: &str,
        key: &VaultKey,
        account: CredentialId,
    ) -> Self {
        let (sender, said) = mpsc::channel();
        let start = |_| {
            let mut child = Command::new(env::current_exe().expect("this program"))
                .env("FLEET_BENCH_URL", url)
                .env("FLEET_BENCH_KEY", key.to_base64().expose())
                .env("FLEET_BENCH_ACCOUNT", account.to_string())
                .envs(light.map(|hosts| ("FLEET_BENCH_LIGHT", hosts.to_string())))
                .stdout(Stdio::piped())
                .spawn()
                .expect("a process");
            let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in lines.map_while(Result::ok) {
                    let parse = |(number, at): (&str, &str)| {
                        Some((Duration::from_nanos(at.parse().ok()?), number.parse().ok()?))
                    };
                    let said = line.split_once(' ').and_then(parse).expect("two numbers");
                    if sender.send(said).is_err() {
                        return;
                    }
                }
            });
            child
        };
        let children: Vec<_> = (0..processes).map(start).collect();
        let count = processes * light.unwrap_or(1);
        (0..count).for_each(|_| {
            said.recv().expect("each host says what it has loaded");
        });
        Self { children, count, said }
    }

    /// Waits until each of them knows of so many failures. Returns when.
    pub fn know(&self, failures: u64) -> Vec<Duration> {
        let mut times = Vec::new();
        while times.len() < self.count {
            let (at, number) = self.said.recv_timeout(Duration::from_secs(60)).expect("a host says it");
            if number == failures {
                times.push(at);
            }
        }
        times
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
