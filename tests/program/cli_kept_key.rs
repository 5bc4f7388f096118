//! A key that was replaced is kept beside the new one, and is named by whatever finds that the vault needs it.
#![cfg(feature = "cli")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::cli::Home;

/// A home whose vault was put back from before a change of its key, and the file of the key that opens it.
async fn put_back() -> (Home, PathBuf) {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    home.add("openai", "spare", "sk-secret-2").await;
    let id = home.run(["vault", "path", "--json"]).ok().json()["key_id"].as_str().unwrap().to_owned();
    let backup = home.path().join("backup");
    let copy = |from: &PathBuf, to: &PathBuf| {
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    };
    copy(&home.vault_directory(), &backup);
    home.run(["vault", "rotate-key"]).ok();
    fs::remove_dir_all(home.vault_directory()).unwrap();
    copy(&backup, &home.vault_directory());
    let kept = home.config_directory().join(format!("vault.key.{id}"));
    assert!(kept.exists());
    (home, kept)
}

#[tokio::test]
async fn a_vault_that_is_put_back_names_the_kept_key_that_opens_it() {
    let (home, kept) = put_back().await;
    let import = format!("try: credentials vault import --file {}\n", kept.display());
    home.run(["list"]).code(5).says(&import);
    home.run(["status"]).code(5).says(&import);
    home.run(["vault", "export"]).code(5).says(&import);
    let run = home.run(["vault", "check"]).code(5).prints(&import);
    // The records are as they should be: only the key is another one.
    assert!(!run.stdout.contains("--restored"), "{run:#?}");
    assert_eq!(run.stdout.matches("try: ").count(), 1, "{run:#?}");
    home.run(["vault", "import", "--file", kept.to_str().unwrap(), "--yes"]).ok();
    home.run(["vault", "check"]).ok().prints("accounts: 2; opened: 2");
}

#[tokio::test]
async fn a_missing_or_damaged_key_file_leads_to_the_kept_key_too() {
    let (home, kept) = put_back().await;
    let import = format!("credentials vault import --file {}\n", kept.display());
    fs::remove_file(home.key_file()).unwrap();
    home.run(["list"]).code(5).says("is missing").says(&import);
    let run = home.run(["vault", "check"]).code(5).prints(&import).says(&import);
    assert_eq!(run.stdout.matches("try: ").count(), 1, "{run:#?}");
    let (wrong, _) = home.new_key("wrong.key");
    fs::rename(wrong, home.key_file()).unwrap();
    fs::write(home.key_file(), "cut off").unwrap();
    home.run(["list"]).code(5).says("does not hold a key").says(&import);
    home.run(["vault", "check"]).code(5).prints(&import);
}

#[tokio::test]
async fn a_file_that_has_only_the_name_of_the_key_is_not_named() {
    let (home, kept) = put_back().await;
    fs::write(&kept, "no key").unwrap();
    let run = home.run(["list"]).code(5);
    assert!(!run.stderr.contains("import --file"), "{run:#?}");
    home.run(["vault", "check"]).code(5).prints("try: credentials vault import --file FILE\n");
}
