//! Sign-ins that nothing can renew, usually because no client id is set, are marked wherever they are shown, and their
//! originals are kept.
#![cfg(feature = "cli")]

use std::fs;
use std::time::Duration;

use serde_json::json;
use tower_credentials::migrate::Source;
use tower_credentials::{Clock, OAuthTokens, PoolKey, Timestamp};

use crate::cli::{Home, Run};
use crate::legacy::{PLANTED, claude, fixture};
use crate::support::{Canned, Server, Upstream};

const SET: &str = "providers.anthropic.oauth.client_id";

fn within(minutes: u64) -> Timestamp {
    Clock::system().now().after(Duration::from_secs(60 * minutes))
}

fn ago(minutes: u64) -> Timestamp {
    Clock::system().now().before(Duration::from_secs(60 * minutes))
}

/// Writes Claude Code's file with an account that ends then.
fn write(home: &Home, end: Timestamp) -> std::path::PathBuf {
    let path = Source::Claude.place(home.path(), |_| None);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, claude("a", end.as_millis())).unwrap();
    path
}

fn home() -> Home {
    let home = Home::new();
    home.secret(PLANTED);
    home
}

#[test]
fn a_migrated_sign_in_without_a_client_id_is_said_to_end() {
    let home = home();
    write(&home, within(90));
    for arguments in [&["migrate", "--dry-run"][..], &["migrate"], &["migrate"]] {
        let run = home.run(arguments).ok();
        run.says("claude's claudeAiOauth can't be renewed here: no client id").says(SET);
    }
    let json = home.run(["migrate", "--json"]).ok().json();
    assert_eq!(json["entries"][0]["not_renewable"], "no client id");

    let words = "m, can't be renewed: no client id";
    home.run(["list"]).ok().prints("ends in 1h ").prints(words).says(SET);
    home.run(["show", "claude"]).ok().prints("ends in 1h ").prints(words).prints(SET);
    let listed = home.run(["list", "--json"]).ok().json();
    assert_eq!(listed[0]["not_renewable"], "no client id");
    assert_eq!(listed[0]["state"], "ready");
    // With one, there is nothing to say.
    home.settings("[providers.anthropic.oauth]\nclient_id = \"mine\"\n");
    let run = home.run(["migrate"]).ok();
    assert!(!run.stderr.contains("renewed"), "{run:#?}");
    let run = home.run(["list"]).ok().prints("ready, expires in");
    assert_eq!(run.stderr, "");
    assert!(home.run(["list", "--json"]).ok().json()[0].get("not_renewable").is_none());
}

#[tokio::test]
async fn each_reason_has_a_word_and_what_never_ends_has_none() {
    let home = home();
    home.settings(
        "[providers.bare]\ntype = \"generic\"\n\
         [providers.half]\ntype = \"generic\"\noauth.client_id = \"mine\"\n",
    );
    let ends = |text: &str| OAuthTokens::new(format!("at-{text}")).expires_at(within(60));
    let renewed = |text: &str| ends(text).refresh(format!("rt-{text}"));
    for (provider, tokens) in [
        ("bare", renewed("1")),
        ("half", renewed("2")),
        ("google", ends("3")),
        ("nobody", renewed("4")),
        ("openai", OAuthTokens::new("at-5").refresh("rt-5")),
        ("qwen", OAuthTokens::new("at-6")),
        ("cursor", renewed("7")),
    ] {
        home.add_to(PoolKey::new(provider), "work", tokens).await;
    }
    let listed = home.run(["list", "--json"]).ok().json();
    let told = |provider: &str| {
        let account = listed.as_array().unwrap().iter().find(|account| account["provider"] == provider);
        let account = account.unwrap();
        (account["state"].as_str().unwrap().to_owned(), account["not_renewable"].clone())
    };
    let state = |state: &str, why: serde_json::Value| (state.to_owned(), why);
    assert_eq!(told("bare"), state("ready", json!("its provider has no `oauth`")));
    assert_eq!(told("half"), state("ready", json!("no `token_url`")));
    assert_eq!(told("google"), state("ready", json!("no refresh token")));
    assert_eq!(told("nobody"), state("unknown_provider", json!("no provider of that name")));
    assert_eq!(told("openai"), state("ready", json!("no client id")));
    assert_eq!(told("qwen"), state("ready", json!(null)));
    // Renewed by another way, without a client.
    assert_eq!(told("cursor"), state("ready", json!(null)));
    home.run(["list"]).ok().prints("unknown provider").prints("ready, can't be renewed: no client id");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_that_nothing_renews_is_never_said_to_work() {
    let models = || Canned::ok().body(r#"{"data": []}"#);
    let upstream = Upstream::new().answers("at-secret-1", [models()]).answers("at-secret-2", [models()]);
    let server = Server::start(&upstream).await;
    let home = Home::new();
    let settings = |more: &str| {
        let origin = server.origin();
        home.settings(&format!(
            "[providers.example]\ntype = \"generic\"\norigins = [{origin:?}]\nmodels_shape = \"openai\"\n\
             oauth.token_url = \"http://127.0.0.1:9/token\"\n{more}"
        ));
    };
    settings("");
    let pool = PoolKey::new("example");
    let tokens = OAuthTokens::new("at-secret-1").refresh("rt-secret-1").expires_at(ago(60));
    home.add_to(pool.clone(), "work", tokens).await;
    let set = "providers.example.oauth.client_id";
    for _ in 0..2 {
        let run = home.run(["test"]).code(6).says(set);
        let run = run.prints("its token is no longer valid, and can't be renewed: no client id");
        assert!(!run.stdout.contains("works"), "{run:#?}");
        let json = home.run(["test", "--json"]).code(6).json();
        assert_eq!(
            (&json[0]["result"], &json[0]["reason"]),
            (&json!("not_renewed"), &json!("no client id"))
        );
        for account in ["example", "example/work"] {
            let run = home.run(["headers", account]).code(2).says(set);
            run.says("the token of example/work has expired, and can't be renewed: no client id");
        }
    }
    home.run(["list"]).ok().prints("expired, can't be renewed: no client id");
    assert_eq!(home.run(["list", "--json"]).ok().json()[0]["state"], "expired");
    // If it could be renewed and was not, the reason is the token endpoint's.
    settings("oauth.client_id = \"mine\"\n");
    let json = home.run(["test", "--json"]).code(6).json();
    assert_eq!(json[0]["result"], "not_renewed");
    assert!(json[0]["reason"].as_str().unwrap().contains("127.0.0.1:9"), "{json}");
    // Without a refresh token, a person has to sign in.
    home.run(["logout", "example", "--yes"]).ok();
    home.add_to(pool, "work", OAuthTokens::new("at-secret-2").expires_at(ago(60))).await;
    let json = home.run(["test", "--json"]).code(4).says("--replace").json();
    assert_eq!(json[0]["result"], "needs_sign_in");
}

#[test]
fn the_original_of_a_sign_in_that_nothing_renews_here_is_kept() {
    let home = home();
    let path = write(&home, within(60));
    let run = home.run(["migrate", "--remove-old", "--yes", "--json"]).code(1);
    let run = run.says("is not removed: without it nothing could renew the sign-in of claudeAiOauth");
    assert_eq!(run.json()["removed"], json!([]));
    assert!(path.exists());
    // All the same, it is in the vault; and nobody is asked about a file that stays.
    assert_eq!(home.run(["list", "--json"]).ok().json()[0]["label"], "claude");
    home.run(["migrate", "--remove-old"]).code(1);

    // A provider that nobody knows renews nothing either.
    let mcp = Source::OpencodeMcp.place(home.path(), |_| None);
    fs::create_dir_all(mcp.parent().unwrap()).unwrap();
    fs::write(&mcp, fixture(Source::OpencodeMcp)).unwrap();
    let run = home.run(["migrate", "--remove-old", "--yes"]).code(1);
    run.says("renew the sign-in of sentry: no provider of that name");
    assert!(mcp.exists());

    home.settings("[providers.anthropic.oauth]\nclient_id = \"mine\"\n");
    home.run(["migrate", "--remove-old", "--yes", "--from", "claude"]).ok().says("Removed");
    assert!(!path.exists());
}

#[test]
fn a_sign_in_that_was_never_finished_is_no_failure_and_keeps_its_file() {
    let home = home();
    let mcp = Source::OpencodeMcp.place(home.path(), |_| None);
    fs::create_dir_all(mcp.parent().unwrap()).unwrap();
    let begun = json!({"begun": {"clientInfo": {"clientId": PLANTED}}});
    fs::write(&mcp, begun.to_string()).unwrap();
    let run: Run = home.run(["migrate", "--json"]).ok();
    let run = run.says("skipped begun: has no tokens: its sign-in was never finished");
    assert!(!run.stderr.contains("warning"), "{run:#?}");
    assert_eq!(run.json()["skipped"][0]["unfinished"], true);
    home.run(["migrate", "--remove-old", "--yes"]).ok().says("still in plain text");
    assert!(mcp.exists());
}
