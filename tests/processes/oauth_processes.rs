//! The tests' authorization server as other processes see it.

#![cfg(all(unix, feature = "oauth"))]

use std::time::Duration;

use tower::ServiceExt;
use tower_credentials::oauth::{FlowKind, OAuthClient, OAuthHttp};
use tower_credentials::{Credential, OAuthTokens, PoolKey};

use crate::authorization_server::{AuthorizationServer, Kind, Rules, Vendor, client, config};
use crate::children::{self, Job, say, setting};

#[test]
fn a_child_does_its_job() {
    let Some(job) = children::job() else { return };
    assert_eq!(job, "refresher");
    children::on_two_threads(async {
        let config = config(Vendor::OpenAi, &setting("SERVER").unwrap());
        let client = OAuthClient::new("openai", config, OAuthHttp::new(client()));
        let tokens = OAuthTokens::new("expired").refresh(setting("TOKEN").unwrap());
        let credential = Credential::new(PoolKey::new("openai"), "work", tokens);
        match client.refresher().oneshot(credential).await {
            Ok(_) => say("renewed"),
            Err(error) => say(error),
        }
    });
}

#[tokio::test]
async fn of_two_processes_with_one_refresh_token_the_second_is_refused_unless_in_grace() {
    for (grace, expected) in [
        (None, "a new sign-in is needed: refresh_token_reused: … was used before"),
        (Some(Duration::from_secs(300)), "renewed"),
    ] {
        let server = AuthorizationServer::start(Rules { grace, ..Rules::of(Vendor::OpenAi) });
        let account = server.sign_in(&server.client(), FlowKind::Loopback).await.unwrap();
        let token = account.tokens.refresh.unwrap();
        let job = || {
            Job::new(module_path!(), "refresher")
                .set("SERVER", server.url())
                .set("TOKEN", token.expose())
        };
        // The first has its new tokens granted, and no response, when the second comes.
        let gate = server.hold_after();
        let first = job().start();
        gate.arrived().await;
        let said = tokio::task::spawn_blocking({
            let second = job().start();
            move || second.succeed()
        });
        assert_eq!(said.await.unwrap(), [expected]);
        gate.let_go();
        let said = tokio::task::spawn_blocking(move || first.succeed());
        assert_eq!(said.await.unwrap(), ["renewed"]);
        assert_eq!(server.asked(Kind::Refresh), 2);
    }
}
