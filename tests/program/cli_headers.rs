//! `credentials headers`: what a request carries, for scripts, and for nobody else.
#![cfg(feature = "cli")]

use std::time::Duration;

use http::StatusCode;
use tower_credentials::standing::{Change, Health, LastResponse};
use tower_credentials::vault::VaultExt;
use tower_credentials::{Clock, OAuthTokens, PoolKey, Secret};

use crate::authorization_server::{AuthorizationServer, Fault, Kind, Rules, Vendor};
use crate::cli::accounts::{cooldown, learn};
use crate::cli::{self, Home, end_of};

#[tokio::test]
async fn the_headers_are_those_of_the_next_request() {
    let home = Home::new();
    home.add("anthropic", "first", "sk-secret-1").await;
    home.add("anthropic", "second", "sk-secret-2").await;
    let run = home.run_showing(["headers", "claude"], "").ok();
    assert!(run.stdout.contains("x-api-key: sk-secret-1\n"), "{run:?}");
    assert!(run.stdout.contains("anthropic-version: "), "{run:?}");
    assert_eq!(run.stderr, "");
    let run = home.run_showing(["headers", "anthropic/second", "--json"], "").ok();
    assert_eq!(run.json()["headers"]["x-api-key"], "sk-secret-2");
    assert_eq!(run.json()["url"], "https://api.anthropic.com/");
    home.run(["headers", "anthropic", "--url", "https://example.com/"]).code(1).says("may not be sent");
    home.run(["headers", "openai"]).code(3).says("try: credentials login openai\n");
    let run = home.run(["headers", "openai", "-n", "team"]).code(3);
    run.says("try: credentials login openai --namespace team\n");
    // Nobody can sign in there.
    home.settings("[providers.acme]\ntype = \"generic\"\norigins = [\"https://api.acme.example\"]\n");
    home.run(["headers", "acme"]).code(3).says("try: credentials login acme --api-key\n");
    let run = home.run(["headers", "acme", "-n", "team"]).code(3);
    run.says("try: credentials login acme --namespace team --api-key\n");
}

#[tokio::test]
async fn a_terminal_is_refused_without_the_flag() {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    let (shown, code) = end_of(home.terminal(["headers", "openai"]));
    assert_eq!(code, 2, "{shown}");
    assert!(shown.contains("--show"), "{shown}");
    home.check(&shown);
    let (shown, code) = end_of(home.terminal(["headers", "openai", "--show"]));
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("authorization: Bearer sk-secret-1"), "{shown}");
}

#[tokio::test]
async fn a_limited_account_is_passed_over_and_none_is_sent_while_all_are() {
    let home = Home::new();
    let first = home.add("openai", "first", "sk-secret-1").await;
    let second = home.add("openai", "second", "sk-secret-2").await;
    learn(&home, &first, cooldown(300, None)).await;
    home.run_showing(["headers", "openai"], "").ok().prints("Bearer sk-secret-2");
    learn(&home, &second, cooldown(300, None)).await;
    home.run(["headers", "openai"]).code(6).says("every account of openai/default is cooling down");
    home.run_showing(["headers", "openai/first"], "").ok().prints("Bearer sk-secret-1");
    // Looking is not using: nothing was forgiven.
    let listed = home.run(["list", "--json"]).ok().json();
    assert_eq!((&listed[0]["state"], &listed[1]["state"]), (&"cooling".into(), &"cooling".into()));
}

#[tokio::test]
async fn an_expired_token_is_renewed_first_and_kept() {
    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    let home = Home::new();
    home.settings(&server.settings(true));
    let account = server.account().await;
    let mut tokens = account.tokens.clone();
    tokens.expires_at = Some(Clock::system().now().before(Duration::from_secs(60)));
    let stored = home.add_to(PoolKey::new("openai"), "work", tokens).await;
    let run = home.run_showing(["headers", "openai"], "").ok();
    assert_eq!(server.granted(Kind::Refresh), 1);
    let kept = home.vault().await.get(&stored.pool, stored.id).await.unwrap();
    let Secret::OAuth(kept) = kept.secret else { panic!() };
    assert!(
        run.stdout.contains(&format!("authorization: Bearer {}\n", kept.access.expose())),
        "{run:?}"
    );
    assert_ne!(kept.access.expose(), account.tokens.access.expose());
    home.run_showing(["headers", "openai"], "").ok();
    assert_eq!(server.granted(Kind::Refresh), 1);
}

#[tokio::test]
async fn a_token_that_is_too_new_to_be_renewed_is_written_as_the_layers_send_it() {
    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    let home = Home::new();
    home.settings(&server.settings(true));
    let mut tokens = server.account().await.tokens.clone();
    let stored = home.add_to(PoolKey::new("openai"), "work", tokens.clone()).await;
    // As from a server whose tokens live for a second.
    tokens.expires_at = Some(Clock::system().now().before(Duration::from_secs(1)));
    let secret = Secret::OAuth(tokens.clone());
    home.vault().await.replace_secret(&stored.pool, stored.id, stored.generation, secret).await.unwrap();
    let run = home.run_showing(["headers", "openai"], "").ok();
    assert!(run.stdout.contains(tokens.access.expose()), "{run:?}");
    assert_eq!((run.stderr.as_str(), server.asked(Kind::Refresh)), ("", 0));
}

#[tokio::test]
async fn a_spent_account_is_named_with_the_reason_and_the_command() {
    let home = Home::new();
    let work = home.add("openai", "work", "sk-secret-1").await;
    let health =
        Health::Spent { reason: "no money".to_owned(), generation: work.generation, cause: None };
    learn(&home, &work, Change::Health(health)).await;
    let run =
        home.run(["headers", "openai/work"]).code(6).says("openai/work is spent\n").says("no money");
    let run = run.says("try: credentials test openai/work");
    assert!(!run.stderr.contains("Pool::") && !run.stderr.contains("pinned"), "{run:?}");
    let run = home.run(["headers", "openai"]).code(6).says("try: credentials test openai");
    assert!(!run.stderr.contains("Pool::"), "{run:?}");
    let run =
        home.run(["models", "openai"]).code(6).says("is spent").says("try: credentials test openai");
    assert!(!run.stderr.contains("Pool::"), "{run:?}");
}

#[tokio::test]
async fn a_damaged_account_is_named_if_another_is_taken_in_its_place() {
    let mut home = Home::new();
    home.set("TOWER_CREDENTIALS_OPENAI_MODE", "all");
    home.add("openai", "paid", "sk-secret-1").await;
    let work = home.add_to(PoolKey::new("openai"), "work", OAuthTokens::new("at-secret-1")).await;
    let path = home.vault_directory().join(format!("records/{}.json", work.id));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"generation\": 1,", "\"generation\": 2,")).unwrap();
    for account in ["openai", "openai/paid"] {
        let run = home.run_showing(["headers", account], "").ok().prints("Bearer sk-secret-1");
        assert_eq!(run.stderr.matches("warning: ").count(), 1, "{run:?}");
        run.says(path.to_str().unwrap());
    }
    // One that can't be read at all, too.
    std::fs::write(&path, "{").unwrap();
    for account in ["openai", "openai/paid"] {
        let run = home.run_showing(["headers", account], "").ok().prints("Bearer sk-secret-1");
        assert_eq!(run.stderr.matches("warning: ").count(), 1, "{run:?}");
        run.says(path.to_str().unwrap());
    }
    let run = home.run(["models", "openai"]);
    assert_eq!(run.stderr.matches(path.to_str().unwrap()).count(), 1, "{run:?}");
}

/// A vendor, and an account at it whose token has expired.
async fn expired(home: &Home, change: impl FnOnce(&mut OAuthTokens)) -> AuthorizationServer {
    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    home.settings(&server.settings(true));
    let mut tokens = server.account().await.tokens.clone();
    tokens.expires_at = Some(Clock::system().now().before(Duration::from_secs(60)));
    change(&mut tokens);
    home.add_to(PoolKey::new("openai"), "at work", tokens).await;
    server
}

#[tokio::test]
async fn a_token_that_can_never_be_renewed_is_not_written_and_a_new_sign_in_is_advised() {
    let by_name = "openai/at work needs a new sign-in";
    let again = "try: credentials login openai --label 'at work' --replace\n";
    for account in ["openai", "openai/at work"] {
        let home = Home::new();
        let server = expired(&home, |_| {}).await;
        server.revoke_all();
        let run = home.run(["headers", account]).code(4).says(by_name).says("because ").says(again);
        assert_eq!(run.stdout, "");
        // From here on it is known.
        let run = home.run(["headers", account, "--json"]).code(4);
        assert_eq!(run.stdout, "");
        match account {
            "openai" => run.says("try: credentials test openai\n"),
            _ => run.says(by_name).says(again),
        };
    }
    let home = Home::new();
    let _server = expired(&home, |tokens| tokens.refresh = None).await;
    let run = home.run(["headers", "openai"]).code(4).says("it has no refresh token").says(again);
    assert_eq!(run.stdout, "");
}

#[tokio::test]
async fn an_account_that_has_just_died_is_passed_over_and_named() {
    let home = Home::new();
    let server = expired(&home, |_| {}).await;
    server.revoke_all();
    home.add_to(PoolKey::new("openai"), "spare", OAuthTokens::new("at-secret-1")).await;
    let run = home.run_showing(["headers", "openai"], "").ok().prints("Bearer at-secret-1\n");
    home.check(&run.stderr);
    run.says("warning: openai/at work needs a new sign-in").says("--replace");
    // From here on it is known, so nothing is said.
    let run = home.run_showing(["headers", "openai"], "").ok().prints("Bearer at-secret-1\n");
    assert_eq!(run.stderr, "");
    // Of the one that is named there is no other.
    home.run(["headers", "openai/at work"]).code(4);
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_now_is_not_written_and_the_reason_is_said() {
    let home = Home::new();
    let server = expired(&home, |_| {}).await;
    let fault = Fault::Quoting(StatusCode::SERVICE_UNAVAILABLE, "{} is busy");
    server.fail_next(vec![fault; 8]);
    let run = home.run(["headers", "openai"]).code(6).says("the token of openai/at work has expired");
    let run = run.says("because ").says("503");
    assert_eq!(run.stdout, "");
    assert_eq!(home.run(["show", "at work", "--json"]).ok().json()["state"], "ready");
    // Nor if the settings no longer say how.
    home.settings(&format!("[providers.openai]\ntype = \"generic\"\norigins = [{:?}]\n", server.url()));
    let run = home.run(["headers", "openai"]).code(2).says("`oauth`");
    assert_eq!(run.stdout, "");
}

#[tokio::test]
async fn a_response_that_could_not_be_read_is_kept_and_named() {
    let home = Home::new();
    let server = expired(&home, |_| {}).await;
    home.run(["show", "at work", "--unread-response"]).code(3).says("no unread response is kept");
    const TWO: &str = r#"{"access_token": "one-secret", "access_token": "two-secret"}"#;
    // Whoever asks again meets trouble.
    let trouble = std::iter::repeat_n(Fault::Text(StatusCode::SERVICE_UNAVAILABLE, "busy"), 8);
    server.fail_next(std::iter::once(Fault::Text(StatusCode::OK, TWO)).chain(trouble));
    let run = home.run(["headers", "openai"]).code(6).says("is kept with the account, sealed");
    assert!(!run.stderr.contains("-secret"), "{run:?}");
    // Another process asks once more, and tells what comes of it.
    let run = home.run(["headers", "openai"]).code(6).says("because ").says("503");
    assert_eq!((run.stdout.as_str(), server.asked(Kind::Refresh)), ("", 2));
    let run = home.run(["show", "at work"]).ok().prints("--unread-response");
    assert!(!run.stdout.contains("-secret"), "{run:?}");
    let run = home.run_showing(["show", "at work", "--unread-response"], "").ok();
    assert_eq!(run.stdout, format!("{TWO}\n"));
    let more = "models_url = \"/resource\"\n[providers.openai.oauth]";
    home.settings(&server.settings(true).replace("[providers.openai.oauth]", more));
    home.run(["test", "openai"]).code(6).prints("could not be renewed: ");
    // A command about other accounts names it as well.
    let id = home.run(["show", "at work", "--json"]).ok().json()["id"].as_str().unwrap().to_owned();
    let command = format!("credentials show {id} --unread-response");
    home.run(["list"]).ok().says("openai/at work has a response of its token endpoint").says(&command);
    assert_eq!(home.run(["list", "--json"]).ok().json()[0]["unread_response"], true);
    home.run(["vault", "check"]).ok().prints("note: ").prints(&format!("try: {command}"));
    let report = home.run(["vault", "check", "--json"]).ok().json();
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["kind"] == "unread_response").unwrap();
    assert_eq!(finding["severity"], "note");
    assert!(finding["path"].as_str().unwrap().contains(&id), "{finding}");
    // New tokens are the end of it.
    let (vault, pool, id) = (home.vault().await, PoolKey::new("openai"), id.parse().unwrap());
    let generation = vault.get(&pool, id).await.unwrap().metadata.generation;
    let tokens = OAuthTokens::new("at-secret-new");
    vault.replace_secret(&pool, id, generation, Secret::OAuth(tokens)).await.unwrap();
    let run = home.run(["list"]).ok();
    assert!(!run.stderr.contains("has a response of its token endpoint"), "{run:?}");
    assert!(home.run(["list", "--json"]).ok().json()[0].get("unread_response").is_none());
}

#[tokio::test]
async fn curl_takes_them_from_a_pipe() {
    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    let home = Home::new();
    home.settings(&server.settings(true));
    let account = server.account().await;
    home.add_to(PoolKey::new("openai"), "work", account.tokens.clone()).await;
    let script = "curl -sS -H @<(\"$0\" headers openai) \"$1/resource\"";
    let run = cli::Run::of(home.script("bash", script).arg(server.url()).output().unwrap()).ok();
    assert_eq!(run.json()["person"], "alice", "{run:?}");
}

#[tokio::test]
async fn an_account_that_was_refused_last_is_taken_with_a_warning() {
    let home = Home::new();
    let first = home.add("openai", "first", "sk-secret-1").await;
    home.add("openai", "second", "sk-secret-2").await;
    let run = home.run_showing(["headers", "openai"], "").ok();
    assert_eq!(run.stderr, "");
    let at = tower_credentials::Clock::system().now();
    let change = Change::Answered(LastResponse { at, status: 401 });
    learn(&home, &first, change).await;
    let run = home.run_showing(["headers", "openai"], "").ok().prints("sk-secret-1");
    run.says("warning: the last request with openai/first was refused (401)\n  try: credentials test openai/first\n");
}
