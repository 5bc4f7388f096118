//! Where the vault's key comes from: a place that is named is the only one that is asked.
#![cfg(feature = "cli")]

use std::fs;

use tower_credentials::vault::key::VaultKey;

use crate::cli::Home;
use crate::cli::vault::{key_id, mode, opened, places, with_accounts};

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
