//! `credentials vault …` and where the vault's key comes from: made once, never lost, never another one by mistake.
#![cfg(feature = "cli")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::key::VaultKey;

use crate::cli::{self, Home, end_of};

/// The id of the key in a file.
fn key_id(path: &Path) -> String {
    VaultKey::from_base64(&fs::read_to_string(path).unwrap()).unwrap().id().to_string()
}

/// A home with two accounts.
async fn with_accounts() -> Home {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    home.add("anthropic", "spare", "sk-secret-2").await;
    home.secret(fs::read_to_string(home.key_file()).unwrap().trim());
    home
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What the program says of where everything is.
fn places(home: &Home, arguments: &[&str]) -> Value {
    home.run([arguments, &["vault", "path", "--json"]].concat()).ok().json()
}

/// The labels of all accounts, by what a request with each would carry: they open.
fn opened(home: &Home, arguments: &[&str]) -> Vec<String> {
    let list = home.run([arguments, &["list", "--json"]].concat()).ok().json();
    let mut labels = Vec::new();
    for account in list.as_array().unwrap() {
        let id = account["id"].as_str().unwrap();
        let shown = home.run_showing([arguments, &["headers", id, "--json"]].concat(), "");
        assert!(shown.ok().stdout.contains("sk-secret-"), "it does not open: {account}");
        labels.push(account["label"].as_str().unwrap().to_owned());
    }
    labels.sort();
    labels
}

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

    // Where nothing would be lost, nobody is asked.
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
async fn the_key_comes_from_a_flag_before_the_environment_before_the_settings() {
    let mut home = Home::new();
    let [flag, variable, setting] = ["flag.key", "variable.key", "setting.key"].map(|name| {
        let (path, key) = home.new_key(name);
        (path.display().to_string(), key.id().to_string())
    });
    let place = |home: &Home, arguments: &[&str]| {
        let shown = places(home, arguments);
        (shown["key_source"].as_str().unwrap().to_owned(), shown["key_id"].as_str().map(str::to_owned))
    };
    let default = ("file".to_owned(), None);
    assert_eq!(place(&home, &[]), default);
    home.settings(&format!("[vault]\nkey_file = {:?}", setting.0));
    assert_eq!(place(&home, &[]), ("file".to_owned(), Some(setting.1)));
    home.set("TOWER_CREDENTIALS_KEY_COMMAND", format!("cat '{}'", variable.0));
    assert_eq!(place(&home, &[]), ("command".to_owned(), Some(variable.1)));
    assert_eq!(place(&home, &["--key-file", &flag.0]), ("file".to_owned(), Some(flag.1.clone())));
    let command = format!("cat {}", flag.0);
    assert_eq!(place(&home, &["--key-command", &command]), ("command".to_owned(), Some(flag.1)));
    home.set("TOWER_CREDENTIALS_KEY_COMMAND", "");
    let in_variable = VaultKey::generate();
    home.secret(in_variable.to_base64().expose());
    home.set("TOWER_CREDENTIALS_VAULT_KEY", in_variable.to_base64().expose());
    assert_eq!(place(&home, &[]), ("variable".to_owned(), Some(in_variable.id().to_string())));

    home.run(["--key-file", "a", "--keyring", "list"]).code(2).says("--keyring").says("keep one");
    home.run(["--key-command", "a 'b", "list"]).code(2).says("--key-command");
    home.run(["--key-command", " ", "list"]).code(2).says("--key-command");
    home.set("TOWER_CREDENTIALS_KEY_FILE", "a");
    home.run(["list"]).code(2).says("TOWER_CREDENTIALS_KEY_FILE").says("TOWER_CREDENTIALS_VAULT_KEY");
    home.run(["--key-file", &setting.0, "vault", "path"]).ok();
    home.settings("[vault]\nkey_fiel = \"a\"");
    home.run(["list"]).code(2).says("line 2").says("`key_file`");
}

#[tokio::test]
async fn a_place_that_was_named_and_gives_no_key_is_an_error_whatever_else_there_is() {
    // The usual key file has the right key, and is not asked.
    let mut home = with_accounts().await;
    home.run(["--key-file", "none.key", "list"]).code(5).says("is missing").says("none.key");
    assert!(!home.path().join("none.key").exists(), "no key is made for a vault that has one");
    home.run(["--key-command", "false", "list"]).code(5).says("the command false has failed");
    home.run(["--key-command", "echo sk-secret-x", "list"]).code(5).says("the command echo has printed");
    home.run(["--key-command", "no-such-program", "list"]).code(5).says("no-such-program");
    let (other, key) = home.new_key("other.key");
    let wrong = home.run(["--key-file", other.to_str().unwrap(), "list"]).code(5);
    wrong.says(&key.id().to_string()).says(&key_id(&home.key_file()));
    home.set("TOWER_CREDENTIALS_VAULT_KEY", "");
    home.run(["list"]).code(5).says("TOWER_CREDENTIALS_VAULT_KEY");
    // A key that this program can't put anywhere.
    home.set("TOWER_CREDENTIALS_VAULT_KEY", key.to_base64().expose());
    home.run(["vault", "import", "--file", "other.key"]).code(2).says("TOWER_CREDENTIALS_VAULT_KEY");
    home.run(["vault", "init", "--force"]).code(2).says("--key-file");
}

#[tokio::test]
async fn a_vault_is_made_with_the_key_of_the_place_that_was_named() {
    let home = Home::new();
    let login = |arguments: &[&str], key: &str| {
        home.run_with([arguments, &["login", "openai", "--api-key"]].concat(), key).ok();
    };
    login(&["--vault", "a", "--key-file", "keys/a.key"], "sk-secret-1");
    assert_eq!(mode(&home.path().join("keys/a.key")), 0o600);
    assert_eq!(opened(&home, &["--vault", "a", "--key-file", "keys/a.key"]), ["default"]);
    let (path, key) = home.new_key("b.key");
    let command = format!("cat '{}'", path.display());
    login(&["--vault", "b", "--key-command", &command], "sk-secret-2");
    assert_eq!(opened(&home, &["--vault", "b", "--key-command", &command]), ["default"]);
    let run = home.run(["--vault", "c", "--key-command", &command, "vault", "init"]).ok();
    run.says(&key.id().to_string());
    assert!(!home.config_directory().exists(), "no key file was made");
    // A command that has no key yet makes none, and no vault.
    home.run_with(
        ["--vault", "d", "--key-command", "true", "login", "openai", "--api-key"],
        "sk-secret-3",
    )
    .code(5)
    .says("the command true has printed");
    assert!(!home.path().join("d").exists());
}

#[tokio::test]
async fn the_settings_name_the_vault_and_its_key() {
    let mut home = Home::new();
    home.settings("[vault]\ndirectory = \"../v\"\nkey_file = \"~/k\"");
    home.run_with(["login", "openai", "--api-key"], "sk-secret-1").ok();
    assert!(home.path().join(".config/v/records").is_dir() && home.path().join("k").is_file());
    assert_eq!(opened(&home, &[]), ["default"]);
    // What is named by hand goes before.
    assert_eq!(opened(&home, &["--vault", "elsewhere"]), [""; 0]);
    home.set("TOWER_CREDENTIALS_DIR", "elsewhere");
    assert_eq!(opened(&home, &[]), [""; 0]);
}

#[cfg(feature = "keyring")]
#[tokio::test]
async fn a_keyring_that_is_not_there_is_an_error_that_names_the_other_ways() {
    let mut home = with_accounts().await;
    home.set("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus");
    let run = home.run(["--keyring", "list"]).code(5).says("can't be reached");
    run.says("TOWER_CREDENTIALS_VAULT_KEY").says("key file").says("command");
    home.set("TOWER_CREDENTIALS_KEYRING", "1");
    home.run(["list"]).code(5).says("can't be reached");
    let shown = places(&home, &[]);
    assert_eq!((shown["key_source"].as_str(), shown["key_id"].as_str()), (Some("keyring"), None));
    assert_eq!(opened(&home, &["--key-file", home.key_file().to_str().unwrap()]), ["spare", "work"]);
}

#[tokio::test]
async fn path_tells_where_everything_is() {
    let home = with_accounts().await;
    let run = home.run(["vault", "path"]).ok();
    for path in [home.vault_directory(), home.key_file(), home.cache_directory()] {
        assert!(run.stdout.contains(path.to_str().unwrap()), "{run:?}");
    }
    let run = run.prints(&key_id(&home.key_file())).prints("config.toml (none yet)");
    assert!(!run.stdout.contains("vault (none yet)"), "{run:?}");
    let expected = serde_json::json!({
        "directory": home.vault_directory(),
        "exists": true,
        "key_source": "file",
        "key_place": home.key_file(),
        "key_id": key_id(&home.key_file()),
        "config": home.config_directory().join("config.toml"),
        "cache": home.cache_directory(),
    });
    assert_eq!(places(&home, &[]), expected);
    let empty = Home::new();
    empty.run(["vault", "path"]).ok().prints("vault (none yet)").prints("vault.key (none yet)");
    assert_eq!(places(&empty, &[])["exists"], false);
    assert!(empty.path().read_dir().unwrap().next().is_none(), "something was made");
    // What is wrong with the key does not keep it from telling.
    fs::write(home.key_file(), "x").unwrap();
    home.run(["vault", "path"])
        .ok()
        .says("does not hold a key")
        .says("credentials vault import --file BACKUP")
        .says("credentials vault init --force")
        .prints(home.key_file().to_str().unwrap());
}

#[tokio::test]
async fn check_tells_what_is_wrong_and_mends_what_is_safe() {
    let home = with_accounts().await;
    home.run(["vault", "check"]).ok().prints("accounts: 2; opened: 2; pools: 2");
    let record = fs::read_dir(home.vault_directory().join("records")).unwrap().next().unwrap();
    let record = record.unwrap().path();
    let name = record.display().to_string();
    fs::set_permissions(&record, fs::Permissions::from_mode(0o644)).unwrap();
    let run = home.run(["vault", "check"]).code(5).prints("warning:").prints(&name);
    run.prints("credentials vault check --fix").says("the vault has 1 problem");
    let json = home.run(["vault", "check", "--json"]).code(5).json();
    assert_eq!(json["findings"][0]["kind"], "open_to_others");
    assert_eq!(json["findings"][0]["path"], name.as_str());
    assert_eq!(mode(&record), 0o644, "nothing was changed");
    home.run(["vault", "check", "--fix"]).ok().prints("fixed:").prints(&name);
    assert_eq!(mode(&record), 0o600);
    home.run(["vault", "check"]).ok();

    let whole = fs::read(&record).unwrap();
    fs::write(&record, "sk-secret-1").unwrap();
    let run = home.run(["vault", "check", "--fix"]).code(5).prints("error:").prints(&name);
    run.prints("restore it from a backup").prints("accounts: 2; opened: 1");
    assert_eq!(fs::read(&record).unwrap(), b"sk-secret-1", "what is damaged is left as it is");
    fs::write(&record, whole).unwrap();
    assert_eq!(opened(&home, &[]), ["spare", "work"]);

    fs::set_permissions(home.key_file(), fs::Permissions::from_mode(0o644)).unwrap();
    home.run(["vault", "check"]).code(5).prints(home.key_file().to_str().unwrap());
    let run = home.run(["vault", "check", "--fix"]).code(5).prints("fixed:");
    run.says("no account was opened").says("credentials vault check");
    home.run(["vault", "check"]).ok();
    Home::new().run(["vault", "check"]).code(3).says("credentials vault init");
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

/// As Kubernetes mounts a secret: a link to a file that a group may read, neither of which can be changed there.
#[tokio::test]
async fn a_mounted_key_file_is_read_by_the_command_that_the_error_names() {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    let mount = home.path().join("it's a mount");
    let (link, file) = (mount.join("vault.key"), mount.join("..data/vault.key"));
    std::fs::create_dir_all(mount.join("..2026")).unwrap();
    std::os::unix::fs::symlink("..2026", mount.join("..data")).unwrap();
    std::fs::rename(home.key_file(), &file).unwrap();
    std::os::unix::fs::symlink("..data/vault.key", &link).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o440)).unwrap();
    for path in [&link, &file] {
        let refused = home.run(["list", "--key-file", path.to_str().unwrap()]).code(5);
        let (_, command) = refused.stderr.split_once("take the key from the command: ").unwrap();
        let command = command.lines().next().unwrap();
        home.run(["list", "--key-command", command]).ok().prints("work");
        let script = home.script("sh", command).output().unwrap();
        assert!(script.status.success() && script.stdout.len() == 45, "{command}");
    }
}

#[test]
fn accounts_in_an_older_format_are_sealed_in_the_present_one() {
    let home = Home::with_fixture("vault-v2");
    let run = home.run(["vault", "check"]);
    run.prints("6 records are in an older format").prints("try: credentials vault check --fix");
    home.run(["vault", "check", "--fix"]).ok().says("Sealed in the current format: 6 accounts");
    let report = home.run(["vault", "check", "--json"]).ok().json();
    assert_eq!((&report["older"], &report["opened"]), (&0.into(), &6.into()));
    assert_eq!(report["vault"].as_str().unwrap().len(), 32);
    home.run(["vault", "check", "--fix"]).ok();
}

#[test]
fn attributes_of_the_first_version_are_kept_or_dropped_as_a_person_says() {
    for (flag, attributes) in [("--keep-attributes", 2), ("--drop-attributes", 0)] {
        let home = Home::with_fixture("vault-v1");
        let key = key_id(&home.key_file());
        home.run(["list"]).ok();
        let run = home.run(["vault", "rotate-key"]).code(5).says("does not vouch for its attributes");
        run.says("(account, host)").says("--keep-attributes or --drop-attributes");
        assert_eq!(key_id(&home.key_file()), key, "nothing has begun");
        let run = home.run(["vault", "check", "--fix"]).ok().prints("(account, host)");
        run.says("Sealed in the current format: 3 accounts");
        home.run(["vault", "rotate-key", "--keep-attributes", "--drop-attributes"]).code(2);
        home.run(["vault", "rotate-key", flag]).ok().says("6 accounts are sealed with the key");
        let shown = home.run(["list", "--json"]).ok().json();
        let account = shown.as_array().unwrap().iter();
        let mut account = account.filter(|account| account["id"] == "1".repeat(32));
        let kept = account.next().unwrap()["attributes"].as_object().map_or(0, |kept| kept.len());
        assert_eq!(kept, attributes, "{flag}");
        let report = home.run(["vault", "check", "--json"]).ok().json();
        assert_eq!(report["older"], 0);
    }
}

#[tokio::test]
async fn a_wrong_key_is_named_with_the_place_that_it_comes_from() {
    let mut home = with_accounts().await;
    let (path, other) = home.new_key("other.key");
    let path = path.to_str().unwrap();
    let run = home.run(["list", "--key-file", path]).code(5).says(&other.id().to_string());
    run.says(&format!("the key comes from {path}"));
    home.set("TOWER_CREDENTIALS_VAULT_KEY", other.to_base64().expose());
    home.run(["list"]).code(5).says("TOWER_CREDENTIALS_VAULT_KEY\n");
}

#[tokio::test]
async fn a_suggested_command_is_about_the_vault_that_was_named() {
    let home = with_accounts().await;
    let (vault, key) = (home.vault_directory(), home.key_file());
    let flags = ["--vault", vault.to_str().unwrap(), "--key-file", key.to_str().unwrap()];
    home.run(["pause", "work"]).ok();
    let flagged = format!("try: credentials {} resume openai/work\n", flags.join(" "));
    home.run([&flags[..], &["status"]].concat()).code(6).prints(&flagged);
    let flagged = format!("try: credentials {} list\n", flags.join(" "));
    home.run([&flags[..], &["show", "other"]].concat()).code(3).says(&flagged);
    let login = "To add one: credentials --vault '/no where' login PROVIDER";
    home.run(["list", "--vault", "/no where"]).ok().says(login);
}
