//! Requests that belong together go to one account: those of a conversation, and those about what an account has made.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::process::{Gateway, client, home};
use crate::cli::Home;
use crate::wire::{Wire, full, soon};

/// An upstream that makes a response, a file or a batch with each request, and says with whose key. A request with `LIMIT` in
/// it is too much for the first account.
async fn upstream() -> Wire {
    let count = Arc::new(AtomicUsize::new(0));
    Wire::start(move |request: Request<Incoming>| {
        let count = count.clone();
        async move {
            let key = request.headers()["authorization"].to_str().unwrap()["Bearer ".len()..].to_owned();
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            if body.windows(5).any(|part| part == b"LIMIT") && key == "first-key" {
                return Response::builder().status(429).header("retry-after", "3600").body(full("{}")).unwrap();
            }
            let number = count.fetch_add(1, Ordering::SeqCst);
            let made = match head.uri.path() {
                path if path.starts_with("/v1/files") => format!("file-{number}"),
                path if path.starts_with("/v1/batches") => format!("batch_{number}"),
                _ => format!("resp_{number}"),
            };
            if body.windows(6).any(|part| part == b"stream") {
                let event = format!("event: response.created\ndata: {{\"response\": {{\"id\": \"{made}\", \"by\": \"{key}\"}}}}\n\n");
                return Response::builder().header("content-type", "text/event-stream").body(full(event)).unwrap();
            }
            Response::new(full(format!("{{\"id\": \"{made}\", \"by\": \"{key}\"}}")))
        }
    })
    .await
}

/// Sends a request. Returns which account has answered, and what it has made.
async fn ask(gateway: &Gateway, token: &str, method: &str, path: &str, body: &str) -> (String, String) {
    let request = Request::builder().method(method).uri(gateway.url(path)).header("x-api-key", token);
    let request =
        request.header("content-type", "application/json").body(full(body.to_owned())).unwrap();
    let (head, body) = gateway.response(request).await.into_parts();
    let body = soon("the body", body.collect()).await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(head.status.is_success(), "{text}");
    let value = |name: &str| {
        let (_, rest) = text.split_once(&format!("\"{name}\": \"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    (value("by"), value("id"))
}

async fn rig() -> (Home, Gateway, String, Wire) {
    let upstream = upstream().await;
    let home = home(&upstream, &["first", "second"]).await;
    home.run(["activate", "openai/first"]).ok();
    let token = client(&home, &["laptop"]);
    let gateway = Gateway::start(&home, &[]).await;
    (home, gateway, token, upstream)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_account_has_made_is_asked_of_that_account() {
    let (_home, gateway, token, _upstream) = rig().await;
    let mut made = Vec::new();
    for (path, body) in [
        ("/openai/v1/responses", "{}"),
        ("/openai/v1/responses", "{\"stream\": true}"),
        ("/openai/v1/files", "{}"),
        ("/openai/v1/batches", "{}"),
    ] {
        let (by, id) = ask(&gateway, &token, "POST", path, body).await;
        assert_eq!(by, "first-key");
        made.push(id);
    }
    // From now on the other account is next.
    let (by, other) =
        ask(&gateway, &token, "POST", "/openai/v1/responses", "{\"input\": \"LIMIT\"}").await;
    assert_eq!(by, "second-key");
    for (method, path, body, expected) in [
        (
            "POST",
            "/openai/v1/responses".to_owned(),
            format!("{{\"previous_response_id\": \"{}\"}}", made[0]),
            "first-key",
        ),
        (
            "POST",
            "/openai/v1/responses".to_owned(),
            format!("{{\"previous_response_id\": \"{}\"}}", made[1]),
            "first-key",
        ),
        (
            "POST",
            "/openai/v1/responses".to_owned(),
            format!("{{\"previous_response_id\": \"{other}\"}}"),
            "second-key",
        ),
        (
            "POST",
            "/openai/v1/responses".to_owned(),
            format!(
                "{{\"input\": [{{\"id\": 1}}], \"conversation\": {{\"id\": \"{}\", \"x\": []}}}}",
                made[0]
            ),
            "first-key",
        ),
        (
            "POST",
            "/openai/v1/responses".to_owned(),
            // Escaped, and broken off after it.
            format!(
                "{{\"previous\\u005fresponse_id\": \"{}\", \"input\":",
                made[0].replace('_', "\\u005f")
            ),
            "first-key",
        ),
        (
            "POST",
            "/openai/v1/responses".to_owned(),
            format!("[{{\"previous_response_id\": \"{}\"}}]", made[0]),
            "second-key",
        ),
        (
            "POST",
            "/openai/v1/responses".to_owned(),
            "{\"previous_response_id\": \"resp_unknown\"}".to_owned(),
            "second-key",
        ),
        (
            "POST",
            "/openai/v1/batches".to_owned(),
            format!("{{\"input_file_id\": \"{}\"}}", made[2]),
            "first-key",
        ),
        ("GET", format!("/openai/v1/files/{}/content", made[2]), String::new(), "first-key"),
        ("POST", format!("/openai/v1/batches/{}/cancel", made[3]), String::new(), "first-key"),
        ("GET", "/openai/v1/models".to_owned(), String::new(), "second-key"),
    ] {
        assert_eq!(ask(&gateway, &token, method, &path, &body).await.0, expected, "{path} {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_in_what_a_model_writes_is_not_taken_for_something_made() {
    let (_home, gateway, token, _upstream) = rig().await;
    let chat = "/openai/v1/chat/completions";
    let (by, written) = ask(&gateway, &token, "POST", chat, "{}").await;
    assert_eq!(by, "first-key");
    let (by, _) = ask(&gateway, &token, "POST", chat, "{\"input\": \"LIMIT\"}").await;
    assert_eq!(by, "second-key");
    let about = format!("{{\"previous_response_id\": \"{written}\"}}");
    let (by, _) = ask(&gateway, &token, "POST", "/openai/v1/responses", &about).await;
    assert_eq!(by, "second-key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_stays_with_its_account_when_another_becomes_the_first() {
    let (home, gateway, token, _upstream) = rig().await;
    let other = client(&home, &["other"]);
    let bodies = [
        "{\"prompt_cache_key\": \"a\"}",
        "{\"metadata\": {\"user_id\": \"b\"}}",
        "{\"model\": null, \"conversation\": [], \"metadata\": {\"more\": {\"user_id\": 1}, \"user_id\": \"d\"}}",
        "{\"prompt_cache_key\": \"c\", \"metadata\": {\"topic\": 1}}",
    ];
    for body in bodies {
        assert_eq!(ask(&gateway, &token, "POST", "/openai/v1/responses", body).await.0, "first-key");
    }
    home.run(["activate", "openai/second"]).ok();
    let moved = async {
        while ask(&gateway, &token, "GET", "/openai/v1/models", "").await.0 != "second-key" {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    soon("the other account", moved).await;
    for body in bodies {
        assert_eq!(
            ask(&gateway, &token, "POST", "/openai/v1/responses", body).await.0,
            "first-key",
            "{body}"
        );
        // One of another client is another conversation.
        assert_eq!(
            ask(&gateway, &other, "POST", "/openai/v1/responses", body).await.0,
            "second-key",
            "{body}"
        );
    }
    // If its account is limited, it moves, and stays there.
    for body in ["{\"prompt_cache_key\": \"a\", \"input\": \"LIMIT\"}", bodies[0]] {
        assert_eq!(ask(&gateway, &token, "POST", "/openai/v1/responses", body).await.0, "second-key");
    }
}
