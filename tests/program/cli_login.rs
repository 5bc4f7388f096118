//! `credentials login`: every way to sign in that a vendor has, as a person goes it.
#![cfg(feature = "cli")]

use std::os::unix::fs::PermissionsExt;

use http::StatusCode;
use tower_credentials::Secret;

use crate::authorization_server::{Fault, Kind, Vendor, get};
use crate::cli::login::{Waiting, accounts, home_of, labels, server, sign_in};
use crate::cli::{Home, end_of};

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
async fn the_desktops_browser_is_opened_unless_a_flag_says_not_to() {
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
async fn a_server_that_is_not_reached_for_a_while_is_reported_once() {
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
async fn a_person_with_the_browser_elsewhere_finds_out_how_in_the_help_and_while_it_waits() {
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
async fn a_failed_sign_in_names_the_way_out() {
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
