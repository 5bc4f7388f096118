//! `credentials why`: which account the next request takes, and why it takes no other.
#![cfg(feature = "cli")]

use std::time::Duration;

use serde_json::{Value, json};
use tower_credentials::standing::{
    Cause, Change, Cooldown, Health, LastResponse, Reason, Scope, StatedBy,
};
use tower_credentials::{Clock, Generation, OAuthTokens, PoolKey, Secret};

use crate::cli::Home;
use crate::cli::accounts::learn;

/// A limit of five minutes, which a 429 has set.
fn limited(scope: Option<&str>) -> Change {
    let at = Clock::system().now();
    let cause = Cause { at, status: 429, stated_by: Some(StatedBy::Header("retry-after".into())) };
    let cooldown = Cooldown {
        until: at.after(Duration::from_secs(300)),
        set_at: at,
        reason: Reason::Limited,
        scope: scope.map(Scope::new),
        generation: None,
        cause: Some(cause),
    };
    Change::CooledDown { cooldown, failure: true, to_back: false }
}

fn spent() -> Change {
    let cause = Cause { at: Clock::system().now(), status: 402, stated_by: None };
    let (reason, generation) = ("no money\u{1b}[2J".to_owned(), Generation::FIRST);
    Change::Health(Health::Spent { reason, generation, cause: Some(cause) })
}

/// The line about an account, and the one after it.
#[track_caller]
fn about<'a>(shown: &'a str, account: &str) -> (&'a str, &'a str) {
    let start = format!("{account}: ");
    let mut lines = shown.lines().skip(1).skip_while(|line| !line.starts_with(&start));
    let line = lines.next().unwrap_or_else(|| panic!("no {account} in {shown}"));
    (line, lines.next().unwrap_or_default())
}

#[tokio::test]
async fn each_account_has_its_reason_its_response_and_what_a_person_can_do() {
    let home = Home::new();
    home.settings("[providers.openai.oauth]\nclient_id = \"mine\"\n");
    let pool = PoolKey::new("openai");
    let mut accounts = Vec::new();
    for label in ["next", "after", "limited", "on leave", "spent", "refused"] {
        let tokens = OAuthTokens::new(format!("at-secret-{label}")).refresh("rt-secret");
        accounts.push(home.add_to(pool.clone(), label, tokens).await);
    }
    home.add("openai", "key", "sk-secret-1").await;
    learn(&home, &accounts[2], limited(None)).await;
    learn(&home, &accounts[3], Change::Paused).await;
    learn(&home, &accounts[4], spent()).await;
    let at = Clock::system().now();
    learn(&home, &accounts[5], Change::Answered(LastResponse { at, status: 401 })).await;

    let run = home.run(["why", "openai"]).ok();
    assert!(run.stdout.starts_with("openai/default: the next request takes openai/next\n"), "{run:#?}");
    for (account, why, way_out) in [
        ("openai/next", &["ready"][..], ""),
        (
            "openai/after",
            &["ready, after openai/next, by their order"],
            "credentials activate openai/after",
        ),
        (
            "openai/limited",
            &[
                "cooling down, ",
                " left, until 2",
                "it has reached a limit (response 429 at 2",
                "the time is from the header retry-after)",
            ],
            "credentials reset openai/limited",
        ),
        ("openai/on leave", &["paused"], "credentials resume 'openai/on leave'"),
        ("openai/spent", &["spent: no money", "(response 402 at 2"], "credentials test openai/spent"),
        (
            "openai/refused",
            &["ready, after openai/next", "its last request was refused (401)"],
            "credentials test openai/refused",
        ),
        (
            "openai/key",
            &["not used: mode auto takes sign-ins before keys"],
            "set providers.openai.mode = \"all\" in ",
        ),
    ] {
        let (line, next) = about(&run.stdout, account);
        for part in why {
            assert!(line.contains(part), "no {part} in {line}");
        }
        if !way_out.is_empty() {
            assert!(next.starts_with(&format!("  try: {way_out}")), "{next}, not {way_out}");
        }
    }
    assert!(run.stdout.contains("\n       to use it first\n"), "a command stands alone: {run:#?}");
    assert!(!run.stdout.contains('\u{1b}'), "{run:#?}");

    let json = home.run(["why", "openai", "--json"]).ok().json();
    assert_eq!((&json["next"], &json["namespace"]), (&json!("openai/next"), &json!("default")));
    let of = |label: &str| -> Value {
        let all = json["accounts"].as_array().unwrap();
        all.iter().find(|one| one["label"] == label).unwrap().clone()
    };
    let states =
        ["next", "after", "limited", "on leave", "spent", "key"].map(|label| of(label)["state"].clone());
    assert_eq!(states, ["ready", "ready", "cooling", "paused", "spent", "not_used"].map(Value::from));
    let response = &of("limited")["response"];
    assert_eq!(response["status"], 429);
    assert_eq!(response["stated_by"], json!({"header": "retry-after"}));
    assert_eq!((&of("after")["behind"], &of("after")["by"]), (&json!("openai/next"), &json!("order")));
    assert_eq!((&of("next")["next"], &of("after")["next"]), (&json!(true), &json!(false)));
    // What it suggests has the effect that it says.
    home.run(["activate", "openai/after"]).ok();
    home.run(["why", "openai"]).ok().prints("the next request takes openai/after\n");
    home.run(["reset", "openai/limited"]).ok();
    home.run(["activate", "openai/limited"]).ok();
    home.run(["why", "openai"]).ok().prints("the next request takes openai/limited\n");
    // The same account as in the list.
    home.run(["list"]).ok().prints("limited");
    assert_eq!(home.run(["status", "--json"]).json()["pools"][0]["active"], "openai/limited");
}

#[tokio::test]
async fn a_models_limit_counts_for_requests_for_that_model() {
    let home = Home::new();
    let one = home.add("google", "one", "sk-secret-1").await;
    home.add("google", "two", "sk-secret-2").await;
    learn(&home, &one, limited(Some("gemini-x"))).await;
    home.run(["why", "google"]).ok().prints("google/default: the next request takes google/one\n");
    for model in ["gemini-x", "models/gemini-x"] {
        let run = home.run(["why", "google", "--model", model]).ok();
        let run = run.prints("google/default, for gemini-x: the next request takes google/two\n");
        let (line, next) = about(&run.stdout, "google/one");
        assert!(line.contains("cooling down for gemini-x, "), "{line}");
        assert_eq!(next, "  try: credentials reset google/one");
    }
    let json = home.run(["why", "google", "--model", "gemini-x", "--json"]).ok().json();
    assert_eq!(json["model"], "gemini-x");
    assert_eq!(json["accounts"][1]["scope"], "gemini-x");
    home.run(["why", "google", "--model", "other"]).ok().prints("takes google/one\n");
    for wrong in ["", "two words"] {
        home.run(["why", "google", "--model", wrong]).code(2).says("credentials models google");
    }
    home.run(["reset", "google/one"]).ok();
    home.run(["why", "google", "--model", "gemini-x"]).ok().prints("takes google/one\n");
}

#[tokio::test]
async fn if_no_account_is_ready_it_fails_as_a_request_would() {
    let home = Home::new();
    home.run(["why", "openai"]).code(3).says("credentials login openai");
    home.run(["why", "opnai"]).code(3).says("openai");
    home.run(["why"]).code(2).says("<PROVIDER>");
    let one = home.add("openai", "one", "sk-secret-1").await;
    home.add("openai", "two", "sk-secret-2").await;
    home.run(["pause", "two"]).ok();
    learn(&home, &one, limited(None)).await;
    let run =
        home.run(["why", "openai"]).code(6).says("every account of openai/default is cooling down");
    // Not even the one that is ready first, as the gateway has it.
    let run = run.prints("openai/default: the next request takes none\nopenai/one is ready first, in ");
    let run = run.prints("; until then `credentials exec` and `serve` answer with a 429\n");
    assert!(about(&run.stdout, "openai/one").0.starts_with("openai/one: cooling down, "), "{run:#?}");
    home.run(["status"]).code(6).prints("0 of 2 can be used now; openai/one is ready first, in ");
    let json = home.run(["why", "openai", "--json"]).code(6).json();
    assert_eq!(json["gateway"]["first"], "openai/one");
    assert_eq!(json["gateway"]["until"], json["accounts"][0]["until"]);
    assert!(json.get("next").is_none() && json["accounts"][0]["next"] == false, "{json}");
    learn(&home, &one, Change::Reset).await;
    learn(&home, &one, spent()).await;
    let run = home.run(["why", "openai"]).code(6).says("spent");
    let run = run.prints("openai/default: the next request takes none\n");
    run.prints("`credentials exec` and `serve` answer with a 503 until a person acts\n");
    home.run(["pause", "one"]).ok();
    home.run(["why", "openai"]).code(1).says("paused").says("credentials resume");
    assert!(home.run(["why", "openai", "--json"]).code(1).json().get("next").is_none());
    // Another vault is meant by what it suggests, too.
    let vault = home.vault_directory();
    let run = home.run(["--vault", vault.to_str().unwrap(), "why", "openai"]).code(1);
    run.prints("try: credentials --vault ");
}

#[tokio::test]
async fn a_damaged_record_is_named_and_what_is_left_is_explained() {
    let home = Home::new();
    home.add("openai", "good", "sk-secret-1").await;
    let bad = home.add("openai", "bad", "sk-secret-2").await;
    std::fs::write(home.vault_directory().join(format!("records/{}.json", bad.id)), "{").unwrap();
    let run = home.run(["why", "openai"]).code(5).says(".json");
    run.prints("the next request takes openai/good\n");
}

#[tokio::test]
async fn one_account_is_explained_alone_with_the_code_of_requests_for_it() {
    let home = Home::new();
    home.settings("[providers.openai.oauth]\nclient_id = \"mine\"\n");
    let pool = PoolKey::new("openai");
    let mut accounts = Vec::new();
    for label in ["next", "after", "limited", "on leave", "spent", "revoked"] {
        let tokens = OAuthTokens::new(format!("at-secret-{label}")).refresh("rt-secret");
        accounts.push(home.add_to(pool.clone(), label, tokens).await);
    }
    home.add("openai", "key", "sk-secret-1").await;
    home.add("google", "limited", "sk-secret-2").await;
    let elsewhere = PoolKey::with_namespace("openai", "mine");
    home.add_to(elsewhere, "far", Secret::api_key("sk-secret-3")).await;
    learn(&home, &accounts[2], limited(None)).await;
    learn(&home, &accounts[3], Change::Paused).await;
    learn(&home, &accounts[4], spent()).await;
    let (reason, generation) = ("revoked".to_owned(), Generation::FIRST);
    learn(&home, &accounts[5], Change::Health(Health::NeedsSignIn { reason, generation, cause: None }))
        .await;

    let all = home.run(["why", "openai"]).ok().stdout;
    for (label, code, says) in [
        ("next", 0, ""),
        ("after", 0, ""),
        ("limited", 6, "openai/limited is cooling down"),
        ("on leave", 1, "openai/on leave is paused"),
        ("spent", 6, "openai/spent is spent"),
        ("revoked", 4, "openai/revoked needs a new sign-in"),
        ("key", 3, "openai/key is not used by requests"),
    ] {
        // The same words as among all, and only those.
        let run = home.run(["why", "openai", label]).code(code).says(says);
        assert!(
            run.stdout.starts_with("openai/default: the next request takes openai/next\n"),
            "{run:#?}"
        );
        let ((line, _), (of_all, _)) =
            (about(&run.stdout, &format!("openai/{label}")), about(&all, &format!("openai/{label}")));
        let until = |line: &str| line.split(" left, until").next().unwrap().len();
        assert_eq!(until(line), until(of_all), "{line}");
        assert_eq!(run.stdout.matches("openai/").count(), all_names(&run.stdout, label), "{run:#?}");
        let json = home.run(["why", "openai", label, "--json"]).code(code).json();
        assert_eq!(json["next"], "openai/next");
        assert_eq!(json["accounts"].as_array().unwrap().len(), 1);
        assert_eq!(json["accounts"][0]["label"], label);
    }
    // By every name of it, in another namespace too; the label alone means the one of the provider.
    let id = accounts[2].id.to_string();
    for name in ["openai/limited", "openai/default/limited", &id, &id[..8]] {
        home.run(["why", "openai", name]).code(6).says("openai/limited is cooling down");
    }
    for name in ["far", "openai/mine/far"] {
        home.run(["why", "openai", name]).ok().prints("openai/mine/far: ready");
    }
    home.run(["why", "openai", "far", "-n", "mine"]).ok().prints("openai/mine: the next request takes");
    home.run(["why", "openai", "nobody"]).code(3).says("no account nobody");
    home.run(["why", "openai", "google/limited"]).code(3).says("no account of openai");
    home.run(["why", "openai", "openai"]).code(2).says("matches");
    home.run(["why", "openai", "limited", "--model", "gpt-x"]).code(6);
}

/// How often a report about one account names one of the provider: in its head, before its reason, and what it is after.
fn all_names(shown: &str, label: &str) -> usize {
    let own = shown.matches(&format!("openai/{label}")).count();
    let quoted = shown.matches("openai/next").count();
    let pool = shown.matches("openai/default").count();
    pool + if label == "next" { own } else { own + quoted }
}

/// A key of the environment is an account, too.
#[test]
fn a_key_of_the_environment_is_explained() {
    let home = Home::new().variable("OPENAI_API_KEY", "sk-secret-1");
    home.secret("sk-secret-1");
    home.run(["why", "openai", "$OPENAI_API_KEY"]).ok().prints("openai/$OPENAI_API_KEY: ready");
}
