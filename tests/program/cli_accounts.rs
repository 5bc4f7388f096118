//! `credentials list`, `show`, `rename`, `move`, `activate`, `reset` and `logout`: the accounts, as a person
//! sees and arranges them.
#![cfg(feature = "cli")]

use std::time::Duration;
use tower_credentials::standing::{Change, Cooldown, Health, LastResponse, Outcome, Reason, Scope};
use tower_credentials::vault::VaultExt;
use tower_credentials::{Clock, Generation, Metadata, OAuthTokens, PoolKey, Secret};

use crate::cli::{Home, end_of};

const HEADER: [&str; 8] =
    ["PROVIDER", "NAMESPACE", "LABEL", "KIND", "STATE", "LAST STATUS", "LAST USED", "ID"];

fn cooldown(seconds: u64, scope: Option<&str>) -> Change {
    let now = Clock::system().now();
    let until = now.after(Duration::from_secs(seconds));
    let scope = scope.map(Scope::new);
    let cooldown =
        Cooldown { until, set_at: now, reason: Reason::Limited, scope, generation: None, cause: None };
    Change::CooledDown { cooldown, failure: true, to_back: false }
}

async fn learn(home: &Home, credential: &Metadata, change: Change) {
    let outcome = Outcome { id: credential.id, change };
    home.vault().await.record(credential.pool.clone(), vec![outcome]).await.unwrap();
}

/// The labels of a pool, in order, as the program lists them.
fn labels(home: &Home, provider: &str) -> Vec<String> {
    let listed = home.run(["list", provider, "--json"]).ok().json();
    let label = |account: &serde_json::Value| account["label"].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(label).collect()
}

#[test]
fn without_a_vault_the_list_is_empty_and_nothing_is_made() {
    let home = Home::new();
    let run = home.run(["list"]).ok().says("credentials login PROVIDER");
    run.says(&format!("there is no vault in {} yet", home.vault_directory().display()));
    let file = tempfile::NamedTempFile::new().unwrap();
    let run = home.run(["list", "--vault", file.path().to_str().unwrap()]).code(2);
    run.says("is no directory, and so no vault");
    assert_eq!(home.run(["list", "--json"]).ok().json(), serde_json::json!([]));
    home.run(["show", "openai"]).code(3).says("credentials login");
    assert!(home.path().read_dir().unwrap().next().is_none());
}

#[tokio::test]
async fn the_list_tells_how_each_account_stands_and_which_is_active() {
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
async fn a_variable_that_holds_no_key_is_named_and_is_in_nobodys_way() {
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

#[tokio::test]
async fn one_account_is_shown_without_its_secret() {
    let home = Home::new();
    let work = home.add("openai", "work", "sk-secret-1").await;
    home.add("openai", "spare", "sk-secret-2").await;
    for name in
        ["work", "openai/work", "openai/default/work", &work.id.to_string(), &work.id.to_string()[..6]]
    {
        home.run(["show", name]).ok().prints(&work.id.to_string());
    }
    let json = home.run(["show", "openai/work", "--json"]).ok().json();
    assert_eq!((&json["label"], &json["generation"]), (&"work".into(), &1.into()));
    home.run(["show", "openai"]).code(2).says("openai/work, openai/spare").says("label");
    home.run(["show", "openai/wrok"]).code(3).says("openai has openai/work, openai/spare");
    home.run(["show", "anthropic"]).code(3).says("credentials login anthropic");
}

#[tokio::test]
async fn accounts_are_renamed_and_put_in_order() {
    let home = Home::new();
    for (label, key) in [("a", "sk-secret-1"), ("b", "sk-secret-2"), ("c", "sk-secret-3")] {
        home.add("openai", label, key).await;
    }
    home.run(["rename", "openai/c", "third"]).ok().says("openai/c is openai/third now");
    home.run(["rename", "openai/third", "a"]).code(2).says("taken");
    home.run(["rename", "openai/third", ""]).code(2).says("label");
    assert_eq!(labels(&home, "openai"), ["a", "b", "third"]);
    home.run(["activate", "openai/third"]).ok().says("openai/third is 1 of 3 now");
    assert_eq!(labels(&home, "openai"), ["third", "a", "b"]);
    home.run(["move", "openai/third", "--to", "2"]).ok().says("2 of 3");
    home.run(["move", "openai/a", "--to", "99"]).ok().says("3 of 3");
    assert_eq!(labels(&home, "openai"), ["third", "b", "a"]);
    home.run(["move", "openai/a", "--to", "0"]).code(2).says("--to");
    home.run(["move", "openai/a"]).code(2).says("--to");
}

#[tokio::test]
async fn a_paused_account_is_not_taken_until_it_is_resumed() {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    home.add("openai", "spare", "sk-secret-2").await;
    home.run(["pause", "openai/work"]).ok().says("openai/work is paused");
    home.run(["reset", "openai/work"]).ok();
    let listed = home.run(["list", "--json"]).ok().json();
    assert_eq!((&listed[0]["state"], &listed[0]["active"]), (&"paused".into(), &false.into()));
    assert_eq!(listed[1]["active"], true);
    home.run_showing(["headers", "openai"], "").ok().prints("Bearer sk-secret-2");
    let refused = home.run(["headers", "openai/work"]).code(1);
    refused.says("error: openai/work is paused\n").says("try: credentials resume openai/work\n");
    home.run(["resume", "openai/work"]).ok().says("openai/work is in use again");
    let listed = home.run(["list", "--json"]).ok().json();
    assert_eq!((&listed[0]["state"], &listed[0]["active"]), (&"ready".into(), &true.into()));
}

#[tokio::test]
async fn a_reset_clears_cooldowns_and_verdicts() {
    let home = Home::new();
    let work = home.add("openai", "work", "sk-secret-1").await;
    learn(&home, &work, cooldown(300, None)).await;
    assert_eq!(home.run(["list", "--json"]).ok().json()[0]["state"], "cooling");
    home.run(["reset", "openai/work"]).ok();
    let account = &home.run(["list", "--json"]).ok().json()[0];
    assert_eq!((&account["state"], &account["failures"]), (&"ready".into(), &0.into()));
}

#[tokio::test]
async fn a_logout_asks_and_removes_only_what_was_meant() {
    let home = Home::new();
    for (label, key) in [("a", "sk-secret-1"), ("b", "sk-secret-2"), ("c", "sk-secret-3")] {
        home.add("openai", label, key).await;
    }
    home.add("anthropic", "other", "sk-secret-4").await;
    home.run(["logout", "openai/a"]).code(2).says("--yes");
    home.run(["logout", "openai", "--yes"]).code(2).says("--all").says("openai/a, openai/b, openai/c");
    assert_eq!(labels(&home, "openai"), ["a", "b", "c"]);

    let mut terminal = home.terminal(["logout", "openai/a"]);
    terminal.exp_string("Remove openai/a from the vault? [y/N]").unwrap();
    terminal.send_line("n").unwrap();
    let (shown, code) = end_of(terminal);
    assert_eq!(code, 1, "{shown}");
    assert!(shown.contains("nothing was done"), "{shown}");
    let mut terminal = home.terminal(["logout", "openai/a"]);
    terminal.exp_string("[y/N]").unwrap();
    terminal.send_line("y").unwrap();
    assert_eq!(end_of(terminal).1, 0);
    assert_eq!(labels(&home, "openai"), ["b", "c"]);

    home.run(["logout", "openai", "--all", "--yes"])
        .ok()
        .says("Removed openai/b")
        .says("Removed openai/c");
    assert_eq!(labels(&home, "openai"), [""; 0]);
    assert_eq!(labels(&home, "anthropic"), ["other"]);
}

#[tokio::test]
async fn a_damaged_record_is_named_and_can_be_removed_by_its_id() {
    let home = Home::new();
    home.add("openai", "good", "sk-secret-1").await;
    let bad = home.add("openai", "bad", "sk-secret-2").await;
    let path = home.vault_directory().join(format!("records/{}.json", bad.id));
    std::fs::write(&path, "{").unwrap();
    let run = home.run(["list"]).code(5).prints("good").says(path.to_str().unwrap());
    assert!(!run.stdout.contains("bad"), "{run:?}");
    let run = home.run(["logout", &bad.id.to_string(), "--yes"]).ok().says("Removed the record");
    assert_eq!(run.stderr.matches("warning: ").count(), 1, "{run:?}");
    assert!(!path.exists());
    assert_eq!(home.run(["list"]).ok().stderr, "");
}

#[tokio::test]
async fn a_text_that_may_be_a_label_or_the_beginning_of_an_id_is_ambiguous() {
    let home = Home::new();
    let first = home.add("openai", "a", "sk-secret-1").await;
    home.add("openai", "b", "sk-secret-2").await;
    let beginning = first.id.to_string()[..8].to_owned();
    home.run(["rename", "openai/b", &beginning]).ok();
    home.run(["pause", &beginning]).code(2).says("matches 2 accounts");
    home.run(["pause", &first.id.to_string()]).ok().says("openai/a is paused");
    home.run(["rename", "openai/a", "openai/c"]).code(2).says("credentials rename openai/a c");
    home.run(["rename", "openai/a", "\u{202e}c"]).code(2).says("turn a line around");
}

#[tokio::test]
async fn a_paused_account_that_is_activated_is_still_paused_and_that_is_said() {
    let home = Home::new();
    home.add("openai", "a", "sk-secret-1").await;
    home.add("openai", "b", "sk-secret-2").await;
    home.run(["pause", "openai/b"]).ok();
    home.run(["activate", "openai/b"]).ok().says("1 of 2").says("credentials resume openai/b");
}

#[tokio::test]
async fn what_a_terminal_would_obey_is_not_written_to_it() {
    let home = Home::new();
    let work = home.add("openai", "work", "sk-secret-1").await;
    learn(&home, &work, cooldown(300, Some("m\u{1b}]0;title\u{7}\u{202e}\u{feff}"))).await;
    for command in ["list", "show"] {
        let arguments: &[&str] = if command == "list" { &["list"] } else { &["show", "work"] };
        let shown = home.run(arguments).ok().stdout;
        assert!(shown.contains("]0;title"), "{shown}");
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{feff}']), "{shown:?}");
    }
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
async fn a_namespace_without_accounts_is_named_and_many_accounts_are_told_in_short() {
    let home = Home::new();
    for number in 0..12 {
        home.add("openai", &format!("key-{number}"), &format!("sk-secret-{number}")).await;
    }
    home.run(["list", "-n", "nosuch"]).ok().says("no accounts in the namespace nosuch");
    home.run(["logout", "openai", "--yes"]).code(2).says("and 6 more");
}

#[tokio::test]
async fn a_tier_comes_before_the_order_and_move_and_activate_stay_within_it() {
    let home = Home::new();
    home.settings("[providers.openai]\nmode = \"all\"\n");
    for label in ["paid", "spare"] {
        home.add("openai", label, &format!("sk-secret-{label}")).await;
    }
    let tokens = OAuthTokens::new("at-secret-1").refresh("rt-secret-1");
    home.add_to(PoolKey::new("openai"), "work", tokens).await;
    let labels = || {
        let listed = home.run(["list", "--json"]).ok().json();
        let listed = listed.as_array().unwrap().iter();
        listed
            .map(|one| (one["label"].as_str().unwrap().to_owned(), one["tier"].as_u64().unwrap()))
            .collect::<Vec<_>>()
    };
    let tiers = |expected: &[(&str, u64)]| {
        let expected: Vec<_> =
            expected.iter().map(|(label, tier)| ((*label).to_owned(), *tier)).collect();
        assert_eq!(labels(), expected);
    };
    tiers(&[("work", 0), ("paid", 1), ("spare", 1)]);
    let run = home.run(["activate", "openai/spare"]).ok().says("openai/spare is 1 of 2 in tier 1 now");
    run.says("credentials tier openai/spare --to 0");
    tiers(&[("work", 0), ("spare", 1), ("paid", 1)]);
    home.run(["move", "openai/spare", "--to", "9"]).ok().says("2 of 2 in tier 1");
    tiers(&[("work", 0), ("paid", 1), ("spare", 1)]);
    home.run_showing(["headers", "openai"], "").ok().prints("Bearer at-secret-1");
    home.run(["tier", "openai/paid", "--to", "0"]).ok().says("openai/paid is in tier 0 now");
    home.run(["activate", "openai/paid"]).ok().says("1 of 2 in tier 0");
    tiers(&[("paid", 0), ("work", 0), ("spare", 1)]);
    home.run_showing(["headers", "openai"], "").ok().prints("Bearer sk-secret-paid");
    home.run(["show", "openai/paid"]).ok().prints("tier");
    home.run(["tier", "openai/paid", "--usual"]).ok().says("in tier 1");
    tiers(&[("work", 0), ("spare", 1), ("paid", 1)]);
    home.run(["tier", "openai/paid"]).code(2).says("--to");
    home.run(["tier", "openai/paid", "--to", "999"]).code(2).says("--to");
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
    let table = shown.split("anthropic/key-0: set").next().unwrap();
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
async fn a_list_of_a_provider_without_accounts_says_whose_there_are() {
    let home = Home::new();
    home.add("anthropic", "work", "sk-secret-1").await;
    let run = home.run(["list", "openai"]).ok();
    run.says("There are no accounts of openai; there are accounts of anthropic/default. To add one: credentials login openai");
    let run = home.run(["list", "openai", "-n", "team"]).ok();
    run.says("credentials login openai --namespace team\n");
}

#[tokio::test]
async fn commands_go_by_the_names_that_others_have_for_them() {
    let home = Home::new();
    home.add("openai", "a", "sk-secret-1").await;
    home.add("openai", "b", "sk-secret-2").await;
    home.run(["use", "openai/b"]).ok().says("openai/b is 1 of 2 now");
    for (name, account) in [("rm", "a"), ("remove", "c"), ("delete", "d")] {
        if account != "a" {
            home.add("openai", account, &format!("sk-secret-{account}")).await;
        }
        home.run([name, &format!("openai/{account}"), "--yes"]).ok().says("Removed");
    }
    assert_eq!(labels(&home, "openai"), ["b"]);
}

#[tokio::test]
async fn several_accounts_are_paused_at_once_or_none() {
    let home = Home::new();
    for (label, key) in [("a", "sk-secret-1"), ("b", "sk-secret-2"), ("c", "sk-secret-3")] {
        home.add("openai", label, key).await;
    }
    home.add("anthropic", "a", "sk-secret-4").await;
    let states = |home: &Home| {
        let listed = home.run(["list", "--json"]).ok().json();
        let state = |account: &serde_json::Value| account["state"].as_str().unwrap().to_owned();
        listed.as_array().unwrap().iter().map(state).collect::<Vec<_>>()
    };
    home.run(["pause", "openai/a", "openai/nosuch"]).code(3).says("nosuch");
    home.run(["pause", "openai"]).code(2).says("--all");
    home.run(["pause"]).code(2).says("<ACCOUNT>...");
    assert_eq!(states(&home), ["ready"; 4]);
    home.run(["pause", "openai/a", "openai/b"])
        .ok()
        .says("openai/a is paused")
        .says("openai/b is paused");
    assert_eq!(states(&home), ["ready", "paused", "paused", "ready"]);
    home.run(["resume", "openai", "--all"]).ok();
    assert_eq!(states(&home), ["ready"; 4]);
    home.run(["pause", "--all"]).ok().says("anthropic/a is paused");
    assert_eq!(states(&home), ["paused"; 4]);
    home.run(["reset", "--all"]).ok().says("openai/c is reset");
    home.run(["resume", "--all"]).ok();
    assert_eq!(states(&home), ["ready"; 4]);
    home.run(["pause", "--all", "-n", "nosuch"]).code(3);
}

#[tokio::test]
async fn what_a_person_is_told_to_type_can_be_typed() {
    let home = Home::new();
    home.add("acme", "my key $HOME", "sk-secret-1").await;
    let run = home.run(["rename", "acme/my key $HOME", "acme/it's mine"]).code(2);
    run.says(r"try: credentials rename 'acme/my key $HOME' 'it'\''s mine'");
    home.run(["pause", "my key $HOME"]).ok();
    home.run(["status"]).code(6).prints("try: credentials resume 'acme/my key $HOME'\n");
    home.run(["headers", "openai", "--url", "nonsense"])
        .code(2)
        .says("not a whole URL, such as https://");
    let run = home.run(["headers", "openai", "--url", "/v1/models"]).code(2);
    run.says("not a whole URL").says("not a whole URL, such as https://");
    home.run(["move", "my key $HOME", "--to", "0"]).code(2).says("counted from 1");
    home.run(["move", "my key $HOME", "--to", "first"]).code(2).says("counted from 1");
    let id = home.run(["show", "my key $HOME", "--json"]).ok().json()["id"].as_str().unwrap().to_owned();
    home.run(["show", &id[..3]]).code(3).says("needs at least 4 digits");
    home.run(["show", &id[..4]]).ok();
    home.run(["--help"]).ok().prints("the settings file takes precedence");
    home.run(["models", "openai", "-n", "other"])
        .code(3)
        .says("try: credentials login openai --namespace other\n");
    let key = "k".repeat(70_000);
    let run = home
        .run_with(["login", "openai", "--api-key"], &key)
        .code(2)
        .says("it is longer than 65536 bytes");
    assert!(!run.stderr.contains("a API"), "{run:#?}");
}

#[tokio::test]
async fn a_label_that_could_not_be_typed_is_refused_and_one_that_is_there_goes_on() {
    let home = Home::new();
    home.add("openai", "old/one", "sk-secret-1").await;
    home.add("openai", "spare", "sk-secret-2").await;
    home.run(["rename", "spare", "a/b"]).code(2).says("separates the parts of an account's name");
    home.run(["rename", "spare", " pad"]).code(2).says("begins or ends with a blank");
    for wrong in [["--label", " pad "], ["--label", "a/b"], ["--namespace", "../../up"]] {
        let arguments = [&["login", "openai", "--api-key"][..], &wrong].concat();
        home.run_with(arguments, "sk-secret-3").code(2).says(wrong[1].trim());
    }
    home.run(["show", "openai/old/one"]).ok();
    home.run(["rename", "old/one", "new"]).ok();
    assert_eq!(labels(&home, "openai"), ["new", "spare"]);
}

#[tokio::test]
async fn a_slip_is_met_with_what_was_probably_meant() {
    let home = Home::new();
    for command in ["use", "test"] {
        home.run([command, "nope"]).code(3).says("there are no accounts yet");
    }
    home.add("openai", "spare", "sk-secret-1").await;
    for command in ["login", "list", "status"] {
        home.run([command, "nope"]).code(3).says("try: credentials providers\n");
    }
    home.run(["use", "spar"]).code(3).says("the nearest is openai/spare");
    let run = home.run(["use", "quite-another"]).code(3);
    assert!(!run.stderr.contains("nearest"), "{run:?}");
    home.run(["resume", "spare"]).ok().says("openai/spare was not paused");
    home.run(["pause", "spare"]).ok().says("openai/spare is paused");
    home.run(["pause", "spare"]).ok().says("openai/spare was paused already");
    home.run(["resume", "spare"]).ok().says("openai/spare is in use again");
    for command in ["tier", "move"] {
        home.run([command, "spare", "2"]).code(2).says("--to 2");
    }
}
