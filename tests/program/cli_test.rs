//! `credentials test`: which accounts are tested, with which requests, and in which order.
#![cfg(feature = "cli")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Barrier, watch};
use tower_credentials::vault::key::VaultKey;
use tower_credentials::{OAuthTokens, PoolKey, Secret};

use crate::cli::Home;
use crate::cli::tested::{example, listing, results, upstream};
use crate::support::{Canned, Server, Upstream};

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_tested_side_by_side_but_not_all_at_once() {
    const ACCOUNTS: usize = 12;
    let upstream = upstream();
    let under_way = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let seen = watch::Sender::new(0);
    let keys: Vec<_> = (0..ACCOUNTS).map(|number| format!("sk-secret-{number:02}")).collect();
    for key in &keys {
        let (under_way, most, seen) = (under_way.clone(), most.clone(), seen.clone());
        upstream.set(
            key,
            [listing().after(move || {
                let (under_way, most, seen) = (under_way.clone(), most.clone(), seen.clone());
                async move {
                    most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    seen.send_modify(|seen| *seen += 1);
                    // No response is sent before eight requests are there.
                    seen.subscribe().wait_for(|seen| *seen >= 8).await.unwrap();
                    under_way.fetch_sub(1, Ordering::SeqCst);
                }
            })],
        );
    }
    let accounts: Vec<_> =
        keys.iter().map(|key| (key.trim_start_matches("sk-"), key.as_str())).collect();
    let (home, _server) = example(&upstream, &accounts).await;
    let json = home.run(["test", "--json"]).ok().json();
    // In the order of the list, whichever response came first.
    assert_eq!(results(&json), accounts.iter().map(|(label, _)| (*label, "works")).collect::<Vec<_>>());
    assert_eq!(most.load(Ordering::SeqCst), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_are_tested_side_by_side_too() {
    let barrier = Arc::new(Barrier::new(2));
    let waits = || {
        let barrier = barrier.clone();
        listing().after(move || {
            let barrier = barrier.clone();
            async move {
                barrier.wait().await;
            }
        })
    };
    let upstream = upstream().answers("sk-secret-1", [waits()]).answers("sk-secret-2", [waits()]);
    let (home, _server) = example(&upstream, &[("a", "sk-secret-1")]).await;
    let team = PoolKey::with_namespace("example", "team");
    home.add_to(team, "b", Secret::api_key("sk-secret-2")).await;
    home.run(["test", "example"]).ok().prints("example/a").prints("example/team/b");
    let json = home.run(["test", "example", "-n", "nowhere"]).code(3);
    assert_eq!(json.stdout, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_is_tested_alone_and_no_other_stands_in_for_it() {
    let upstream = upstream().answers("sk-secret-1", [Canned::limited(60)]);
    let (home, _server) = example(&upstream, &[("a", "sk-secret-1"), ("b", "sk-secret-2")]).await;
    let json = home.run(["test", "example/a", "--json"]).code(6).json();
    assert_eq!(results(&json), [("a", "limited")]);
    assert_eq!(upstream.tokens(), ["sk-secret-1"]);
    home.run(["test", "example/c"]).code(3).says("example has ");
    home.run(["test", "nobody"]).code(3);
    // One that is limited is tested all the same, and may be well again.
    upstream.set("sk-secret-1", [listing()]);
    home.run(["test", "example/a"]).ok().prints("works");
    assert_eq!(home.run(["show", "example/a", "--json"]).ok().json()["state"], "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_account_is_not_tested_and_that_is_said() {
    let upstream = upstream();
    let (home, _server) = example(&upstream, &[("a", "sk-secret-1"), ("b", "sk-secret-2")]).await;
    home.run(["pause", "example/a"]).ok();
    home.run(["test"]).ok().prints("not tested: paused").prints("works");
    // If nothing else is tested, that is no success.
    let run = home.run(["test", "example/a", "--json"]).code(2);
    assert_eq!(results(&run.json()), [("a", "paused")]);
    run.says("example/a is paused").says("try: credentials resume example/a\n");
    home.run(["pause", "example/b"]).ok();
    let run = home.run(["test"]).code(2).says("no account was tested").says("try: credentials resume");
    run.prints("not tested: paused");
    assert_eq!(upstream.tokens(), ["sk-secret-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_account_has_its_own_way_out_and_no_more_than_three_are_told() {
    let upstream = Upstream::new();
    for name in ["1", "2", "3", "4", "5", "6"] {
        upstream.set(&format!("sk-secret-{name}"), [Canned::status(401)]);
    }
    let (home, server) = example(&upstream, &[("a", "sk-secret-1")]).await;
    let run = home.run(["test"]).code(4).says("error: example/a can't be used now\n");
    run.says("try: credentials login example --label a --api-key --replace\n");
    home.add("example", "b", "sk-secret-2").await;
    let team = PoolKey::with_namespace("example", "the team");
    home.add_to(team.clone(), "c", OAuthTokens::new("sk-secret-3")).await;
    let run = home.run(["test"]).code(4).says("3 of 3 accounts can't be used now");
    run.says(
        "  try: credentials login example --label a --api-key --replace
       credentials login example --namespace 'the team' --label c --replace
       and 1 more\n",
    );
    let vendor = |name: &str| format!("[providers.{name}]\norigins = [{:?}]\n", server.origin());
    let path = home.config_directory().join("config.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    home.settings(&format!("{settings}{}{}", vendor("anthropic"), vendor("openai")));
    home.add("anthropic", "d", "sk-secret-4").await;
    home.add("openai", "e", "sk-secret-5").await;
    home.add("openai", "f", "sk-secret-6").await;
    let run =
        home.run(["test"]).code(4).says("credentials login anthropic --label d --api-key --replace");
    assert_eq!(run.stderr.matches("credentials login").count(), 3, "{run:#?}");
    run.says("       and 3 more\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_environment_is_changed_where_it_is() {
    let upstream = Upstream::new().answers("sk-secret-1", [Canned::status(401)]);
    let (mut home, _server) = example(&upstream, &[]).await;
    let path = home.config_directory().join("config.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    home.settings(&format!("{settings}api_key_variable = \"KEY_OF_THE_TEST\"\n"));
    home.set("KEY_OF_THE_TEST", "sk-secret-1");
    home.secret("sk-secret-1");
    home.run(["test"]).code(4).says("try: set KEY_OF_THE_TEST to another key\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_cannot_be_tested_is_named_with_the_reason() {
    let upstream = upstream();
    let (home, _server) = example(&upstream, &[]).await;
    home.run(["test"]).code(2).says("there are no accounts");
    home.run(["test", "example"]).code(3).says("credentials login example");
    home.add("cursor", "work", "sk-secret-1").await;
    home.add("somebody-elses", "work", "sk-secret-2").await;
    let run = home.run(["test"]).code(2).says("no account could be tested");
    let run = run
        .prints("set providers.cursor.models_url in ")
        .prints("no provider is called \"somebody-elses\"");
    assert!(!run.stdout.contains("works"), "{run:?}");
    // What could be is what counts.
    home.add("example", "a", "sk-secret-3").await;
    home.run(["test"]).ok().prints("works");
    assert_eq!(upstream.tokens(), ["sk-secret-3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cheapest_request_that_a_vendor_knows_is_sent() {
    // Google's keys are in a header that the upstream does not know.
    let upstream = upstream().answers("", [listing()]);
    let server = Server::start(&upstream).await;
    let home = Home::new();
    let origins = format!("origins = [{:?}]\n", server.origin());
    let vendors = ["anthropic", "google", "openai"];
    home.settings(&vendors.map(|vendor| format!("[providers.{vendor}]\n{origins}")).concat());
    for vendor in vendors {
        home.add(vendor, "work", &format!("sk-secret-{vendor}")).await;
    }
    let json = home.run(["test", "--json"]).ok().json();
    assert_eq!(json.as_array().unwrap().len(), 3);
    let mut asked: Vec<_> = upstream.seen.all().iter().map(|seen| seen.uri.to_string()).collect();
    asked.sort();
    assert_eq!(asked, ["/v1/models", "/v1/models?limit=1", "/v1beta/models?pageSize=1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_does_not_open_keeps_no_other_from_being_tested() {
    let upstream = upstream().answers("sk-secret-1", [Canned::status(500)]);
    let (home, _server) = example(&upstream, &[("a", "sk-secret-1"), ("b", "sk-secret-2")]).await;
    // Accounts of another vault, and so of another key, as from a backup.
    let other = Home::new();
    for (provider, label, key) in [
        ("anthropic", "c", "sk-secret-3"),
        ("openai", "d", "sk-secret-4"),
        ("example", "e", "sk-secret-5"),
    ] {
        other.add(provider, label, key).await;
    }
    for record in std::fs::read_dir(other.vault_directory().join("records")).unwrap() {
        let record = record.unwrap();
        std::fs::copy(record.path(), home.vault_directory().join("records").join(record.file_name()))
            .unwrap();
    }
    let run = home.run(["test", "--json"]).code(5).says("4 of 5 accounts can't be used now");
    let json = run.json();
    let expected = [("c", "shut"), ("a", "failing"), ("b", "works"), ("e", "shut"), ("d", "shut")];
    assert_eq!(results(&json), expected);
    let key = VaultKey::load_or_create(other.key_file()).await.unwrap().id();
    for account in [0, 3, 4] {
        let reason = json[account]["reason"].as_str().unwrap();
        assert!(reason.contains(&format!("give the key {key}")), "{json}");
    }
    let mut asked = upstream.tokens();
    asked.sort();
    assert_eq!(asked, ["sk-secret-1", "sk-secret-2"]);
    home.run(["test", "openai"]).code(5).says("openai/d can't be used now").prints("give the key");
    home.run(["test", "example/b"]).ok();
    // A key that the vendor refuses is for a person, too, and before that.
    upstream.set("sk-secret-2", [Canned::status(401)]);
    home.run(["test"]).code(4).says("--label b --api-key --replace");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_which_accounts_are_waited_for() {
    let upstream = upstream();
    let (begun, answered) = (watch::Sender::new(false), watch::Sender::new(false));
    let held = {
        let (begun, answered) = (begun.clone(), answered.clone());
        listing().after(move || {
            let (begun, answered) = (begun.clone(), answered.clone());
            async move {
                begun.send_replace(true);
                answered.subscribe().wait_for(|is| *is).await.unwrap();
            }
        })
    };
    upstream.set("sk-secret-1", [held]);
    let (home, _server) = example(&upstream, &[("slow", "sk-secret-1")]).await;
    let mut terminal = home.terminal(["test"]);
    begun.subscribe().wait_for(|is| *is).await.unwrap();
    let shown = tokio::task::spawn_blocking(move || {
        terminal.exp_string("testing example/slow").unwrap();
        answered.send_replace(true);
        crate::cli::end_of(terminal)
    });
    let (shown, code) = shown.await.unwrap();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("works"), "{shown}");
}

#[test]
fn without_accounts_nothing_could_be_tested() {
    let home = Home::new();
    for arguments in [&["test"][..], &["test", "--json"], &["test", "openai"]] {
        let code = if arguments.len() > 1 && arguments[1] == "openai" { 3 } else { 2 };
        home.run(arguments).code(code).says("credentials login");
    }
}
