//! How the gateway starts, and when it does not.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use http::Response;
use tower_credentials::vault::key::VaultKey;

use super::process::{Gateway, add_settings, home_of_x, open_to};
use crate::cli::Home;
use crate::wire::{Wire, full};

const NOWHERE: &str = "http://127.0.0.1:9";

#[tokio::test]
async fn a_bad_command_line_is_refused_and_the_error_names_what_is_wrong() {
    let home = home_of_x(NOWHERE, &["a"]).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let file = home.path().join("vault-is-a-file");
    std::fs::write(&file, "").unwrap();
    for (flag, value, code, says) in [
        ("--listen", "nonsense", 2, "--listen"),
        ("--listen", "0.0.0.0:0", 2, "--allow-remote"),
        ("--listen", "[::]:0", 2, "--allow-remote"),
        ("--listen", "192.0.2.1:0", 2, "--allow-remote"),
        ("--listen", &taken, 1, "--listen"),
        ("--unix", "/nowhere/socket", 1, "--unix"),
        ("--vault", file.to_str().unwrap(), 2, "vault-is-a-file"),
        ("--config", "/nowhere/credentials.toml", 3, "/nowhere/credentials.toml"),
        ("--timeout", "0", 2, "--timeout"),
        ("--timeout", "soon", 2, "--timeout"),
        ("--drain", "-1", 2, "--drain"),
        ("--drain", "1.5", 2, "--drain"),
        ("--no-retry-beyond", "soon", 2, "--no-retry-beyond"),
        ("--replay", "-1", 2, "--replay"),
        ("--max-connections", "0", 2, "--max-connections"),
        ("--access-log", "xml", 2, "--access-log"),
        ("--allow-origin", "https://*", 2, "--allow-origin"),
        ("--no-such-flag", "1", 2, "--no-such-flag"),
    ] {
        let mut arguments = vec!["serve".to_owned()];
        if flag != "--listen" {
            arguments.push("--listen=127.0.0.1:0".to_owned());
        }
        arguments.push(format!("{flag}={value}"));
        let run = home.run(&arguments).code(code).says(says);
        assert!(!run.stderr.contains("Listening"), "{flag} {value}: {run:?}");
    }
}

#[tokio::test]
async fn bad_settings_are_refused_and_a_password_in_them_is_not_shown() {
    for (origin, more, code, says) in [
        ("http://api.example.com", "", 2, "https"),
        ("api.example.com", "", 2, "origin"),
        ("https://user:planted@api.example.com", "", 2, "origin"),
        ("https://api.example.com/v1?key=planted", "", 2, "origin"),
        (NOWHERE, "headder = \"x-key\"\n", 2, "headder"),
        (NOWHERE, "providers = [", 2, "config.toml"),
    ] {
        let home = home_of_x(NOWHERE, &["a"]).await;
        let settings = std::fs::read_to_string(home.settings_file()).unwrap();
        home.settings(&settings.replace(NOWHERE, origin));
        add_settings(&home, more);
        let run = home.run(["serve", "--listen", "127.0.0.1:0"]).code(code).says(says);
        assert!(!run.stderr.contains("planted") && !run.stderr.contains("Listening"), "{run:?}");
    }
}

#[tokio::test]
async fn a_malformed_or_wrong_key_is_refused_and_not_shown() {
    let mut home = home_of_x(NOWHERE, &["a"]).await;
    let other = VaultKey::generate().to_base64();
    for key in ["planted-and-no-key", other.expose()] {
        home.set(VaultKey::VARIABLE, key);
        home.secret(key);
        home.run(["serve", "--listen", "127.0.0.1:0"]).code(5).says("key");
    }
}

#[tokio::test]
async fn without_an_account_nothing_is_served_and_nothing_is_made() {
    let home = Home::new();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    home.run(serve).code(3).says("credentials login PROVIDER");
    assert!(!home.key_file().exists() && !home.vault_directory().exists());
    let home = home_of_x(NOWHERE, &["a"]).await;
    let named = |name| home.run([&serve[..], &[name]].concat());
    named("anthropi").code(3).says("anthropic");
    named("anthropic").code(3).says("credentials login anthropic");
}

#[tokio::test]
async fn an_existing_vault_gets_no_new_key() {
    let home = home_of_x(NOWHERE, &["a"]).await;
    std::fs::remove_file(home.key_file()).unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    home.run(serve).code(5).says("the key of the vault").says("is missing");
    assert!(!home.key_file().exists(), "a key was made");
    // With a wrong key, the error does not suggest to move anything away.
    VaultKey::load_or_create(home.key_file()).await.unwrap();
    std::fs::set_permissions(home.key_file(), std::fs::Permissions::from_mode(0o600)).unwrap();
    let run = home.run(serve).code(5).says("key");
    assert!(!run.stderr.contains("move"), "{run:?}");
}

#[tokio::test]
async fn the_gateway_listens_on_an_open_address_only_if_told_to() {
    let wire = Wire::start(async |_| Response::new(full("hi"))).await;
    let home = home_of_x(&wire.origin(), &["a"]).await;
    let token = super::process::client(&home, &["laptop"]);
    let mut gateway = Gateway::start(&home, &["--allow-remote", "--listen", "0.0.0.0:0"]).await;
    assert!(gateway.address.ip().is_unspecified());
    gateway.says("connections are not encrypted").await;
    gateway.address.set_ip([127, 0, 0, 1].into());
    assert_eq!(gateway.send(gateway.get("/x/", &token)).await.1, "hi");
}

#[tokio::test]
async fn the_health_of_a_gateway_is_told_to_everyone_on_its_machine() {
    let (_home, gateway) = open_to(NOWHERE, &[]).await;
    for path in ["/healthz", "/readyz"] {
        let (status, _) = gateway.send(http::Request::get(gateway.url(path))).await;
        assert_eq!(status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_gateway_whose_accounts_are_all_paused_is_not_ready() {
    let (home, gateway) = open_to(NOWHERE, &[]).await;
    home.run(["pause", "x/a"]).ok();
    gateway.becomes("/readyz", "", http::StatusCode::SERVICE_UNAVAILABLE).await;
    home.run(["resume", "x/a"]).ok();
    gateway.becomes("/readyz", "", http::StatusCode::OK).await;
}

#[tokio::test]
async fn help_describes_the_flags_and_what_the_gateway_says_itself() {
    let run = Home::new().run(["serve", "--help"]).ok();
    for word in ["--allow-remote", "--open", "--drain", "/healthz", "x-should-retry", "426"] {
        assert!(run.stdout.contains(word), "{word} is not in:\n{}", run.stdout);
    }
}
