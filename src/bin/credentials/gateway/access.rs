//! What is noted of each request: one line when its response has ended.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use clap::ValueEnum;
use http::{Method, StatusCode};
use serde::Serialize;
use tower_credentials::CredentialId;

use super::clients::Place;
use super::conversation::Search;
use super::under_way::{UnderWay, Uploading};

/// How many lines wait for the output. More are lost, and no request waits for them.
const WAITING: usize = 4096;

/// The form of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccessFormat {
    /// One line of text for each request
    Text,
    /// One line of JSON for each request
    Json,
    /// No lines
    Off,
}

/// Writes the lines to standard output, on a thread of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccessLog {
    /// `None` if nothing is written.
    lines: Option<SyncSender<String>>,
    is_json: bool,
}

impl AccessLog {
    pub(crate) fn new(format: AccessFormat) -> Self {
        if format == AccessFormat::Off {
            return Self::default();
        }
        let (lines, waiting) = sync_channel::<String>(WAITING);
        std::thread::spawn(move || {
            let mut stdout = std::io::stdout();
            for line in waiting {
                // If nobody reads it, the gateway goes on.
                let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
            }
        });
        Self { lines: Some(lines), is_json: format == AccessFormat::Json }
    }

    fn write(&self, entry: &Entry) {
        let Some(lines) = &self.lines else { return };
        let line = match self.is_json {
            true => serde_json::to_string(entry).unwrap_or_default(),
            false => entry.to_string(),
        };
        let _ = lines.try_send(format!("{line}\n"));
    }
}

/// What is known of a request. The query is left out, since it may be private.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    at: String,
    client: Option<Arc<str>>,
    route: Option<Arc<str>>,
    method: String,
    path: String,
    status: u16,
    /// The account that has answered, by the beginning of its id.
    account: Option<String>,
    attempts: Option<u32>,
    #[serde(rename = "head_ms")]
    head: Millis,
    #[serde(rename = "total_ms")]
    total: Millis,
    bytes: u64,
    /// How much the client has sent over a WebSocket or a tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    received_bytes: Option<u64>,
    is_whole: bool,
}

/// Whole milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Millis(u64);

impl From<Duration> for Millis {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, method, path, status, bytes, .. } = self;
        let dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let (client, account) = (dash(self.client.as_deref()), dash(self.account.as_deref()));
        let attempts = self.attempts.map_or_else(|| "-".to_owned(), |attempts| attempts.to_string());
        let (head, total) = (self.head.0, self.total.0);
        let received = self.received_bytes.map(|bytes| format!(" received={bytes}")).unwrap_or_default();
        let end = if self.is_whole { "" } else { " broken off" };
        write!(
            f,
            "{at} {client} {method} {path} {status} account={account} attempts={attempts} head={head}ms total={total}ms bytes={bytes}{received}{end}"
        )
    }
}

/// Notes a request while it lasts, and writes its line when it has ended.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// `None` if nothing is written.
    noting: Option<Box<Noting>>,
    /// The client's place, which is free for its next request then.
    place: Place,
    /// The search for what the response has made, until that was found or is not to be expected any more.
    search: Option<Search>,
    /// While this is there, the request's connection stays.
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct Noting {
    log: AccessLog,
    began: Instant,
    entry: Entry,
}

impl Seen {
    /// Begins to note a request.
    pub(super) fn new(
        log: &AccessLog,
        method: &Method,
        path: impl FnOnce() -> String,
        under_way: UnderWay,
    ) -> Self {
        let noting = log.lines.is_some().then(|| {
            let entry = Entry {
                at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
                client: None,
                route: None,
                method: method.to_string(),
                path: path(),
                status: 0,
                account: None,
                attempts: None,
                head: Millis::default(),
                total: Millis::default(),
                bytes: 0,
                received_bytes: None,
                is_whole: false,
            };
            Box::new(Noting { log: log.clone(), began: Instant::now(), entry })
        });
        Self { noting, place: None, search: None, under_way: Some(under_way) }
    }

    fn note(&mut self, change: impl FnOnce(&mut Entry)) {
        if let Some(noting) = &mut self.noting {
            change(&mut noting.entry);
        }
    }

    pub(super) fn client(&mut self, name: &Arc<str>) {
        self.note(|entry| entry.client = Some(name.clone()));
    }

    pub(super) fn route(&mut self, name: &Arc<str>) {
        self.note(|entry| entry.route = Some(name.clone()));
    }

    pub(super) fn account(&mut self, id: CredentialId, attempts: u32) {
        self.note(|entry| {
            let id = id.to_string();
            entry.account = Some(id.get(..8).unwrap_or(&id).to_owned());
            entry.attempts = Some(attempts);
        });
    }

    /// Counts the request's body as one that may still be read.
    pub(super) fn upload(&self) -> Option<Uploading> {
        self.under_way.as_ref().map(UnderWay::upload)
    }

    /// It is no request of its own: others follow on its connection.
    pub(super) fn forget(&mut self) {
        self.noting = None;
        self.under_way.take();
    }

    /// The response's head is there.
    pub(super) fn head(&mut self, status: StatusCode) {
        if let Some(noting) = &mut self.noting {
            noting.entry.status = status.as_u16();
            noting.entry.head = noting.began.elapsed().into();
        }
    }

    pub(super) fn keep(&mut self, place: Place) {
        self.place = place;
    }

    pub(super) fn search(&mut self, search: Search) {
        self.search = Some(search);
    }

    /// Another piece of the response passes.
    pub(super) fn sent(&mut self, piece: &[u8], is_last: bool) {
        self.note(|entry| entry.bytes += piece.len() as u64);
        self.search.take_if(|search| !search.look(piece, is_last));
    }

    /// What has passed over a WebSocket or a tunnel.
    pub(super) fn passed(&mut self, sent: u64, received: u64) {
        self.note(|entry| {
            entry.bytes = sent;
            entry.received_bytes = Some(received);
        });
    }

    /// The response has ended as it should.
    pub(super) fn ended(&mut self) {
        self.note(|entry| entry.is_whole = true);
        if let Some(under_way) = &mut self.under_way {
            under_way.handed_on();
        }
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        // Who reads the line may send the next request.
        self.place = None;
        let Some(mut noting) = self.noting.take() else { return };
        noting.entry.total = noting.began.elapsed().into();
        // The client has gone before there was a response (as nginx's 499).
        if noting.entry.status == 0 {
            noting.entry.status = 499;
        }
        noting.log.write(&noting.entry);
    }
}
