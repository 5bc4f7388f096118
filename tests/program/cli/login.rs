//! A sign-in that waits for somebody, at the server of the tests.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use tower_credentials::Credential;
use tower_credentials::vault::VaultExt;

use crate::authorization_server::{AuthorizationServer, Rules, Vendor, browse};
use crate::cli::{Home, Run};

/// A home whose settings lead to the server.
pub(crate) fn home_of(server: &AuthorizationServer) -> Home {
    let home = Home::new();
    home.settings(&server.settings(true));
    home
}

pub(crate) fn server(vendor: Vendor) -> AuthorizationServer {
    let mut rules = Rules::of(vendor);
    rules.device_interval = Some(1);
    AuthorizationServer::start(rules)
}

/// The program, waiting for somebody to sign in.
pub(crate) struct Waiting {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    said: String,
}

impl Waiting {
    pub(crate) fn begin(home: &Home, arguments: &[&str]) -> Self {
        let mut command = home.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, said: String::new() }
    }

    /// The line that is set off from the others: the page's address, or the code.
    pub(crate) fn shown(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "{}", self.said);
            self.said.push_str(&line);
            if let Some(shown) = line.strip_prefix("  ") {
                return shown.trim().to_owned();
            }
        }
    }

    pub(crate) fn end(mut self) -> Run {
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut self.said).unwrap();
        Run { code: self.child.wait().unwrap().code(), stdout, stderr: self.said }
    }
}

/// Signs in through a browser.
pub(crate) async fn sign_in(server: &AuthorizationServer, home: &Home, arguments: &[&str]) -> Run {
    let mut waiting = Waiting::begin(home, arguments);
    browse(&waiting.shown()).await;
    let run = waiting.end();
    // No token and no code that was issued is shown.
    for secret in server.issued() {
        assert!(!run.stderr.contains(&secret) && !run.stdout.contains(&secret), "{run:?}");
    }
    run
}

pub(crate) async fn accounts(home: &Home) -> Vec<Credential> {
    let vault = home.vault().await;
    let mut accounts = Vec::new();
    for credential in vault.list().await.unwrap().credentials {
        accounts.push(vault.get(&credential.pool, credential.id).await.unwrap());
    }
    accounts
}

pub(crate) async fn labels(home: &Home) -> Vec<String> {
    accounts(home).await.iter().map(|account| account.metadata.label.to_string()).collect()
}
