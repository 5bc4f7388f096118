//! `credentials list`: every account, its state and what requests take next, in any width.
#![cfg(feature = "cli")]

use std::time::Duration;

use tower_credentials::standing::{Change, Health, LastResponse};
use tower_credentials::{Clock, Generation, OAuthTokens, PoolKey, Secret};

use crate::cli::accounts::{cooldown, labels, learn};
use crate::cli::{Home, end_of};

const HEADER: [&str; 8] =
    ["PROVIDER", "NAMESPACE", "LABEL", "KIND", "STATE", "LAST STATUS", "LAST USED", "ID"];

#[test]
fn without_a_vault_the_list_is_empty_and_nothing_is_made() {
    let home = Home::new();
    let run = home.run(["list"]).ok().says("credentials login PROVIDER");
    run.says(&format!("there is no vault in {} yet", home.vault_directory().display()));
    let file = tempfile::NamedTempFile::new().unwrap();
    let run = home.run(["list", "--vault", file.path().to_str().unwrap()]).code(2);
    run.says("is not a directory, so it can't be a vault");
    assert_eq!(home.run(["list", "--json"]).ok().json(), serde_json::json!([]));
    home.run(["show", "openai"]).code(3).says("credentials login");
    assert!(home.path().read_dir().unwrap().next().is_none());
}

#[tokio::test]
async fn the_list_shows_the_state_of_each_account_and_which_is_active() {
    let home = Home::new();
    home.settings("[providers.anthropic.oauth]\nclient_id = \"mine\"\n");
    let limited = home.add("openai", "limited", "sk-secret-1").await;
    learn(&home, &limited, cooldown(300, None)).await;
    let scoped = home.add("openai", "scoped", "sk-secret-2").await;
    learn(&home, &scoped, cooldown(90_000, Some("gpt-x"))).await;
    let now = Clock::system().now();
    let tokens = OAuthTokens::new("at-secret-3").refresh("rt-secret-3");
    let tokens = tokens.expires_at(now.after(Duration::from_secs(3600)));
    let pool = PoolKey::with_namespace("anthropic", "team");
    let refused = home.add_to(pool.clone(), "refused", tokens.clone()).await;
    let reason = "invalid_grant: revoked".to_owned();
    let health = Health::NeedsSignIn { reason, generation: Generation::FIRST, cause: None };
    learn(&home, &refused, Change::Health(health)).await;
    let subscribed = home.add_to(pool, "subscribed", tokens).await;
    let at = Clock::system().now().before(Duration::from_secs(200));
    learn(&home, &subscribed, Change::Answered(LastResponse { at, status: 529 })).await;

    let listed = home.run(["list"]).ok().stdout;
    let lines: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(lines[0], HEADER, "{listed}");
    assert_eq!(lines[1][..5], ["anthropic", "team", "refused", "oauth", "needs sign-in"], "{listed}");
    assert_eq!(lines[2][..5], ["*", "anthropic", "team", "subscribed", "oauth"], "{listed}");
    assert_eq!(lines[2][6], "529", "{listed}");
    assert!(lines[2][7].starts_with("3m ") && lines[2][7].ends_with(" ago"), "{listed}");
    assert!(lines[2][5].starts_with("ready, expires in 59m") || lines[2][5].ends_with("1h"), "{listed}");
    assert_eq!(lines[3][..4], ["openai", "default", "limited", "api"], "{listed}");
    assert!(
        lines[3][4].starts_with("cooling down, 4m 5") || lines[3][4] == "cooling down, 5m left",
        "{listed}"
    );
    assert_eq!(lines[4][..5], ["*", "openai", "default", "scoped", "api"], "{listed}");
    assert!(lines[4][5].starts_with("ready; gpt-x cooling down, "), "{listed}");
    assert!(!listed.contains('\x1b'), "colours without a terminal: {listed:?}");

    let json = home.run(["list", "--json"]).ok().json();
    assert_eq!(json[0]["state"], "needs_sign_in");
    assert_eq!(json[0]["reason"], "invalid_grant: revoked");
    assert_eq!(json[0]["active"], false);
    assert_eq!(json[1]["active"], true);
    assert_eq!(json[1]["last_status"], 529);
    assert!(json[1]["last_used_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(json[0]["last_status"], serde_json::Value::Null);
    home.run(["show", "subscribed"]).ok().prints("last status  529").prints("last used");
    assert_eq!(json[2]["state"], "cooling");
    assert_eq!(json[2]["id"], limited.id.to_string());
    assert_eq!(json[2]["failures"], 1);
    assert!(json[2]["cooling_until"].as_str().unwrap().ends_with('Z'));
    assert_eq!(json[3]["state"], "ready");
    assert_eq!(json[3]["cooling_until"], serde_json::Value::Null);
    assert_eq!(json[3]["cooling_scopes"][0]["scope"], "gpt-x");
    assert!(json[3]["cooling_scopes"][0]["cooling_until"].as_str().unwrap().ends_with('Z'));
    assert_eq!(json[2]["cooling_scopes"], serde_json::Value::Null);

    assert_eq!(labels(&home, "claude"), ["refused", "subscribed"], "by an alias");
    assert_eq!(
        home.run(["list", "--namespace", "team", "--json"]).ok().json()[1]["label"],
        "subscribed"
    );
    home.run(["list", "opnai"]).code(3).says("openai");
}

#[tokio::test]
async fn a_list_fits_a_narrow_terminal_and_keeps_the_names_that_are_typed() {
    let home = Home::new();
    let pool = PoolKey::with_namespace("github-copilot", "team");
    let limited = home.add_to(pool, "a-long-label", Secret::api_key("sk-secret-1")).await;
    learn(&home, &limited, cooldown(300, Some("claude-sonnet"))).await;
    let whole = home.run(["list"]).ok().stdout;
    let widest = |text: &str| text.lines().map(|line| line.trim_end().chars().count()).max().unwrap();
    assert!(widest(&whole) > 100, "{whole}");
    let id = &limited.id.to_string()[..8];
    for columns in [widest(&whole) - 5, 88, 80, widest(&whole)] {
        let (shown, code) = end_of(home.terminal_of(columns, ["list", "--color", "never"]));
        assert_eq!(code, 0, "{shown}");
        assert!(widest(&shown) <= columns, "{columns}: {shown}");
        // What is empty goes first; nothing of the state does.
        assert!(!shown.contains('…'), "{columns}: {shown}");
        assert_eq!(shown.contains("LAST USED"), columns > 88, "{columns}: {shown}");
        for word in ["ready;", "claude-sonnet", "cooling", "down,", "left"] {
            assert!(shown.contains(word), "{columns}: {word} in {shown}");
        }
        for name in ["github-copilot", "team", "a-long-label", id] {
            assert!(shown.contains(name), "{columns}: {name} in {shown}");
        }
    }
}

#[tokio::test]
async fn in_80_columns_the_state_is_whole_where_all_namespaces_are_the_default() {
    let home = Home::new();
    home.settings("[providers.openai.oauth]\nclient_id = \"mine\"\n");
    let tokens = OAuthTokens::new("at-secret-1").refresh("rt-secret-1");
    let end = Clock::system().now().after(Duration::from_secs(5 * 3600 + 30));
    home.add_to(PoolKey::new("openai"), "work", tokens.expires_at(end)).await;
    let (shown, _) = end_of(home.terminal_of(80, ["list", "--color", "never"]));
    assert!(shown.contains("ready, expires in 5h"), "{shown}");
    assert!(!shown.contains("NAMESPACE"), "{shown}");
    let (shown, _) = end_of(home.terminal_of(200, ["list", "--color", "never"]));
    assert!(shown.contains("NAMESPACE"), "{shown}");
}

#[tokio::test]
async fn a_key_of_the_environment_is_listed_where_requests_use_it() {
    let mut home = Home::new();
    home.secret("sk-secret-0");
    home.set("OPENAI_API_KEY", "sk-secret-0");
    let listed = home.run(["list", "--json"]).ok().json();
    assert_eq!((&listed[0]["label"], &listed[0]["active"]), (&"$OPENAI_API_KEY".into(), &true.into()));
    home.run_showing(["headers", "openai"], "").ok().prints("Bearer sk-secret-0");
    assert!(!home.path().join(".local").exists());
    home.add("openai", "work", "sk-secret-1").await;
    assert_eq!(labels(&home, "openai"), ["work"]);
}

#[tokio::test]
async fn a_variable_that_holds_no_key_is_named_and_disturbs_nothing() {
    let mut home = Home::new();
    home.secret("sk-secret-0");
    for (value, reason) in [
        ("\"sk-secret-0\"", "quotes"),
        ("Bearer sk-secret-0", "Bearer"),
        ("\u{feff}sk-secret-0", "byte order mark"),
        ("sk-sec\nret-0", "line break"),
        ("sk-secret-0\u{1b}[31m", "no header takes"),
    ] {
        home.set("OPENAI_API_KEY", value);
        for arguments in [
            &["list"][..],
            &["list", "openai", "--json"],
            &["headers", "openai"],
            &["models", "openai"],
            &["test"],
        ] {
            let run = home.run_showing(arguments, "");
            assert_ne!(run.code, Some(0), "{arguments:?}: {run:?}");
            let run = run.says("OPENAI_API_KEY").says("this is not an API key").says(reason);
            assert!(!run.stderr.contains("There are no accounts"), "{run:?}");
        }
    }
    home.set("OPENAI_API_KEY", "  sk-secret-0\n");
    home.run_showing(["headers", "openai"], "").ok().prints("Bearer sk-secret-0");
    home.set("OPENAI_API_KEY", "'sk-secret-0'");
    home.add("openai", "work", "sk-secret-1").await;
    assert_eq!(labels(&home, "openai"), ["work"]);
    home.run_showing(["headers", "openai"], "").ok().prints("Bearer sk-secret-1");
}

/// As when a directory is restored in part from a backup that had another key.
#[tokio::test]
async fn a_pool_that_does_not_open_is_named_and_the_others_are_listed() {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    let other = Home::new();
    let foreign = other.add("google", "work", "sk-secret-2").await;
    let record = format!("records/{}.json", foreign.id);
    std::fs::copy(other.vault_directory().join(&record), home.vault_directory().join(&record)).unwrap();
    let run = home.run(["list"]).code(5).prints("openai").says("google").says("key");
    assert!(!run.stdout.contains("google"), "{run:?}");
    assert_eq!(home.run(["list", "--json"]).code(5).json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_namespace_without_accounts_is_named_and_a_long_list_of_accounts_is_cut_short() {
    let home = Home::new();
    for number in 0..12 {
        home.add("openai", &format!("key-{number}"), &format!("sk-secret-{number}")).await;
    }
    home.run(["list", "-n", "nosuch"]).ok().says("no accounts in the namespace nosuch");
    home.run(["logout", "openai", "--yes"]).code(2).says("and 6 more");
}

#[tokio::test]
async fn in_80_columns_no_state_of_several_accounts_loses_a_word() {
    let home = Home::new();
    for number in 0..3 {
        home.add("anthropic", &format!("key-{number}"), &format!("sk-secret-{number}")).await;
    }
    let pool = PoolKey::new("anthropic");
    home.add_to(
        pool.clone(),
        "person@example.com",
        OAuthTokens::new("at-secret-1").refresh("rt-secret-1"),
    )
    .await;
    let limited = home.add_to(pool, "limited", OAuthTokens::new("at-secret-2")).await;
    learn(&home, &limited, cooldown(300, None)).await;
    learn(&home, &limited, Change::Answered(LastResponse { at: Clock::system().now(), status: 429 }))
        .await;
    let (shown, _) = end_of(home.terminal_of(80, ["list", "--color", "never"]));
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    // The way out below it is a line as long as it needs.
    let table = shown.split("anthropic/key-0: not used").next().unwrap();
    let count = |word: &str| words(table).iter().filter(|known| *known == word).count();
    assert_eq!((count("sign-ins"), count("keys")), (3, 3), "{shown}");
    assert!(shown.contains("client id") && !shown.contains('…'), "{shown}");
    assert!(
        shown.lines().take_while(|line| !line.contains("set providers")).all(|line| line
            .trim_end()
            .chars()
            .count()
            <= 80),
        "{shown}"
    );
}

#[tokio::test]
async fn a_list_of_a_provider_without_accounts_names_those_that_have_some() {
    let home = Home::new();
    home.add("anthropic", "work", "sk-secret-1").await;
    let run = home.run(["list", "openai"]).ok();
    run.says("There are no accounts of openai; there are accounts of anthropic/default. To add one: credentials login openai");
    let run = home.run(["list", "openai", "-n", "team"]).ok();
    run.says("credentials login openai --namespace team\n");
}
