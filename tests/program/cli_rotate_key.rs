//! `credentials vault rotate-key`: every account gets sealed with another key, even if the program is killed, and whoever
//! else uses the vault.
#![cfg(all(feature = "cli", unix))]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::{FileKey, KeyServiceExt, Keys, VaultKey};
use tower_credentials::{CredentialId, PoolKey};

use crate::cli::{Home, Run, end_of, until};

const LABELS: [&str; 5] = ["a", "b", "c", "d", "e"];

async fn with_accounts() -> (Home, VaultKey) {
    let home = Home::new();
    for label in LABELS {
        home.add("openai", label, &format!("sk-secret-{label}")).await;
    }
    let key = FileKey::new(home.key_file()).load().await.unwrap().unwrap();
    home.secret(key.to_base64().expose());
    (home, key)
}

fn pool() -> PoolKey {
    PoolKey::new("openai")
}

async fn keys(home: &Home) -> Keys {
    FileKey::new(home.key_file()).load_keys().await.unwrap().unwrap()
}

/// Which key has sealed each record, by the records' names in the order of their directory.
fn sealed_with(home: &Home) -> Vec<(CredentialId, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(home.vault_directory().join("records")).unwrap() {
        let path = entry.unwrap().path();
        let Some(id) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()) else { continue };
        // One that is being replaced is there at any moment.
        let json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        all.push((id, json["secret"]["key_id"].as_str().unwrap().to_owned()));
    }
    all
}

/// Every account opens with these keys, and has the secret that it had.
async fn assert_all_open(home: &Home, keys: &Keys) {
    let vault = FileVault::builder(home.vault_directory()).open_with(keys).await.unwrap();
    let listed = vault.list().await.unwrap();
    assert!(listed.damaged.is_empty(), "{:?}", listed.damaged);
    assert_eq!(listed.credentials.len(), LABELS.len());
    for metadata in listed.credentials {
        let stored = vault.get(&metadata.pool, metadata.id).await.unwrap();
        assert_eq!(stored.secret.token().expose(), format!("sk-secret-{}", metadata.label));
    }
}

fn start(home: &Home, arguments: &[&str]) -> Child {
    let mut command = home.command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn end(home: &Home, child: Child) -> Run {
    let run = Run::of(child.wait_with_output().unwrap());
    home.check(&run.stderr);
    home.check(&run.stdout);
    run
}

#[tokio::test]
async fn every_account_is_sealed_anew_and_the_old_key_kept_for_backups() {
    let (home, old) = with_accounts().await;
    let run = home.run(["vault", "rotate-key"]).ok();
    let new = keys(&home).await;
    assert_ne!(new.current.id(), old.id());
    assert!(new.previous.is_none());
    let run = run.says(&format!("5 accounts are sealed with the key {} now", new.current.id()));
    let kept = home.config_directory().join(format!("vault.key.{}", old.id()));
    let run = run.says(&format!("{} no longer opens anything", old.id())).says(kept.to_str().unwrap());
    assert!(!run.stderr.contains('\r') && !run.stderr.contains('█'), "no bar in a pipe: {run:?}");
    assert_eq!(FileKey::new(&kept).load().await.unwrap().unwrap().id(), old.id());
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(sealed_with(&home).iter().all(|(_, key)| *key == new.current.id().to_string()));
    assert_all_open(&home, &new).await;
    home.run(["vault", "check"]).ok();
    // And once more, in a terminal.
    let (shown, code) = end_of(home.terminal(["vault", "rotate-key"]));
    assert_eq!(code, 0, "{shown}");
    home.check(&shown);
    assert!(shown.contains("5/5 accounts"), "{shown}");
    assert_all_open(&home, &keys(&home).await).await;
}

#[tokio::test]
async fn in_the_middle_of_a_change_the_new_key_is_exported_with_a_warning() {
    let (home, old) = with_accounts().await;
    let rotation = FileKey::new(home.key_file()).rotate().await.unwrap();
    let new = rotation.keys().current.clone();
    // As if the process was killed before a record is sealed again.
    drop(rotation);
    let run = home.run_showing(["vault", "export"], "").ok();
    assert_eq!(run.stdout.trim(), new.to_base64().expose());
    run.says("is being replaced").says(&old.id().to_string()).says("credentials vault rotate-key");
}

#[tokio::test]
async fn an_account_that_is_restored_from_before_is_sealed_with_the_present_key() {
    let (home, old) = with_accounts().await;
    let records = home.vault_directory().join("records");
    let record = fs::read_dir(&records).unwrap().next().unwrap().unwrap().path();
    let backup = fs::read(&record).unwrap();
    home.run(["vault", "rotate-key"]).ok();
    let after = keys(&home).await;
    fs::write(&record, &backup).unwrap();
    let check = home.run(["vault", "check"]).code(5);
    check
        .prints(&format!("sealed with the key {}, which this vault has given up", old.id()))
        .prints("try: credentials vault check --fix --restored\n       if you have restored it\n");
    // Nobody has said where it comes from, and whoever has the old key may have made it.
    home.run(["vault", "check", "--fix"]).code(5).prints("--fix --restored");
    assert_eq!(fs::read(&record).unwrap(), backup);
    home.run(["list"]).code(5).says("which this vault has given up");
    home.run(["vault", "check", "--restored"]).code(2).says("--fix");
    let fixed = home.run(["vault", "check", "--fix", "--restored"]).ok();
    fixed.says(&format!("Sealed with the key {}: 1 account (", after.current.id()));
    assert_all_open(&home, &after).await;
    home.run(["vault", "check"]).ok();
    // Without the old key nothing can be done.
    fs::write(&record, backup).unwrap();
    let mut kept = home.key_file().into_os_string();
    kept.push(format!(".{}", old.id()));
    let aside = home.path().join("aside.key");
    fs::rename(&kept, &aside).unwrap();
    home.run(["vault", "check", "--fix", "--restored"]).code(5).prints("has given up");
    // Nor with it, once it is revoked.
    fs::rename(&aside, &kept).unwrap();
    let old = old.id().to_string();
    home.run(["vault", "revoke-key", &old]).ok().says("is revoked").says(kept.to_str().unwrap());
    let check = home.run(["vault", "check", "--fix", "--restored"]).code(5);
    check.prints(&format!("sealed with the key {old}, which was revoked"));
    assert!(!fs::read_to_string(&record).unwrap().contains(&after.current.id().to_string()));
    let own = after.current.id().to_string();
    home.run(["vault", "revoke-key", &own]).code(5).says("rotate-key");
    home.run(["vault", "revoke-key", "no-key"]).code(2).says("16 lower-case hexadecimal digits");
}

#[tokio::test]
async fn a_rotation_that_is_killed_at_any_record_is_continued_and_loses_nothing() {
    for stop in 0..LABELS.len() {
        let (home, old) = with_accounts().await;
        let order: Vec<_> = sealed_with(&home).into_iter().map(|(id, _)| id).collect();
        // It waits for this record's lease, as for somebody who refreshes it.
        let lease = home.vault().await.lease_refresh(&pool(), order[stop]).await.unwrap();
        let mut child = start(&home, &["vault", "rotate-key"]);
        let marker = home.vault_directory().join("key.json");
        until("it has come to the record", || {
            let json: Value = serde_json::from_slice(&fs::read(&marker).unwrap()).unwrap();
            let has_begun = json["key_id"] != old.id().to_string().as_str();
            let sealed: BTreeMap<_, _> = sealed_with(&home).into_iter().collect();
            let is_there = order[..stop].iter().all(|id| sealed[id] != old.id().to_string());
            (has_begun && is_there).then_some(())
        });
        assert!(child.try_wait().unwrap().is_none(), "it waits");
        let meanwhile = keys(&home).await;
        assert_eq!(meanwhile.previous.as_ref().map(VaultKey::id), Some(old.id()));
        // Somebody else uses the vault.
        home.run(["list"]).ok();
        let headers = home.run_showing(["headers", "openai/a"], "").ok().stdout;
        assert!(headers.contains("sk-secret-a"));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        drop(lease);

        let left = sealed_with(&home);
        assert!(
            left.iter().any(|(_, key)| *key == old.id().to_string()),
            "it was killed before the end"
        );
        assert_all_open(&home, &keys(&home).await).await;
        assert_eq!(keys(&home).await.current.id(), meanwhile.current.id());
        home.run(["vault", "check"]).code(5).prints("credentials vault rotate-key");
        let run = home.run(["vault", "rotate-key"]).ok();
        run.says("Continuing").says(&meanwhile.current.id().to_string());
        let after = keys(&home).await;
        assert_eq!(after.current.id(), meanwhile.current.id(), "no third key");
        assert!(after.previous.is_none());
        assert!(sealed_with(&home).iter().all(|(_, key)| *key == after.current.id().to_string()));
        assert_all_open(&home, &after).await;
        home.run(["vault", "check"]).ok();
    }
}

#[tokio::test]
async fn of_two_rotations_at_once_one_fails_and_names_the_other() {
    let (home, _) = with_accounts().await;
    let id = sealed_with(&home)[0].0;
    let lease = home.vault().await.lease_refresh(&pool(), id).await.unwrap();
    let first = start(&home, &["vault", "rotate-key"]);
    let old = home.config_directory().join("vault.key.old");
    until("it has begun", || old.exists().then_some(()));
    let process = first.id();
    home.run(["vault", "rotate-key"])
        .code(5)
        .says("vault.key.lock")
        .says(&format!("is locked by the process {process}; try again when it is done"));
    drop(lease);
    end(&home, first).ok();
    assert_all_open(&home, &keys(&home).await).await;
}

#[tokio::test]
async fn an_account_that_is_added_meanwhile_is_sealed_with_the_new_key() {
    let (home, old) = with_accounts().await;
    let id = sealed_with(&home)[0].0;
    let lease = home.vault().await.lease_refresh(&pool(), id).await.unwrap();
    let child = start(&home, &["vault", "rotate-key"]);
    let old_file = home.config_directory().join("vault.key.old");
    until("it has begun", || old_file.exists().then_some(()));
    home.run_with(["login", "anthropic", "--api-key"], "sk-secret-new").ok();
    drop(lease);
    end(&home, child).ok();
    assert!(sealed_with(&home).iter().all(|(_, key)| *key != old.id().to_string()));
    assert_eq!(sealed_with(&home).len(), LABELS.len() + 1);
    home.run(["vault", "check"]).ok();
}

#[tokio::test]
async fn a_change_of_the_key_beside_logins_and_lists_ends_and_loses_nothing() {
    let (home, _) = with_accounts().await;
    let rounds = if crate::thorough::is_thorough() { 60 } else { 6 };
    std::thread::scope(|scope| {
        let logins = scope.spawn(|| {
            for round in 0..rounds {
                let (label, key) = (format!("l{round}"), format!("sk-secret-l{round}"));
                home.run_with(["login", "openai", "--api-key", "--label", &label], &key).ok();
                home.run(["list"]).ok();
            }
        });
        let mut changes = 0;
        while !logins.is_finished() || changes < 2 {
            home.run(["vault", "rotate-key"]).ok();
            changes += 1;
        }
    });
    let vault = home.vault().await;
    let listed = vault.list().await.unwrap().credentials;
    assert_eq!(listed.len(), LABELS.len() + rounds);
    for metadata in listed {
        let stored = vault.get(&metadata.pool, metadata.id).await.unwrap();
        assert_eq!(stored.secret.token().expose(), format!("sk-secret-{}", metadata.label));
    }
}

#[tokio::test]
async fn headers_and_tests_work_while_the_key_changes_and_say_nothing_about_keys() {
    let (home, _) = with_accounts().await;
    // Nobody listens there.
    home.settings("[providers.openai]\nmodels_url = \"http://127.0.0.1:1/models\"\n");
    let rounds = if crate::thorough::is_thorough() { 40 } else { 5 };
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            for _ in 0..rounds {
                let run = home.run_showing(["headers", "openai/a"], "").ok();
                assert!(run.stdout.contains("sk-secret-a") && run.stderr.is_empty(), "{run:?}");
                for command in ["test", "models"] {
                    let run = home.run([command, "openai"]);
                    assert!(!run.stderr.contains("key") && !run.stdout.contains("key"), "{run:?}");
                    assert_ne!(run.code, Some(5), "{run:?}");
                }
            }
        });
        while !asking.is_finished() {
            home.run(["vault", "rotate-key"]).ok();
        }
    });
}

#[tokio::test]
async fn as_long_as_a_record_does_not_open_both_keys_are_kept() {
    let (home, old) = with_accounts().await;
    let path = home.vault_directory().join(format!("records/{}.json", sealed_with(&home)[0].0));
    let whole = fs::read(&path).unwrap();
    fs::write(&path, "{").unwrap();
    let run = home.run(["vault", "rotate-key"]).code(5).says(path.to_str().unwrap());
    run.says(&format!("the key {} is kept", old.id())).says("credentials vault check");
    assert_eq!(keys(&home).await.previous.unwrap().id(), old.id());
    fs::write(&path, whole).unwrap();
    home.run(["vault", "rotate-key"]).ok().says("Continuing");
    assert_all_open(&home, &keys(&home).await).await;
}

#[tokio::test]
async fn a_key_of_the_environment_is_exchanged_for_one_that_is_given() {
    let (mut home, old) = with_accounts().await;
    fs::remove_file(home.key_file()).unwrap();
    home.set("TOWER_CREDENTIALS_VAULT_KEY", old.to_base64().expose());
    home.run(["vault", "rotate-key"]).code(2).says("--new-key-file").says("openssl rand");
    let (path, new) = home.new_key("new.key");
    let arguments = ["vault", "rotate-key", "--new-key-file", path.to_str().unwrap()];

    // Killed on its way, both keys are needed, and the same command goes on.
    let order: Vec<_> = sealed_with(&home).into_iter().map(|(id, _)| id).collect();
    let vault = FileVault::open(home.vault_directory(), &old).await.unwrap();
    let lease = vault.lease_refresh(&pool(), order[2]).await.unwrap();
    let mut child = start(&home, &arguments);
    until("two are sealed anew", || {
        let sealed = sealed_with(&home);
        (sealed.iter().filter(|(_, key)| *key == new.id().to_string()).count() == 2).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    drop(lease);
    assert_all_open(&home, &Keys::new(new.clone()).previous(old.clone())).await;

    let run = home.run(arguments).ok().says(&format!("sealed with the key {}", new.id()));
    run.says("Now let the variable TOWER_CREDENTIALS_VAULT_KEY give the new key");
    home.run(["list"]).code(5).says(&old.id().to_string());
    home.set("TOWER_CREDENTIALS_VAULT_KEY", new.to_base64().expose());
    home.run(["list"]).ok();
    assert_all_open(&home, &Keys::new(new.clone())).await;
    home.run(arguments).code(2).says("gives already");
    assert!(!home.key_file().exists(), "no key file was made");
}

#[tokio::test]
async fn a_key_of_a_command_is_exchanged_for_one_from_standard_input() {
    let (home, old) = with_accounts().await;
    let path = home.path().join("elsewhere.key");
    fs::rename(home.key_file(), &path).unwrap();
    let command = format!("cat '{}'", path.display());
    let new = VaultKey::generate();
    home.secret(new.to_base64().expose());
    let arguments = ["--key-command", &command, "vault", "rotate-key", "--new-key-stdin"];
    home.run_with(arguments, "no key").code(2);
    assert_all_open(&home, &Keys::new(old)).await;
    let run = home.run_with(arguments, new.to_base64().expose()).ok();
    run.says("Now let the command cat give the new key");
    fs::write(&path, new.to_base64().expose()).unwrap();
    home.run(["--key-command", &command, "list"]).ok();
    assert_all_open(&home, &Keys::new(new)).await;
}

#[tokio::test]
async fn a_key_that_is_made_where_it_is_kept_is_not_given() {
    let (home, old) = with_accounts().await;
    let (path, _) = home.new_key("new.key");
    home.run(["vault", "rotate-key", "--new-key-file", path.to_str().unwrap()])
        .code(2)
        .says(home.key_file().to_str().unwrap());
    assert_eq!(keys(&home).await.current.id(), old.id());
    Home::new().run(["vault", "rotate-key"]).code(3).says("credentials vault init");
}

#[tokio::test]
async fn a_key_that_another_vault_has_too_is_not_changed_for_one_of_them() {
    let (home, old) = with_accounts().await;
    let other = ["--vault", "other"];
    home.run_with([&other[..], &["login", "openai", "--api-key"]].concat(), "sk-secret-o").ok();
    let run = home.run([&other[..], &["vault", "rotate-key"]].concat()).code(5);
    run.says(home.vault_directory().to_str().unwrap()).says("--key-file");
    assert_eq!(keys(&home).await.current.id(), old.id());
    // The way out.
    home.run(["vault", "export", "--output", "other.key"]).ok();
    let own = ["--vault", "other", "--key-file", "other.key", "vault", "rotate-key"];
    home.run(own).ok();
    home.run(["--vault", "other", "--key-file", "other.key", "list"]).ok().prints("openai");
    assert_all_open(&home, &keys(&home).await).await;
    // The usual vault's change leaves the old key for whoever has it, too.
    home.run(["vault", "rotate-key"]).ok();
    assert!(home.config_directory().join(format!("vault.key.{}", old.id())).is_file());
}

#[tokio::test]
async fn ctrl_c_ends_a_rotation_and_the_next_run_continues_it() {
    let (home, _) = with_accounts().await;
    let id = sealed_with(&home)[3].0;
    let lease = home.vault().await.lease_refresh(&pool(), id).await.unwrap();
    let mut terminal = home.terminal(["vault", "rotate-key"]);
    terminal.exp_string("3/5 accounts").unwrap();
    terminal.send_control('c').unwrap();
    let (shown, code) = end_of(terminal);
    assert_eq!(code, 130, "{shown}");
    drop(lease);
    home.run(["vault", "rotate-key"]).ok().says("Continuing");
    assert_all_open(&home, &keys(&home).await).await;
    let left = Path::new("vault.key.old");
    assert!(!home.config_directory().join(left).exists());
}
