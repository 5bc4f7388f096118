//! A Sentinel.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;

use tempfile::TempDir;

use super::Server;

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
        Self::start(server, &format!("sentinel failover-timeout main {failover_timeout}\n"))
    }

    /// Starts one that wants this password.
    pub(crate) fn with_password(server: &Server, password: &str) -> Self {
        Self::start(server, &format!("sentinel failover-timeout main 5000\nrequirepass {password}\n"))
    }

    fn start(server: &Server, more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = directory.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 500\n{more}",
            directory.path().display(),
            server.port(),
        );
        fs::write(&file, text).unwrap();
        let mut command = Command::new(&server.program);
        command.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // It listens before it says this.
        assert!(lines.any(|line| line.contains("Sentinel ID is")), "the Sentinel does not start");
        // What it says later must not fill the pipe.
        thread::spawn(move || lines.for_each(drop));
        Self { child, port, _directory: directory }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Asks it something, with this password; `None` if it does not answer, or refuses.
    pub(crate) fn ask(&self, password: Option<&str>, words: &[&str]) -> Option<Vec<redis::Value>> {
        let login = password.map(|password| format!(":{password}@")).unwrap_or_default();
        let client = redis::Client::open(format!("redis://{login}127.0.0.1:{}", self.port)).unwrap();
        let mut ask = redis::cmd("SENTINEL");
        ask.arg(words).query(&mut client.get_connection().ok()?).ok()
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
