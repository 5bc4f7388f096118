//! The accounts behind the gateway: rotation, refreshes, and what survives a restart.

use http::Request;
use http_body::Frame;
use tower_credentials::vault::VaultExt;
use tower_credentials::{OAuthTokens, PoolKey};

use super::process::{Gateway, Home, PROVIDER};
use crate::support::{Canned, Server, Upstream};
use crate::wire::{frames, full, soon, whole, wire_client};

async fn send(gateway: &Gateway, method: &str, body: &'static str) -> (u16, String) {
    let request = Request::builder().method(method).uri(gateway.url("/v1/messages"));
    let request = request.header("authorization", "Bearer the-clients-own").body(full(body)).unwrap();
    let response = soon("a response", wire_client(false).request(request)).await.unwrap();
    let (head, body) = response.into_parts();
    (head.status.as_u16(), String::from_utf8(whole(body).await.0.to_vec()).unwrap())
}

#[tokio::test]
async fn a_limited_account_gives_way_to_the_next_within_one_request() {
    let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
    let server = Server::start(&upstream).await;
    let home = Home::with_keys(&["a", "b"]).await;
    let gateway = home.gateway(&server.origin(), &[]).await;
    assert_eq!(send(&gateway, "POST", "question").await, (200, "b".into()));
    assert_eq!(upstream.tokens(), ["a", "b"]);
    for seen in upstream.seen.all() {
        assert_eq!((seen.body, seen.uri.path()), ("question".into(), "/v1/messages"));
    }
}

#[tokio::test]
async fn a_body_that_streams_is_sent_again_if_it_fits_into_the_bound() {
    for (bound, status, tokens) in [("8", 200, &["a", "b"][..]), ("7", 429, &["a"])] {
        let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
        let server = Server::start(&upstream).await;
        let home = Home::with_keys(&["a", "b"]).await;
        let gateway = home.gateway(&server.origin(), &["--replay", bound]).await;
        let body = frames(["ques", "tion"].map(|piece| Frame::data(piece.into())));
        let request = Request::post(gateway.url("/v1/messages")).body(body).unwrap();
        let response = soon("a response", wire_client(false).request(request)).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &*upstream.tokens()),
            (status, &tokens.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
        );
        assert!(upstream.seen.all().iter().all(|seen| seen.body == "question"));
        // The next request uses an account that was ready all the time.
        assert_eq!(send(&gateway, "POST", "question").await, (200, "b".into()));
    }
}

#[tokio::test]
async fn cooldowns_outlive_the_process() {
    let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
    let server = Server::start(&upstream).await;
    let home = Home::with_keys(&["a", "b"]).await;
    let gateway = home.gateway(&server.origin(), &[]).await;
    assert_eq!(send(&gateway, "GET", "").await.0, 200);
    gateway.signal("KILL").await;
    assert!(!gateway.ended().await.0.success());
    let gateway = home.gateway(&server.origin(), &[]).await;
    assert_eq!(send(&gateway, "GET", "").await, (200, "b".into()));
    assert_eq!(upstream.tokens(), ["a", "b", "b"]);
}

#[tokio::test]
async fn a_cooldown_of_one_gateway_is_seen_by_another() {
    let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
    let server = Server::start(&upstream).await;
    let home = Home::with_keys(&["a", "b"]).await;
    let one = home.gateway(&server.origin(), &[]).await;
    let two = home.gateway(&server.origin(), &["--admin"]).await;
    assert_eq!(send(&one, "GET", "").await.0, 200);
    let seen = async {
        let standing = async || {
            let request = Request::get(two.url("/.gateway/pool")).body(full("")).unwrap();
            whole(wire_client(false).request(request).await.unwrap().into_body()).await.0
        };
        while !String::from_utf8_lossy(&standing().await).contains("limited") {
            tokio::task::yield_now().await;
        }
    };
    soon("the other's cooldown", seen).await;
    assert_eq!(send(&two, "GET", "").await, (200, "b".into()));
    assert_eq!(upstream.tokens(), ["a", "b", "b"]);
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_and_saved() {
    let upstream = Upstream::new().answers("old", [Canned::status(401)]).answers("new", [Canned::ok()]);
    let server = Server::start(&upstream).await;
    let tokens =
        r#"{"access_token":"new","refresh_token":"refresh-2","token_type":"bearer","expires_in":3600}"#;
    let json = Canned::ok().header("content-type", "application/json").body(tokens);
    let token_server = Upstream::new().answers("", [json]);
    let token_endpoint = Server::start(&token_server).await;
    let home = Home::with_keys(&[]).await;
    let vault = home.open().await;
    home.put(&vault, "work", OAuthTokens::new("old").refresh("refresh-1")).await;
    let config = home.file(
        "credentials.toml",
        &format!(
            "[providers.{PROVIDER}]\ntype = \"generic\"\n[providers.{PROVIDER}.oauth]\n\
             client_id = \"a-test\"\ntoken_url = \"{}/token\"\n",
            token_endpoint.origin()
        ),
    );
    let gateway = home.gateway(&server.origin(), &["--config", config.to_str().unwrap()]).await;
    assert_eq!(send(&gateway, "GET", "").await.0, 200);
    assert_eq!(upstream.tokens(), ["old", "new"]);
    let asked = token_server.seen.all();
    assert_eq!(asked.len(), 1);
    let form = String::from_utf8(asked[0].body.to_vec()).unwrap();
    assert!(form.contains("grant_type=refresh_token") && form.contains("refresh_token=refresh-1"));
    assert_eq!(gateway.stop().await, "");

    let stored = vault.load_pool(PoolKey::new(PROVIDER)).await.unwrap();
    let saved = &stored.credentials[0];
    assert_eq!(saved.metadata.generation.get(), 2);
    assert_eq!(saved.secret.token().expose(), "new");
    assert_eq!(saved.secret.refresh_token().unwrap().expose(), "refresh-2");
}

#[tokio::test]
async fn a_vendors_accounts_use_the_vendors_own_headers() {
    let upstream = Upstream::new();
    let server = Server::start(&upstream).await;
    let home = Home::with_keys(&[]).await;
    let vault = home.open().await;
    let key = tower_credentials::Secret::api_key("sk-1");
    let account =
        tower_credentials::Credential::new(PoolKey::with_namespace("anthropic", "team"), "k", key);
    vault.put(account).await.unwrap();
    let gateway =
        home.gateway(&server.origin(), &["--provider", "anthropic", "--namespace", "team"]).await;
    assert_eq!(send(&gateway, "POST", "hi").await.0, 200);
    let seen = &upstream.seen.all()[0];
    assert_eq!(seen.headers["x-api-key"], "sk-1");
    assert!(!seen.headers.contains_key("authorization"), "the client's own");
}

#[tokio::test]
async fn the_header_of_a_generic_provider_can_be_set() {
    let upstream = Upstream::new();
    let server = Server::start(&upstream).await;
    let home = Home::with_keys(&["a"]).await;
    let gateway = home.gateway(&server.origin(), &["--header", "x-api-key"]).await;
    assert_eq!(send(&gateway, "POST", "hi").await, (200, "a".into()));
    assert_eq!(upstream.seen.all()[0].headers["x-api-key"], "a");
}
