//! The quota that accounts share, as a person sets it.
#![cfg(feature = "cli")]

use tower_credentials::standing::{Change, QuotaName, StatedQuota};
use tower_credentials::{Clock, Generation};

use crate::cli::Home;
use crate::cli::accounts::{cooldown, learn};

/// The vendor's word, as a response has given it.
fn stated(name: &str) -> Change {
    Change::QuotaStated(StatedQuota {
        name: QuotaName::new(name).unwrap(),
        said_at: Clock::system().now(),
        generation: Generation::FIRST,
    })
}

/// Each account's label, state, and quota with whose word it is.
fn told(home: &Home) -> Vec<(String, String, String)> {
    let listed = home.run(["list", "--json"]).ok().json();
    let one = |account: &serde_json::Value| {
        let text = |field: &str| account[field].as_str().unwrap_or("-").to_owned();
        (text("label"), text("state"), format!("{} {}", text("quota"), text("quota_said_by")))
    };
    listed.as_array().unwrap().iter().map(one).collect()
}

#[track_caller]
fn assert_told<const N: usize>(home: &Home, expected: [(&str, &str, &str); N]) {
    let expected = expected.map(|(label, state, quota)| (label.into(), state.into(), quota.into()));
    assert_eq!(told(home), expected);
}

#[tokio::test]
async fn accounts_that_share_a_quota_are_limited_together_and_reset_together() {
    let home = Home::new();
    let mut accounts = Vec::new();
    for label in ["work", "spare", "other"] {
        accounts.push(home.add("openai", label, &format!("sk-secret-{label}")).await);
    }
    assert!(!home.run(["list"]).ok().stdout.contains("QUOTA"));
    home.run(["quota", "openai/work", "--to", "acme"])
        .ok()
        .says("openai/work takes from the quota acme, which no other account shares now");
    home.run(["quota", "openai/spare", "--to", "acme"])
        .ok()
        .says("openai/spare takes from the quota acme, shared with openai/work now");
    home.run(["list"]).ok().prints("QUOTA").prints("acme");
    home.run(["show", "openai/work"]).ok().prints("the quota acme, shared with openai/spare");
    learn(&home, &accounts[0], cooldown(300, None)).await;
    assert_told(
        &home,
        [
            ("work", "cooling", "acme person"),
            ("spare", "cooling", "acme person"),
            ("other", "ready", "- -"),
        ],
    );
    let why = home.run(["why", "openai"]).ok();
    why.prints("openai/spare: cooling down, ")
        .prints("it shares the quota of openai/work, which has reached a limit");
    let why = home.run(["why", "openai", "--json"]).ok().json();
    let spare = why["accounts"].as_array().unwrap().iter().find(|one| one["label"] == "spare");
    assert_eq!(spare.unwrap()["met_by"], "openai/work");
    home.run(["status"]).code(6).prints("openai/spare");
    home.run_showing(["headers", "openai"], "").ok().prints("sk-secret-other");
    let run = home.run(["reset", "openai/spare"]).ok().says("openai/spare is reset");
    run.says("The limit of its quota ends for openai/work, too");
    assert_told(
        &home,
        [("work", "ready", "acme person"), ("spare", "ready", "acme person"), ("other", "ready", "- -")],
    );
    let again = home.run(["reset", "openai/spare"]).ok();
    assert!(!again.stderr.contains("ends for"), "{again:?}");
    home.run(["history"]).ok().prints("takes from the shared quota acme");
}

#[tokio::test]
async fn a_person_can_set_a_quota_against_the_vendors_word_and_remove_that_again() {
    let home = Home::new();
    for label in ["work", "spare"] {
        let account = home.add("anthropic", label, &format!("sk-secret-{label}")).await;
        learn(&home, &account, stated("org-1")).await;
    }
    assert_told(&home, [("work", "ready", "org-1 vendor"), ("spare", "ready", "org-1 vendor")]);
    home.run(["show", "anthropic/work"])
        .ok()
        .prints("the quota org-1, which its vendor names, shared with anthropic/spare");
    home.run(["quota", "anthropic/spare", "--own"])
        .ok()
        .says("anthropic/spare takes from a quota of its own now");
    assert_told(&home, [("work", "ready", "org-1 vendor"), ("spare", "ready", "- person")]);
    home.run(["rename", "anthropic/spare", "second"]).ok();
    assert_told(&home, [("work", "ready", "org-1 vendor"), ("second", "ready", "- person")]);
    home.run(["quota", "anthropic/second", "--usual"]).ok().says("the quota org-1");
    assert_told(&home, [("work", "ready", "org-1 vendor"), ("second", "ready", "org-1 vendor")]);
}

#[tokio::test]
async fn a_bad_quota_is_refused_with_the_reason() {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    home.run(["quota", "openai/work"]).code(2).says("--to");
    for name in ["", " ", "a\nb", &"x".repeat(201)] {
        home.run(["quota", "openai/work", "--to", name]).code(2).says("quota");
    }
    home.run(["quota", "openai/work", "--to", "acme", "--own"]).code(2).says("--own");
    home.run(["quota", "openai/work", "--own", "--usual"]).code(2).says("--usual");
    home.run(["quota", "openai/nosuch", "--own"]).code(3).says("nosuch");
    assert_told(&home, [("work", "ready", "- -")]);
}
