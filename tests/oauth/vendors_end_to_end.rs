//! Every vendor from its settings in a file to a working account: signed in with each of its flows, stored in a vault,
//! used through the layers, renewed, ended by the vendor, signed in again.

#![cfg(all(feature = "file", feature = "config", feature = "oauth"))]

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tempfile::TempDir;
use tower::{Layer, ServiceExt};
use tower_credentials::oauth::{FlowKind, OAuthClient, OAuthHttp};
use tower_credentials::registry::Registry;
use tower_credentials::standing::Health;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::{Metadata, Pool};

use crate::authorization_server::{AuthorizationServer, Kind, Rules, Vendor, client};

struct Scene {
    server: AuthorizationServer,
    registry: Registry,
    oauth: OAuthClient,
    vault: FileVault,
    _directory: TempDir,
}

impl Scene {
    async fn new(rules: Rules, allows_hosts: bool) -> Self {
        let server = AuthorizationServer::start(rules);
        let name = server.rules().vendor.name();
        let registry =
            Registry::builder().toml("config.toml", server.settings(allows_hosts)).build().unwrap();
        let oauth = registry.oauth(name, OAuthHttp::new(client())).unwrap();
        let directory = TempDir::new().unwrap();
        let vault = FileVault::open(directory.path().join("vault"), &VaultKey::generate()).await;
        Self { server, registry, oauth, vault: vault.unwrap(), _directory: directory }
    }

    fn name(&self) -> &'static str {
        self.server.rules().vendor.name()
    }

    async fn sign_in(&self, flow: FlowKind) -> Metadata {
        let account = self.server.sign_in(&self.oauth, flow).await.unwrap();
        account.store(&self.vault, self.registry.pool_key(self.name()).unwrap(), "work").await.unwrap()
    }

    /// A client whose redirect URI has a port, as a pasted code requires, on which nothing listens.
    fn that_listens_nowhere(&self) -> OAuthClient {
        let mut config = self.oauth.config().clone();
        config.redirect_uri = config.redirect_uri.map(|uri| uri.replace(":0", ":54545"));
        OAuthClient::new(self.name(), config, OAuthHttp::new(client()))
    }

    async fn open(&self) -> Pool {
        let pool = self.registry.pool(self.name(), self.vault.clone()).unwrap();
        pool.refresher(self.oauth.refresher()).open().await.unwrap()
    }

    /// Requests the protected resource.
    async fn ask(&self, pool: &Pool) -> (StatusCode, String) {
        let service = self.registry.layer(pool.clone()).layer(client());
        let uri = format!("{}/resource?key=callers-own", self.server.url());
        let request = Request::get(uri).body(Full::<Bytes>::default()).unwrap();
        let response = service.oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn expire(&self) {
        self.server.advance(self.server.rules().access_lifetime + Duration::from_secs(1));
    }

    fn head(&self) -> HeaderMap {
        self.server.resource_heads().pop().unwrap()
    }

    /// Returns how often tokens were renewed.
    fn renewals(&self) -> usize {
        match self.server.rules().vendor {
            // The first is part of the sign-in.
            Vendor::Copilot => self.server.granted(Kind::Exchange) - 1,
            _ => self.server.granted(Kind::Refresh),
        }
    }
}

fn rules(vendor: Vendor) -> Rules {
    // The same server under another name plays the account's own host.
    let api = match vendor {
        Vendor::Copilot => Some("http://localhost:{}"),
        Vendor::Qwen => Some("http://localhost:{}/v1"),
        _ => None,
    };
    // Devices may poll at once.
    Rules { api, device_interval: Some(0), ..Rules::of(vendor) }
}

#[tokio::test]
async fn an_account_of_every_vendor_works_after_every_flow() {
    for vendor in Vendor::ALL {
        let flows = Scene::new(rules(vendor), true).await.oauth.config().flows.clone();
        assert!(!flows.is_empty());
        for flow in flows {
            let mut scene = Scene::new(rules(vendor), true).await;
            if flow == FlowKind::PastedCode {
                scene.oauth = scene.that_listens_nowhere();
            }
            let signed_in = scene.sign_in(flow).await;
            let pool = scene.open().await;
            let (status, body) = scene.ask(&pool).await;
            assert_eq!(status, StatusCode::OK, "{vendor:?} by {flow:?}: {body}");
            assert!(body.contains("alice"), "{body}");
            let head = scene.head();
            let host = head["host"].to_str().unwrap();
            assert_eq!(host.starts_with("localhost"), scene.server.rules().api.is_some(), "{host}");
            match vendor {
                Vendor::Anthropic => assert_eq!(head["anthropic-beta"], "oauth-2025-04-20"),
                Vendor::OpenAi => assert_eq!(head["chatgpt-account-id"], "workspace"),
                _ => {}
            }

            scene.expire();
            assert_eq!(scene.ask(&pool).await.0, StatusCode::OK, "{vendor:?} by {flow:?}");
            assert_eq!(scene.renewals(), 1, "{vendor:?} by {flow:?}");

            // A program that starts now has the new token, and its host.
            let restarted = scene.open().await;
            assert_eq!(scene.ask(&restarted).await.0, StatusCode::OK);
            assert_eq!(scene.renewals(), 1);
            let head = scene.head();
            let host = head["host"].to_str().unwrap();
            assert_eq!(host.starts_with("localhost"), scene.server.rules().api.is_some(), "{host}");

            // The vendor ends the session.
            scene.server.revoke_all();
            assert_eq!(scene.ask(&pool).await.0, StatusCode::UNAUTHORIZED, "{vendor:?} by {flow:?}");
            let health = pool.status()[0].standing.health.clone();
            assert!(matches!(health, Health::NeedsSignIn { .. }), "{vendor:?} by {flow:?}: {health:?}");

            let again = scene.sign_in(flow).await;
            // If the vendor says whose tokens they are.
            let is_known = again.attributes.contains_key(tower_credentials::oauth::SignedIn::ACCOUNT);
            assert_eq!(again.id == signed_in.id, is_known, "{vendor:?} by {flow:?}");
            pool.sync().await.unwrap();
            assert_eq!(scene.ask(&pool).await.0, StatusCode::OK, "{vendor:?} by {flow:?}");
        }
    }
}

#[tokio::test]
async fn no_request_goes_to_an_accounts_host_that_nobody_has_allowed() {
    for (vendor, api) in [
        (Vendor::Copilot, "http://localhost:1"),
        (Vendor::Copilot, "https://githubcopilot.com.evil.test"),
        (Vendor::Qwen, "https://evil.test/v1"),
        (Vendor::Qwen, "portal.qwen.ai@evil.test"),
    ] {
        let scene = Scene::new(Rules { api: Some(api), ..rules(vendor) }, false).await;
        scene.sign_in(scene.oauth.first_flow().unwrap()).await;
        let pool = scene.open().await;
        // It goes to the caller's origin, which is trusted.
        assert_eq!(scene.ask(&pool).await.0, StatusCode::OK, "{api}");
        assert!(scene.head()["host"].to_str().unwrap().starts_with("127.0.0.1"), "{api}");
    }
}
