//! What a gateway does not notice by itself is said: by the command that adds it, and by the gateway once it knows.

use http::StatusCode;

use super::process::{Gateway, home, upstream};
use crate::cli::{Home, Run};

/// Adds an account, and returns what is said.
fn login(home: &Home, provider: &str, label: &str) -> Run {
    let key = format!("good-{provider}-{label}\n");
    home.run_with(["login", provider, "--api-key", "--label", label], &key).ok()
}

fn says_nothing(run: Run) {
    assert!(!run.stderr.contains("reload"), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_providers_first_account_needs_a_reload_of_gateways_that_run_and_is_told_so() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let login = |provider: &str, label: &str| login(&home, provider, label);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_some_providers_needs_no_reload_for_others() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let some = Gateway::open(&home, &["openai"]).await;
    says_nothing(login(&home, "anthropic", "first"));
    // Another namespace of its own provider is new to it.
    let run = home.run_with(
        ["login", "openai", "--namespace", "team", "--api-key", "--label", "first"],
        "good-openai-team\n",
    );
    run.ok().says("does not serve openai/team yet").says("credentials serve reload");
    // Beside one of all providers, all are told of again.
    home.run(["logout", "anthropic/first", "--yes"]).ok();
    let all = Gateway::open(&home, &[]).await;
    login(&home, "anthropic", "again").says("does not serve anthropic/default yet");
    all.stop().await;
    some.stop().await;
    // The next one does not stand in for those before.
    home.run(["logout", "anthropic/again", "--yes"]).ok();
    let some = Gateway::open(&home, &["openai"]).await;
    says_nothing(login(&home, "anthropic", "third"));
    some.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_is_made_while_a_gateway_runs_is_noticed() {
    let upstream = upstream().await;
    let mut home = home(&upstream, &[]).await;
    home.set("OPENAI_API_KEY", "good-0");
    let mut gateway = Gateway::open(&home, &[]).await;
    let served = gateway.send(gateway.get("/openai/v1", "")).await;
    assert_eq!(served, (StatusCode::OK, "GET /v1 Bearer good-0\n".to_owned()));
    assert!(!home.vault_directory().exists());
    let run = login(&home, "anthropic", "first");
    // It has looked before the account was there, or will do so by itself.
    if run.stderr.contains("does not serve anthropic/default yet") {
        home.run(["serve", "reload"]).ok().says("follow them within a second");
    }
    gateway.says("  new: ").await;
    gateway.becomes("/anthropic/v1", "", StatusCode::OK).await;
    home.run(["serve", "reload"]).ok().says("Gateways of this vault follow them");
    says_nothing(login(&home, "anthropic", "second"));
    gateway.stop().await;
}
