//! `credentials serve` as a process.

use std::fmt::Write;
use std::net::SocketAddr;
use std::process::Stdio;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
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

/// A gateway that listens.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) address: SocketAddr,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
    /// Its standard error so far.
    said: String,
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
        let mut command = Command::from(home.command(arguments));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let client = wire_client(false);
        let mut gateway = Self { child, address, stdout, stderr, said: String::new(), client };
        let line = gateway.says("Listening on http").await;
        gateway.address = line.rsplit('/').next().unwrap().parse().unwrap();
        gateway
    }

    /// Waits until its standard error has a line with this text, and returns the line.
    pub(crate) async fn says(&mut self, text: &str) -> String {
        loop {
            if let Some(line) = self.said.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            let line = soon("a line of the gateway's", self.stderr.next_line()).await.unwrap();
            let Some(line) = line else { panic!("it has ended without saying {text:?}: {}", self.said) };
            writeln!(self.said, "{line}").unwrap();
        }
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

    pub(crate) async fn response(&self, request: Request<WireBody>) -> Response<Incoming> {
        soon("a response", self.client.request(request)).await.unwrap()
    }

    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        let kill = Command::new("kill").args([format!("-{name}"), id]).status().await;
        assert!(kill.unwrap().success());
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Run {
        let mut stdout = String::new();
        while let Some(line) = soon("the end of its output", self.stdout.next_line()).await.unwrap() {
            writeln!(stdout, "{line}").unwrap();
        }
        while let Some(line) = soon("the end of its errors", self.stderr.next_line()).await.unwrap() {
            writeln!(self.said, "{line}").unwrap();
        }
        let status = soon("its end", self.child.wait()).await.unwrap();
        Run { code: status.code(), stdout, stderr: self.said }
    }

    /// Ends it with SIGTERM.
    pub(crate) async fn stop(self) -> Run {
        self.signal("TERM").await;
        self.ended().await.ok()
    }
}

/// Adds a client, and returns its token.
pub(crate) fn client(home: &Home, arguments: &[&str]) -> String {
    let run = home.run_showing([&["client", "add"], arguments].concat(), "").ok();
    let token = run.stdout.trim_end().to_owned();
    home.secret(&token);
    token
}
