//! `/.gateway/`: the page, and what it asks for.

use http::{Request, StatusCode};
use http_body_util::BodyExt;

use super::process::{Gateway, client, home, upstream};
use crate::wire::{full, soon};

#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_nothing_of_an_account_in_it_and_runs_no_script_from_elsewhere() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let gateway = Gateway::start(&home, &[]).await;
    let moved = gateway.response(Request::get(gateway.url("/.gateway")).body(full("")).unwrap()).await;
    assert_eq!(
        (moved.status(), &moved.headers()["location"]),
        (StatusCode::PERMANENT_REDIRECT, &"/.gateway/".parse().unwrap())
    );
    for (path, kind) in [
        ("/.gateway/", "text/html"),
        ("/.gateway/page.js", "text/javascript"),
        ("/.gateway/page.css", "text/css"),
    ] {
        let response = gateway.response(Request::get(gateway.url(path)).body(full("")).unwrap()).await;
        let (head, body) = response.into_parts();
        assert_eq!(head.status, StatusCode::OK, "{path}");
        let header = |name: &str| head.headers[name].to_str().unwrap();
        assert!(header("content-type").starts_with(kind), "{path}");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        // Its policy would stop them.
        for part in ["http:", "https:", "//cdn", "style=", "onclick", "<script>", "good-1"] {
            assert!(!text.contains(part), "{path}: {part}");
        }
    }
    // A page of somebody else's does not get it.
    let request = Request::get(gateway.url("/.gateway/")).header("sec-fetch-site", "cross-site");
    assert_eq!(gateway.send(request).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_lines_as_they_happen_and_do_not_hold_up_the_end() {
    let upstream = upstream().await;
    let home = home(&upstream, &["limited-1", "good-2"]).await;
    let (token, admin) = (client(&home, &["laptop"]), client(&home, &["me", "--admin"]));
    let gateway = Gateway::start(&home, &[]).await;
    let request = gateway.get("/.gateway/events", &admin).body(full("")).unwrap();
    let mut events = gateway.response(request).await.into_body();
    let (_, said) = gateway.send(gateway.get("/openai/x", &token)).await;
    assert!(said.contains("good-2-key"), "{said}");
    let mut text = String::new();
    while !text.contains("\"event\":\"rotated\"") {
        let frame = soon("an event", events.frame()).await.expect("it goes on").unwrap();
        text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    home.check(&text);
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(event["at"].is_u64(), "{line}");
    }

    let why = |path: &str| gateway.send(gateway.get(path, &admin));
    let reasons: serde_json::Value = serde_json::from_str(&why("/.gateway/why").await.1).unwrap();
    let accounts = reasons[0]["accounts"].as_array().unwrap();
    let of = |label: &str| accounts.iter().find(|one| one["credential"]["label"] == label).unwrap();
    assert_eq!(of("good-2")["is_next"], true, "{reasons}");
    assert_eq!(of("limited-1")["cooldown"]["cause"]["status"], 429, "{reasons}");
    assert_eq!(why("/.gateway/why?model=m").await.0, StatusCode::OK);

    gateway.signal("TERM").await;
    while let Some(frame) = soon("the end of the events", events.frame()).await {
        frame.unwrap();
    }
    gateway.ended().await.ok();
}
