//! `credentials serve` as a process.

use std::fmt::Write;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::cli::{Home, Run};
use crate::wire::{Wire, WireBody, WireClient, full, soon, wire_client};

/// An upstream that says which path and which token it was asked with. A token with `limited` in it gets a 429.
pub(crate) async fn upstream() -> Wire {
    Wire::start(async |request: Request<Incoming>| {
        let token = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let token = token("authorization").or(token("x-api-key")).unwrap_or("-").to_owned();
        let said = format!("{} {} {token}\n", request.method(), request.uri());
        // A connection on which a body is left is closed.
        let _ = request.into_body().collect().await;
        if token.contains("limited") {
            let limited = Response::builder().status(429).header("retry-after", "3600");
            return limited.body(full("{}")).unwrap();
        }
        Response::new(full(said))
    })
    .await
}

/// A home with accounts of `openai`, whose requests go to this upstream. The key of `LABEL` is `LABEL-key`.
pub(crate) async fn home(upstream: &Wire, labels: &[&str]) -> Home {
    let home = Home::new();
    let origin = upstream.origin();
    home.settings(&format!(
        "[providers.openai]\norigins = [\"{origin}\"]\n[providers.anthropic]\norigins = [\"{origin}\"]\n"
    ));
    for label in labels {
        home.add("openai", label, &format!("{label}-key")).await;
    }
    home
}

/// A home with accounts of the provider `x`, which is no vendor and whose requests go to this origin. The key of `LABEL` is
/// `LABEL-key`.
pub(crate) async fn home_of_x(origin: &str, labels: &[&str]) -> Home {
    let home = Home::new();
    home.settings(&format!("[providers.x]\ntype = \"generic\"\norigins = [\"{origin}\"]\n"));
    for label in labels {
        home.add("x", label, &format!("{label}-key")).await;
    }
    home
}

/// Adds to the settings of a home.
pub(crate) fn add_settings(home: &Home, toml: &str) {
    let before = std::fs::read_to_string(home.settings_file()).unwrap();
    home.settings(&format!("{before}{toml}"));
}

/// Starts a gateway that needs no token, with one account of the provider `x`. The upstream is at `/x`.
pub(crate) async fn open_to(origin: &str, more: &[&str]) -> (Home, Gateway) {
    let home = home_of_x(origin, &["a"]).await;
    let gateway = Gateway::open(&home, more).await;
    (home, gateway)
}

/// A gateway that listens.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) address: SocketAddr,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
    /// Its standard error so far.
    said: String,
    /// How much of that it says at every start.
    usual: usize,
    client: WireClient,
}

impl Gateway {
    /// Starts it, and waits until it listens.
    pub(crate) async fn start(home: &Home, more: &[&str]) -> Self {
        let mut arguments = vec!["serve"];
        if !more.contains(&"--listen") {
            arguments.extend(["--listen", "127.0.0.1:0"]);
        }
        arguments.extend(more);
        Self::of(home.command(arguments)).await
    }

    /// Starts one that needs no token.
    pub(crate) async fn open(home: &Home, more: &[&str]) -> Self {
        Self::start(home, &[&["--open"], more].concat()).await
    }

    /// Runs this command, and waits until it listens.
    pub(crate) async fn of(command: std::process::Command) -> Self {
        let mut command = Command::from(command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let client = wire_client(false);
        let said = String::new();
        let mut gateway = Self { child, address, stdout, stderr, said, usual: 0, client };
        let line = gateway.says("Listening on http").await;
        gateway.address = line.rsplit('/').next().unwrap().parse().unwrap();
        // The last line of a start.
        while !["TOKEN is ", "no token is needed"].iter().any(|last| gateway.said.contains(last)) {
            gateway.hear().await;
        }
        gateway.usual = gateway.said.len();
        gateway
    }

    /// Waits until its standard error has a line with this text, and returns the line.
    pub(crate) async fn says(&mut self, text: &str) -> String {
        loop {
            if let Some(line) = self.said.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            assert!(self.hear().await, "it has ended without saying {text:?}: {}", self.said);
        }
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    /// Lets [`says`](Self::says) wait for new lines.
    pub(crate) fn forget(&mut self) {
        self.said.clear();
        self.usual = 0;
    }

    /// Waits for the next line of its standard error. Returns `false` if that has ended.
    async fn hear(&mut self) -> bool {
        let line = soon("a line of the gateway's", self.stderr.next_line()).await.unwrap();
        let Some(line) = line else { return false };
        writeln!(self.said, "{line}").unwrap();
        true
    }

    /// Waits for the next line about a request.
    pub(crate) async fn access(&mut self) -> String {
        soon("a line about a request", self.stdout.next_line()).await.unwrap().expect("it has ended")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request with a client's token where tools have their API key.
    pub(crate) fn get(&self, path: &str, token: &str) -> http::request::Builder {
        Request::get(self.url(path)).header("authorization", format!("Bearer {token}"))
    }

    /// Sends a request without a body.
    pub(crate) async fn send(&self, request: http::request::Builder) -> (StatusCode, String) {
        let (head, body) = self.response(request.body(full(Bytes::new())).unwrap()).await.into_parts();
        let body = soon("the body", body.collect()).await.unwrap().to_bytes();
        (head.status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Asks until the status is this one: nothing tells when the gateway has followed a change.
    pub(crate) async fn becomes(&self, path: &str, token: &str, status: StatusCode) {
        let asking = async {
            while self.send(self.get(path, token)).await.0 != status {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon("the change", asking).await;
    }

    pub(crate) async fn response(&self, request: Request<WireBody>) -> Response<Incoming> {
        soon("a response", self.client.request(request)).await.unwrap()
    }

    /// Sends a request. Returns the status, the headers, and the body as text.
    pub(crate) async fn ask(&self, request: Request<WireBody>) -> (u16, HeaderMap, String) {
        let (head, body) = self.response(request).await.into_parts();
        let body = soon("the body", body.collect()).await.unwrap().to_bytes();
        (head.status.as_u16(), head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Sends these bytes on a connection of their own, and reads to its end.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let (mut read, mut write) = TcpStream::connect(self.address).await.unwrap().into_split();
        let mut said = Vec::new();
        let sent = async {
            // The gateway may close the connection before it has read all.
            let _ = write.write_all(bytes.as_ref()).await;
        };
        let (_, ()) = soon("the end", async { tokio::join!(read.read_to_end(&mut said), sent) }).await;
        String::from_utf8_lossy(&said).into_owned()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) async fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([format!("-{name}"), self.id().to_string()]).status().await;
        assert!(kill.unwrap().success());
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Run {
        let mut stdout = String::new();
        while let Some(line) = soon("the end of its output", self.stdout.next_line()).await.unwrap() {
            writeln!(stdout, "{line}").unwrap();
        }
        while self.hear().await {}
        let status = soon("its end", self.child.wait()).await.unwrap();
        // What it says at every start is of no interest.
        Run { code: status.code(), stdout, stderr: self.said.split_off(self.usual) }
    }

    /// Ends it with SIGTERM.
    pub(crate) async fn stop(self) -> Run {
        self.signal("TERM").await;
        self.ended().await.ok()
    }

    /// Ends it with SIGTERM, and checks that it had nothing to say.
    pub(crate) async fn stop_without_a_word(self) {
        assert_eq!(self.stop().await.stderr, "");
    }
}

/// What it says after a signal while requests are under way.
pub(crate) const ENDING: &str = "Waiting for the requests under way; another signal ends them\n";

/// Adds a client, and returns its token.
pub(crate) fn client(home: &Home, arguments: &[&str]) -> String {
    let run = home.run_showing([&["client", "add"], arguments].concat(), "").ok();
    let token = run.stdout.trim_end().to_owned();
    home.secret(&token);
    token
}
