//! The program over a vault of many hosts, in a Redis or Valkey.
//!
//! Each test starts an engine of its own; see `tests/fleet`. Without one the tests are left out, unless
//! `TOWER_CREDENTIALS_REDIS=required` is set.

mod away;
mod checking;
mod commands;
mod engines;
mod naming;
mod passwords;
mod renewals;
mod serving;
mod status;

use crate::cli::{Home, Run};
use crate::server::Server;

/// The password of the engine's user `vault`, which no output may have in it.
const PASSWORD: &str = "planted-password";

/// An engine with a user `vault`, and a home of a host.
struct Scene {
    server: Server,
    home: Home,
}

impl Scene {
    /// `None` if no engine is installed.
    fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// Starts an engine with these options.
    fn with(options: &[&str]) -> Option<Self> {
        let server = Server::start(options)?;
        let_in(&server);
        Some(Self { server, home: host() })
    }

    /// The engine's URL without a name.
    fn url(&self) -> String {
        self.server.url()
    }

    /// The URL with the name `vault`.
    fn named(&self) -> String {
        format!("redis://vault@127.0.0.1:{}", self.server.port())
    }

    /// Runs a command over the engine.
    #[track_caller]
    fn run(&self, words: &str) -> Run {
        run(&self.home, &self.url(), words)
    }

    /// Stores the key `LABEL-key` of the provider `x`.
    #[track_caller]
    fn login(&self, label: &str) {
        login(&self.home, &self.url(), label);
    }
}

/// Makes the engine's user `vault`.
fn let_in(server: &Server) {
    let rules = ["ACL", "SETUSER", "vault", "on", &format!(">{PASSWORD}"), "~*", "&*", "+@all"];
    server.tell::<()>(&rules);
}

/// A home whose provider `x` has its requests at an origin where nobody listens.
fn host() -> Home {
    let home = Home::new();
    home.settings("[providers.x]\ntype = \"generic\"\norigins = [\"http://127.0.0.1:9\"]\n");
    home.secret(PASSWORD);
    home
}

/// Another host with the same key.
fn other_host(of: &Home) -> Home {
    let home = host();
    std::fs::copy(of.key_file(), home.key_file()).unwrap();
    home
}

/// Runs a command over the engine at this URL.
#[track_caller]
fn run(home: &Home, url: &str, words: &str) -> Run {
    home.run(["--vault", url].into_iter().chain(words.split(' ')))
}

#[track_caller]
fn login(home: &Home, url: &str, label: &str) {
    let key = format!("{label}-key");
    home.secret(&key);
    home.run_with(["--vault", url, "login", "x", "--api-key", "--label", label], &format!("{key}\n"))
        .ok();
}

/// The labels of the accounts, in order.
#[track_caller]
fn labels(run: &Run) -> Vec<String> {
    let label = |account: &serde_json::Value| account["label"].as_str().unwrap().to_owned();
    run.json().as_array().unwrap().iter().map(label).collect()
}
