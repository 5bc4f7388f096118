//! The order of accounts, and which of them are in use, as a person decides.
#![cfg(feature = "cli")]

use tower_credentials::{OAuthTokens, PoolKey};

use crate::cli::Home;
use crate::cli::accounts::{cooldown, labels, learn};

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
async fn a_paused_account_that_is_activated_is_still_paused_and_that_is_said() {
    let home = Home::new();
    home.add("openai", "a", "sk-secret-1").await;
    home.add("openai", "b", "sk-secret-2").await;
    home.run(["pause", "openai/b"]).ok();
    home.run(["activate", "openai/b"]).ok().says("1 of 2").says("credentials resume openai/b");
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
