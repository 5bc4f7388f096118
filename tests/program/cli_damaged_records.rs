//! A record that can't be read is named with the command that helps, and only with one that does.
#![cfg(feature = "cli")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::cli::Home;

/// A home with two accounts, and the id and the file of one.
async fn home() -> (Home, String, PathBuf) {
    let home = Home::new();
    let id = home.add("openai", "work", "sk-secret-1").await.id.to_string();
    home.add("openai", "spare", "sk-secret-2").await;
    let record = home.vault_directory().join(format!("records/{id}.json"));
    (home, id, record)
}

#[tokio::test]
async fn a_damaged_record_has_the_command_that_removes_it() {
    let (home, id, record) = home().await;
    fs::write(&record, "{").unwrap();
    let removal = format!("credentials logout {id} --yes\n");
    let warning = format!("warning: {}: not a file of this vault", record.display());
    home.run(["list"]).code(5).says(&warning).says(&removal);
    home.run(["status"]).code(5).prints(&removal);
    home.run(["vault", "check"]).code(5).prints(&removal);
    // The command is about the vault that was named.
    let vault = home.vault_directory();
    let flagged = format!(": credentials --vault {} logout {id} --yes\n", vault.display());
    home.run(["--vault", vault.to_str().unwrap(), "list"]).code(5).says(&flagged);
    home.run(["logout", &id, "--yes"]).ok();
    assert_eq!(home.run(["list"]).ok().stderr, "");
}

#[tokio::test]
async fn nothing_tells_to_remove_a_record_that_may_be_well() {
    let (home, _, record) = home().await;
    let whole = fs::read_to_string(&record).unwrap();
    // A newer version has written it.
    for version in ["\"version\": 1", "\"version\": 3"] {
        assert!(whole.contains(version), "{whole}");
        fs::write(&record, whole.replacen(version, "\"version\": 99", 1)).unwrap();
        let run = home.run(["list"]).code(5);
        assert!(!run.stderr.contains("logout"), "{run:#?}");
    }
    fs::write(&record, whole).unwrap();
    if !rustix::process::geteuid().is_root() {
        fs::set_permissions(&record, fs::Permissions::from_mode(0o000)).unwrap();
        let run = home.run(["list"]).code(5).says("make it yours to read");
        assert!(!run.stderr.contains("logout"), "{run:#?}");
    }
}

#[tokio::test]
async fn a_record_of_a_former_key_has_the_command_that_admits_it() {
    let (home, id, record) = home().await;
    let backup = fs::read(&record).unwrap();
    home.run(["vault", "rotate-key"]).ok();
    fs::write(&record, backup).unwrap();
    let restored = format!(
        "try: credentials vault check --fix --restored\n       if you have restored it; if not: credentials logout {id} --yes\n"
    );
    home.run(["list"]).code(5).says(&restored);
    home.run(["status"]).code(5).prints(&restored[5..]);
    home.run(["vault", "check", "--fix", "--restored"]).ok();
    assert_eq!(home.run(["list"]).ok().stderr, "");
}

#[tokio::test]
async fn a_damaged_key_json_is_made_again_and_says_how_to_replace_the_key() {
    let (home, ..) = home().await;
    let file = home.vault_directory().join("key.json");
    fs::write(&file, "{").unwrap();
    let run = home.run(["list"]).ok().says(": credentials vault rotate-key\n").prints("work");
    let lines: Vec<_> = run.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    let kept = home.vault_directory().join("key.damaged-1");
    let expected = [
        format!(
            "warning: {}: a damaged file is kept under another name, {}",
            file.display(),
            kept.display()
        ),
        format!("warning: {}: not a file of this vault", file.display()),
    ];
    assert_eq!(lines.len(), 2, "{run:#?}");
    assert!(lines.iter().zip(&expected).all(|(line, expected)| line.starts_with(expected)), "{run:#?}");
    home.run(["vault", "rotate-key"]).ok();
    home.run(["vault", "check"]).ok();
}

#[tokio::test]
async fn an_emptied_log_is_warned_of_and_begun_again() {
    let (home, ..) = home().await;
    home.run(["pause", "openai/spare"]).ok();
    let log = home.vault_directory().join("pools/openai+default.log");
    fs::write(&log, "").unwrap();
    let run =
        home.run(["vault", "check"]).code(5).prints(&format!("warning: {}: it is empty", log.display()));
    run.prints("order, tiers, pauses and cooldowns").prints("try: credentials vault check --fix\n");
    let json = home.run(["vault", "check", "--json"]).code(5).json();
    assert_eq!(
        (&json["findings"][0]["kind"], json["findings"].as_array().unwrap().len()),
        (&"log".into(), 1)
    );
    home.run(["vault", "check", "--fix"]).ok().prints("fixed: ");
    home.run(["vault", "check"]).ok();
}

#[tokio::test]
async fn a_record_that_is_gone_is_said_once() {
    let (home, id, record) = home().await;
    fs::remove_file(&record).unwrap();
    let run = home
        .run(["list"])
        .ok()
        .says(&format!("warning: {}: the record of \"work\" is gone", record.display()));
    assert_eq!(run.stderr.matches("is gone").count(), 1, "{run:#?}");
    assert!(run.stdout.contains("spare") && !run.stdout.contains(&id[..8]), "{run:#?}");
    assert_eq!(home.run(["list"]).ok().stderr, "");
    // Who removes an account knows it.
    assert!(!home.run(["logout", "openai/spare", "--yes"]).ok().stderr.contains("is gone"));
    assert!(!home.run(["list"]).ok().stderr.contains("is gone"));
}

#[tokio::test]
async fn the_damage_of_the_account_that_was_named_is_said_once() {
    let (home, _, record) = home().await;
    let whole = fs::read_to_string(&record).unwrap();
    fs::write(&record, whole.replacen("\"generation\": 1", "\"generation\": 2", 1)).unwrap();
    let run = home.run(["headers", "openai/work"]).code(5);
    assert_eq!(run.stderr.matches(record.to_str().unwrap()).count(), 1, "{run:#?}");
}
