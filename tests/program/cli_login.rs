//! `credentials login`: every way that a vendor has, as a person goes it.
#![cfg(feature = "cli")]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

use http::StatusCode;
use tower_credentials::vault::VaultExt;
use tower_credentials::{Credential, Secret};

use crate::authorization_server::{AuthorizationServer, Fault, Kind, Rules, Vendor, browse, get};
use crate::cli::{Home, Run, end_of};

/// A home whose settings lead to the server.
fn home_of(server: &AuthorizationServer) -> Home {
    let home = Home::new();
    home.settings(&server.settings(true));
    home
}

fn server(vendor: Vendor) -> AuthorizationServer {
    let mut rules = Rules::of(vendor);
    rules.device_interval = Some(1);
    AuthorizationServer::start(rules)
}

/// The program, waiting for somebody to sign in.
struct Waiting {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    said: String,
}

impl Waiting {
    fn begin(home: &Home, arguments: &[&str]) -> Self {
        let mut command = home.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, said: String::new() }
    }

    /// The line that is set off from the others: the page's address, or the code.
    fn shown(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "{}", self.said);
            self.said.push_str(&line);
            if let Some(shown) = line.strip_prefix("  ") {
                return shown.trim().to_owned();
            }
        }
    }

    fn end(mut self) -> Run {
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut self.said).unwrap();
        Run { code: self.child.wait().unwrap().code(), stdout, stderr: self.said }
    }
}

/// Signs in through a browser.
async fn sign_in(server: &AuthorizationServer, home: &Home, arguments: &[&str]) -> Run {
    let mut waiting = Waiting::begin(home, arguments);
    browse(&waiting.shown()).await;
    let run = waiting.end();
    // No token and no code that was given out is told.
    for secret in server.issued() {
        assert!(!run.stderr.contains(&secret) && !run.stdout.contains(&secret), "{run:?}");
    }
    run
}

async fn accounts(home: &Home) -> Vec<Credential> {
    let vault = home.vault().await;
    let mut accounts = Vec::new();
    for credential in vault.list().await.unwrap().credentials {
        accounts.push(vault.get(credential.id).await.unwrap());
    }
    accounts
}

async fn labels(home: &Home) -> Vec<String> {
    accounts(home).await.iter().map(|account| account.metadata.label.to_string()).collect()
}

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
fn a_key_in_the_shell_s_history_is_spoken_of_only_where_one_may_be() {
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

#[tokio::test]
async fn a_browser_signs_in_and_a_second_time_renews_the_same_account() {
    for vendor in [Vendor::Anthropic, Vendor::OpenAi, Vendor::Google] {
        let server = server(vendor);
        let home = home_of(&server);
        let name = vendor.name();
        sign_in(&server, &home, &["login", name]).await.ok().says("Signed in: ");
        let first = accounts(&home).await.remove(0);
        sign_in(&server, &home, &["login", name, "--label", "other"])
            .await
            .ok()
            .says("Signed in again: ");
        let again = accounts(&home).await;
        assert_eq!(again.len(), 1, "{name}: {again:?}");
        assert_eq!(again[0].metadata.id, first.metadata.id);
        assert_eq!(again[0].metadata.label, first.metadata.label);
        assert_ne!(again[0].secret.token().expose(), first.secret.token().expose());
        server.person("bob");
        sign_in(&server, &home, &["login", name, "--label", "bobs", "-vvv"])
            .await
            .ok()
            .says(&format!("{name}/bobs"));
        assert_eq!(labels(&home).await.len(), 2, "{name}");
        for secret in server.issued() {
            home.secret(&secret);
        }
        home.run(["list", "-vvv"]).ok();
    }
}

#[tokio::test]
async fn the_browser_of_the_desktop_is_opened_unless_it_must_not_be() {
    let server = server(Vendor::OpenAi);
    let mut home = home_of(&server);
    let browser = home.path().join("browser");
    std::fs::write(&browser, "#!/bin/sh\necho \"$1\" >> \"$HOME/opened\"\nexec curl -sL -b '' \"$1\"\n")
        .unwrap();
    std::fs::set_permissions(&browser, PermissionsExt::from_mode(0o755)).unwrap();
    home.set("BROWSER", browser.to_str().unwrap());
    home.run(["login", "openai"]).ok().says("Signed in");
    let opened = std::fs::read_to_string(home.path().join("opened")).unwrap();
    // Everyone can see a browser's arguments, so they have nothing of the vendor's page in them.
    assert!(opened.starts_with("http://localhost:") && !opened.contains("state"), "{opened}");
    sign_in(&server, &home, &["login", "openai", "--no-browser"]).await.ok();
    assert_eq!(std::fs::read_to_string(home.path().join("opened")).unwrap(), opened);
}

#[tokio::test]
async fn a_code_is_pasted_in_a_terminal_or_piped_in() {
    for vendor in [Vendor::Anthropic, Vendor::OpenAi] {
        let server = server(vendor);
        let home = Home::new();
        // Nothing listens there, so any port does, but the vendor must know it.
        home.settings(&server.settings(true).replace(":0/", ":1455/"));
        let mut terminal = home.terminal(["login", vendor.name(), "--paste-code"]);
        let (_, url) = terminal.exp_regex("http://127[^\r\n]+[\r\n]").unwrap();
        let url = url.trim_end();
        terminal.exp_string("paste the code").unwrap();
        let code = get(url).await.location();
        terminal.send_line("https://example.com/without?query=true").unwrap();
        terminal.exp_string("paste another").unwrap();
        terminal.send_line(&code).unwrap();
        let (shown, status) = end_of(terminal);
        assert_eq!(status, 0, "{shown}");
        assert!(shown.contains("Signed in"), "{shown}");
        assert_eq!(server.granted(Kind::Code), 1);
        home.run(["login", vendor.name(), "--paste-code"]).code(2).says("no code was pasted");
    }
}

#[tokio::test]
async fn the_address_of_a_browser_elsewhere_is_pasted_into_a_sign_in_that_waits_for_one_here() {
    let server = server(Vendor::OpenAi);
    let home = home_of(&server);
    let mut terminal = home.terminal(["login", "openai"]);
    let (_, url) = terminal.exp_regex("http://127[^\r\n]+[\r\n]").unwrap();
    let url = url.trim_end();
    terminal.exp_string("Paste that address here").unwrap();
    terminal.send_line(&get(url).await.location()).unwrap();
    let (shown, status) = end_of(terminal);
    assert_eq!(status, 0, "{shown}");
    assert_eq!(labels(&home).await.len(), 1);
}

#[tokio::test]
async fn a_device_code_is_typed_in_elsewhere() {
    for vendor in [Vendor::Copilot, Vendor::Qwen] {
        let server = server(vendor);
        let home = home_of(&server);
        let mut waiting = Waiting::begin(&home, &["login", vendor.name(), "--device"]);
        server.type_in(&waiting.shown());
        waiting.end().ok().says("Signed in: ");
        assert_eq!(labels(&home).await.len(), 1);
    }
}

#[tokio::test]
async fn a_link_is_followed_and_never_handed_to_a_browser_whose_arguments_all_can_see() {
    let server = server(Vendor::Cursor);
    let mut home = home_of(&server);
    home.set("BROWSER", "touch opened");
    let mut waiting = Waiting::begin(&home, &["login", "cursor"]);
    server.follow_link(&waiting.shown());
    waiting.end().ok().says("Signed in: ");
    assert!(!home.path().join("opened").exists());
    assert!(matches!(accounts(&home).await[0].secret, Secret::OAuth(_)));
}

#[tokio::test]
async fn a_server_that_is_not_reached_for_a_while_is_told_of_once() {
    let server = server(Vendor::Cursor);
    let home = home_of(&server);
    let busy = Fault::Text(StatusCode::SERVICE_UNAVAILABLE, "busy");
    server.fail_next([busy.clone(), busy]);
    let polls = [server.hold_before(), server.hold_before(), server.hold_before()];
    let mut waiting = Waiting::begin(&home, &["login", "cursor"]);
    let link = waiting.shown();
    for (number, poll) in polls.iter().enumerate() {
        poll.arrived().await;
        if number == 2 {
            // Both failures have been received.
            server.follow_link(&link);
        }
        poll.let_go();
    }
    let run = waiting.end().ok().says("Signed in: ");
    assert_eq!(run.stderr.matches("trying again: ").count(), 1, "{run:#?}");
}

#[tokio::test]
async fn a_sign_in_that_is_broken_off_leaves_nothing_behind() {
    let server = server(Vendor::OpenAi);
    let home = home_of(&server);
    let mut terminal = home.terminal(["login", "openai"]);
    let (_, url) = terminal.exp_regex("http://127[^\r\n]+[\r\n]").unwrap();
    let url = url.trim_end();
    terminal.exp_string("Paste that address here").unwrap();
    terminal.send_control('c').unwrap();
    let (shown, code) = end_of(terminal);
    assert_eq!(code, 130, "{shown}");
    assert!(!home.path().join(".local").exists(), "a vault was made");
    let back = get(url).await.location();
    let port = url::Url::parse(&back).unwrap().port().unwrap();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "it still listens");
}

#[tokio::test]
async fn who_has_the_browser_elsewhere_finds_how_in_the_help_and_while_it_waits() {
    let help = home_help();
    for told in ["Over ssh", "--no-browser", "--device", "--paste-code", "--no-loopback"] {
        assert!(help.contains(told), "{told}: {help}");
    }
    let server = server(Vendor::OpenAi);
    let home = home_of(&server);
    let mut terminal = home.terminal(["login", "openai", "--no-browser"]);
    terminal.exp_string("Is your browser on another machine? Open this page there:").unwrap();
    terminal.exp_string("Paste that address here, and press Enter.").unwrap();
    terminal.send_control('c').unwrap();
    end_of(terminal);
    // Without a terminal nothing can be pasted into this one.
    let run = sign_in(&server, &home, &["login", "openai"]).await.ok();
    run.says("Is your browser on another machine? Run this in a terminal")
        .says("--device or --paste-code");
    let table = "[providers.openai.oauth]";
    let loopback = format!("{table}\nflows = [\"loopback\"]");
    home.settings(&server.settings(true).replace(table, &loopback));
    let run = home.run(["login", "openai", "--no-loopback"]).code(2);
    run.says("no sign-in by pasted code").says("use --no-browser instead");
}

fn home_help() -> String {
    Home::new().run(["login", "--help"]).ok().stdout
}

#[tokio::test]
async fn what_is_wrong_is_said_with_the_way_out() {
    let server = server(Vendor::OpenAi);
    let home = Home::new();
    let run = home.run(["login", "openai"]).code(2).says("client_id");
    let run = run.says("credentials login openai --api-key");
    assert!(!run.stderr.contains("OAuthConfig"), "{run:?}");
    let with_id = server.settings(true).replace("client_id", "#");
    home.settings(&with_id);
    home.run(["login", "openai"]).code(2).says("client_id");
    sign_in(&server, &home, &["login", "openai", "--client-id", "client-of-the-tests"]).await.ok();

    home.settings(&server.settings(true));
    server.says_yes(false);
    sign_in(&server, &home, &["login", "openai"]).await.code(4).says("access_denied");
    home.run(["login", "openai", "--device"]).code(2).says("no sign-in by device code");
    home.run(["login", "openai", "--device", "--paste-code"]).code(2);
    let copilot =
        "[providers.github-copilot.oauth]\nclient_id = \"x\"\ndevice_url = \"http://127.0.0.1:1/\"\n";
    home.settings(copilot);
    home.run(["login", "github-copilot"]).code(6).says("http://127.0.0.1:1/");

    home.settings(&server.settings(true));
    std::fs::set_permissions(home.key_file(), PermissionsExt::from_mode(0o644)).unwrap();
    let run = home.run(["login", "openai"]).code(5).says("chmod 600");
    assert!(!run.stderr.contains("http://"), "sent to a browser in vain: {run:?}");
}

#[tokio::test]
async fn an_account_of_another_kind_is_not_replaced_and_nobody_signs_in_in_vain() {
    let server = server(Vendor::OpenAi);
    let home = home_of(&server);
    home.add("openai", "paid", "sk-secret-1").await;
    for way in ["--no-browser", "--device", "--paste-code"] {
        let run = home.run(["login", "openai", way, "--label", "paid", "--replace"]);
        let run = run.code(2).says("openai/paid is of the kind api").says("leave out --replace");
        assert!(!run.stderr.contains("http://"), "sent to a browser in vain: {run:?}");
    }
    sign_in(&server, &home, &["login", "openai", "--label", "work"]).await.ok();
    let run = home.run(["login", "openai", "--api-key", "--label", "work", "--replace"]);
    run.code(2).says("openai/work is of the kind oauth");
}

#[tokio::test]
async fn an_account_of_a_label_is_replaced_where_that_is_said_and_added_where_not() {
    let home = Home::new();
    for key in ["sk-secret-old", "sk-secret-new", "sk-secret-other"] {
        home.secret(key);
    }
    home.run_with(["login", "openai", "--api-key", "-l", "work"], "sk-secret-old").ok();
    let first = accounts(&home).await.remove(0).metadata;
    home.run_with(["login", "openai", "--api-key", "-l", "work"], "sk-secret-other")
        .ok()
        .says("openai/work-2")
        .says("--replace");
    home.run_with(["login", "openai", "--api-key", "-l", "work", "--replace"], "sk-secret-new")
        .ok()
        .says("Replaced: openai/work");
    let accounts = accounts(&home).await;
    assert_eq!(accounts.len(), 2);
    assert_eq!((accounts[0].metadata.id, &accounts[0].metadata.label), (first.id, &first.label));
    assert_eq!(accounts[0].secret.token().expose(), "sk-secret-new");
    home.run_with(["login", "openai", "--api-key", "-l", "spare"], "sk-secret-new")
        .ok()
        .says("Stored already: openai/work")
        .says("credentials rename openai/work spare");
    // The label of another account is not advised.
    let run = home.run_with(["login", "openai", "--api-key", "-l", "work-2"], "sk-secret-new").ok();
    assert!(!run.says("another account's").stderr.contains("rename"));
    let run =
        home.run_with(["login", "openai", "--api-key", "-l", "work-2", "--replace"], "sk-secret-new");
    let run = run.code(2).says("openai/work-2 was not changed: openai/work has this key already");
    assert!(!run.says("credentials logout openai/work").stderr.contains("rename"));
    home.run(["login", "openai", "--api-key", "-l", "nobody", "--replace"]).code(3).says("nobody");
    home.run(["login", "openai", "--api-key", "--replace"]).code(2).says("--label");

    let server = server(Vendor::OpenAi);
    home.settings(&server.settings(true));
    let arguments = ["login", "openai", "-l", "work", "--replace"];
    home.run(arguments).code(2).says("of the kind api");
    sign_in(&server, &home, &["login", "openai", "-l", "dead"]).await.ok();
    sign_in(&server, &home, &["login", "openai", "-l", "dead", "--replace"])
        .await
        .ok()
        .says("Signed in again: openai/dead");
    assert_eq!(labels(&home).await, ["work", "work-2", "dead"]);
}

#[tokio::test]
async fn an_account_is_not_replaced_by_somebody_else_s() {
    for vendor in [Vendor::Anthropic, Vendor::OpenAi, Vendor::Google] {
        let server = server(vendor);
        let home = home_of(&server);
        sign_in(&server, &home, &["login", vendor.name(), "-l", "work"]).await.ok();
        let before = accounts(&home).await.remove(0);
        server.person("bob");
        let replace = ["login", vendor.name(), "-l", "work", "--replace"];
        sign_in(&server, &home, &replace)
            .await
            .code(4)
            .says("/work is the account of ")
            .says("alice")
            .says("bob@example.com")
            .says("leave out --replace");
        let after = accounts(&home).await.remove(0);
        assert_eq!(after.secret.token().expose(), before.secret.token().expose());
        assert_eq!(after.metadata.generation, before.metadata.generation);
        // As an account of its own it is taken.
        sign_in(&server, &home, &["login", vendor.name(), "-l", "bob"]).await.ok();
        assert_eq!(labels(&home).await, ["work", "bob"]);
    }
    // Nobody tells whose they are.
    let server = server(Vendor::Qwen);
    let home = home_of(&server);
    for arguments in [
        &["login", "qwen", "-l", "work", "--no-browser"][..],
        &["login", "qwen", "-l", "work", "--replace"],
    ] {
        let mut waiting = Waiting::begin(&home, arguments);
        server.type_in(&waiting.shown());
        let run = waiting.end().ok();
        let is_unsure = run.stderr.contains("whether that is the same account");
        assert_eq!(is_unsure, arguments.contains(&"--replace"), "{run:?}");
        server.person("bob");
    }
    assert_eq!(labels(&home).await, ["work"]);
}

#[tokio::test]
async fn what_can_not_be_kept_is_said_before_anybody_signs_in() {
    let server = server(Vendor::OpenAi);
    let home = home_of(&server);
    let long = "x".repeat(300);
    let unseen =
        ["a\u{ad}b", "\u{3164}", "a\u{2800}", "a\u{fff9}b", "a\u{e0041}", "a\u{fe0f}", "a\u{9b}2J"];
    for label in ["", " ", "a\nb", "\u{202e}live", "z\u{200b}work", &long].into_iter().chain(unseen) {
        let run = home.run(["login", "openai", "--label", label]).code(2).says("label");
        assert!(!run.stderr.contains("http://"), "sent to a browser in vain: {run:?}");
    }
    home.run(["login", "openai", "-n", ""]).code(2).says("namespace");
    std::fs::write(home.path().join("file"), "").unwrap();
    let run = home.run(["login", "openai", "--vault", "file/vault"]).code(5).says("not a directory");
    assert!(!run.stderr.contains("http://"), "sent to a browser in vain: {run:?}");
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
