//! A host, as the example sees it: a process of its own, what it has said, and requests through its gateway.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tower_credentials::BoxError;

use crate::authorization_server::client;
use crate::lines::{Account, Said, State, Told};
use crate::upstream::HOST;

/// How long the example waits for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits, but not for ever.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T, BoxError> {
    let result = tokio::time::timeout(LIMIT, future).await;
    result.map_err(|_| format!("not within {LIMIT:?}: {what}").into())
}

/// What a host has said so far.
#[derive(Clone, Default)]
pub struct Heard {
    origin: Option<String>,
    /// What it knows now, and since when it knows each account's state.
    accounts: Vec<(Account, u64)>,
    /// When accounts have got their last 429.
    pub limited: HashMap<String, u64>,
    pub holds: bool,
    pub refresh_failures: Vec<String>,
    has_ended: bool,
}

impl Heard {
    fn hear(&mut self, said: Said) {
        match said {
            Said::Serves(origin) => self.origin = Some(origin),
            Said::Limited { account, at } => drop(self.limited.insert(account, at)),
            Said::Knows { accounts, at } => {
                let since = |account: Account| {
                    let since = self.since(&account.label, account.state).unwrap_or(at);
                    (account, since)
                };
                self.accounts = accounts.into_iter().map(since).collect();
            }
            Said::Holds => self.holds = true,
            Said::RefreshFailed(error) => self.refresh_failures.push(error),
        }
    }

    /// Returns since when it knows that the account is in this state; `None` if it does not.
    pub fn since(&self, label: &str, state: State) -> Option<u64> {
        let is_it = |(account, _): &&(Account, u64)| account.label == label && account.state == state;
        self.accounts.iter().find(is_it).map(|(_, since)| *since)
    }

    /// Returns what it knows of all accounts, in their order.
    pub fn accounts(&self) -> Vec<Account> {
        self.accounts.iter().map(|(account, _)| account.clone()).collect()
    }
}

/// What became of requests: how often each account has served one, and what went wrong.
#[derive(Debug, Default)]
pub struct Served {
    pub by: BTreeMap<String, usize>,
    pub failed: Vec<String>,
}

impl Served {
    pub fn add(&mut self, other: Self) {
        other.by.into_iter().for_each(|(account, count)| *self.by.entry(account).or_default() += count);
        self.failed.extend(other.failed);
    }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by: Vec<_> =
            self.by.iter().map(|(account, count)| format!("{count} by {account}")).collect();
        write!(f, "{} failed, {} served", self.failed.len(), self.by.values().sum::<usize>())?;
        if !by.is_empty() {
            write!(f, " ({})", by.join(", "))?;
        }
        // One of them says enough.
        self.failed.first().map_or(Ok(()), |error| write!(f, "; {error}"))
    }
}

pub struct Host {
    number: usize,
    process: Child,
    stdin: ChildStdin,
    heard: watch::Receiver<Heard>,
    origin: String,
    log: PathBuf,
}

impl Host {
    /// Starts this program again as a host, and waits until it serves and knows its accounts.
    pub async fn start(
        number: usize,
        settings: impl IntoIterator<Item = (&str, &str)>,
        logs: &Path,
    ) -> Result<Self, BoxError> {
        let log = logs.join(format!("host-{number}.log"));
        let stderr = match std::env::var_os("RUST_LOG") {
            Some(_) => Stdio::inherit(),
            None => File::options().create(true).append(true).open(&log)?.into(),
        };
        let mut process = Command::new(std::env::current_exe()?)
            .envs(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()?;
        let (Some(stdin), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("the host has no pipes".into());
        };
        let (sender, heard) = watch::channel(Heard::default());
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Ok(said) = serde_json::from_str(&line) else { break };
                sender.send_modify(|heard| heard.hear(said));
            }
            sender.send_modify(|heard| heard.has_ended = true);
        });
        let mut host = Self { number, process, stdin, heard, origin: String::new(), log };
        let is_ready = |heard: &Heard| heard.origin.is_some() && !heard.accounts.is_empty();
        let heard = host.until("it serves", is_ready).await;
        let heard = heard.map_err(|error| format!("{error}\n{}", host.log()))?;
        host.origin = heard.origin.unwrap_or_default();
        Ok(host)
    }

    /// Waits until it has said so, and returns all that it has said.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Heard) -> bool) -> Result<Heard, BoxError> {
        let what = format!("host {}: {what}", self.number);
        let mut heard = self.heard.clone();
        let wait = heard.wait_for(|heard| heard.has_ended || is_so(heard));
        let heard = within(&what, wait).await??.clone();
        if is_so(&heard) { Ok(heard) } else { Err(format!("{what}: it has ended").into()) }
    }

    /// Returns what it has said so far.
    pub fn heard(&self) -> Heard {
        self.heard.borrow().clone()
    }

    pub async fn tell(&mut self, line: &Told) -> Result<(), BoxError> {
        let line = serde_json::to_string(line)? + "\n";
        Ok(self.stdin.write_all(line.as_bytes()).await?)
    }

    /// Sends this many requests at once.
    pub fn ask(&self, requests: usize) -> JoinHandle<Served> {
        let (url, number) = (format!("{}/v1/messages", self.origin), self.number);
        tokio::spawn(async move {
            let mut asked = JoinSet::new();
            (0..requests).for_each(|_| drop(asked.spawn(request(url.clone(), number))));
            let mut served = Served::default();
            for result in asked.join_all().await {
                match result {
                    Ok(account) => *served.by.entry(account).or_default() += 1,
                    Err(error) => served.failed.push(format!("host {number}: {error}")),
                }
            }
            served
        })
    }

    /// Sends SIGKILL, and waits for its end.
    pub async fn kill(&mut self) -> Result<(), BoxError> {
        Ok(self.process.kill().await?)
    }

    /// Sends the signal of this name.
    pub async fn signal(&self, name: &str) -> Result<(), BoxError> {
        let id = self.process.id().ok_or("the host has ended")?.to_string();
        let sent = Command::new("kill").args([format!("-{name}"), id]).status().await?;
        if sent.success() { Ok(()) } else { Err(format!("SIG{name} was not sent").into()) }
    }

    /// Waits for its own end.
    pub async fn end(&mut self) -> Result<(), BoxError> {
        self.tell(&Told::End).await?;
        let status = within("a host ends", self.process.wait()).await??;
        if status.success() { Ok(()) } else { Err(format!("host {}: {status}", self.number).into()) }
    }

    /// Returns what it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Returns the account that has served the request.
async fn request(url: String, host: usize) -> Result<String, BoxError> {
    let request = Request::post(url).header(HOST, host).body(Full::<Bytes>::from("hello"))?;
    let response = within("a response", client().request(request)).await??;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    if status == StatusCode::OK { Ok(text) } else { Err(format!("{status} {text}").into()) }
}
