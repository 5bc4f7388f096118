//! `credentials vault init`, `export` and `import`: a key is made once, never lost, and never another one by mistake.
#![cfg(feature = "cli")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tower_credentials::vault::VaultExt;

use crate::cli::vault::{key_id, mode, opened, with_accounts};
use crate::cli::{self, Home, end_of};

#[test]
fn init_makes_a_key_and_a_vault_once() {
    let home = Home::new();
    home.run(["vault", "init"]).ok().says("Made the vault").says("credentials vault export");
    let id = key_id(&home.key_file());
    assert_eq!(mode(&home.key_file()), 0o600);
    assert!(home.vault_directory().join("records").is_dir());
    let before = fs::read(home.key_file()).unwrap();
    let again = home.run(["vault", "init"]).code(1).says(&id).says("0 accounts");
    again.says("credentials vault rotate-key");
    assert_eq!(fs::read(home.key_file()).unwrap(), before);
    home.run_with(["login", "openai", "--api-key"], "sk-secret-1").ok();
    assert_eq!(key_id(&home.key_file()), id, "a sign-in takes the key that is there");
    // A key without a vault is one that somebody has brought.
    fs::remove_dir_all(home.vault_directory()).unwrap();
    home.run(["vault", "init"]).code(1).says(&id).says("credentials login");
}

#[tokio::test]
async fn no_vault_is_made_among_other_files_and_none_are_moved() {
    let home = Home::new();
    let work = home.path().join("work");
    fs::create_dir(&work).unwrap();
    fs::write(work.join("thesis.txt"), "mine").unwrap();
    let names = |directory: &Path| {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    for command in
        [&["vault", "init"][..], &["vault", "init", "--force"], &["login", "openai", "--api-key"]]
    {
        let run = home.run_with([&["--vault", "work"], command].concat(), "sk-secret-1").code(2);
        run.says("work is not a vault, and it has other files in it").says("--vault DIR");
        assert_eq!(names(&work), ["thesis.txt"]);
        assert!(!home.key_file().exists());
    }
    fs::remove_file(work.join("thesis.txt")).unwrap();
    home.run(["--vault", "work", "vault", "init"]).ok();
    for other in ["thesis.txt", "pictures"] {
        match other {
            "pictures" => fs::create_dir(work.join(other)).unwrap(),
            _ => fs::write(work.join(other), "mine").unwrap(),
        }
        let before = names(home.path());
        home.run(["--vault", "work", "vault", "init", "--force", "--yes"]).code(1).says(other);
        assert_eq!(names(home.path()), before);
        home.run(["--vault", "work", "list"]).ok();
        let _ = fs::remove_file(work.join(other));
    }
}

#[tokio::test]
async fn init_by_force_asks_and_keeps_both_the_key_and_the_vault() {
    let home = with_accounts().await;
    let old = key_id(&home.key_file());
    let refused = home.run(["vault", "init", "--force"]).code(2);
    refused.says("2 accounts (anthropic, openai)").says("--yes");

    let mut terminal = home.terminal(["vault", "init", "--force"]);
    terminal.exp_string("opens none of the vault's 2 accounts (anthropic, openai)").unwrap();
    terminal.exp_string("[y/N] ").unwrap();
    terminal.send_line("n").unwrap();
    let (shown, code) = end_of(terminal);
    assert!(code == 1 && shown.contains("nothing was done"), "{shown}");
    assert_eq!(key_id(&home.key_file()), old);
    assert_eq!(opened(&home, &[]), ["spare", "work"]);

    let mut terminal = home.terminal(["vault", "init", "--force"]);
    terminal.exp_string("[y/N] ").unwrap();
    terminal.send_line("y").unwrap();
    let (shown, code) = end_of(terminal);
    assert_eq!(code, 0, "{shown}");
    home.check(&shown);
    let new = key_id(&home.key_file());
    assert_ne!(new, old);
    assert_eq!(opened(&home, &[]), [""; 0]);
    let kept_key = home.config_directory().join(format!("vault.key.{old}"));
    let kept_vault = home.vault_directory().with_extension(&old);
    for kept in [&kept_key, &kept_vault] {
        assert!(shown.contains(&kept.display().to_string()), "{shown}");
    }
    // The way back.
    let back = ["--vault", kept_vault.to_str().unwrap(), "--key-file", kept_key.to_str().unwrap()];
    assert_eq!(opened(&home, &back), ["spare", "work"]);

    // If nothing would be lost, there is no question.
    home.run(["vault", "init", "--force"]).ok().says(&new);
    assert!(home.vault_directory().with_extension(&new).is_dir());
}

#[tokio::test]
async fn export_writes_the_key_that_opens_the_vault() {
    let home = with_accounts().await;
    let key = fs::read_to_string(home.key_file()).unwrap();
    let run = home.run_showing(["vault", "export"], "").ok();
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), (key.as_str(), ""));

    let file = home.path().join("backup.key");
    home.run(["vault", "export", "--output", "backup.key"]).ok().says(&key_id(&home.key_file()));
    assert_eq!(fs::read_to_string(&file).unwrap(), key);
    assert_eq!(mode(&file), 0o600);
    fs::write(&file, "something else").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    home.run(["vault", "export", "-o", "backup.key"]).code(1).says("is there already").says("--force");
    assert_eq!(fs::read_to_string(&file).unwrap(), "something else");
    home.run(["vault", "export", "-o", "backup.key", "--force"]).ok();
    assert_eq!((fs::read_to_string(&file).unwrap(), mode(&file)), (key.clone(), 0o600));
    home.run(["vault", "export", "-o", "no/such/place"]).code(1).says("no/such/place");
    let names = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_str().unwrap().ends_with(".tmp")), "nothing is left");

    for within in ["vault.key", "key.json", "records/k"] {
        let within = home.vault_directory().join(within);
        let run = home.run(["vault", "export", "--force", "-o", within.to_str().unwrap()]);
        run.code(2).says("is in the vault that the key opens");
    }
    assert_eq!(opened(&home, &[]), ["spare", "work"]);

    let (shown, code) = end_of(home.terminal(["vault", "export"]));
    assert_eq!(code, 0);
    assert!(shown.contains("warning:") && shown.contains(key.trim()), "{shown}");
    Home::new().run(["vault", "export"]).code(3).says("credentials vault import");

    // A backup of a key that opens nothing would be found out when it is needed.
    let (_, foreign) = home.new_key("foreign.key");
    fs::copy(home.path().join("foreign.key"), home.key_file()).unwrap();
    let run = home.run(["vault", "export", "-o", "another.key"]).code(5);
    run.says(&foreign.id().to_string()).says("is not the vault's").says("credentials vault import");
    assert!(!home.path().join("another.key").exists());
}

/// Every file and directory of one directory in another.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[tokio::test]
async fn an_exported_key_opens_the_old_records_on_another_machine() {
    let old = with_accounts().await;
    let key = old.run_showing(["vault", "export"], "").ok().stdout;
    let new = Home::new();
    new.secret(key.trim());
    copy(&old.vault_directory(), &new.vault_directory());
    new.run(["list"]).code(5).says("is missing").says("credentials vault import");
    new.run_with(["vault", "import", "--key-stdin"], &key).ok().says(&key_id(&old.key_file()));
    assert_eq!(mode(&new.key_file()), 0o600);
    assert_eq!(opened(&new, &[]), ["spare", "work"]);
    // Before the vault is there, too; and from a file.
    let before = Home::new();
    fs::write(before.path().join("k"), &key).unwrap();
    before.run(["vault", "import", "k"]).code(2).says("credentials vault import --file k");
    before.run(["vault", "import", "--file", "k"]).ok().says("other users may read");
    copy(&old.vault_directory(), &before.vault_directory());
    assert_eq!(opened(&before, &[]), ["spare", "work"]);
}

#[tokio::test]
async fn a_vault_whose_key_is_missing_never_gets_another() {
    let home = with_accounts().await;
    let key = fs::read(home.key_file()).unwrap();
    fs::remove_file(home.key_file()).unwrap();
    let key_path = home.key_file().display().to_string();
    for command in [
        &["list"][..],
        &["show", "openai"],
        &["headers", "openai"],
        &["logout", "openai", "--yes"],
        &["vault", "rotate-key"],
        &["vault", "check"],
    ] {
        let run = home.run(command).code(5).says("is missing").says("credentials vault import");
        run.says(&key_path).says("TOWER_CREDENTIALS_VAULT_KEY");
    }
    home.run_with(["login", "openai", "--api-key"], "sk-secret-3").code(5).says("is missing");
    home.run(["vault", "init"]).code(5).says("credentials vault import").says("--force");
    assert!(!home.key_file().exists());
    fs::write(home.key_file(), key).unwrap();
    fs::set_permissions(home.key_file(), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(opened(&home, &[]), ["spare", "work"]);
}

#[tokio::test]
async fn a_key_that_does_not_open_the_vault_is_refused() {
    let home = with_accounts().await;
    let old = key_id(&home.key_file());
    let (_, other) = home.new_key("other.key");
    let other = other.id().to_string();
    let refused = home.run(["vault", "import", "--file", "other.key", "--yes"]).code(5);
    refused.says(&old).says(&other).says("--force");
    assert_eq!(key_id(&home.key_file()), old);

    let unasked = home.run(["vault", "import", "--file", "other.key", "--force"]).code(2);
    unasked.says(&format!("another key, {old}, which alone opens 2 accounts (anthropic, openai)"));
    let mut terminal = home.terminal(["vault", "import", "--file", "other.key", "--force"]);
    terminal.exp_string("2 accounts").unwrap();
    terminal.exp_string("[y/N] ").unwrap();
    terminal.send_line("").unwrap();
    assert_eq!(end_of(terminal).1, 1);
    assert_eq!(key_id(&home.key_file()), old);

    let kept = home.config_directory().join(format!("vault.key.{old}"));
    let forced = home.run(["vault", "import", "--file", "other.key", "--force", "--yes"]).ok();
    forced.says(&other).says(&kept.display().to_string());
    assert_eq!(key_id(&home.key_file()), other);
    home.run(["list"]).code(5).says(&old).says(&other);
    // The way back: the right key is taken, though another one is there.
    home.run(["vault", "import", "--file", kept.to_str().unwrap(), "--yes"]).ok();
    assert_eq!(opened(&home, &[]), ["spare", "work"]);
    home.run(["vault", "import", "--file", kept.to_str().unwrap()]).ok().says("already");
}

#[tokio::test]
async fn an_empty_vault_takes_another_key() {
    let home = Home::new();
    home.run(["vault", "init"]).ok();
    let old = key_id(&home.key_file());
    let (_, key) = home.new_key("other.key");
    home.run(["vault", "import", "--file", "other.key"]).code(2).says("opens nothing in this vault");
    home.run(["vault", "import", "--file", "other.key", "--yes"]).ok().says(&format!("vault.key.{old}"));
    assert_eq!(key_id(&home.key_file()), key.id().to_string());
    home.run_with(["login", "openai", "--api-key"], "sk-secret-1").ok();
    home.run(["vault", "check"]).ok();
    assert_eq!(opened(&home, &[]), ["default"]);
}

#[tokio::test]
async fn a_key_is_asked_for_without_being_shown() {
    let home = with_accounts().await;
    let key = fs::read_to_string(home.key_file()).unwrap();
    fs::remove_file(home.key_file()).unwrap();
    let mut terminal = home.terminal(["vault", "import"]);
    terminal.exp_string("key: ").unwrap();
    terminal.send_line(key.trim()).unwrap();
    let (shown, code) = end_of(terminal);
    assert_eq!(code, 0, "{shown}");
    home.check(&shown);
    assert_eq!(opened(&home, &[]), ["spare", "work"]);
}

#[tokio::test]
async fn what_is_no_key_is_refused_and_not_repeated() {
    let home = Home::new();
    home.secret("sk-secret-typed");
    for input in ["", "sk-secret-typed", "c2stc2VjcmV0LXR5cGVk"] {
        home.run_with(["vault", "import", "--key-stdin"], input).code(2);
    }
    home.run(["vault", "import", "sk-secret-typed"]).code(2);
    home.run(["vault", "import", "--key", "sk-secret-typed"]).code(2);
    home.run(["vault", "rotate-key", "--new-key-stdin", "sk-secret-typed"]).code(2);
    home.run(["vault", "import", "--file", "none"]).code(3).says("none");
    fs::write(home.path().join("k"), "sk-secret-typed").unwrap();
    home.run(["vault", "import", "--file", "k"]).code(2).says("k is not a key");
    home.run(["vault", "import", "--file", "k", "--key-stdin"]).code(2);
    assert!(!home.config_directory().exists());
}

#[tokio::test]
async fn two_programs_at_once_make_one_key() {
    let home = Home::new();
    let start = |number: usize| {
        let label = format!("l{number}");
        let arguments = ["login", "openai", "--api-key", "--label", &label].map(str::to_owned);
        let mut command = home.command(arguments);
        command.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(
            &mut child.stdin.take().unwrap(),
            format!("sk-secret-{number}").as_bytes(),
        )
        .unwrap();
        child
    };
    let children: Vec<_> = (0..8).map(start).collect();
    for child in children {
        let run = cli::Run::of(child.wait_with_output().unwrap());
        home.check(&run.stderr);
        run.ok();
    }
    assert_eq!(opened(&home, &[]).len(), 8);
    assert_eq!(home.vault().await.list().await.unwrap().credentials.len(), 8);
}
