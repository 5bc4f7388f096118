//! A key file that holds no key makes room for another, and is kept.
#![cfg(feature = "cli")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use crate::cli::{Home, end_of};

/// A home whose key file was cut off, and a copy of the key.
async fn damaged() -> (Home, PathBuf) {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    let backup = home.path().join("backup.key");
    home.run(["vault", "export", "--output", backup.to_str().unwrap()]).ok();
    fs::write(home.key_file(), "cut off").unwrap();
    (home, backup)
}

fn kept(home: &Home, number: u32) -> PathBuf {
    home.config_directory().join(format!("vault.key.damaged-{number}"))
}

#[tokio::test]
async fn a_key_is_imported_in_place_of_a_damaged_file_which_is_kept() {
    let (home, backup) = damaged().await;
    let import = ["vault", "import", "--file", backup.to_str().unwrap()];
    home.run(import).code(2).says("holds no key").says("--yes");
    assert_eq!(fs::read_to_string(home.key_file()).unwrap(), "cut off");
    let run = home.run([&import[..], &["--yes"]].concat()).ok();
    run.says(&format!("The damaged key file is kept in {}\n", kept(&home, 1).display()));
    assert_eq!(fs::read_to_string(kept(&home, 1)).unwrap(), "cut off");
    assert_eq!(fs::metadata(home.key_file()).unwrap().permissions().mode() & 0o777, 0o600);
    home.run(["list"]).ok().prints("work");
    // An empty one is no key, either, and nothing that is kept is overwritten.
    fs::write(home.key_file(), "").unwrap();
    let mut terminal = home.terminal(import);
    terminal.exp_string("[y/N] ").unwrap();
    terminal.send_line("y").unwrap();
    let (shown, code) = end_of(terminal);
    assert_eq!(code, 0, "{shown}");
    assert_eq!(fs::read_to_string(kept(&home, 1)).unwrap(), "cut off");
    assert_eq!(fs::read_to_string(kept(&home, 2)).unwrap(), "");
    home.run(["vault", "check"]).ok();
}

#[tokio::test]
async fn a_vault_is_begun_again_in_spite_of_a_damaged_key_file() {
    let (home, backup) = damaged().await;
    home.run(["vault", "init"]).code(5).says("it holds no key").says("credentials vault import --file");
    home.run(["vault", "init", "--force"]).code(2).says("--yes");
    let run = home.run(["vault", "init", "--force", "--yes"]).ok();
    let run = run.says(&format!("The damaged key file is kept in {}\n", kept(&home, 1).display()));
    let (_, old) = run.stderr.split_once("The vault is kept in ").unwrap();
    let old = old.lines().next().unwrap();
    home.run(["list"]).ok().says("There are no accounts");
    // The way back.
    home.run(["--vault", old, "--key-file", backup.to_str().unwrap(), "list"]).ok().prints("work");
}

#[tokio::test]
async fn without_a_vault_a_damaged_key_file_is_in_the_way_only_until_a_person_says_so() {
    let home = Home::new();
    fs::create_dir_all(home.config_directory()).unwrap();
    fs::write(home.key_file(), "cut off").unwrap();
    fs::set_permissions(home.key_file(), fs::Permissions::from_mode(0o600)).unwrap();
    home.run(["vault", "init"]).code(5).says("holds no key").says("--force");
    home.run(["vault", "init", "--force", "--yes"]).ok().says("Made the vault");
    assert_eq!(fs::read_to_string(kept(&home, 1)).unwrap(), "cut off");
}

#[tokio::test]
async fn a_directory_or_link_in_place_of_the_key_stays_and_the_command_that_moves_it_is_named() {
    let (home, backup) = damaged().await;
    let key = home.key_file();
    let move_away = format!("try: mv {0} {0}.away\n", key.display());
    let import = ["vault", "import", "--yes", "--file", backup.to_str().unwrap()];
    for is_link in [false, true] {
        match is_link {
            true => symlink(&backup, &key).unwrap(),
            false => {
                fs::remove_file(&key).unwrap();
                fs::create_dir(&key).unwrap();
            }
        }
        home.run(import).code(5).says(&move_away);
        home.run(["vault", "init", "--force", "--yes"]).code(5).says(&move_away);
        // One problem, with one thing to do, which is no import.
        let run = home.run(["vault", "check"]).code(5);
        assert_eq!(run.stdout.matches("try: ").count(), 1, "{run:#?}");
        assert!(!run.stdout.contains("vault import"), "{run:#?}");
        if !is_link {
            fs::remove_dir(&key).unwrap();
        }
    }
    fs::rename(&key, home.path().join("link")).unwrap();
    home.run(import).ok();
}

#[tokio::test]
async fn an_unrelated_key_is_not_put_beside_the_previous_one_of_an_unfinished_change() {
    let (home, backup) = damaged().await;
    let previous = home.config_directory().join("vault.key.old");
    fs::copy(&backup, &previous).unwrap();
    let (other, _) = home.new_key("other.key");
    let other = ["vault", "import", "--force", "--yes", "--file", other.to_str().unwrap()];
    for command in [&other[..], &["vault", "init", "--force", "--yes"]] {
        home.run(command).code(5).says("was not finished").says(previous.to_str().unwrap());
        assert_eq!(fs::read_to_string(home.key_file()).unwrap(), "cut off");
    }
    home.run(["vault", "import", "--yes", "--file", previous.to_str().unwrap()]).ok();
    home.run(["list"]).ok().prints("work");
}
