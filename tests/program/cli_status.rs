//! `credentials status`: what is not usable, why, and the command that mends it.
#![cfg(feature = "cli")]

use std::time::Duration;

use serde_json::json;
use tower_credentials::standing::{Change, Cooldown, Health, LastResponse, Reason};
use tower_credentials::vault::VaultExt;
use tower_credentials::{Clock, Generation, OAuthTokens, PoolKey};

use crate::cli::accounts::{cooldown, learn};
use crate::cli::{Home, end_of};

fn needs_sign_in() -> Change {
    let reason = "invalid_grant: revoked\u{1b}[2J".to_owned();
    Change::Health(Health::NeedsSignIn { reason, generation: Generation::FIRST, cause: None })
}

#[tokio::test]
async fn a_cooldown_that_a_wrong_clock_has_set_does_not_count_here_either() {
    let home = Home::new();
    let mut accounts = vec![home.add("openai", "key", "sk-secret-1").await];
    // A key that the mode leaves out is shown by the same rule.
    let tokens = OAuthTokens::new("at-secret-1").refresh("rt-secret-1");
    accounts.push(home.add_to(PoolKey::new("anthropic"), "work", tokens).await);
    accounts.push(home.add("anthropic", "left-out", "sk-secret-3").await);
    let now = Clock::system().now();
    let set_at = now.after(Duration::from_secs(8 * 24 * 3600));
    let until = set_at.after(Duration::from_secs(600));
    for account in &accounts {
        let cooldown = Cooldown {
            until,
            set_at,
            reason: Reason::Limited,
            scope: None,
            generation: None,
            cause: None,
        };
        learn(&home, account, Change::CooledDown { cooldown, failure: true, to_back: false }).await;
    }
    for (name, state) in [("key", "ready"), ("work", "ready"), ("left-out", "ready")] {
        let json = home.run(["show", name, "--json"]).ok().json();
        assert_eq!((&json["state"], json.get("cooling_until")), (&json!(state), None), "{json}");
    }
    let listed = home.run(["list"]).ok();
    assert!(!listed.stdout.contains("cooling"), "{listed:?}");
    let run = home.run(["status"]).ok();
    assert!(!run.stdout.contains("cooling"), "{run:?}");
    // One of the present does count.
    let other = home.add("openai", "other", "sk-secret-2").await;
    learn(&home, &other, cooldown(300, None)).await;
    assert_eq!(home.run(["show", "other", "--json"]).ok().json()["state"], "cooling");
}

#[test]
fn without_accounts_the_first_command_is_named() {
    let home = Home::new();
    let run = home.run(["status"]).ok().prints("There are no accounts: there is no vault in ");
    run.prints("try: credentials login PROVIDER\n");
    assert_eq!(
        home.run(["status", "--json"]).ok().json(),
        json!({"accounts": 0, "usable": 0, "pools": [], "troubles": []})
    );
    home.run(["status", "opnai"]).code(3).says("openai");
}

#[tokio::test]
async fn each_trouble_has_its_reason_and_what_mends_it() {
    let home = Home::new();
    home.add("openai", "good", "sk-secret-1").await;
    let limited = home.add("openai", "limited", "sk-secret-2").await;
    learn(&home, &limited, cooldown(300, None)).await;
    let paused = home.add("openai", "on leave", "sk-secret-3").await;
    learn(&home, &paused, Change::Paused).await;
    let refused = home.add("openai", "refused", "sk-secret-4").await;
    let at = Clock::system().now();
    learn(&home, &refused, Change::Answered(LastResponse { at, status: 401 })).await;
    home.add("nobody", "work", "sk-secret-5").await;
    home.add("google", "paid", "sk-secret-6").await;
    let gone = home.add_to(PoolKey::new("google"), "gone", OAuthTokens::new("at-secret-7")).await;
    learn(&home, &gone, needs_sign_in()).await;

    let run = home.run(["status"]).code(4);
    let run = run.says("4 problems to fix or to wait for, and 2 more to know of");
    let run = run.prints("google/default: 0 of 2 can be used; no request can be made\n");
    let run = run.prints("openai/default: 2 of 4 can be used, 1 was refused last time; the next request takes openai/good\n");
    for (account, why, way_out) in [
        (
            "google/gone",
            "needs sign-in: invalid_grant: revoked",
            "credentials login google --label gone --replace",
        ),
        (
            "google/paid",
            "not used: mode auto takes sign-ins before keys",
            "set providers.google.mode = \"all\" in ",
        ),
        ("nobody/work", "the settings have no provider of that name", "set providers.nobody.type in "),
        ("openai/limited", "cooling down, ", "credentials reset openai/limited"),
        ("openai/on leave", "paused", "credentials resume 'openai/on leave'"),
        (
            "openai/refused",
            "its last request was refused (401)",
            "credentials login openai --label refused --api-key --replace",
        ),
    ] {
        let told = format!("{account}: {why}");
        let (_, rest) = run.stdout.split_once(&told).unwrap_or_else(|| panic!("no {told} in {run:#?}"));
        let next = rest.lines().nth(1).unwrap();
        assert!(next.starts_with(&format!("  try: {way_out}")), "{next}");
    }
    assert!(!run.stdout.contains('\u{1b}') && !run.stdout.contains("openai/good:"), "{run:#?}");

    let json = home.run(["status", "--json"]).json();
    assert_eq!((&json["accounts"], &json["usable"]), (&json!(7), &json!(2)));
    assert_eq!(json["troubles"].as_array().unwrap().len(), 6);
    let trouble = &json["troubles"][0];
    assert_eq!((&trouble["label"], &trouble["id"]), (&json!("paid"), &json!(trouble["id"])));
    assert_eq!(json["pools"][2]["active"], "openai/good");
    // One screen.
    let (shown, _) = end_of(home.terminal_of(80, ["status", "--color", "never"]));
    assert!(shown.lines().count() <= 24, "{shown}");
    // What a person has decided is no failure, nor is one that is not used.
    home.run(["status", "openai"]).code(4);
    learn(&home, &refused, Change::Answered(LastResponse { at: Clock::system().now(), status: 200 }))
        .await;
    home.run(["status", "openai"]).code(6);
    home.run(["reset", "openai/limited"]).ok();
    home.run(["status", "openai"]).ok();
    home.run(["status", "nobody"]).code(2);
}

#[tokio::test]
async fn status_names_the_command_that_removes_a_damaged_record() {
    let home = Home::new();
    let work = home.add("openai", "work", "sk-secret-1").await;
    std::fs::write(home.vault_directory().join(format!("records/{}.json", work.id)), "{").unwrap();
    let run = home.run(["status"]).code(5);
    // A list of nothing else says it, too.
    home.run(["list"]).code(5).says(".json");
    run.prints(&format!("credentials logout {} --yes\n", work.id));
}

#[tokio::test]
async fn an_account_that_was_refused_last_is_shown_as_refused_until_it_works_or_has_another_key() {
    let status = 401;
    let home = Home::new();
    let dead = home.add("openai", "dead", "sk-secret-1").await;
    home.add("openai", "good", "sk-secret-2").await;
    let at = Clock::system().now();
    learn(&home, &dead, Change::Answered(LastResponse { at, status })).await;
    let state = format!("refused ({status})");
    home.run(["list"]).ok().prints(&state);
    home.run(["show", "dead"]).ok().prints(&state);
    assert_eq!(home.run(["list", "--json"]).ok().json()[0]["state"], "refused");
    let run = home.run(["status"]).code(4).says("1 problem to fix");
    let run = run.prints("2 of 2 can be used, 1 was refused last time; the next request takes");
    run.prints("try: credentials login openai --label dead --api-key --replace\n");
    assert_eq!(home.run(["status", "--json"]).code(4).json()["pools"][0]["refused"], 1);
    let replace = ["login", "openai", "--label", "dead", "--api-key", "--replace"];
    home.run_with(replace, "sk-secret-3").ok();
    assert_eq!(home.run(["list", "--json"]).ok().json()[0]["state"], "ready");
    home.run(["status"]).ok();
}

#[tokio::test]
async fn a_provider_whose_accounts_are_all_paused_is_a_failure() {
    let home = Home::new();
    home.add("openai", "one", "sk-secret-1").await;
    home.add("openai", "two", "sk-secret-2").await;
    home.run(["pause", "one"]).ok();
    home.run(["status"]).ok();
    home.run(["pause", "two"]).ok();
    let run = home.run(["status"]).code(6).says("no account of openai/default can be used");
    run.prints("no request can be made\n").prints("try: credentials resume openai/two\n");
    home.run(["status", "--help"]).ok().prints("all are paused, say");
}

#[tokio::test]
async fn a_refused_account_is_tested_before_a_new_sign_in_and_a_cut_off_renewal_comes_first() {
    let home = Home::new();
    home.settings("[providers.openai.oauth]\nclient_id = \"mine\"\n");
    let tokens = OAuthTokens::new("at-secret-1").refresh("rt-secret-1");
    let work = home.add_to(PoolKey::new("openai"), "work", tokens).await;
    let last = home.add_to(PoolKey::new("openai"), "last", OAuthTokens::new("at-secret-2")).await;
    for account in [&work, &last] {
        let at = Clock::system().now();
        learn(&home, account, Change::Answered(LastResponse { at, status: 401 })).await;
    }
    // What can be renewed may still be good; only the vendor knows.
    let run = home.run(["status"]).code(4);
    let run = run.prints(
        "openai/work: its last request was refused (401)\n  try: credentials test openai/work\n",
    );
    run.prints(
        "openai/last: its last request was refused (401)\n  try: credentials login openai --label last --replace\n",
    );
    let vault = home.vault().await;
    let lease = vault.lease_refresh(&work.pool, work.id).await.unwrap();
    vault.begin_refresh(&work.pool, work.id, work.generation).await.unwrap();
    drop((lease, vault));
    let run = home.run(["status"]).code(4);
    run.prints("openai/work: a renewal of its token was cut off, and the new one may be lost: ")
        .prints("; its last request was refused (401)\n  try: credentials test openai/work\n");
}

#[tokio::test]
async fn if_all_rest_the_first_to_be_ready_is_named_with_its_time() {
    let home = Home::new();
    let mut known = Vec::new();
    for label in ["alice", "bob"] {
        known.push(home.add("openai", label, &format!("sk-secret-{label}")).await);
    }
    learn(&home, &known[1], Change::Paused).await;
    learn(&home, &known[0], cooldown(300, None)).await;
    let run = home.run(["status"]).code(6).prints("openai/default: 0 of 2 can be used now; ");
    run.prints("openai/alice is ready first, in ");
    let json = home.run(["status", "--json"]).code(6).json();
    let way_out =
        json["troubles"].as_array().unwrap().iter().find(|trouble| trouble["label"] == "alice");
    let way_out = way_out.unwrap();
    assert_eq!(way_out["try"], "credentials reset openai/alice");
    assert_eq!(way_out["remark"], "to use it now");
}

#[tokio::test]
async fn accounts_that_are_in_another_namespace_than_the_settings_name_are_not_said_to_be_taken() {
    let home = Home::new();
    home.settings(
        "[providers.acme]\ntype = \"generic\"\norigins = [\"http://127.0.0.1:9\"]\nnamespace = \"team\"\nmodels_shape = \"openai\"\n",
    );
    for label in ["alice", "bob"] {
        home.add("acme", label, &format!("sk-secret-{label}")).await;
    }
    let run = home.run(["status"]).code(6);
    let run = run.prints("acme/default: 2 of 2 can be used; requests use the namespace team\n");
    run.prints("acme/team: requests use this namespace, and it has no account; there are some in acme/default\n")
        .prints("  try: set providers.acme.namespace = \"default\" in ");
    let listed = home.run(["list", "--json"]).ok().json();
    assert!(listed.as_array().unwrap().iter().all(|account| account["active"] == false), "{listed}");
    for command in [&["headers", "acme"][..], &["models", "acme"]] {
        let run = home.run(command).code(3).says("no credential in pool acme/team");
        run.says("because 2 accounts are in acme/default\n").says("try: add --namespace default\n");
    }
    home.run_showing(["headers", "acme", "--namespace", "default"], "").ok();
    // A namespace that nobody has set is one of a person's own.
    home.settings("");
    home.add_to(
        PoolKey::with_namespace("openai", "lab"),
        "carol",
        tower_credentials::Secret::api_key("sk-secret-9"),
    )
    .await;
    home.run(["status", "openai"])
        .ok()
        .prints("the next request with --namespace lab takes openai/lab/carol\n");
    // Nor does a name without settings stand for one account of several.
    home.run(["headers", "acme"])
        .code(3)
        .says("no provider is called \"acme\"")
        .says("2 accounts of it");
}

#[tokio::test]
async fn a_damaged_account_is_counted_and_named_with_what_to_do() {
    let home = Home::new();
    home.add("openai", "good", "sk-secret-1").await;
    let work = home.add("openai", "work", "sk-secret-2").await;
    let path = home.vault_directory().join(format!("records/{}.json", work.id));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"generation\": 1", "\"generation\": 2", 1)).unwrap();
    let run = home.run(["status"]).code(5).prints("openai/default: 1 of 2 can be used; ");
    run.prints("openai/work: damaged: ").prints(&format!("credentials logout {} --yes", work.id));
    assert_eq!(home.run(["status", "--json"]).code(5).json()["accounts"], 2);
}
