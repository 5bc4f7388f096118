//! The program over each kind of engine: alone, with TLS, behind Sentinels, as a cluster, and a Valkey.

mod failover;
mod refused;

use std::path::Path;

use super::serving::other_sees_the_limit_and_its_pause_counts;
use super::{PASSWORD, labels, let_in, other_host};
use crate::cli::Home;
use crate::gateway::process::{Gateway, upstream};
use crate::server::Server;
use crate::server::sentinel::Sentinel;
use crate::server::tls::TlsServer;
use crate::wire::Wire;
use crate::wire::certified::Certified;

/// The password of the Sentinels.
const SENTINEL_PASSWORD: &str = "planted-sentinel-password";

/// How hosts reach an engine.
struct Place {
    /// The URL as the program shows it.
    url: String,
    /// The name of the engine's user; empty for the usual one.
    user: &'static str,
    /// What the settings of `[vault]` need beside the URL.
    settings: String,
}

impl Place {
    fn new(url: String) -> Self {
        Self { url, user: "vault", settings: String::new() }
    }

    /// One with TLS, whose certificate this authority has signed.
    fn with_tls(engine: &TlsServer, files: &Path, authority: &str) -> Self {
        let file = files.join("authority.pem");
        std::fs::write(&file, authority).unwrap();
        let settings = format!("root_certificates = \"{}\"\n", file.display());
        Self { settings, ..Self::new(format!("rediss://127.0.0.1:{}", engine.port())) }
    }

    /// The URL with the name of the engine's user.
    fn named(&self) -> String {
        match self.user {
            "" => self.url.clone(),
            user => self.url.replace("://", &format!("://{user}@")),
        }
    }

    /// Lets a host find the engine by the environment.
    fn by_environment(&self, home: Home) -> Home {
        let before = std::fs::read_to_string(home.settings_file()).unwrap();
        home.settings(&format!("{before}[vault]\n{}", self.settings));
        home.secret(SENTINEL_PASSWORD);
        home.variable("TOWER_CREDENTIALS_DIR", self.named())
            .variable("TOWER_CREDENTIALS_VAULT_PASSWORD", PASSWORD)
            .variable("TOWER_CREDENTIALS_VAULT_SENTINEL_PASSWORD", SENTINEL_PASSWORD)
    }

    /// Lets a host find the engine by its settings.
    fn by_settings(&self, home: Home) -> Home {
        let before = std::fs::read_to_string(home.settings_file()).unwrap();
        let (url, more) = (self.named(), &self.settings);
        home.settings(&format!(
            "{before}[vault]\nurl = \"{url}\"\npassword_command = \"echo {PASSWORD}\"\n\
             sentinel_password_command = \"echo {SENTINEL_PASSWORD}\"\n{more}"
        ));
        home.secret(SENTINEL_PASSWORD);
        home
    }
}

/// Two hosts with the same key, whose provider `x` is at this upstream: one finds the engine by the environment, the other by
/// its settings.
fn hosts(place: &Place, upstream: &Wire) -> [Home; 2] {
    let settings = format!("[providers.x]\ntype = \"generic\"\norigins = [\"{}\"]\n", upstream.origin());
    let one = super::host();
    one.settings(&settings);
    let one = place.by_environment(one);
    one.run(["vault", "init"]).ok().says(&format!("Made the vault {}", place.url));
    let other = other_host(&one);
    other.settings(&settings);
    [one, place.by_settings(other)]
}

/// Stores the keys `limited-key` and `good-key`, looks at them from both hosts, and lets a gateway of one meet a limit, which
/// the other sees.
async fn two_hosts_share_accounts_and_a_limit(place: &Place) -> [Home; 2] {
    let upstream = upstream().await;
    let [one, other] = hosts(place, &upstream);
    for label in ["limited", "good"] {
        store(&one, label);
    }
    assert_eq!(labels(&other.run(["list", "--json"]).ok()), ["limited", "good"]);
    other.run_showing(["headers", "x"], "").ok().prints("Bearer limited-key");
    other.run_showing(["token", "x/good"], "").ok().prints("good-key");
    for home in [&one, &other] {
        let status = home.run(["status"]).ok();
        let line = status.stdout.lines().next().unwrap();
        assert!(line.contains(&format!(" at {}, primary", place.url)), "{line}");
        assert!(status.stdout.contains("x/default: 2 of 2 can be used"), "{status:#?}");
        home.run(["vault", "check"]).ok().prints("accounts: 2; opened: 2; pools: 1");
    }
    let gateway = Gateway::open(&one, &[]).await;
    other_sees_the_limit_and_its_pause_counts(&gateway, &other).await;
    gateway.stop_without_a_word().await;
    other.run(["exec", "x", "--", "true"]).ok();
    [one, other]
}

/// Stores the key `LABEL-key`.
#[track_caller]
fn store(home: &Home, label: &str) {
    let key = format!("{label}-key");
    home.secret(&key);
    home.run_with(["login", "x", "--api-key", "--label", label], &format!("{key}\n")).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_alone_with_a_password() {
    let Some(server) = Server::start(&["--requirepass", PASSWORD]) else { return };
    let place = Place { user: "", ..Place::new(server.url()) };
    two_hosts_share_accounts_and_a_limit(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_alone_with_a_name_and_a_password() {
    let Some(server) = Server::start(&[]) else { return };
    let_only_in(&server);
    two_hosts_share_accounts_and_a_limit(&Place::new(server.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_with_tls() {
    let files = tempfile::tempdir().unwrap();
    let Some((_engine, place)) = with_tls(files.path()) else { return };
    two_hosts_share_accounts_and_a_limit(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_behind_a_sentinel() {
    let Some(server) = Server::start(&[]) else { return };
    let sentinel = Sentinel::with_password(&server, SENTINEL_PASSWORD);
    let_in(&server);
    let [one, _] = two_hosts_share_accounts_and_a_limit(&Place::new(sentinel.url("main"))).await;
    let status = one.run(["status"]);
    assert!(status.stdout.contains(&format!(", primary 127.0.0.1:{}, ", server.port())), "{status:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_one_node() {
    let Some(server) = Server::start_cluster() else { return };
    let_only_in(&server);
    let place = Place::new(format!("{}?cluster=true", server.url()));
    two_hosts_share_accounts_and_a_limit(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_valkey() {
    let Some(server) = Server::start_valkey() else { return };
    let_only_in(&server);
    let place = Place::new(server.url().replace("redis:", "valkey:"));
    let [one, _] = two_hosts_share_accounts_and_a_limit(&place).await;
    assert_eq!(one.run(["status", "--json"]).json()["engine"]["name"], "Valkey");
}

/// Starts an engine with TLS that lets only its user `vault` in. The hosts know its authority by a file in this directory.
fn with_tls(files: &Path) -> Option<(TlsServer, Place)> {
    let certified = Certified::new();
    let engine = TlsServer::start_for_all(&certified.certificate, &certified.key)?;
    let_only_in(&engine.server);
    let place = Place::with_tls(&engine, files, &certified.authority.pem());
    Some((engine, place))
}

/// Makes the engine's user `vault`, and lets nobody else in.
fn let_only_in(server: &Server) {
    let_in(server);
    server.tell::<()>(&["ACL", "SETUSER", "default", "off"]);
}
