//! The gateway waits for tokens that are being renewed before it ends.

use tower_credentials::vault::VaultExt;
use tower_credentials::{Clock, Credential, Metadata, PoolKey, Secret};

use super::process::Gateway;
use crate::authorization_server::{AuthorizationServer, Kind, Rules, Vendor};
use crate::cli::Home;
use crate::support::seconds;

/// A gateway in whose background a token will be renewed.
struct Scene {
    home: Home,
    server: AuthorizationServer,
    account: Metadata,
    old: String,
}

impl Scene {
    async fn new() -> Self {
        let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
        let home = Home::new();
        home.settings(&server.settings(true));
        let mut tokens = server.account().await.tokens.clone();
        tokens.expires_at = Some(Clock::system().now().before(seconds(60)));
        let old = tokens.access.expose().to_owned();
        let mut account = Credential::new(PoolKey::new("openai"), "work", tokens);
        // A token that was just stored would not be renewed at first.
        account.metadata.updated_at = Clock::system().now().before(seconds(3600));
        let account = home.vault().await.put(account).await.unwrap();
        Self { home, server, account, old }
    }

    async fn token(&self) -> String {
        let stored = self.home.vault().await.get(&self.account.pool, self.account.id).await.unwrap();
        let Secret::OAuth(tokens) = stored.secret else { panic!("another kind") };
        tokens.access.expose().to_owned()
    }
}

const WAITING: &str =
    "Waiting until the token of openai/work is renewed; another signal ends it at once";

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_in_the_middle_of_a_background_renewal_waits_for_it() {
    for name in ["TERM", "INT", "QUIT"] {
        let scene = Scene::new().await;
        let gate = scene.server.hold_after();
        let mut gateway = Gateway::open(&scene.home, &[]).await;
        gate.arrived().await;
        gateway.signal(name).await;
        gateway.says(WAITING).await;
        gate.let_go();
        gateway.ended().await.ok();
        assert_ne!(scene.token().await, scene.old, "{name}");
        assert_eq!((scene.server.granted(Kind::Refresh), scene.server.reuses()), (1, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_signal_in_that_time_ends_it_at_once_and_it_says_what_may_be_lost() {
    let scene = Scene::new().await;
    let gate = scene.server.hold_after();
    let mut gateway = Gateway::open(&scene.home, &[]).await;
    gate.arrived().await;
    gateway.signal("TERM").await;
    gateway.says(WAITING).await;
    gateway.signal("TERM").await;
    gateway.ended().await.code(143).says("the renewal of openai/work was cut off");
    gate.let_go();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_saved_does_not_hold_up_the_end() {
    let scene = Scene::new().await;
    let gate = scene.server.hold_after();
    let mut gateway = Gateway::open(&scene.home, &[]).await;
    gate.arrived().await;
    let lock = scene.home.vault_directory().join("lock");
    let lock = std::fs::File::options().write(true).open(lock).unwrap();
    lock.lock().unwrap();
    gate.let_go();
    gateway.says("the new token of openai/work can't be saved").await;
    gateway.signal("TERM").await;
    gateway.ended().await.ok().says("the renewal of openai/work was cut off");
    drop(lock);
}
