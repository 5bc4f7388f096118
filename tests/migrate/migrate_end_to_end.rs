//! Migrated accounts of other programs work like accounts that were signed in to here: they are used through the
//! layers, renewed, ended by the vendor, and signed in to again in the other program.
#![cfg(all(feature = "migrate", feature = "file", feature = "config", feature = "oauth"))]

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};
use tower_credentials::migrate::{Action, Source, Step, apply, remove_old};
use tower_credentials::oauth::{OAuthHttp, SignedIn};
use tower_credentials::registry::Registry;
use tower_credentials::standing::Health;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::{OAuthTokens, Pool};

use crate::authorization_server::{AuthorizationServer, Kind, Rules, Vendor, client};
use crate::legacy::Home;

/// Every file with a vendor's account, and the vendor.
const FILES: [(Source, Vendor); 7] = [
    (Source::Opencode, Vendor::Anthropic),
    (Source::Opencode, Vendor::OpenAi),
    (Source::Opencode, Vendor::Copilot),
    (Source::Codex, Vendor::OpenAi),
    (Source::Claude, Vendor::Anthropic),
    (Source::Gemini, Vendor::Google),
    (Source::Qwen, Vendor::Qwen),
];

fn rules(vendor: Vendor) -> Rules {
    // The same server under another name plays the account's own host.
    let api = match vendor {
        Vendor::Copilot => Some("http://localhost:{}"),
        Vendor::Qwen => Some("http://localhost:{}/v1"),
        _ => None,
    };
    Rules { api, ..Rules::of(vendor) }
}

struct Scene {
    source: Source,
    server: AuthorizationServer,
    registry: Registry,
    home: Home,
    vault: FileVault,
}

impl Scene {
    async fn new((source, vendor): (Source, Vendor)) -> Self {
        let server = AuthorizationServer::start(rules(vendor));
        let registry = Registry::builder().toml("config.toml", server.settings(true)).build().unwrap();
        let home = Home::new();
        let vault = FileVault::open(home.path().join("vault"), &VaultKey::generate()).await.unwrap();
        Self { source, server, registry, home, vault }
    }

    fn name(&self) -> &'static str {
        self.server.rules().vendor.name()
    }

    /// A person signs in with the other program, which writes its file. Its tokens expire this much later than the
    /// server says.
    async fn other_program_signs_in(&self, later: u64) {
        let SignedIn { tokens, .. } = self.server.account().await;
        self.home.write(self.source, self.file(&tokens, later).to_string());
    }

    fn file(&self, tokens: &OAuthTokens, later: u64) -> Value {
        let access = tokens.access.expose();
        let refresh = tokens.refresh.as_ref().unwrap().expose();
        let end = tokens.expires_at.unwrap().as_millis() + later;
        let extra = |name: &str| tokens.extra.get(name).map(|value| value.expose());
        match self.source {
            // It exchanges GitHub's token when it needs to.
            Source::Opencode if self.server.rules().vendor == Vendor::Copilot => json!({
                self.name(): {"type": "oauth", "refresh": refresh, "access": "", "expires": 0},
            }),
            Source::Opencode => json!({
                self.name(): {
                    "type": "oauth", "refresh": refresh, "access": access, "expires": end,
                    "accountId": extra("account_id"),
                },
            }),
            Source::Codex => json!({
                "OPENAI_API_KEY": null,
                "tokens": {
                    "id_token": extra("id_token"), "access_token": access, "refresh_token": refresh,
                    "account_id": extra("account_id"),
                },
                "last_refresh": "2025-12-24T10:00:00Z",
            }),
            Source::Claude => json!({
                "claudeAiOauth": {
                    "accessToken": access, "refreshToken": refresh, "expiresAt": end,
                    "scopes": ["user:inference"], "subscriptionType": "max",
                },
            }),
            _ => json!({
                "access_token": access, "refresh_token": refresh, "token_type": "Bearer",
                "expiry_date": end, "id_token": extra("id_token"), "resource_url": extra("endpoint"),
            }),
        }
    }

    async fn migrate(&self) -> Step {
        let found = tower_credentials::migrate::read(self.source, self.home.place(self.source)).unwrap();
        assert_eq!(found.skipped, []);
        let report = apply(&self.vault, &self.registry, &[found]).await.unwrap();
        assert!(report.failures.is_empty(), "{report:?}");
        let [step] = &report.steps[..] else { panic!("{report:?}") };
        step.clone()
    }

    async fn open(&self) -> Pool {
        let oauth = self.registry.oauth(self.name(), OAuthHttp::new(client())).unwrap();
        let pool = self.registry.pool(self.name(), self.vault.clone()).unwrap();
        pool.refresher(oauth.refresher()).open().await.unwrap()
    }

    async fn ask(&self, pool: &Pool) -> StatusCode {
        let service = self.registry.layer(pool.clone()).layer(client());
        let request = Request::get(format!("{}/resource", self.server.url()));
        let request = request.body(Full::<Bytes>::default()).unwrap();
        service.oneshot(request).await.unwrap().status()
    }

    fn renewals(&self) -> usize {
        let kind = match self.server.rules().vendor {
            Vendor::Copilot => Kind::Exchange,
            _ => Kind::Refresh,
        };
        self.server.granted(kind)
    }
}

#[tokio::test]
async fn a_migrated_account_of_every_program_works_like_a_signed_in_one() {
    for file in FILES {
        let scene = Scene::new(file).await;
        scene.other_program_signs_in(0).await;
        let step = scene.migrate().await;
        assert_eq!((step.action, &*step.label), (Action::Add, step.source.as_str()), "{file:?}");
        let id = step.id.unwrap();

        let pool = scene.open().await;
        let before = scene.renewals();
        assert_eq!(scene.ask(&pool).await, StatusCode::OK, "{file:?}");
        // opencode has no Copilot token in its file until it needs one.
        let made_first = usize::from(file.1 == Vendor::Copilot);
        assert_eq!(scene.renewals() - before, made_first, "{file:?}");
        let head = scene.server.resource_heads().pop().unwrap();
        let host = head["host"].to_str().unwrap();
        assert_eq!(
            host.starts_with("localhost"),
            scene.server.rules().api.is_some(),
            "{file:?}: {host}"
        );
        match file.1 {
            Vendor::Anthropic => assert_eq!(head["anthropic-beta"], "oauth-2025-04-20"),
            Vendor::OpenAi => assert_eq!(head["chatgpt-account-id"], "workspace"),
            _ => {}
        }

        // A device has waited for its tokens, by its own clock.
        scene.server.advance(scene.server.rules().access_lifetime + Duration::from_secs(60));
        let before = scene.renewals();
        assert_eq!(scene.ask(&pool).await, StatusCode::OK, "{file:?}");
        assert_eq!(scene.renewals() - before, 1, "{file:?}");
        assert_eq!(scene.migrate().await.action, Action::Unchanged, "{file:?}");
        let restarted = scene.open().await;
        assert_eq!(scene.ask(&restarted).await, StatusCode::OK, "{file:?}");
        assert_eq!(scene.renewals() - before, 1, "{file:?}");

        scene.server.revoke_all();
        assert_eq!(scene.ask(&pool).await, StatusCode::UNAUTHORIZED, "{file:?}");
        let health = pool.status()[0].standing.health.clone();
        assert!(matches!(health, Health::NeedsSignIn { .. }), "{file:?}: {health:?}");
        // The other program does not know better.
        assert_eq!(scene.migrate().await.action, Action::Unchanged, "{file:?}");
        pool.sync().await.unwrap();
        let health = pool.status()[0].standing.health.clone();
        assert!(matches!(health, Health::NeedsSignIn { .. }), "{file:?}: {health:?}");

        scene.other_program_signs_in(60_000).await;
        let step = scene.migrate().await;
        let known = (step.action, step.id, &*step.label);
        assert_eq!(
            known,
            (Action::Update, Some(id), step.source.as_str()),
            "{file:?}: {:?}",
            step.reason
        );
        pool.sync().await.unwrap();
        assert_eq!(scene.ask(&pool).await, StatusCode::OK, "{file:?}");

        let found =
            tower_credentials::migrate::read(scene.source, scene.home.place(scene.source)).unwrap();
        remove_old(&scene.vault, &scene.registry, &found).await.unwrap();
        assert_eq!(scene.ask(&scene.open().await).await, StatusCode::OK, "{file:?}");
    }
}
