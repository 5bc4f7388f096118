//! `credentials migrate`: other programs' accounts are copied into the vault.
#![cfg(feature = "cli")]

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tower_credentials::migrate::Source;
use tower_credentials::vault::VaultExt;

use crate::cli::{Home, Run, end_of};
use crate::legacy::{self, PLANTED, claude, fixture};

const NOON: u64 = 1_767_225_600_000;

/// A home in whose outputs no secret of a fixture's may be.
fn home() -> Home {
    let home = Home::new();
    home.secret(PLANTED);
    home
}

fn place(home: &Home, source: Source) -> PathBuf {
    source.place(home.path(), |_| None)
}

fn write(home: &Home, source: Source, text: impl AsRef<[u8]>) -> PathBuf {
    let path = place(home, source);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

/// The cells of a table, line by line.
fn cells(run: &Run) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.map(str::to_owned).collect()
    };
    run.stdout.lines().map(cells).collect()
}

/// Which records there are, as the program lists them.
fn records(home: &Home) -> Vec<String> {
    let listed = home.run(["list", "--json"]).ok().json();
    let text = |account: &Value, name: &str| account[name].as_str().unwrap().to_owned();
    let name = |account: &Value| format!("{}/{}", text(account, "provider"), text(account, "label"));
    listed.as_array().unwrap().iter().map(name).collect()
}

fn nothing_was_made(home: &Home) {
    assert!(!home.path().join(".local/share/tower-credentials").exists());
    assert!(!home.config_directory().exists());
}

#[test]
fn without_files_the_places_are_named_that_were_looked_at() {
    let home = home();
    let run = home.run(["migrate"]).code(3).says("there is no file to migrate");
    for source in Source::ALL {
        assert!(run.stderr.contains(&place(&home, source).display().to_string()), "{run:#?}");
    }
    home.run(["migrate", "--from", "qwen"]).code(3).says(".qwen/oauth_creds.json");
    home.run(["migrate", "missing.json"]).code(3).says("could not read missing.json");
    assert!(home.path().read_dir().unwrap().next().is_none());
}

#[test]
fn a_dry_run_tells_what_would_be_done_and_does_nothing() {
    let home = home();
    let path = write(&home, Source::Claude, fixture(Source::Claude));
    let run = home.run(["migrate", "--dry-run"]).ok();
    assert_eq!(
        cells(&run)[1..],
        [
            vec!["claude", "claudeAiOauth", "to add", "anthropic", "default", "claude", "oauth"],
            vec![
                "claude",
                "mcpOAuth.plugin:docs|800cb29a3ac61727",
                "to add",
                "mcp:plugin:docs",
                "default",
                "plugin:docs",
                "mcp"
            ],
        ]
    );
    nothing_was_made(&home);
    let json = home.run(["migrate", "--dry-run", "--json"]).ok().json();
    assert_eq!(json["dry_run"], true);
    assert_eq!(json["entries"][0]["action"], "add");
    assert_eq!(json["entries"][0]["id"], Value::Null);
    nothing_was_made(&home);
    assert_eq!(fs::read_to_string(path).unwrap(), fixture(Source::Claude));
    home.run(["migrate", "--dry-run", "--remove-old"]).code(2).says("--remove-old");
}

#[test]
fn every_programs_files_are_found_and_what_was_skipped_is_named() {
    let home = home();
    let paths = Source::ALL.map(|source| write(&home, source, fixture(source)));
    let run = home.run(["migrate"]).ok();
    let skipped = "line 25: skipped begun: has no tokens: its sign-in was never finished";
    assert!(run.stderr.contains(&format!("{}, {skipped}", paths[1].display())), "{run:#?}");
    assert!(run.stderr.contains("codex's tokens: kept: "), "{run:#?}");
    let what: Vec<_> = cells(&run).into_iter().skip(1).map(|cells| cells[2].clone()).collect();
    assert_eq!(what.iter().filter(|what| *what == "added").count(), 14);
    assert_eq!((what.len(), what.contains(&"kept".to_owned())), (15, true));
    let run =
        run.says("still in plain text").says("credentials migrate --remove-old").says("sign the other");
    for path in &paths {
        assert!(run.stderr.contains(&path.display().to_string()), "{run:#?}");
        assert!(path.exists());
    }
    let known = records(&home);
    assert_eq!(known.len(), 14);
    for record in
        ["anthropic/claude", "anthropic/opencode", "openai/default", "mcp:sentry/sentry", "qwen/qwen"]
    {
        assert!(known.contains(&record.to_owned()), "{known:?}");
    }

    let again = home.run(["migrate"]).ok();
    let what: Vec<_> = cells(&again).into_iter().skip(1).map(|cells| cells[2].clone()).collect();
    assert_eq!(what.iter().filter(|what| *what == "unchanged").count(), 14);
    assert!(!again.stderr.contains("sign the other"), "{again:#?}");
    assert_eq!(records(&home), known);
}

#[test]
fn json_has_every_entry_and_every_problem() {
    let home = home();
    let path = write(
        &home,
        Source::Opencode,
        format!(
            "{{\"a\": {{\"type\": \"api\", \"key\": \"{PLANTED}\"}},\n \"b\": {{\"type\": \"new\"}}}}"
        ),
    );
    let damaged = write(&home, Source::Qwen, "{\n  \"access_token\": \"pLaNtEd");
    let run = home.run(["migrate", "--json"]).code(1);
    let json = run.json();
    let id = json["entries"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        json["entries"],
        json!([{
            "from": "opencode", "file": path, "entry": "a", "action": "add", "provider": "a",
            "namespace": "default", "label": "default", "kind": "api", "id": id,
        }])
    );
    assert_eq!(
        json["skipped"],
        json!([{
            "file": path, "entry": "b", "line": 2,
            "reason": "`type` is none that this version knows",
        }])
    );
    assert_eq!(json["failed"].as_array().unwrap().len(), 1);
    assert_eq!(json["failed"][0]["file"], json!(damaged));
    assert!(json["failed"][0]["reason"].as_str().unwrap().contains("line 2, column"), "{json}");
    assert_eq!((&json["dry_run"], &json["removed"]), (&json!(false), &json!([])));
    // The text for a person is on standard error.
    assert!(run.stderr.contains("skipped b") && run.stderr.contains("oauth_creds.json"), "{run:#?}");
    home.run(["show", &id]).ok();
}

#[test]
fn a_file_that_is_named_is_known_by_what_is_in_it_or_by_its_program() {
    let home = home();
    let copy = |source: Source| {
        fs::write(home.path().join("copy.json"), fixture(source)).unwrap();
    };
    copy(Source::Codex);
    home.run(["migrate", "copy.json"]).ok().prints("codex").says("--remove-old copy.json\n");
    copy(Source::Gemini);
    home.run(["migrate", "copy.json"]).code(2).says("may be of gemini or qwen").says("--from");
    let run = home.run(["migrate", "copy.json", "--from", "gemini"]).ok().prints("google");
    run.says("credentials migrate --remove-old --from gemini copy.json\n");
    // Both of opencode's files are opencode's.
    copy(Source::OpencodeMcp);
    home.run(["migrate", "copy.json", "--from", "opencode"]).ok().prints("mcp:sentry");
    copy(Source::Opencode);
    home.run(["migrate", "copy.json", "--from", "opencode"]).ok().prints("cloudflare-ai-gateway");
    fs::write(home.path().join("copy.json"), "{}").unwrap();
    home.run(["migrate", "copy.json"]).code(2).says("like no file that is known");
    home.run(["migrate", "."]).code(2).says("no plain file");
    home.run(["migrate", "copy.json", "--from", "cursor"])
        .code(2)
        .says("possible values: opencode, codex");
}

#[test]
fn a_damaged_file_is_named_with_the_place_and_the_others_are_migrated() {
    let home = home();
    let text = fixture(Source::Codex);
    let damaged = write(&home, Source::Codex, &text[..text.len() / 2]);
    write(&home, Source::Claude, claude("a", NOON));
    let run = home.run(["migrate"]).code(1).prints("claude");
    assert!(
        run.stderr.contains(&format!("{}, line 5, column 35: it ends in the middle", damaged.display())),
        "{run:#?}"
    );
    assert_eq!(records(&home), ["anthropic/claude"]);
    // If it is named, there is nothing else to do.
    let run = home.run(["migrate", damaged.to_str().unwrap()]).code(1).says("error:");
    assert_eq!(run.stdout, "");
    // And with nothing else, no vault is made.
    let home = self::home();
    write(&home, Source::Codex, "");
    home.run(["migrate"]).code(1).says("it ends in the middle").says("nothing to import");
    nothing_was_made(&home);
}

#[test]
fn the_error_at_the_end_counts_the_files_that_were_not_read_and_not_removed() {
    let home = home();
    write(&home, Source::Claude, claude("a", NOON));
    write(&home, Source::Codex, "{");
    home.run(["migrate"]).code(1).says("error: 1 file was not read\n");
    write(&home, Source::Qwen, "{");
    home.run(["migrate"]).code(1).says("error: 2 files were not read\n");
    // Nothing here could renew the sign-in, so its file is kept.
    let run = home.run(["migrate", "--remove-old", "--yes"]).code(1);
    run.says("error: 2 files were not read; 1 file was not removed\n");
    assert!(place(&home, Source::Claude).exists());
}

#[test]
fn a_changed_file_updates_its_record_and_an_older_one_does_not() {
    let home = home();
    write(&home, Source::Claude, claude("a", NOON));
    home.run(["migrate"]).ok();
    home.run(["rename", "anthropic/claude", "mine"]).ok();
    write(&home, Source::Claude, claude("b", NOON + 1000));
    home.run(["migrate", "--dry-run"]).ok().prints("to update");
    let run = home.run(["migrate"]).ok();
    assert_eq!(cells(&run)[1][2..6], ["updated", "anthropic", "default", "mine"]);
    write(&home, Source::Claude, claude("c", NOON - 1000));
    let run = home.run(["migrate"]).ok().says("claude's claudeAiOauth: kept: its token ends earlier");
    assert_eq!(cells(&run)[1][2], "kept");
    assert_eq!(records(&home), ["anthropic/mine"]);
}

#[tokio::test]
async fn accounts_go_where_the_settings_say_and_are_used_from_there() {
    let home = home();
    home.settings("[providers.anthropic]\nnamespace = \"team\"\n");
    write(&home, Source::Claude, claude("a", 4_102_444_800_000));
    let run = home.run(["migrate"]).ok();
    assert_eq!(cells(&run)[1][3..], ["anthropic", "team", "claude", "oauth"]);
    let headers = home.run_showing(["headers", "claude"], "").ok();
    assert!(headers.stdout.contains("authorization: Bearer pLaNtEd-a-access"), "{headers:#?}");
    assert!(headers.stdout.contains("anthropic-beta: oauth-2025-04-20"), "{headers:#?}");
    let listed = home.vault().await.list().await.unwrap().credentials;
    assert_eq!(listed[0].attributes["migrated_from"], "claude");
    let json = home.run(["show", "claude", "--json"]).ok().json();
    assert_eq!(json["attributes"]["migrated_from"], "claude");
}

#[test]
fn a_programs_own_variable_leads_to_its_file() {
    let mut home = home();
    let directory = home.path().join("elsewhere");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("auth.json"), fixture(Source::Codex)).unwrap();
    home.set("CODEX_HOME", directory.to_str().unwrap());
    home.run(["migrate"]).ok().says("elsewhere/auth.json");
    assert_eq!(records(&home), ["openai/default", "openai/codex"]);
}

#[test]
fn old_files_are_removed_when_they_are_in_the_vault_and_no_others() {
    let home = home();
    // What renews the accounts from here on.
    home.settings(
        "[providers.anthropic.oauth]\nclient_id = \"mine\"\n\
         [providers.\"mcp:sentry\"]\ntype = \"generic\"\n\
         oauth = { client_id = \"mine\", token_url = \"https://mcp.sentry.example/token\" }\n",
    );
    let claude = write(&home, Source::Claude, claude("a", NOON));
    let mcp = write(&home, Source::OpencodeMcp, fixture(Source::OpencodeMcp));
    // There is nobody to ask.
    home.run(["migrate", "--remove-old"]).code(2).says("--yes").says(claude.to_str().unwrap());
    assert!(claude.exists() && mcp.exists());
    assert!(!home.vault_directory().exists() && !home.key_file().exists());

    let run = home.run(["migrate", "--remove-old", "--yes", "--json"]).code(1);
    let json = run.json();
    assert_eq!(json["removed"], json!([claude]));
    assert_eq!(json["failed"][0]["file"], json!(mcp));
    let run = run.says("Removed").says("is not removed: 1 of its parts were skipped");
    let run = run.says(&format!("still in plain text in\n  {}\n", mcp.display()));
    // What has just been tried is no advice.
    assert!(!run.stderr.contains("To remove"), "{run:#?}");
    assert!(!claude.exists() && mcp.exists());

    // What is mended goes, too; the accounts stay.
    let mut file = legacy::json(Source::OpencodeMcp);
    file.as_object_mut().unwrap().remove("begun");
    write(&home, Source::OpencodeMcp, file.to_string());
    let run = home.run(["migrate", "--remove-old", "--yes"]).ok();
    assert!(!run.stderr.contains("plain text"), "{run:#?}");
    assert!(!mcp.exists());
    assert_eq!(records(&home), ["anthropic/claude", "mcp:keyed/keyed", "mcp:sentry/sentry"]);
    home.run(["migrate"]).code(3);
}

#[test]
fn an_empty_file_is_not_said_to_hold_secrets() {
    let home = home();
    fs::write(home.path().join("e.json"), "{}").unwrap();
    let run = home.run(["migrate", "--from", "claude", "e.json"]).ok().says("nothing to import");
    assert!(!run.stderr.contains("plain text") && !run.stderr.contains("--remove-old"), "{run:#?}");
    nothing_was_made(&home);
    // One of which nothing was understood may.
    let file = json!({"a": {"type": "new", "key": PLANTED}});
    write(&home, Source::Opencode, file.to_string());
    home.run(["migrate"])
        .code(1)
        .says("skipped a")
        .says("still in plain text")
        .says("error: 1 entry was not imported");
}

#[test]
fn accounts_that_no_provider_uses_are_named_once_with_the_settings_file() {
    let home = home();
    for source in Source::ALL {
        write(&home, source, fixture(source));
    }
    let settings = home.config_directory().join("config.toml");
    for arguments in [&["migrate", "--dry-run"][..], &["migrate"]] {
        let run = home.run(arguments).ok();
        let told: Vec<_> = run.stderr.lines().filter(|line| line.starts_with("Nothing uses")).collect();
        let [told] = told[..] else { panic!("{run:#?}") };
        assert!(told.contains(settings.to_str().unwrap()), "{told}");
        assert!(told.contains(": ") && told.contains("mcp:sentry"), "{told}");
        assert!(!told.contains("anthropic") && !told.contains("openai"), "{told}");
        assert_eq!(told.matches("mcp:sentry").count(), 1, "{told}");
    }
    // What was told is not told again, nor what has a provider.
    let run = home.run(["migrate"]).ok();
    assert!(!run.stderr.contains("Nothing uses"), "{run:#?}");
    let home = self::home();
    write(&home, Source::Claude, claude("a", NOON));
    let run = home.run(["migrate"]).ok();
    assert!(!run.stderr.contains("Nothing uses"), "{run:#?}");
    assert_eq!(cells(&run)[0][2], "ACTION");
}

#[test]
fn a_person_is_asked_before_a_file_is_removed() {
    for (answer, code) in [("n", 1), ("", 1), ("y", 0)] {
        let home = home();
        home.settings("[providers.anthropic.oauth]\nclient_id = \"mine\"\n");
        let path = write(&home, Source::Claude, claude("a", NOON));
        let mut terminal = home.terminal(["migrate", "--remove-old"]);
        terminal.exp_string("will need a new sign-in. [y/N]").unwrap();
        terminal.send_line(answer).unwrap();
        let (shown, ended) = end_of(terminal);
        home.check(&shown);
        assert_eq!(ended, code, "{shown}");
        assert_eq!(path.exists(), code != 0);
        if code != 0 {
            assert!(shown.contains("nothing was done"), "{shown}");
            assert!(!home.vault_directory().exists() && !home.key_file().exists());
        }
    }
}

#[test]
fn programs_at_once_add_nothing_twice() {
    let home = home();
    for source in Source::ALL {
        write(&home, source, fixture(source));
    }
    let start = || {
        let mut command = home.command(["migrate", "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let programs: Vec<_> = (0..4).map(|_| start()).collect();
    let mut added = 0;
    for program in programs {
        let run = Run::of(program.wait_with_output().unwrap());
        home.check(&run.stdout);
        home.check(&run.stderr);
        let entries = run.json()["entries"].as_array().unwrap().clone();
        assert_eq!(entries.len(), 15);
        added += entries.iter().filter(|entry| entry["action"] == "add").count();
    }
    assert_eq!((added, records(&home).len()), (14, 14));
}

#[test]
fn a_vault_that_does_not_open_leaves_everything_as_it_is() {
    let home = home();
    let path = write(&home, Source::Claude, claude("a", NOON));
    home.run(["migrate"]).ok();
    fs::remove_file(home.key_file()).unwrap();
    home.run(["migrate"]).code(5).says("the key of the vault").says("credentials vault import");
    home.run(["migrate", "--remove-old", "--yes"]).code(5);
    assert!(path.exists());
}
