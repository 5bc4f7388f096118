//! `credentials backup` and `restore`: all accounts in one sealed file.
#![cfg(feature = "cli")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tower_credentials::vault::VaultExt;
use tower_credentials::{Metadata, OAuthTokens, PoolKey};

use crate::cli::{Home, end_of};

const PASSPHRASE: &str = "correct horse battery";

/// A home with accounts of two providers, one of them paused.
async fn home() -> Home {
    let home = Home::new();
    home.secret(PASSPHRASE);
    home.add("openai", "first", "sk-secret-1").await;
    home.add("openai", "second", "sk-secret-2").await;
    let tokens = OAuthTokens::new("at-secret-3").refresh("rt-secret-3");
    home.add_to(PoolKey::with_namespace("anthropic", "team"), "person@example.com", tokens).await;
    home.run(["activate", "openai/second"]).ok();
    home.run(["pause", "openai/first"]).ok();
    home
}

/// What of the list does not depend on the time.
fn accounts(home: &Home) -> Vec<(String, String, String, String, String)> {
    let listed = home.run(["list", "--json"]).ok().json();
    let text = |account: &serde_json::Value, name: &str| account[name].as_str().unwrap().to_owned();
    let one = |account: &serde_json::Value| {
        let text = |name: &str| text(account, name);
        (text("id"), text("provider"), text("label"), text("state"), text("created_at"))
    };
    listed.as_array().unwrap().iter().map(one).collect()
}

#[tokio::test]
async fn all_accounts_come_back_with_their_order_their_labels_and_what_is_paused() {
    let home = home().await;
    let file = home.path().join("accounts.backup");
    let path = file.to_str().unwrap();
    let run = home.run_with(["backup", path], PASSPHRASE).ok().says("Wrote 3 accounts to");
    assert_eq!(run.stdout, "");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    home.check(&text);
    assert!(!text.contains("person@example.com") && !text.contains("openai"), "{text}");
    home.run_with(["backup", path], PASSPHRASE).code(1).says("is there already").says("--force");
    home.run_with(["backup", path, "--force"], PASSPHRASE).ok();

    let other = Home::new();
    for secret in [PASSPHRASE, "sk-secret-1", "sk-secret-2", "at-secret-3", "rt-secret-3"] {
        other.secret(secret);
    }
    let run = other.run_with(["restore", path, "--dry-run"], PASSPHRASE).ok();
    assert_eq!(run.stdout, "anthropic/team/person@example.com\nopenai/second\nopenai/first\n");
    assert!(!other.vault_directory().exists(), "a vault was made");
    let run = other.run_with(["restore", path], PASSPHRASE).ok().says("The backup is of ");
    assert!(run.stdout.contains("openai/second: restored\nopenai/first: restored\n"), "{run:#?}");
    assert_eq!(accounts(&other), accounts(&home));
    let stored = other.vault().await.load_pool(PoolKey::new("openai")).await.unwrap().credentials;
    assert_eq!(stored[1].secret.token().expose(), "sk-secret-1");
    // Again, nothing changes.
    let json = other.run_with(["restore", path, "--json"], PASSPHRASE).ok().json();
    assert_eq!((&json[2]["action"], &json[2]["label"]), (&json!("unchanged"), &json!("first")));
    assert_eq!(accounts(&other), accounts(&home));
}

#[tokio::test]
async fn nothing_that_is_there_is_overwritten() {
    let home = home().await;
    home.run_with(["backup", "b"], PASSPHRASE).ok();
    home.run_with(["login", "openai", "--api-key", "--label", "first", "--replace"], "sk-secret-new")
        .ok();
    home.secret("sk-secret-new");
    home.run(["logout", "openai/second", "--yes"]).ok();
    let run = home.run_with(["restore", "b"], PASSPHRASE).code(1);
    let run = run
        .says("the vault keeps another secret for 1 account")
        .says("try: credentials logout openai/first\n       then restore again\n");
    assert!(run.stdout.contains("openai/second: restored\nopenai/first: kept\n"), "{run:#?}");
    let stored = home.vault().await.load_pool(PoolKey::new("openai")).await.unwrap().credentials;
    let keys: Vec<_> = stored.iter().map(|stored| stored.secret.token().expose()).collect();
    assert_eq!(keys, ["sk-secret-new", "sk-secret-2"]);
    // A label that is taken by another account gets a number.
    let other = Home::new();
    other.secret(PASSPHRASE);
    other.add("openai", "first", "sk-secret-9").await;
    let path = home.path().join("b");
    other.run_with(["restore", path.to_str().unwrap()], PASSPHRASE).ok();
    let labels: Vec<_> = accounts(&other).into_iter().map(|account| account.2).collect();
    assert_eq!(labels, ["person@example.com", "first", "second", "first-2"]);
    // An account that the vault has under another id is there already.
    let other = Home::new();
    other.secret(PASSPHRASE);
    other.add("openai", "mine", "sk-secret-2").await;
    let json = other.run_with(["restore", path.to_str().unwrap(), "--json"], PASSPHRASE).ok().json();
    assert_eq!((&json[1]["label"], &json[1]["action"]), (&json!("mine"), &json!("unchanged")));
}

#[tokio::test]
async fn a_recovery_key_opens_it_in_place_of_a_passphrase() {
    let home = home().await;
    let run = home.run_showing(["backup", "b", "--recovery-key"], "").ok();
    let key = run.stdout.trim();
    assert_eq!(key.len(), 44, "{run:#?}");
    assert!(!run.stderr.contains(key), "{run:#?}");
    let path = home.path().join("b");
    let path = path.to_str().unwrap();
    let other = Home::new();
    other.run_with(["restore", path], key).ok();
    assert_eq!(accounts(&other), accounts(&home));
    let wrong = tower_credentials::vault::key::VaultKey::generate().to_base64();
    other.run_with(["restore", path], wrong.expose()).code(5).says("is sealed with the key ");
    other
        .run_with(["restore", path], PASSPHRASE)
        .code(2)
        .says("is not a recovery key")
        .says("backup --recovery-key");
}

#[tokio::test]
async fn a_backup_that_does_not_open_is_named_and_changes_nothing() {
    let home = home().await;
    let path = home.path().join("b");
    home.run_with(["backup", "b"], PASSPHRASE).ok();
    let other = Home::new();
    let file = path.to_str().unwrap();
    other
        .run_with(["restore", file], "wrong passphrase")
        .code(5)
        .says("/b does not open: the passphrase is another one");
    let text = fs::read_to_string(&path).unwrap();
    for (changed, code, says) in [
        (text.replace("\"created_at\": 1", "\"created_at\": 2"), 5, "the file was changed"),
        (text.replace("\"lanes\": 4", "\"lanes\": 1"), 5, "the file was changed"),
        (
            text.replace("\"memory_kib\": 65536", "\"memory_kib\": 4194304"),
            2,
            "in a way that is not known",
        ),
        (text.replace("backup\": 1", "backup\": 9"), 2, "use a newer one"),
        (text[..text.len() / 2].to_owned(), 2, "or it is cut off"),
        ("{}".to_owned(), 2, "is no backup"),
    ] {
        assert_ne!(changed, text);
        let file = home.path().join("changed");
        fs::write(&file, changed).unwrap();
        other.run_with(["restore", file.to_str().unwrap()], PASSPHRASE).code(code).says(says);
    }
    other.run_with(["restore", "nowhere"], PASSPHRASE).code(3).says("nowhere");
    assert!(!other.vault_directory().exists() && !other.key_file().exists());
    // Nor is one made that is of no use.
    home.run_with(["backup", "c"], "short").code(2).says("at least 8 characters");
    home.run_with(["backup", "c"], "").code(2).says("no passphrase was given");
    let inside = home.vault_directory().join("c");
    home.run_with(["backup", inside.to_str().unwrap()], PASSPHRASE)
        .code(2)
        .says("is in the vault that is backed up");
    assert!(!home.path().join("c").exists());
    other.run_with(["backup", "c"], PASSPHRASE).code(3);
}

#[tokio::test]
async fn a_passphrase_is_asked_for_twice_and_not_shown() {
    let home = home().await;
    for (again, code) in [("correct horse batteries", 2), (PASSPHRASE, 0)] {
        let mut terminal = home.terminal(["backup", "b"]);
        terminal.exp_string("passphrase: ").unwrap();
        terminal.send_line(PASSPHRASE).unwrap();
        terminal.exp_string("passphrase again: ").unwrap();
        terminal.send_line(again).unwrap();
        let (shown, ended) = end_of(terminal);
        assert_eq!(ended, code, "{shown}");
        home.check(&shown);
        assert_eq!(home.path().join("b").exists(), code == 0);
    }
}

#[tokio::test]
async fn a_damaged_account_is_named_and_the_rest_is_backed_up() {
    let home = home().await;
    let listed = accounts(&home);
    let record = home.vault_directory().join(format!("records/{}.json", listed[0].0));
    fs::write(&record, "{").unwrap();
    home.run_with(["backup", "b"], PASSPHRASE)
        .code(5)
        .says("Wrote 2 accounts")
        .says(record.to_str().unwrap());
}

#[tokio::test]
async fn the_key_alone_is_no_backup_and_that_is_said() {
    let home = home().await;
    let run = home.run(["vault", "export", "--output", "key"]).ok().says("This is only the key");
    run.says("credentials backup FILE").says(home.vault_directory().to_str().unwrap());
}

#[tokio::test]
async fn a_provider_that_the_settings_lack_is_named_when_its_accounts_are_restored() {
    let home = home().await;
    home.settings("[providers.acme]\ntype = \"generic\"\norigins = [\"https://api.acme.example\"]\n");
    home.add("acme", "work", "sk-secret-4").await;
    home.run_with(["backup", "b"], PASSPHRASE).ok();
    let path = home.path().join("b");
    let path = path.to_str().unwrap();
    let other = Home::new();
    let settings = other.settings_file();
    let said =
        format!("Nothing uses these until {} has a provider of that name: acme\n", settings.display());
    for arguments in
        [&["restore", path, "--dry-run"][..], &["restore", path], &["restore", path, "--json"]]
    {
        other.run_with(arguments, PASSPHRASE).ok().says(&said);
    }
    other.settings(&fs::read_to_string(home.settings_file()).unwrap());
    let run = other.run_with(["restore", path], PASSPHRASE).ok();
    assert!(!run.stderr.contains("Nothing uses"), "{run:#?}");
}

#[tokio::test]
async fn a_damaged_record_of_the_vault_is_called_damaged_and_restored_after_its_removal() {
    let home = Home::new();
    home.secret(PASSPHRASE);
    let unreadable = home.add("openai", "unreadable", "sk-secret-1").await;
    let shut = home.add("openai", "shut", "sk-secret-2").await;
    home.add("openai", "good", "sk-secret-3").await;
    home.run(["tier", "openai/good", "--to", "0"]).ok();
    home.run_with(["backup", "b"], PASSPHRASE).ok();
    damage(&home, &shut);
    let file = home.vault_directory().join(format!("records/{}.json", unreadable.id));
    fs::write(&file, "{").unwrap();
    let run = home.run_with(["restore", "b"], PASSPHRASE).code(5);
    let run = run.prints("openai/shut: damaged\n").prints("openai/unreadable: damaged\n");
    let run = run.prints("openai/good: unchanged\n");
    let run = run.says("the vault's records of 2 accounts are damaged, and were left as they are");
    assert!(!run.stderr.contains("another secret"), "{run:#?}");
    for account in [&unreadable, &shut] {
        let json = home.run_with(["restore", "b", "--json"], PASSPHRASE).code(5);
        json.says(&format!(
            "  try: credentials logout {} --yes\n       then restore again\n",
            account.id
        ));
        home.run(["logout", &account.id.to_string(), "--yes"]).ok();
        let run = home.run_with(["restore", "b"], PASSPHRASE);
        run.prints(&format!("openai/{}: restored\n", account.label));
    }
    let tier = home.run(["show", "openai/good", "--json"]).ok().json();
    assert_eq!(tier["tier"], 0);
    home.run(["vault", "check"]).ok();
}

/// Changes a character of what is sealed.
fn damage(home: &Home, account: &Metadata) {
    let path = home.vault_directory().join(format!("records/{}.json", account.id));
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let sealed = record["secret"]["ciphertext"].as_str().unwrap().to_owned();
    let first = if sealed.starts_with('A') { "B" } else { "A" };
    record["secret"]["ciphertext"] = format!("{first}{}", &sealed[1..]).into();
    fs::write(&path, record.to_string()).unwrap();
}
