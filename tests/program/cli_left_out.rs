//! Accounts that a pool's mode leaves out are named whenever a person acts on them, with the setting that changes it.
#![cfg(feature = "cli")]

use std::fs;

use tower_credentials::migrate::Source;
use tower_credentials::{OAuthTokens, PoolKey};

use crate::cli::{Home, Run};
use crate::legacy::{PLANTED, fixture};

const WHY: &str = "not used: mode auto takes sign-ins before keys";

/// A home with a key and an account that is signed in to.
async fn home() -> Home {
    let home = Home::new();
    home.add("openai", "paid", "sk-secret-1").await;
    home.add_to(PoolKey::new("openai"), "work", OAuthTokens::new("at-secret-1")).await;
    home
}

/// That it is said which account is not used, why, and what changes that.
#[track_caller]
fn is_told(run: Run) -> Run {
    let run = run.says(&format!("openai/paid is {WHY}"));
    run.says("try: set providers.openai.mode = \"all\" in ")
        .says("config.toml, or TOWER_CREDENTIALS_OPENAI_MODE=all: sign-ins are used first, then keys\n")
}

#[tokio::test]
async fn accounts_that_the_mode_leaves_out_are_named_wherever_that_matters() {
    let home = home().await;
    let run = home.run(["list"]).ok().prints(WHY);
    run.says(&format!("openai/paid: {WHY}\n  try: set providers.openai.mode = \"all\" in "))
        .says("TOWER_CREDENTIALS_OPENAI_MODE=all");
    let listed = home.run(["list", "--json"]).ok().json();
    assert_eq!(listed[0]["not_used"], "mode auto takes sign-ins before keys");
    assert_eq!((&listed[0]["state"], &listed[0]["active"]), (&"ready".into(), &false.into()));
    assert!(listed[1].get("not_used").is_none(), "{listed}");
    home.run(["show", "paid"]).ok().prints(WHY).prints("set providers.openai.mode = \"all\"");
    is_told(home.run(["activate", "openai/paid"]).ok().says("1 of 2"));
    let run = home.run(["activate", "openai/work"]).ok();
    assert!(!run.stderr.contains("not used"), "{run:#?}");
    let run = home.run_showing(["headers", "openai"], "").ok().prints("Bearer at-secret-1");
    is_told(run);
    is_told(home.run_with(["login", "openai", "--api-key"], "sk-secret-1").ok());
}

#[tokio::test]
async fn a_sign_in_that_is_paused_brings_no_key_into_use_and_that_is_said() {
    let home = home().await;
    is_told(home.run(["pause", "openai/work"]).ok());
    let run = is_told(home.run(["headers", "openai"]).code(1));
    run.says("every account of openai/default that its mode takes is paused")
        .says("credentials resume openai/work");
    home.run(["resume", "openai/work"]).ok();
    // Of two, the other is used.
    home.add_to(PoolKey::new("openai"), "spare", OAuthTokens::new("at-secret-2")).await;
    let run = home.run(["pause", "openai/work"]).ok();
    assert!(!run.stderr.contains("not used"), "{run:#?}");
    is_told(home.run(["pause", "openai/paid"]).ok());
}

#[tokio::test]
async fn other_modes_leave_out_others() {
    let mut home = home().await;
    home.set("TOWER_CREDENTIALS_OPENAI_MODE", "api");
    let run = home.run(["list"]).ok().prints("not used: mode api takes only keys");
    run.says("openai/work: not used: ").says("  try: set providers.openai.mode = \"all\" in ");
    let run = home.run_showing(["headers", "openai"], "").ok().prints("Bearer sk-secret-1");
    run.says("openai/work is not used: mode api takes only keys");
    home.set("TOWER_CREDENTIALS_OPENAI_MODE", "subscription");
    home.run(["list"]).ok().prints("not used: mode subscription takes only sign-ins");
    home.run(["logout", "openai/work", "--yes"]).ok();
    home.run(["list"]).ok().prints("not used: mode subscription takes only sign-ins");
    home.run(["headers", "openai"]).code(3).says("openai/paid is not used");
}

/// A record that does not open counts by the kind that is written on it.
#[tokio::test]
async fn a_damaged_sign_in_still_leaves_keys_out() {
    let home = Home::new();
    home.add("openai", "paid", "sk-secret-1").await;
    let work = home.add_to(PoolKey::new("openai"), "work", OAuthTokens::new("at-secret-1")).await;
    let path = home.vault_directory().join(format!("records/{}.json", work.id));
    let text = fs::read_to_string(&path).unwrap();
    let damaged = text.replace("\"generation\": 1,", "\"generation\": 2,");
    assert_ne!(damaged, text);
    fs::write(&path, damaged).unwrap();
    home.run(["list"]).code(5).prints(WHY);
}

#[test]
fn a_migration_that_puts_keys_out_of_use_says_so() {
    let home = Home::new();
    home.secret(PLANTED);
    let path = Source::Codex.place(home.path(), |_| None);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, fixture(Source::Codex)).unwrap();
    for arguments in [&["migrate", "--dry-run"][..], &["migrate"]] {
        let run = home.run(arguments).ok().says(&format!("openai/default is {WHY}"));
        run.says("TOWER_CREDENTIALS_OPENAI_MODE=all");
    }
}
