//! What a gateway does not notice by itself is said: by the command that adds it, and by the gateway once it knows.

use http::StatusCode;

use super::process::{Gateway, home, upstream};
use crate::cli::Run;

#[tokio::test(flavor = "multi_thread")]
async fn a_providers_first_account_needs_a_reload_of_gateways_that_run_and_is_told_so() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let login = |provider: &str, label: &str| {
        let key = format!("good-{provider}-{label}\n");
        home.run_with(["login", provider, "--api-key", "--label", label], &key).ok()
    };
    let says_nothing = |run: Run| assert!(!run.stderr.contains("reload"), "{run:?}");
    // Nobody has to be told.
    home.run(["serve", "reload"]).ok().says("No gateway of this vault is running");
    says_nothing(login("openai", "before"));
    let mut gateway = Gateway::open(&home, &[]).await;
    says_nothing(login("openai", "after"));
    let run = login("anthropic", "first").says("does not serve anthropic/default yet");
    run.says("credentials serve reload");
    assert_eq!(gateway.send(gateway.get("/anthropic/v1", "")).await.0, StatusCode::NOT_FOUND);
    says_nothing(login("anthropic", "first"));

    home.run(["serve", "reload"]).ok().says("follow them within a second");
    let new = gateway.says("  new: ").await;
    assert!(new.contains("/anthropic  ANTHROPIC_BASE_URL=http://"), "{new}");
    gateway.becomes("/anthropic/v1", "", StatusCode::OK).await;
    gateway.forget();
    home.run(["logout", "anthropic/first", "--yes"]).ok();
    home.run(["serve", "reload"]).ok();
    let gone = gateway.says("  gone: ").await;
    assert!(gone.ends_with("/anthropic"), "{gone}");
    // With nothing under way there is nothing to wait for.
    gateway.stop().await;
    home.run(["serve", "reload"]).ok().says("No gateway of this vault is running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_provider_needs_a_reload_too() {
    let upstream = upstream().await;
    let from = home(&upstream, &[]).await;
    from.add("anthropic", "one", "good-2").await;
    let backup = from.path().join("accounts.backup");
    let backup = backup.to_str().unwrap();
    let key = from.run_showing(["backup", backup, "--recovery-key"], "").ok().stdout;
    let home = home(&upstream, &["good-1"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    let run = home.run_with(["restore", backup], &key).ok();
    run.says("does not serve anthropic/default yet").says("credentials serve reload");
    gateway.stop().await;
}
