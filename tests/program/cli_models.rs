//! `credentials models`: what a provider offers, and what is said if it can't be asked.
#![cfg(feature = "cli")]

use tower_credentials::PoolKey;

use crate::cli::Home;
use crate::support::{Canned, Server, Upstream};

/// A home whose provider `example` is at an upstream that sends these responses to the account `work`.
async fn example(responses: impl IntoIterator<Item = Canned>) -> (Home, Upstream, Server) {
    let upstream = Upstream::new().answers("sk-secret-1", responses);
    let server = Server::start(&upstream).await;
    let home = Home::new();
    home.settings(&format!(
        "[providers.example]\ntype = \"generic\"\norigins = [{:?}]\nmodels_shape = \"openai\"\n",
        server.origin()
    ));
    home.add("example", "work", "sk-secret-1").await;
    (home, upstream, server)
}

fn list(ids: &[&str]) -> Canned {
    let models: Vec<_> = ids.iter().map(|id| serde_json::json!({ "id": id })).collect();
    Canned::ok().body(serde_json::json!({ "data": models }).to_string())
}

/// The cells of each line of a table that have something in them.
fn lines(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines();
    lines.map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_by_their_ids_with_what_is_known_of_them() {
    let body = r#"{"data": [
        {"id": "small"},
        {"id": "large", "name": "The Large One", "owned_by": "example", "context_length": 8192, "created": 1686935002}
    ]}"#;
    let (home, upstream, server) = example([Canned::ok().body(body)]).await;
    let run = home.run(["models", "example"]).ok();
    assert_eq!(run.stderr, "");
    assert_eq!(
        lines(&run.stdout),
        [
            vec!["ID", "NAME", "OWNER", "CONTEXT"],
            vec!["large", "The Large One", "example", "8192"],
            vec!["small"],
        ]
    );
    // The second list is the first one.
    let json = home.run(["models", "example", "--json"]).ok().json();
    assert_eq!(upstream.count("sk-secret-1"), 1);
    assert_eq!((&json["provider"], &json["namespace"]), (&"example".into(), &"default".into()));
    assert_eq!(json["url"], format!("{}/v1/models", server.origin()));
    assert!(json["age_seconds"].as_u64().unwrap() < 60 && json.get("stale").is_none(), "{json}");
    assert!(json["fetched_at"].as_str().unwrap().ends_with('Z'), "{json}");
    assert_eq!(
        json["models"],
        serde_json::json!([
            {
                "id": "large", "name": "The Large One", "owner": "example",
                "created_at": "2023-06-16T17:03:22Z", "context_window": 8192
            },
            { "id": "small" }
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_cached_and_requested_again_with_refresh() {
    let (home, upstream, _server) = example([list(&["a"]), list(&["b"])]).await;
    home.run(["models", "example"]).ok().prints("a");
    let kept: Vec<_> = home.cache_directory().join("models").read_dir().unwrap().collect();
    assert_eq!(kept.len(), 1);
    home.check(&std::fs::read_to_string(kept[0].as_ref().unwrap().path()).unwrap());
    let run = home.run(["models", "example", "--refresh"]).ok();
    assert_eq!(lines(&run.stdout)[1..], [["b"]]);
    assert_eq!(upstream.count("sk-secret-1"), 2);
    let run = home.run(["models", "example"]).ok();
    assert_eq!(lines(&run.stdout)[1..], [["b"]]);
    assert_eq!(upstream.count("sk-secret-1"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_takes_a_part_of_an_id_or_a_pattern() {
    let (home, _, _server) = example([list(&["gpt-1", "gpt-1-mini", "other"])]).await;
    for (filter, expected) in
        [("GPT", &["gpt-1", "gpt-1-mini"][..]), ("*-1", &["gpt-1"]), ("th", &["other"]), ("none", &[])]
    {
        let json = home.run(["models", "example", "--filter", filter, "--json"]).ok().json();
        let ids = json["models"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap());
        assert_eq!(ids.collect::<Vec<_>>(), expected, "{filter}");
    }
    let run =
        home.run(["models", "example", "--filter", "none"]).ok().says("None of the 3 models matches");
    assert_eq!(run.stdout, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_provider_fails_the_last_list_is_given_with_a_warning() {
    let broken = Canned::status(503).body("{\"message\": \"out\\u001b[2J of sk-secret-1\"}");
    let (home, _, _server) = example([list(&["a"]), broken]).await;
    home.run(["models", "example"]).ok();
    let run = home.run(["models", "example", "--refresh"]).ok();
    let run = run.prints("a").says("warning: this list is").says("503").says("out [2J of …");
    assert!(!run.stderr.contains('\x1b'), "{run:?}");
    let json = home.run(["models", "example", "--refresh", "--json"]).ok().json();
    assert!(json["stale"].as_str().unwrap().contains("503"), "{json}");
    assert_eq!(json["models"][0]["id"], "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_account_is_rotated_away_from_and_that_is_remembered() {
    let (home, upstream, _server) = example([Canned::limited(600)]).await;
    home.add("example", "spare", "sk-secret-2").await;
    upstream.set("sk-secret-2", [list(&["a"])]);
    home.run(["models", "example"]).ok().prints("a");
    assert_eq!(upstream.tokens(), ["sk-secret-1", "sk-secret-2"]);
    assert_eq!(home.run(["show", "example/work", "--json"]).ok().json()["state"], "cooling");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendors_pages_are_all_listed_for_each_namespace_on_its_own() {
    let first =
        r#"{"data": [{"id": "opus", "display_name": "Opus"}], "has_more": true, "last_id": "opus"}"#;
    let last = r#"{"data": [{"id": "haiku"}], "has_more": false}"#;
    let upstream = Upstream::new()
        .answers("sk-secret-1", [Canned::ok().body(first), Canned::ok().body(last)])
        .answers("sk-secret-2", [Canned::ok().body(last)]);
    let server = Server::start(&upstream).await;
    let home = Home::new();
    home.settings(&format!("[providers.anthropic]\norigins = [{:?}]\n", server.origin()));
    home.add("anthropic", "work", "sk-secret-1").await;
    let team = PoolKey::with_namespace("anthropic", "team");
    home.add_to(team, "work", tower_credentials::Secret::api_key("sk-secret-2")).await;
    let run = home.run(["models", "claude"]).ok();
    assert_eq!(lines(&run.stdout)[1..], [vec!["haiku"], vec!["opus", "Opus"]]);
    let json = home.run(["models", "claude", "--namespace", "team", "--json"]).ok().json();
    assert_eq!((&json["namespace"], json["models"].as_array().unwrap().len()), (&"team".into(), 1));
    let seen = upstream.seen.all();
    assert!(seen.iter().all(|seen| seen.headers["anthropic-version"] == "2023-06-01"));
    let paths: Vec<_> = seen.iter().map(|seen| seen.uri.to_string()).collect();
    let all = "/v1/models?limit=1000";
    assert_eq!(paths, [all, "/v1/models?limit=1000&after_id=opus", all]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_environment_is_enough_and_no_vault_is_made() {
    let upstream = Upstream::new().answers("sk-secret-9", [list(&["a\u{1b}[31m"])]);
    let server = Server::start(&upstream).await;
    let home = Home::new().variable("OPENAI_API_KEY", "sk-secret-9");
    home.secret("sk-secret-9");
    home.settings(&format!("[providers.openai]\norigins = [{:?}]\n", server.origin()));
    let run = home.run(["models", "openai"]).ok();
    assert_eq!(lines(&run.stdout)[1..], [["a\u{fffd}[31m"]]);
    assert!(!home.vault_directory().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_has_a_way_out_and_an_exit_code() {
    let (home, upstream, server) = example([list(&["a"])]).await;
    home.run(["models", "exampel"]).code(3).says("nearest is `example`");
    home.run(["models", "openai"]).code(3).says("credentials login openai");
    home.add("cursor", "work", "sk-secret-2").await;
    home.run(["models", "cursor"]).code(2).says("`models_url`");
    for (response, code, says) in [
        (Canned::status(401), 4, "credentials test example"),
        (Canned::status(404), 1, "`models_url`"),
        (Canned::status(500), 6, "500"),
        (Canned::limited(60), 6, "429"),
        (Canned::ok().body("<html>"), 1, "no JSON"),
        (Canned::ok().body("x".repeat(5 * 1024 * 1024)), 1, "bytes"),
        (Canned::fails(std::io::ErrorKind::ConnectionReset), 6, "no list of example's models"),
    ] {
        upstream.set("sk-secret-1", [response]);
        home.run(["reset", "example/work"]).ok();
        let run = home.run(["models", "example"]).code(code).says(says).says(&server.origin());
        assert_eq!(run.stdout, "");
        assert!(!home.cache_directory().exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendors_words_are_quoted_with_the_key_masked() {
    let body = r#"{"error": {"message": "Wrong key: sk-secret-1. See your account."}}"#;
    let (home, _upstream, _server) = example([Canned::status(401).body(body)]).await;
    let run = home.run(["models", "example"]).code(4);
    run.says("it answered 401 Unauthorized: \"Wrong key: …. See your account.\"\n");
}

#[tokio::test]
async fn without_a_list_of_models_both_commands_name_the_settings_that_it_needs() {
    let home = Home::new();
    home.settings("[providers.acme]\ntype = \"generic\"\norigins = [\"https://api.acme.example\"]\n");
    home.add("acme", "work", "sk-secret-1").await;
    let way_out = format!(
        "set providers.acme.models_url in {}, and providers.acme.models_shape unless it is a list like OpenAI's",
        home.settings_file().display()
    );
    home.run(["models", "acme"]).code(2).says(&way_out);
    let json = home.run(["test", "acme", "--json"]).code(2).json();
    assert!(json[0]["reason"].as_str().unwrap().ends_with(&way_out), "{json}");
}
