//! `credentials providers`: the known providers, and what their responses mean.
#![cfg(feature = "cli")]

use crate::cli::Home;
use crate::support::{Canned, Server, Upstream};

const SETTINGS: &str = r#"
    [providers.acme]
    type = "generic"
    origins = ["https://api.acme.test"]

    [[providers.acme.responses]]
    status = [402, 403]
    body = { "error.code" = ["quota", "no_credit"] }
    means = "spent"
    what_to_do = "buy credits"
"#;

#[test]
fn every_provider_is_listed_those_of_the_settings_too() {
    let home = Home::new();
    home.settings(SETTINGS);
    let run = home.run(["providers"]).ok();
    for name in ["anthropic", "openai", "google", "github-copilot", "qwen", "cursor"] {
        assert!(run.stdout.contains(name), "{}", run.stdout);
    }
    assert!(run.stdout.contains("https://api.acme.test"), "{}", run.stdout);
    let json = home.run(["providers", "--json"]).ok().json();
    let names: Vec<_> =
        json.as_array().unwrap().iter().map(|known| known["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"acme"), "{names:?}");
    let openai = json.as_array().unwrap().iter().find(|known| known["name"] == "openai").unwrap();
    assert_eq!(openai["api_key_variable"], "OPENAI_API_KEY");
    assert_eq!(openai["aliases"], serde_json::json!(["codex", "chatgpt"]));
    assert_eq!(openai["needs"], "providers.openai.oauth.client_id");
    assert!(openai["sign_in"].as_array().unwrap().contains(&"browser".into()), "{openai}");
    let cursor = json.as_array().unwrap().iter().find(|known| known["name"] == "cursor").unwrap();
    assert_eq!((&cursor["sign_in"][0], &cursor["needs"]), (&"link".into(), &serde_json::Value::Null));
    home.settings(&format!("{SETTINGS}\n[providers.openai.oauth]\nclient_id = \"mine\"\n"));
    let json = home.run(["providers", "--json"]).ok().json();
    let openai = json.as_array().unwrap().iter().find(|known| known["name"] == "openai").unwrap();
    assert!(openai.get("needs").is_none(), "{openai}");
}

#[test]
fn the_meaning_of_a_providers_responses_is_a_table() {
    let home = Home::new();
    home.settings(SETTINGS);
    let json = home.run(["providers", "--responses", "acme", "--json"]).ok().json();
    let expected = serde_json::json!([{
        "statuses": [402, 403],
        "asks": "error.code = \"quota\" or \"no_credit\"",
        "means": "spent",
        "holds": "",
        "what_to_do": "buy credits",
    }]);
    assert_eq!(json, expected);
    for (name, words) in [
        ("acme", &["402 403", "no_credit", "spent", "buy credits"][..]),
        ("claude", &["This organization has been disabled", "stopped", "this-request", "until {time}"]),
        ("openai", &["token_revoked", "sign in again", "insufficient_quota"]),
        ("google", &["API_KEY_INVALID", "dead", "of the model"]),
    ] {
        let run = home.run(["providers", "--responses", name]).ok();
        for word in ["STATUS", "MEANS"].iter().chain(words) {
            assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
        }
    }
}

#[test]
fn a_limit_names_nothing_to_do() {
    let home = Home::new();
    let rule = "[providers.acme]\ntype = \"generic\"\norigins = [\"https://api.acme.test\"]\n\n\
                [[providers.acme.responses]]\nstatus = 409\nmeans = \"MEANS\"\n";
    for means in ["limit", "not-the-account", "this-request", "insufficient-scope", "refused"] {
        let rule = rule.replace("MEANS", means);
        home.settings(&rule);
        let json = home.run(["providers", "--responses", "acme", "--json"]).ok().json();
        assert!(json[0].get("what_to_do").is_none(), "{json}");
        home.settings(&format!("{rule}what_to_do = \"wait\"\n"));
        home.run(["config", "check"])
            .code(2)
            .says("`what_to_do` is for what is `spent`, `dead` or `stopped`");
    }
    home.settings(&rule.replace("MEANS", "dead"));
    home.run(["providers", "--responses", "acme"]).ok().prints("see to the account");
}

#[test]
fn an_unknown_provider_is_an_error() {
    Home::new().run(["providers", "--responses", "antropic"]).code(3).says("antropic");
}

/// A home whose provider `acme` is at this server, by the rules above.
async fn acme(server: &Server) -> Home {
    let home = Home::new();
    let settings = SETTINGS.replace("https://api.acme.test", &server.origin());
    home.settings(&settings.replace("[[", "models_shape = \"openai\"\n\n    [["));
    home.add("acme", "work", "sk-secret-1").await;
    home
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_account_is_shown_as_such_and_a_test_or_a_reset_puts_it_to_use() {
    let broke = || Canned::status(403).body(r#"{"error":{"code":"quota"}}"#);
    let models = || Canned::ok().body(r#"{"data":[{"id":"m"}]}"#);
    let upstream =
        Upstream::new().answers("sk-secret-1", [broke(), broke(), models(), broke(), models()]);
    let server = Server::start(&upstream).await;
    let home = acme(&server).await;
    for _ in 0..2 {
        home.run(["test", "acme"]).code(6).prints("spent: acme answered quota: buy credits");
        let shown = home.run(["list", "--json"]).ok().json();
        assert_eq!(shown[0]["state"], "spent");
        assert_eq!(shown[0]["reason"], "acme answered quota: buy credits");
    }
    home.run(["list"]).ok().prints("spent");
    home.run(["show", "work"]).ok().prints("buy credits");
    home.run(["models", "acme", "--refresh"]).code(6).says("is spent").says("credentials test");
    home.run(["test", "acme"]).ok().prints("works");
    home.run(["list"]).ok().prints("ready");
    home.run(["test", "acme"]).code(6);
    home.run(["reset", "work"]).ok();
    home.run(["list"]).ok().prints("ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_key_is_shown_as_such_until_it_works_or_is_replaced() {
    let dead = || Canned::status(400).body("key deleted");
    let models = || Canned::ok().body(r#"{"data":[{"id":"m"}]}"#);
    let upstream = Upstream::new().answers("sk-secret-1", [dead(), dead(), models()]);
    let server = Server::start(&upstream).await;
    let home = acme(&server).await;
    let rule = "[[providers.acme.responses]]\nstatus = 400\ntext = \"key deleted\"\nmeans = \"dead\"\n";
    let origins = format!("[providers.acme]\ntype = \"generic\"\norigins = [{:?}]\n", server.origin());
    home.settings(&format!("{origins}models_shape = \"openai\"\n{rule}"));
    for _ in 0..2 {
        home.run(["test", "acme"]).code(4).prints("dead: acme: see to the account").says("--replace");
        assert_eq!(home.run(["list", "--json"]).ok().json()[0]["state"], "dead");
    }
    home.run(["list"]).ok().prints("dead, needs another key");
    home.run(["test", "acme"]).ok().prints("works");
    assert_eq!(home.run(["list", "--json"]).ok().json()[0]["state"], "ready");
}

#[test]
fn only_the_providers_that_are_named_are_listed() {
    let home = Home::new();
    let known = home.run(["providers", "openai", "claude", "--json"]).ok().json();
    let mut names: Vec<_> = known.as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, ["anthropic", "openai"]);
    home.run(["providers", "opnai"]).code(3).says("openai");
}
