//! `credentials tui` in a real terminal: what a person does there, and what is left of it when it ends.
#![cfg(all(unix, feature = "tui"))]

use tower_credentials::vault::VaultExt;

use crate::authorization_server::{AuthorizationServer, Rules, Vendor, browse};
use crate::cli::{Home, until};
use crate::tmux::Terminal;

/// A home with two keys.
async fn home() -> Home {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    home.add("openai", "spare", "sk-secret-2").await;
    home
}

async fn labels(home: &Home) -> Vec<String> {
    let listed = home.vault().await.list().await.unwrap().credentials;
    listed.iter().map(|credential| credential.label.to_string()).collect()
}

#[test]
fn without_a_terminal_it_names_the_command_for_that() {
    let home = Home::new();
    home.run(["tui"]).code(2).says("needs a terminal").says("credentials list");
    home.run(["tui", "--print", "80x0"]).code(2).says("80x24");
    assert!(home.path().read_dir().unwrap().next().is_none(), "something was made");
}

#[tokio::test]
async fn the_screen_is_printed_in_any_size_without_a_terminal() {
    let home = home().await;
    let screen = home.run(["tui", "--print", "80x24"]).ok().prints("2 accounts").prints("* work");
    assert_eq!(screen.stdout.lines().count(), 24);
    home.run(["tui", "--print", "40x12", "--demo"]).ok().prints("sign in: token revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_paused_reset_moved_renamed_and_removed_by_keys() {
    let home = home().await;
    let Some(terminal) = Terminal::open(&home, 80, 24) else { return };
    terminal.start("", "▶ * work");
    terminal.key("p");
    terminal.wait("paused by you");
    home.run(["list"]).ok().prints("paused");
    terminal.key("p");
    terminal.wait("2 accounts: 2 ready");
    terminal.key("]");
    terminal.wait("openai/work is 2 of 2 now");
    terminal.key("a");
    terminal.wait("openai/work is 1 of 2 now");
    terminal.key("r");
    terminal.wait("openai/work is reset");
    terminal.key("R");
    terminal.key("C-u");
    terminal.text("home");
    terminal.key("Enter");
    terminal.wait("▶ * home");
    // A label that is taken is an error, in place.
    terminal.key("R");
    terminal.key("C-u");
    terminal.text("spare");
    terminal.key("Enter");
    terminal.wait("spare");
    terminal.wait("taken");
    terminal.key("Down");
    terminal.wait("▶   spare");
    terminal.key("d");
    terminal.wait("Remove openai/spare from the vault?");
    terminal.key("n");
    terminal.key("d");
    terminal.key("y");
    terminal.wait("1 account: 1 ready");
    terminal.wait("Removed openai/spare");
    assert_eq!(labels(&home).await, ["home"]);
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_programs_change_is_shown_without_a_key() {
    let home = home().await;
    let Some(terminal) = Terminal::open(&home, 120, 40) else { return };
    terminal.start("", "2 accounts: 2 ready");
    home.run(["pause", "openai/work"]).ok();
    terminal.wait("paused by you");
    // A first account of another provider.
    home.add("anthropic", "new", "sk-secret-3").await;
    terminal.wait("3 accounts");
    terminal.wait("anthropic/new");
    home.run(["logout", "openai/work", "--yes"]).ok();
    terminal.wait("2 accounts: 2 ready");
    // The settings, too.
    home.settings("[providers.mine]\ntype = \"generic\"\norigins = [\"https://mine.example\"]\n");
    terminal.key("n");
    until("the new provider", || {
        let is_there = terminal.screen().contains("mine ");
        if !is_there {
            terminal.key("Escape");
            terminal.key("n");
        }
        is_there.then_some(())
    });
    terminal.key("C-c");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_vault_leads_to_the_first_key() {
    let home = Home::new();
    home.secret("sk-secret-1");
    let Some(terminal) = Terminal::open(&home, 100, 30) else { return };
    terminal.start("", "There are no accounts yet");
    terminal.key("n");
    terminal.wait("Add an account of");
    terminal.choose("openai");
    terminal.wait("The label of the account");
    terminal.key("Enter");
    terminal.wait("Paste it");
    terminal.text("sk-secret-1");
    terminal.wait("11 characters");
    terminal.key("Enter");
    terminal.wait("Stored: openai/default");
    terminal.wait("1 account: 1 ready");
    assert_eq!(labels(&home).await, ["default"]);
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

fn server(vendor: Vendor) -> AuthorizationServer {
    let mut rules = Rules::of(vendor);
    rules.device_interval = Some(1);
    AuthorizationServer::start(rules)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_by_a_browser_is_shown_and_stored() {
    let server = server(Vendor::Anthropic);
    let home = Home::new();
    home.settings(&server.settings(true));
    let Some(terminal) = Terminal::open(&home, 100, 40) else { return };
    terminal.start("", "There are no accounts yet");
    terminal.key("n");
    terminal.wait("Add an account of");
    terminal.choose("anthropic");
    terminal.wait("How to sign in to anthropic");
    terminal.choose("browser");
    let screen = terminal.wait("Is your browser on another machine?");
    let address =
        |line: &str| line.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned);
    browse(&screen.lines().find_map(address).unwrap()).await;
    terminal.wait("Signed in: anthropic/");
    let screen = terminal.wait("1 account: 1 ready");
    for secret in server.issued() {
        assert!(!screen.contains(&secret), "{screen}");
    }
    assert_eq!(labels(&home).await.len(), 1);
    // Once more, and broken off.
    terminal.key("s");
    terminal.wait("How to sign in to anthropic");
    terminal.choose("browser");
    terminal.wait("Is your browser on another machine?");
    terminal.key("Escape");
    terminal.wait("broken off");
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_by_a_device_shows_its_code_and_a_countdown() {
    let server = server(Vendor::Copilot);
    let home = Home::new();
    home.settings(&server.settings(true));
    let Some(terminal) = Terminal::open(&home, 100, 40) else { return };
    terminal.start("", "There are no accounts yet");
    terminal.key("n");
    terminal.wait("Add an account of");
    terminal.choose("github-copilot");
    let screen = terminal.wait("USER-0000");
    assert!(screen.contains("█") && screen.contains(" left"), "{screen}");
    server.type_in("USER-0000");
    terminal.wait("Signed in: github-copilot/");
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_is_set_in_the_settings_file_and_nothing_else_there_is_changed() {
    let home = home().await;
    home.settings("# Mine.\n[providers.openai] # work\nmax_attempts = 3\n");
    let Some(terminal) = Terminal::open(&home, 100, 30) else { return };
    terminal.start("", "▶ * work");
    terminal.key("m");
    terminal.wait("▶ auto");
    terminal.choose("subscription");
    terminal.wait("not used: mode subscription takes only sign-ins");
    let settings = std::fs::read_to_string(home.settings_file()).unwrap();
    let expected = "# Mine.\n[providers.openai] # work\nmax_attempts = 3\nmode = \"subscription\"\n";
    assert_eq!(settings, expected);
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_tested_and_a_token_renewed_with_the_vendor_s_words() {
    let server = server(Vendor::Anthropic);
    let home = Home::new();
    home.settings(&server.settings(true));
    let issued = server.client().sign_in(tower_credentials::oauth::FlowKind::Loopback).await;
    let mut sign_in = issued.unwrap();
    let page = crate::authorization_server::start(&sign_in);
    let (_, signed_in) = tokio::join!(browse(&page), crate::authorization_server::follow(&mut sign_in));
    let vault = home.vault().await;
    let pool = tower_credentials::PoolKey::new("anthropic");
    let stored = signed_in.1.unwrap().store(&vault, pool, "work").await.unwrap();
    let Some(terminal) = Terminal::open(&home, 100, 30) else { return };
    terminal.start("", "▶ * work");
    terminal.key("u");
    // It is too new, or it is renewed: which one, the program says.
    until("what became of it", || {
        let screen = terminal.screen();
        (screen.contains("is renewed") || screen.contains("was not renewed")).then_some(())
    });
    terminal.key("Escape");
    terminal.key("t");
    terminal.wait("test: ");
    assert!(vault.get(stored.id).await.is_ok());
    for secret in server.issued() {
        home.secret(&secret);
    }
    terminal.screen();
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_signal_ends_it_with_its_code_and_the_terminal_as_it_was() {
    let home = home().await;
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129), ("QUIT", 131)] {
        let Some(terminal) = Terminal::open(&home, 80, 24) else { return };
        terminal.start("--mouse", "2 accounts: 2 ready");
        terminal.kill(signal);
        assert_eq!(terminal.end(), code, "{signal}");
        drop(terminal);
        for name in ["before", "after", "code", "pid"] {
            std::fs::remove_file(home.path().join(name)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_z_goes_back_to_the_shell_and_fg_comes_back_to_the_screen() {
    let home = home().await;
    let Some(terminal) = Terminal::open(&home, 80, 24) else { return };
    terminal.start("--mouse", "▶ * work");
    for _ in 0..2 {
        terminal.key("C-z");
        terminal.wait("Stopped");
        terminal.check();
        terminal.line("clear; fg");
        terminal.wait("▶ * work");
    }
    terminal.key("Down");
    terminal.wait("▶   spare");
    terminal.key("q");
    until("the shell", || (!terminal.screen().contains('▶')).then_some(()));
    terminal.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_follows_the_size_of_the_terminal() {
    let home = home().await;
    let Some(terminal) = Terminal::open(&home, 80, 24) else { return };
    terminal.start("", "LEFT");
    terminal.resize(40, 12);
    until("a small screen", || (!terminal.screen().contains("LEFT")).then_some(()));
    terminal.wait("▶ * work");
    terminal.resize(150, 45);
    terminal.wait("HISTORY of all accounts");
    terminal.resize(10, 3);
    terminal.key("Down");
    terminal.resize(80, 24);
    terminal.wait("▶   spare");
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_color_means_no_color() {
    let home = home().await.variable("NO_COLOR", "1");
    let Some(terminal) = Terminal::open(&home, 80, 24) else { return };
    terminal.start("", "▶ * work");
    let styled = terminal.styled();
    let has_color = (30..38).any(|color| styled.contains(&format!("\u{1b}[{color}m")));
    assert!(!has_color, "{styled:?}");
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}
