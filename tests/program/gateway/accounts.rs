//! The accounts behind the gateway: rotation, renewals, and what survives a restart.

use http::Request;
use http_body::Frame;
use tower_credentials::vault::VaultExt;
use tower_credentials::{OAuthTokens, PoolKey, Secret};

use super::process::{Gateway, add_settings, client, home, home_of_x, upstream};
use crate::support::{Canned, Server, Upstream};
use crate::wire::{frames, full, soon};

async fn send(gateway: &Gateway, method: &str, body: &'static str) -> (u16, String) {
    send_to(gateway, "/x/v1/messages", method, body).await
}

async fn send_to(gateway: &Gateway, path: &str, method: &str, body: &'static str) -> (u16, String) {
    let request = Request::builder().method(method).uri(gateway.url(path));
    let request = request.header("authorization", "Bearer the-clients-own").body(full(body)).unwrap();
    let (status, _, body) = gateway.ask(request).await;
    (status, body)
}

#[tokio::test]
async fn a_limited_account_gives_way_to_the_next_within_one_request() {
    let upstream = Upstream::new().answers("a-key", [Canned::limited(3000)]);
    let server = Server::start(&upstream).await;
    let home = home_of_x(&server.origin(), &["a", "b"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    assert_eq!(send(&gateway, "POST", "question").await, (200, "b-key".into()));
    assert_eq!(upstream.tokens(), ["a-key", "b-key"]);
    for seen in upstream.seen.all() {
        assert_eq!((seen.body, seen.uri.path()), ("question".into(), "/v1/messages"));
    }
}

#[tokio::test]
async fn a_body_is_sent_again_if_it_fits_into_the_bound() {
    for (kind, bound, status, tokens) in [
        ("text/plain", "8", 200, &["a-key", "b-key"][..]),
        ("text/plain", "7", 429, &["a-key"]),
        ("application/json", "8", 200, &["a-key", "b-key"]),
        ("application/json", "7", 429, &["a-key"]),
    ] {
        let upstream = Upstream::new().answers("a-key", [Canned::limited(3000)]);
        let server = Server::start(&upstream).await;
        let home = home_of_x(&server.origin(), &["a", "b"]).await;
        let gateway = Gateway::open(&home, &["--replay", bound]).await;
        let body = frames(["ques", "tion"].map(|piece| Frame::data(piece.into())));
        let request = Request::post(gateway.url("/x/v1/messages")).header("content-type", kind);
        assert_eq!(gateway.ask(request.body(body).unwrap()).await.0, status, "{kind} {bound}");
        assert_eq!(upstream.tokens(), tokens, "{kind} {bound}");
        assert!(upstream.seen.all().iter().all(|seen| seen.body == "question"));
        // The next request uses an account that was ready all the time.
        assert_eq!(send(&gateway, "POST", "question").await, (200, "b-key".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cooldowns_outlive_the_process() {
    let upstream = Upstream::new().answers("a-key", [Canned::limited(3000)]);
    let server = Server::start(&upstream).await;
    let home = home_of_x(&server.origin(), &["a", "b"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    assert_eq!(send(&gateway, "GET", "").await.0, 200);
    gateway.signal("KILL").await;
    assert_eq!(gateway.ended().await.code, None);
    let gateway = Gateway::open(&home, &[]).await;
    assert_eq!(send(&gateway, "GET", "").await, (200, "b-key".into()));
    assert_eq!(upstream.tokens(), ["a-key", "b-key", "b-key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cooldown_of_one_gateway_is_seen_by_another() {
    let upstream = Upstream::new().answers("a-key", [Canned::limited(3000)]);
    let server = Server::start(&upstream).await;
    let home = home_of_x(&server.origin(), &["a", "b"]).await;
    let admin = client(&home, &["me", "--admin"]);
    let (one, two) = (Gateway::open(&home, &[]).await, Gateway::open(&home, &[]).await);
    assert_eq!(send(&one, "GET", "").await.0, 200);
    let seen = async {
        let standing = async || two.send(two.get("/.gateway/accounts", &admin)).await.1;
        while !standing().await.contains("limited") {
            tokio::task::yield_now().await;
        }
    };
    soon("the other's cooldown", seen).await;
    assert_eq!(send(&two, "GET", "").await, (200, "b-key".into()));
    assert_eq!(upstream.tokens(), ["a-key", "b-key", "b-key"]);
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_and_saved() {
    let upstream =
        Upstream::new().answers("old-token", [Canned::status(401)]).answers("new-token", [Canned::ok()]);
    let server = Server::start(&upstream).await;
    let tokens = r#"{"access_token":"new-token","refresh_token":"refresh-2","token_type":"bearer","expires_in":3600}"#;
    let json = Canned::ok().header("content-type", "application/json").body(tokens);
    let token_server = Upstream::new().answers("", [json]);
    let token_endpoint = Server::start(&token_server).await;
    let home = home_of_x(&server.origin(), &[]).await;
    let url = token_endpoint.origin();
    add_settings(
        &home,
        &format!("[providers.x.oauth]\nclient_id = \"a-test\"\ntoken_url = \"{url}/token\"\n"),
    );
    home.add_to(PoolKey::new("x"), "work", OAuthTokens::new("old-token").refresh("refresh-1")).await;
    let gateway = Gateway::open(&home, &[]).await;
    assert_eq!(send(&gateway, "GET", "").await.0, 200);
    assert_eq!(upstream.tokens(), ["old-token", "new-token"]);
    let asked = token_server.seen.all();
    assert_eq!(asked.len(), 1);
    let form = String::from_utf8(asked[0].body.to_vec()).unwrap();
    assert!(form.contains("grant_type=refresh_token") && form.contains("refresh_token=refresh-1"));
    gateway.stop_without_a_word().await;

    let stored = home.vault().await.load_pool(PoolKey::new("x")).await.unwrap();
    let saved = &stored.credentials[0];
    assert_eq!(saved.metadata.generation.get(), 2);
    assert_eq!(saved.secret.token().expose(), "new-token");
    assert_eq!(saved.secret.refresh_token().unwrap().expose(), "refresh-2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendors_accounts_use_the_vendors_own_headers_in_any_namespace() {
    let upstream = upstream().await;
    let home = home(&upstream, &[]).await;
    home.add_to(PoolKey::with_namespace("anthropic", "team"), "k", Secret::api_key("key-1")).await;
    let gateway = Gateway::open(&home, &[]).await;
    // The upstream says which key it was asked with, and looks for `authorization` first.
    let said = send_to(&gateway, "/anthropic.team/v1/messages", "POST", "hi").await;
    assert_eq!(said, (200, "POST /v1/messages key-1\n".into()));
    assert_eq!(send_to(&gateway, "/anthropic/v1/messages", "POST", "hi").await.0, 404);
}

#[tokio::test]
async fn the_header_of_a_generic_provider_can_be_set() {
    let upstream = Upstream::new();
    let server = Server::start(&upstream).await;
    let home = home_of_x(&server.origin(), &["a"]).await;
    add_settings(&home, "header = \"x-api-key\"\n");
    let gateway = Gateway::open(&home, &[]).await;
    assert_eq!(send(&gateway, "POST", "hi").await, (200, "a-key".into()));
    assert_eq!(upstream.seen.all()[0].headers["x-api-key"], "a-key");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_removed_while_it_runs_leaves_503() {
    let upstream = Upstream::new();
    let server = Server::start(&upstream).await;
    let home = home_of_x(&server.origin(), &["a"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    assert_eq!(send(&gateway, "GET", "").await.0, 200);
    home.run(["logout", "x/a", "--yes"]).ok();
    let refused = async {
        loop {
            let request = Request::get(gateway.url("/x/v1")).body(full("")).unwrap();
            let (status, headers, body) = gateway.ask(request).await;
            if status != 200 {
                return (status, headers, body);
            }
        }
    };
    let (status, headers, body) = soon("the account's end", refused).await;
    assert_eq!((status, headers["x-should-retry"].to_str().unwrap()), (503, "false"));
    assert!(body.contains("no_account"), "{body}");
}
