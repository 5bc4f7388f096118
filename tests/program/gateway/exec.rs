//! `credentials exec`: a tool that is run with all accounts behind it.

use std::process::{Command, Stdio};

use http::{Request, StatusCode};
use tower_credentials::vault::key::VaultKey;

use super::process::{home, upstream};
use crate::cli::{Home, Run, until};
use crate::wire::{full, soon, wire_client};

/// The curl of a tool that takes its address and its key from the environment.
const ASK: &str =
    "curl -sS -H \"authorization: Bearer $OPENAI_API_KEY\" \"$OPENAI_BASE_URL/models?limit=2\"";

fn exec(home: &Home, script: &str) -> Run {
    home.run(["exec", "--", "sh", "-c", script])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_sends_its_requests_with_the_accounts_and_its_exit_code_is_passed_on() {
    let upstream = upstream().await;
    let home = home(&upstream, &["limited-1", "good-2"]).await;
    // The upstream says which key it was asked with.
    let run = home.run_showing(["exec", "--", "sh", "-c", &format!("{ASK}; exit 7")], "");
    assert_eq!(run.code, Some(7), "{run:?}");
    assert_eq!(run.stdout, "GET /v1/models?limit=2 Bearer good-2-key\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_reaches_the_command() {
    let upstream = upstream().await;
    let mut home = home(&upstream, &["good-1"]).await;
    let key = VaultKey::load_or_create(home.key_file()).await.unwrap();
    std::fs::remove_file(home.key_file()).unwrap();
    let key = key.to_base64().expose().to_owned();
    home.secret(&key);
    home.set(VaultKey::VARIABLE, &key);
    for (name, value) in [
        ("OPENAI_API_KEY", "env-key-of-openai"),
        ("GEMINI_API_KEY", "env-key-of-google"),
        ("TOWER_CREDENTIALS_OPENAI_OAUTH_CLIENT_SECRET", "secret-of-a-client"),
    ] {
        home.set(name, value);
        home.secret(value);
    }
    let run = exec(&home, "env").ok();
    assert!(run.stdout.contains("OPENAI_API_KEY=sk-credentials-"), "{run:?}");
    assert!(!run.stdout.contains("TOWER_CREDENTIALS_"), "{run:?}");
    assert!(run.stdout.contains("OPENAI_BASE_URL=http://127.0.0.1:"), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_environment_is_an_account_that_the_command_does_not_see() {
    let upstream = upstream().await;
    let home = home(&upstream, &[]).await.variable("OPENAI_API_KEY", "good-of-the-environment");
    let run =
        home.run_showing(["exec", "--", "sh", "-c", &format!("echo $OPENAI_API_KEY; {ASK}")], "").ok();
    let (token, response) = run.stdout.split_once('\n').unwrap();
    assert!(token.starts_with("sk-credentials-"), "{run:?}");
    assert_eq!(response, "GET /v1/models?limit=2 Bearer good-of-the-environment\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_the_environment_is_not_in_the_way() {
    let upstream = upstream().await;
    let nowhere = "http://127.0.0.1:1";
    let home = home(&upstream, &["good-1"])
        .await
        .variable("http_proxy", nowhere)
        .variable("all_proxy", nowhere);
    home.run_showing(["exec", "--", "sh", "-c", ASK], "").ok().prints("GET /v1/models");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_command_has_the_token_and_the_gateway_ends_with_it() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let (told, go) = (home.path().join("told"), home.path().join("go"));
    let script = "echo $OPENAI_BASE_URL > \"$1.part\"; mv \"$1.part\" \"$1\"; while [ ! -e \"$2\" ]; do sleep 0.05; done";
    let mut command = home.command(["exec", "--", "sh", "-c", script, "sh"]);
    command.args([&told, &go]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let base = until("the address", || std::fs::read_to_string(&told).ok());
    let url = format!("{}/models", base.trim_end());
    let client = wire_client(false);
    for token in ["", "sk-credentials-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "good-1-key"] {
        let request = Request::get(&url).header("authorization", format!("Bearer {token}"));
        let response = client.request(request.body(full("")).unwrap());
        let response = soon("a response", response).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(upstream.connections(), 0);
    std::fs::write(&go, "").unwrap();
    Run::of(child.wait_with_output().unwrap()).ok();
    let request = Request::get(&url).body(full("")).unwrap();
    soon("a refusal", client.request(request)).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_passed_on_and_the_commands_own_end_is_told_as_in_shells() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    assert_eq!(exec(&home, "kill -KILL $$").code, Some(137));
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)] {
        let ready = home.path().join(signal);
        let script = "trap 'exit 5' \"$2\"; : > \"$1\"; while :; do sleep 0.05; done";
        for (script, expected) in [(script, 5), (": > \"$1\"; exec sleep 60", code)] {
            let mut command = home.command(["exec", "--", "sh", "-c", script, "sh"]);
            command.arg(&ready).arg(signal).stdin(Stdio::null());
            let mut child = command.spawn().unwrap();
            until("the command", || ready.exists().then_some(()));
            std::fs::remove_file(&ready).unwrap();
            let kill =
                Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status();
            assert!(kill.unwrap().success());
            assert_eq!(child.wait().unwrap().code(), Some(expected), "{signal}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_is_named() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    home.run(["exec", "--", "no-such-command"]).code(127).says("can't run no-such-command");
    let file = home.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    home.run(["exec", "--", file.to_str().unwrap()]).code(126).says("Permission denied");
    home.run(["exec", "nobody", "--", "true"]).code(3).says("nobody");
    home.run(["exec", "google", "--", "true"]).code(3).says("try: credentials login google");
    home.run(["exec"]).code(2).says("COMMAND");
    Home::new().run(["exec", "--", "true"]).code(3).says("try: credentials login PROVIDER");
}

#[tokio::test(flavor = "multi_thread")]
async fn print_shows_the_variables_and_no_token() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    home.add("anthropic", "good-2", "good-2-key").await;
    home.add("google", "good-3", "good-3-key").await;
    let run = home.run(["exec", "--print"]).ok();
    let shown = |line: &str| {
        let (name, value) = line.split_once('=').unwrap();
        let path = value.strip_prefix("http://127.0.0.1:").map(|rest| rest.split_once('/').unwrap().1);
        format!("{name} {}", path.unwrap_or(value))
    };
    let expected = [
        "ANTHROPIC_BASE_URL anthropic",
        "ANTHROPIC_API_URL anthropic",
        "ANTHROPIC_API_KEY …",
        "GOOGLE_GEMINI_BASE_URL google",
        "GEMINI_API_BASE google/v1beta",
        "GEMINI_API_KEY …",
        "GOOGLE_API_KEY …",
        "OPENAI_BASE_URL openai/v1",
        "OPENAI_API_BASE openai/v1",
        "OPENAI_API_KEY …",
    ];
    assert_eq!(run.stdout.lines().map(shown).collect::<Vec<_>>(), expected);
    let run = home.run(["exec", "openai", "--print"]).ok();
    assert!(!run.stdout.contains("ANTHROPIC"), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_gateway_within_another_leaves_the_outer_ones_address_and_token_alone() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    home.add("anthropic", "good-2", "good-2-key").await;
    let inner =
        format!("{ASK}; curl -sS -H \"x-api-key: $ANTHROPIC_API_KEY\" $ANTHROPIC_BASE_URL/v1/messages");
    let program = env!("CARGO_BIN_EXE_credentials");
    let arguments = ["exec", "openai", "--", program, "exec", "anthropic", "--", "sh", "-c", &inner];
    let run = home.run_showing(arguments, "").ok();
    assert_eq!(run.stdout, "GET /v1/models?limit=2 Bearer good-1-key\nGET /v1/messages good-2-key\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_the_upstream_has_stated_is_known_to_the_next_run() {
    let upstream = upstream().await;
    let home = home(&upstream, &["limited-1"]).await;
    let ask = format!("{ASK} -i");
    for _ in 0..2 {
        let run = home.run_showing(["exec", "--", "sh", "-c", &ask], "").ok();
        let wait =
            run.stdout.lines().find_map(|line| line.strip_prefix("retry-after: ")).expect("a time");
        // Stated times are spread by up to a hundredth.
        assert!((3590..=3640).contains(&wait.trim().parse::<u64>().unwrap()), "{run:?}");
        assert!(run.stdout.contains("x-should-retry: false"), "{run:?}");
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_learnt_is_saved_at_the_end() {
    let upstream = upstream().await;
    let home = home(&upstream, &["limited-1", "good-2"]).await;
    home.run_showing(["exec", "--", "sh", "-c", ASK], "").ok().prints("good-2-key");
    let accounts = home.run(["list", "--json"]).ok().json();
    let limited = accounts.as_array().unwrap().iter().find(|account| account["label"] == "limited-1");
    assert_eq!(limited.unwrap()["state"], "cooling", "{accounts}");
}
