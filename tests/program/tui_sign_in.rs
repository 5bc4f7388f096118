//! Sign-ins and vendors in `credentials tui`, in a real terminal.
#![cfg(all(unix, feature = "tui"))]

use tower_credentials::vault::VaultExt;

use crate::authorization_server::{AuthorizationServer, Kind, Rules, Vendor, browse, get};
use crate::cli::{Home, until};
use crate::tmux::{Terminal, labels};

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
    // The verdict is said, and what the vendor has answered is history.
    terminal.wait("anthropic/work there are no models at this URL");
    let answered = |line: &str| line.contains(':') && line.trim_end().ends_with("404");
    until("the answer", || terminal.screen().lines().any(answered).then_some(()));
    assert!(vault.get(&stored.pool, stored.id).await.is_ok());
    for secret in server.issued() {
        home.secret(&secret);
    }
    terminal.screen();
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

/// What the program has handed to the terminal's clipboard.
fn copied(terminal: &Terminal<'_>, beginning: &str) -> String {
    until("the copy", || terminal.clipboard().filter(|text| text.starts_with(beginning)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_pasted_into_a_sign_in_and_a_wrong_one_can_be_mended() {
    let server = server(Vendor::Anthropic);
    let home = Home::new();
    // Nothing listens there, so any port does, but the vendor must know it.
    home.settings(&server.settings(true).replace(":0/", ":1455/"));
    let Some(terminal) = Terminal::open(&home, 100, 40) else { return };
    terminal.start("", "There are no accounts yet");
    terminal.key("n");
    terminal.wait("Add an account of");
    terminal.choose("anthropic");
    terminal.wait("How to sign in to anthropic");
    terminal.choose("pasted code");
    terminal.wait("Then paste the code");
    terminal.key("C-y");
    let code = get(&copied(&terminal, "http://127")).await.location();
    terminal.paste("https://example.com/without?query=true");
    terminal.wait("without?query");
    terminal.key("Enter");
    terminal.wait("paste another");
    terminal.paste(&code);
    terminal.wait("code=");
    terminal.key("Enter");
    terminal.wait("Signed in: anthropic/");
    let screen = terminal.wait("1 account: 1 ready");
    for secret in server.issued() {
        assert!(!screen.contains(&secret), "{screen}");
    }
    terminal.wait("signed in");
    assert_eq!(server.granted(Kind::Code), 1);
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_shown_and_copied_but_never_handed_to_a_browser_whose_arguments_all_can_see() {
    let server = server(Vendor::Cursor);
    let home = Home::new().variable("BROWSER", "touch opened");
    home.settings(&server.settings(true));
    let Some(terminal) = Terminal::open(&home, 100, 40) else { return };
    terminal.start("", "There are no accounts yet");
    terminal.key("n");
    terminal.wait("Add an account of");
    terminal.choose("cursor");
    until("the link, or the ways", || {
        let screen = terminal.screen();
        if screen.contains("▶ link") {
            terminal.key("Enter");
        }
        screen.contains("Sign in on this page").then_some(())
    });
    terminal.key("C-o");
    terminal.wait("whoever sees this address could sign in with it");
    terminal.key("C-y");
    server.follow_link(&copied(&terminal, "http://127"));
    terminal.wait("Signed in: cursor/");
    terminal.wait("1 account: 1 ready");
    assert!(!home.path().join("opened").exists());
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}
