//! The program `credentials` among strangers: others who use the machine, and whatever has set its environment.
#![cfg(feature = "cli")]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use crate::authorization_server::{AuthorizationServer, Rules, Vendor, browse};
use crate::cli::Home;

fn set_mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn settings_that_others_may_write_run_no_command() {
    let home = Home::new();
    home.settings("[vault]\nkey_command = 'touch ran'\n");
    for path in [home.settings_file(), home.config_directory()] {
        let before = fs::metadata(&path).unwrap().permissions().mode();
        set_mode(&path, 0o777);
        for arguments in [
            &["list"][..],
            &["login", "openai", "--api-key"],
            &["vault", "check"],
            &["headers", "openai"],
        ] {
            home.run_with(arguments, "sk-secret")
                .code(2)
                .says("chmod go-w")
                .says(&path.display().to_string());
        }
        set_mode(&path, before & 0o7777);
    }
    assert!(!home.path().join("ran").exists());
    home.run_with(["login", "openai", "--api-key"], "sk-secret").code(5);
    assert!(home.path().join("ran").exists(), "the settings are the user's alone again");
}

#[tokio::test]
async fn what_the_environment_replaces_is_said_once() {
    let mut home = Home::new();
    home.add("openai", "work", "sk-secret").await;
    assert_eq!(home.run(["list"]).ok().stderr, "");
    home.set("TOWER_CREDENTIALS_OPENAI_MAX_ATTEMPTS", "3");
    assert_eq!(home.run(["list"]).ok().stderr, "", "nobody else gets a secret by that");
    for (variable, value, setting) in [
        ("TOWER_CREDENTIALS_OPENAI_ORIGINS", "https://example.com", "`origins`"),
        ("TOWER_CREDENTIALS_CLAUDE_OAUTH_TOKEN_URL", "https://example.com/t", "`oauth.token_url`"),
        ("TOWER_CREDENTIALS_OPENAI_API_KEY_VARIABLE", "AWS_SECRET_ACCESS_KEY", "`api_key_variable`"),
    ] {
        home.set(variable, value);
        for arguments in [&["list"][..], &["show", "work"], &["vault", "check"], &["list", "--json"]] {
            let run = home.run(arguments).ok().says(setting).says("note: ");
            assert_eq!(run.stderr.matches(variable).count(), 1, "{run:?}");
            assert!(!run.stdout.contains(variable), "{run:?}");
        }
        home.set(variable, value);
    }
    // The file has the last word, so nothing is replaced.
    home.settings("[providers.openai]\norigins = ['https://api.openai.com']\napi_key_variable = 'OPENAI_API_KEY'\n");
    let run = home.run(["list"]).ok();
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    assert!(run.stderr.contains("CLAUDE_OAUTH_TOKEN_URL"), "{run:?}");
}

#[tokio::test]
async fn a_browser_inherits_no_key() {
    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    let mut home = Home::new();
    home.settings(&server.settings(true).replace(
        "[providers.openai.oauth]",
        "[providers.other]\ntype = 'generic'\napi_key_variable = 'OTHER_KEY'\n[providers.openai.oauth]",
    ));
    let browser = home.path().join("browser");
    fs::write(
        &browser,
        "#!/bin/sh\nenv > \"$HOME/env\"\ncat > \"$HOME/input\"\nexec curl -sL -b '' \"$1\"\n",
    )
    .unwrap();
    set_mode(&browser, 0o755);
    home.set("BROWSER", browser.to_str().unwrap());
    let (_, key) = home.new_key("key");
    home.set("TOWER_CREDENTIALS_VAULT_KEY", key.to_base64().expose());
    for name in [
        "OPENAI_API_KEY",
        "ANOTHER_API_KEY",
        "OTHER_KEY",
        "TOWER_CREDENTIALS_GOOGLE_OAUTH_CLIENT_SECRET",
    ] {
        home.secret("planted");
        home.set(name, "planted");
    }
    home.set("KEPT", "as it is");
    home.run(["login", "openai"]).ok().says("Signed in");
    let environment = fs::read_to_string(home.path().join("env")).unwrap();
    home.check(&environment);
    assert!(environment.contains("KEPT=as it is") && environment.contains("HOME="), "{environment}");
    assert!(!environment.contains("TOWER_CREDENTIALS"), "{environment}");
    assert_eq!(fs::read_to_string(home.path().join("input")).unwrap(), "");
}

#[tokio::test]
async fn the_account_that_has_signed_in_is_shown() {
    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    let home = Home::new();
    home.settings(&server.settings(true));
    for (arguments, says) in [
        (&["login", "openai", "-l", "mine"][..], "alice@example.com"),
        (&["login", "openai", "-l", "mine", "--replace"], "alice@example.com"),
        (&["login", "openai"], "Signed in again: openai/mine"),
    ] {
        let mut child =
            home.command(arguments).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.lines().any(|line| line.starts_with("  ")) {
            assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
        }
        let page = said.lines().find(|line| line.starts_with("  ")).unwrap().trim().to_owned();
        assert!(browse(&page).await.body.contains("alice@example.com"));
        std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
        assert!(child.wait().unwrap().success() && said.contains(says), "{said}");
        assert!(said.contains("The account is alice@example.com"), "{said}");
    }
}

/// Linux tells of a process what it may leave behind.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_crash_leaves_no_core_and_no_other_process_looks_in() {
    const SOMEBODY: u32 = 65534;
    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    let home = Home::new();
    home.settings(&server.settings(true));
    let mut command = home.command(["login", "openai"]);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    // A process of root's belongs to root in any case.
    if fs::metadata(home.path()).unwrap().uid() == 0 {
        for path in [
            home.path().to_owned(),
            home.path().join(".config"),
            home.config_directory(),
            home.settings_file(),
        ] {
            std::os::unix::fs::chown(path, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
        }
        command.uid(SOMEBODY).gid(SOMEBODY);
    }
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    // It waits for the browser from here on.
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("Sign in"), "{line}");
    let process = format!("/proc/{}", child.id());
    let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().nth(4), Some("0"), "{cores}");
    assert_eq!(fs::metadata(format!("{process}/status")).unwrap().uid(), 0, "it is dumpable");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What a terminal would obey, or a person not see.
const ODD: &str = "\u{1b}]0;gotcha\u{7}\u{1b}[2J\u{9b}31m\u{202e}\u{ad}\u{e0041}\nerror: forged\r";

/// That none of it is left.
#[track_caller]
fn is_shown(text: &str) {
    let odd =
        |char: &char| ODD.contains(*char) && !char.is_ascii_alphanumeric() && !"\n [];:".contains(*char);
    let found: Vec<_> = text.chars().filter(odd).collect();
    assert!(found.is_empty(), "{found:?} in {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("error: forged")), "{text:?}");
    assert!(text.contains("gotcha") && text.contains('\u{fffd}'), "{text:?}");
}

#[tokio::test]
async fn names_of_files_move_no_cursor() {
    let home = Home::new();
    home.add("openai", "work", "sk-secret").await;
    let vault = home.vault_directory();
    // A record, a pool's log and something else, named by whoever may write there.
    let encoded: String = ODD.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for name in [
        format!("records/{ODD}.json"),
        format!("pools/openai+{ODD}.log"),
        format!("pools/openai+{encoded}.log"),
        ODD.to_owned(),
    ] {
        fs::write(vault.join(&name), "no record").unwrap();
        for colour in ["always", "never"] {
            for arguments in
                [&["list", "-vvv"][..], &["vault", "check", "-v"], &["show", "work"], &["test"]]
            {
                let run = home.run([arguments, &["--color", colour]].concat());
                for text in [&run.stdout, &run.stderr] {
                    if text.contains("gotcha") {
                        is_shown(
                            &text
                                .replace("\u{1b}[0m", "")
                                .replace("\u{1b}[1m", "")
                                .replace("\u{1b}[31m", "")
                                .replace("\u{1b}[33m", "")
                                .replace("\u{1b}[32m", ""),
                        );
                    }
                }
            }
        }
        let json = home.run(["vault", "check", "--json"]).stdout;
        assert!(!json.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\u{ad}', '\u{e0041}']), "{json:?}");
        serde_json::from_str::<serde_json::Value>(&json).unwrap();
        fs::remove_file(vault.join(&name)).unwrap();
    }
    let run = home.run(["list", "--vault", &format!("{ODD}/none")]);
    is_shown(&run.stderr);
    let run = home.run(["list", "--config", ODD]).code(3);
    is_shown(&run.stderr);
}

#[tokio::test]
async fn json_has_what_is_not_seen_in_escapes_and_unchanged() {
    let home = Home::new();
    let path = home.path().join("\u{202e}\u{e0041}\u{9b}");
    fs::create_dir(&path).unwrap();
    let vault = path.join("vault");
    let run = home.run(["vault", "path", "--json", "--vault", vault.to_str().unwrap()]).ok();
    assert!(run.stdout.contains("\\u202e\\udb40\\udc41\\u009b"), "{run:?}");
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let text = json.to_string();
    assert!(text.contains("\u{202e}\u{e0041}\u{9b}"), "{text:?}");
}

#[tokio::test]
async fn a_label_that_an_older_version_took_is_listed_and_can_be_renamed() {
    let home = Home::new();
    let stored = home.add("openai", "heart", "sk-secret").await;
    let record = home.vault_directory().join(format!("records/{}.json", stored.id));
    let text = fs::read_to_string(&record).unwrap().replace("heart", "\u{2764}\u{fe0f}");
    fs::write(&record, text).unwrap();
    home.run(["list"]).ok().prints("\u{2764}\u{fffd}");
    home.run(["rename", &stored.id.to_string(), "heart"]).ok();
    home.run(["list"]).ok().prints("heart");
}

/// Only root can use what is somebody else's.
#[tokio::test]
async fn root_is_told_whose_the_vault_is() {
    const SOMEBODY: u32 = 65534;
    let home = Home::new();
    home.add("openai", "work", "sk-secret").await;
    if fs::metadata(home.path()).unwrap().uid() != 0 {
        return;
    }
    home.run(["vault", "check"]).ok();
    std::os::unix::fs::chown(home.vault_directory(), Some(SOMEBODY), None).unwrap();
    home.run(["list"]).ok().says("belongs to user 65534");
    std::os::unix::fs::chown(home.key_file(), Some(SOMEBODY), None).unwrap();
    home.run(["list"]).code(5).says("belongs to user 65534, who is neither you nor").says("chown 0 ");
    home.run(["vault", "check"]).code(5).says("65534");
}
