//! What is left of an account's limits: as its vendor has said it, with its age, and never after its reset.
#![cfg(feature = "cli")]

use std::time::Duration;

use tower_credentials::standing::Change;
use tower_credentials::{Clock, Metadata, Timestamp, rate_limit};

use crate::cli::Home;
use crate::cli::accounts::learn;
use crate::support::{Canned, Server, Upstream};

/// Records what these headers said some time ago.
async fn hear(home: &Home, credential: &Metadata, ago: u64, headers: &[(&'static str, &str)]) {
    let said_at = Clock::system().now().before(Duration::from_secs(ago));
    let headers = headers.iter().map(|(name, value)| {
        let name = http::HeaderName::from_static(name);
        (name, http::HeaderValue::from_str(value).unwrap())
    });
    let windows = rate_limit::windows(&headers.collect(), said_at);
    learn(home, credential, Change::Allowance { windows }).await;
}

fn epoch(at: Timestamp) -> String {
    (at.as_millis() / 1000).to_string()
}

#[tokio::test]
async fn list_and_show_say_what_is_left_and_when_the_vendor_said_so() {
    let home = Home::new();
    let work = home.add("anthropic", "work", "sk-secret-work").await;
    home.add("anthropic", "spare", "sk-secret-spare").await;
    let without = home.run(["list"]).ok().stdout;
    assert!(!without.contains("LEFT"), "{without}");

    let reset = epoch(Clock::system().now().after(Duration::from_secs(7_900)));
    let said = [
        ("anthropic-ratelimit-unified-5h-utilization", "0.62"),
        ("anthropic-ratelimit-unified-5h-reset", &*reset),
        ("anthropic-ratelimit-unified-7d-utilization", "0.999"),
    ];
    hear(&home, &work, 125, &said).await;
    let listed = home.run(["list"]).ok().stdout;
    let line = listed.lines().find(|line| line.contains(" work ")).unwrap();
    assert!(line.contains("5h 38%, 7d 0.1% (2m "), "{listed}");
    assert!(listed.lines().next().unwrap().contains("LEFT"), "{listed}");

    let shown = home.run(["show", "work"]).ok().stdout;
    assert!(shown.contains("5h: 38%, resets in 2h 1"), "{shown}");
    assert!(shown.contains("7d: 0.1%, said 2m "), "{shown}");

    let json = home.run(["show", "work", "--json"]).ok().json();
    assert_eq!(json["allowance"][0]["name"], "5h");
    assert_eq!(json["allowance"][0]["left"], 0.38);
    assert_eq!(json["allowance"][0]["current"], true);
    assert!(json["allowance"][0]["said_at"].as_str().unwrap().ends_with('Z'));
    assert!(home.run(["show", "spare", "--json"]).ok().json()["allowance"].is_null());
}

#[tokio::test]
async fn a_window_that_was_reset_since_is_not_shown_as_present() {
    let home = Home::new();
    let work = home.add("openai", "work", "sk-secret-work").await;
    let said = [
        ("x-ratelimit-limit-tokens", "1000"),
        ("x-ratelimit-remaining-tokens", "400"),
        ("x-ratelimit-reset-tokens", "60s"),
    ];
    hear(&home, &work, 61, &said).await;
    assert!(!home.run(["list"]).ok().stdout.contains("LEFT"));
    assert!(!home.run(["show", "work"]).ok().stdout.contains("tokens"));
    let json = home.run(["list", "--json"]).ok().json();
    assert_eq!(json[0]["allowance"][0]["current"], false);
    assert_eq!(json[0]["allowance"][0]["remaining"], 400);

    hear(&home, &work, 0, &said).await;
    home.run(["show", "work"]).ok().prints("tokens: 40% (400 of 1000), resets in ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_of_an_account_brings_what_its_vendor_says() {
    let models = r#"{"data": [{"id": "a-model"}]}"#;
    let response = Canned::ok()
        .header("x-ratelimit-limit-requests", "50")
        .header("x-ratelimit-remaining-requests", "49")
        .body(models);
    let upstream = Upstream::new().answers("sk-secret-work", [response]);
    let server = Server::start(&upstream).await;
    let home = Home::new();
    home.settings(&format!("[providers.openai]\norigins = [\"{}\"]\n", server.origin()));
    home.add("openai", "work", "sk-secret-work").await;
    home.run(["test", "openai"]).ok();
    home.run(["list"]).ok().prints("requests 98%");
}
