//! `credentials client`: who may use the gateway, and how much.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Frame;

use super::process::{Gateway, client, home, upstream};
use crate::wire::{Wire, channel, full};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_taken_wherever_tools_send_their_key_and_goes_no_further() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    home.add("anthropic", "good-2", "good-2-key").await;
    let token = client(&home, &["laptop"]);
    let gateway = Gateway::start(&home, &[]).await;
    let (url, query) =
        (gateway.url("/openai/v1/models"), gateway.url(&format!("/openai/v1/models?a=1&key={token}")));
    for request in [
        Request::get(&url).header("authorization", format!("Bearer {token}")),
        Request::get(&url).header("authorization", format!("bearer  {token}")),
        Request::get(&url).header("x-api-key", &token),
        Request::get(&url).header("x-goog-api-key", &token),
        Request::get(&url).header("api-key", &token),
        Request::get(&url).header("x-api-key", &token).header("authorization", "Bearer other"),
    ] {
        let (status, body) = gateway.send(request).await;
        assert_eq!((status, &*body), (StatusCode::OK, "GET /v1/models Bearer good-1-key\n"));
    }
    let (_, body) = gateway.send(Request::get(query)).await;
    assert_eq!(body, "GET /v1/models?a=1 Bearer good-1-key\n");
    let (_, body) = gateway.send(gateway.get("/anthropic/v1/messages", &token)).await;
    assert_eq!(body, "GET /v1/messages good-2-key\n");
    for request in [
        Request::get(&url),
        Request::get(&url).header("authorization", token.clone()),
        Request::get(&url).header("authorization", format!("Basic {token}")),
        Request::get(&url).header("authorization", format!("Bearer {}", &token[..token.len() - 1])),
        Request::get(&url).header("authorization", "Bearer good-1-key"),
        Request::get(&url).header("cookie", format!("key={token}")),
    ] {
        let (status, body) = gateway.send(request).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{body}");
    }
    let run = gateway.stop().await;
    home.check(&run.stdout);
    home.check(&run.stderr);
    let stored =
        std::fs::read_to_string(home.path().join(".local/share/tower-credentials/vault.clients.json"));
    home.check(&stored.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_uses_only_the_providers_that_it_may() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    home.add("anthropic", "good-2", "good-2-key").await;
    let token = client(&home, &["ci", "--provider", "claude"]);
    let gateway = Gateway::start(&home, &[]).await;
    assert_eq!(gateway.send(gateway.get("/anthropic/x", &token)).await.0, StatusCode::OK);
    let (status, body) = gateway.send(gateway.get("/openai/x", &token)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body.contains("may not use the accounts of openai"), "{body}");
    // Nor does it learn what else there is.
    let (status, body) = gateway.send(gateway.get("/elsewhere", &token)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("/anthropic/") && !body.contains("openai"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_knows_a_change_of_the_clients() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let gateway = Gateway::start(&home, &[]).await;
    let token = client(&home, &["laptop"]);
    let (status, body) = gateway.send(gateway.get("/openai/x", &token)).await;
    assert_eq!(status, StatusCode::OK, "at once: {body}");
    home.run(["client", "remove", "laptop"]).ok();
    gateway.becomes("/openai/x", &token, StatusCode::UNAUTHORIZED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_so_many_requests_under_way_and_others_are_not_affected() {
    let wire = Wire::start(async |_| {
        let (frames, body) = channel();
        tokio::spawn(async move {
            frames.send(Frame::data(Bytes::from_static(b"begun\n"))).await.unwrap();
            frames.closed().await;
        });
        http::Response::new(body)
    })
    .await;
    let home = home(&wire, &["good-1"]).await;
    let (token, other) = (client(&home, &["ci", "--max-in-flight", "2"]), client(&home, &["laptop"]));
    let gateway = Gateway::start(&home, &[]).await;
    let send = |token: &str| gateway.response(gateway.get("/openai/x", token).body(full("")).unwrap());
    let (first, _second) = (send(&token).await, send(&token).await);
    let refused = send(&token).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(send(&other).await.status(), StatusCode::OK);
    drop(first);
    // Its place is free once the gateway has noticed.
    let is_free = async { while send(&token).await.status() != StatusCode::OK {} };
    crate::wire::soon("a place", is_free).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sends_so_many_requests_per_minute() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let token = client(&home, &["ci", "--per-minute", "3"]);
    let gateway = Gateway::start(&home, &[]).await;
    for _ in 0..3 {
        assert_eq!(gateway.send(gateway.get("/openai/x", &token)).await.0, StatusCode::OK);
    }
    let response = gateway.response(gateway.get("/openai/x", &token).body(full("")).unwrap()).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_listed_without_their_tokens_and_bad_ones_are_refused() {
    let home = home(&upstream().await, &[]).await;
    home.run(["client", "list"]).ok().says("credentials client add NAME");
    client(&home, &["ci", "--provider", "openai", "--provider", "anthropic", "--max-in-flight", "4"]);
    client(&home, &["me", "--admin"]);
    let run = home.run(["client", "list"]).ok().prints("openai, anthropic").prints("administration");
    assert!(!run.stdout.contains("sk-"), "{run:?}");
    let listed = home.run(["client", "list", "--json"]).ok().json();
    assert_eq!(listed[0]["max_in_flight"], 4);
    assert_eq!(listed[1]["admin"], true);
    home.run(["client", "add", "ci"]).code(2).says("there is a client ci already");
    for name in ["a/b", "", "-", "two words", "a\nb", "über", &"a".repeat(65)] {
        home.run(["client", "add", "--", name]).code(2).says("the client's name");
    }
    home.run(["client", "add", "x", "--provider", "opnai"]).code(3).says("openai");
    home.run(["client", "add", "x", "--per-minute", "0"]).code(2).says("--per-minute");
    home.run(["client", "add", "x", "--admin", "--per-minute", "3"]).code(2).says("--admin");
    home.run(["client", "remove", "x"]).code(3).says("credentials client list");
    let file = home.path().join(".local/share/tower-credentials/vault.clients.json");
    std::fs::write(&file, "{").unwrap();
    home.run(["client", "list"]).code(5).says("vault.clients.json is damaged");
    home.run(["client", "add", "x"]).code(5).says("move it away");
    home.run(["serve", "--listen", "127.0.0.1:0"]).code(5).says("is damaged");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "{");
}
