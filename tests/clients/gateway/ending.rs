//! The gateway waits for tokens that are being renewed before it ends.

use tower_credentials::vault::VaultExt;
use tower_credentials::{Clock, Credential, PoolKey, Secret};

use super::process::Home;
use crate::authorization_server::{AuthorizationServer, Kind, Rules, Vendor};
use crate::support::seconds;

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_in_the_middle_of_a_background_renewal_waits_for_it() {
    for name in ["TERM", "INT", "HUP"] {
        let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
        let home = Home::with_keys(&[]).await;
        let config = home.file("settings.toml", &server.settings(true));
        let mut tokens = server.account().await.tokens.clone();
        tokens.expires_at = Some(Clock::system().now().before(seconds(60)));
        let old = tokens.access.clone();
        let vault = home.open().await;
        let mut account = Credential::new(PoolKey::new("openai"), "work", tokens);
        // A token that was just stored would not be renewed at first.
        account.metadata.updated_at = Clock::system().now().before(seconds(3600));
        let account = vault.put(account).await.unwrap();
        let gate = server.hold_after();
        let more = ["--provider", "openai", "--config", config.to_str().unwrap()];
        let mut gateway = home.gateway(server.url(), &more).await;
        gate.arrived().await;
        gateway.signal(name).await;
        gateway.says("waiting until the tokens of account work are renewed").await;
        gate.let_go();
        let (status, said) = gateway.ended().await;
        assert!(status.success(), "{name}: {said}");
        assert!(said.contains("waiting until the tokens of account work are renewed"), "{said}");
        let Secret::OAuth(now) = vault.get(account.id).await.unwrap().secret else { panic!() };
        assert_ne!(now.access.expose(), old.expose(), "{name}");
        assert_eq!((server.granted(Kind::Refresh), server.reuses()), (1, 0));
    }
}
