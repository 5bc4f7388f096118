//! `credentials login --api-key`: a key is read from a prompt or a pipe, and never shown.
#![cfg(feature = "cli")]

use crate::cli::login::accounts;
use crate::cli::{Home, end_of};

#[tokio::test]
async fn a_key_is_read_from_standard_input_and_stored_once() {
    let home = Home::new();
    home.secret("sk-secret-1");
    home.run_with(["login", "claude", "--api-key", "--label", "work"], "sk-secret-1\n")
        .ok()
        .says("Stored: anthropic/work");
    home.run_with(["login", "anthropic", "--api-key"], "  sk-secret-1")
        .ok()
        .says("Stored already: anthropic/work");
    home.run_with(["login", "anthropic", "--api-key", "--label", "work"], "sk-secret-2")
        .ok()
        .says("anthropic/work-2");
    home.run_with(["login", "anthropic", "--api-key", "-n", "team"], "sk-secret-1")
        .ok()
        .says("Stored: anthropic/team/default");
    let accounts = accounts(&home).await;
    assert_eq!(accounts.len(), 3);
    assert_eq!(accounts[0].secret.token().expose(), "sk-secret-1");
    home.run_with(["login", "openai", "--api-key"], " \n").code(2).says("API key");
    home.run_with(["login", "openai", "--api-key"], "sk-secret-1\nsecond line").code(2).says("a blank");
    home.run(["login", "openai", "--api-key", "sk-secret-1"]).code(2).says("unexpected");
    home.run(["login", "openai", "--api-key=sk-secret-1"]).code(2).says("--api-key");
    home.run(["login", "opnai", "--api-key"]).code(3).says("`openai`");
}

#[test]
fn a_key_in_the_shells_history_is_mentioned_only_if_there_may_be_one() {
    let home = Home::new();
    let history = "history";
    for arguments in [
        &["login"][..],
        &["login", "openai", "--api-key", "--replace"],
        &["login", "openai", "--api-key", "--client-id", "mine"],
        &["login", "openai", "--label"],
        &["login", "openai", "--nonsense"],
        &["vault", "import", "--file"],
    ] {
        let run = home.run(arguments).code(2);
        assert!(!run.stderr.contains(history), "{arguments:?}: {run:#?}");
    }
    home.secret("sk-secret-1");
    for arguments in [
        &["login", "openai", "sk-secret-1"][..],
        &["login", "openai", "--api-key=sk-secret-1"],
        &["login", "openai", "--key=sk-secret-1"],
        &["vault", "import", "sk-secret-1"],
        &["vault", "rotate-key", "sk-secret-1"],
    ] {
        home.run(arguments).code(2).says(history);
    }
}

#[tokio::test]
async fn a_key_is_asked_for_without_being_shown() {
    let home = Home::new();
    let mut terminal = home.terminal(["login", "openai", "--api-key"]);
    terminal.exp_string("API key: ").unwrap();
    terminal.send_line("sk-secret-1").unwrap();
    let (shown, code) = end_of(terminal);
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("sk-secret"), "{shown}");
    assert_eq!(accounts(&home).await[0].secret.token().expose(), "sk-secret-1");
}

/// An interactive shell's script, with `$0` as the program: each command is a process group of its own.
fn shell(home: &Home, script: &str) -> std::process::Command {
    home.script("bash", &format!("set -m; {script}"))
}

#[tokio::test]
async fn ctrl_c_at_the_prompt_leaves_the_terminal_and_the_home_as_they_were() {
    let home = Home::new();
    let shell = shell(
        &home,
        "stty echo; stty -a > before; \"$0\" login openai --api-key; echo code=$?; stty -a > after",
    );
    let mut terminal = rexpect::session::spawn_command(shell, Some(60_000)).unwrap();
    terminal.exp_string("API key: ").unwrap();
    terminal.send_control('c').unwrap();
    let (shown, _) = end_of(terminal);
    // What comes next begins a line.
    assert!(shown.contains("\ncode=130"), "{shown:?}");
    let read = |name: &str| std::fs::read_to_string(home.path().join(name)).unwrap();
    assert!(read("before").contains(" echo "));
    assert_eq!(read("before"), read("after"));
    assert!(!home.path().join(".local").exists(), "a vault was made");
}

#[tokio::test]
async fn a_prompt_that_was_stopped_and_brought_back_asks_again_and_shows_nothing() {
    let home = Home::new();
    let shell =
        shell(&home, "\"$0\" login openai --api-key; stty echo; fg; echo code=$?; stty -a > after");
    let mut terminal = rexpect::session::spawn_command(shell, Some(60_000)).unwrap();
    terminal.exp_string("API key: ").unwrap();
    terminal.send_control('z').unwrap();
    terminal.exp_string("API key: ").unwrap();
    terminal.send_line("sk-secret-1").unwrap();
    let (shown, _) = end_of(terminal);
    assert!(shown.contains("code=0"), "{shown}");
    assert!(!shown.contains("sk-secret"), "{shown}");
    assert_eq!(accounts(&home).await[0].secret.token().expose(), "sk-secret-1");
    let after = std::fs::read_to_string(home.path().join("after")).unwrap();
    assert!(after.contains(" echo "), "{after}");
}

#[test]
fn what_is_no_key_is_refused_and_not_repeated() {
    let home = Home::new();
    home.secret("sk-secret");
    for key in
        ["\"sk-secret\"", "Bearer sk-secret", "sk-secret in side", "\u{feff}sk-secret", "sk-secret-é"]
            .into_iter()
            .chain(["sk-sec\nret", "sk-secret\u{1b}[31m", "'sk-secret'", "BEARER\tsk-secret"])
            .chain(["OPENAI_API_KEY=sk-secret"])
    {
        home.run_with(["login", "openai", "--api-key"], key).code(2).says("this is not an API key");
    }
    let long = "k".repeat(3 << 20);
    home.run_with(["login", "openai", "--api-key"], &long).code(2).says("this is not an API key");
    home.run(["login", "copilot", "--api-key"]).code(2).says("github-copilot has no API keys");
    home.run(["login", "SK-secret-and-more", "--api-key"]).code(3).says("paste the key");
    home.run(["login", "sk-secret-of-many-characters", "--api-key"]).code(3).says("paste the key");
    home.run(["login", "openai", "sk-secret", "--api-key"]).code(2).says("paste a key at the prompt");
    assert!(!home.path().join(".local").exists());
}

#[tokio::test]
async fn a_signal_at_the_prompt_leaves_the_terminal_as_it_was() {
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)] {
        let home = Home::new();
        let shell = shell(
            &home,
            "echo shell=$$.; stty echo; stty -a > before; \"$0\" login openai --api-key; \
             echo code=$?; stty -a > after",
        );
        let mut terminal = rexpect::session::spawn_command(shell, Some(60_000)).unwrap();
        let (_, shell) = terminal.exp_regex("shell=[0-9]+\\.").unwrap();
        let shell = shell.trim_start_matches("shell=").trim_end_matches('.');
        terminal.exp_string("API key: ").unwrap();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        let kill =
            std::process::Command::new("kill").arg(format!("-{signal}")).arg(children.trim()).status();
        assert!(kill.unwrap().success());
        let (shown, _) = end_of(terminal);
        assert!(shown.contains(&format!("code={code}")), "{signal}: {shown}");
        let read = |name: &str| std::fs::read_to_string(home.path().join(name)).unwrap();
        assert_eq!(read("before"), read("after"), "{signal}");
    }
}
