//! The first vault: the program says once that it was made and where, and puts no key into it.
#![cfg(feature = "cli")]

use std::fs;
use std::os::unix::fs::symlink;

use tower_credentials::vault::key::VaultKey;

use crate::cli::Home;

#[test]
fn a_first_vault_is_announced_once_with_its_key_and_how_to_keep_it() {
    let home = Home::new();
    let run = home.run_with(["login", "openai", "--api-key"], "sk-secret-1").ok();
    assert_eq!(run.stdout, "");
    let (vault, key) = (home.vault_directory(), home.key_file());
    let made = format!("Made the vault {}; its key is in {}\n", vault.display(), key.display());
    run.says(&made).says("credentials vault export --output FILE").says("credentials backup FILE");
    for again in [["login", "openai", "--api-key"], ["login", "anthropic", "--api-key"]] {
        let run = home.run_with(again, "sk-secret-2").ok();
        assert!(!run.stderr.contains("Made the vault") && !run.stderr.contains("export"), "{run:?}");
    }
}

#[test]
fn a_key_that_comes_from_elsewhere_is_not_said_to_be_kept_here() {
    let home = Home::new().variable(VaultKey::VARIABLE, VaultKey::generate().to_base64().expose());
    let run = home.run_with(["login", "openai", "--api-key"], "sk-secret-1").ok();
    let run = run.says(&format!("its key comes from the variable {}\n", VaultKey::VARIABLE));
    assert!(!run.stderr.contains("vault export"), "{run:?}");
}

#[test]
fn no_vault_is_made_with_its_key_in_it() {
    let home = Home::new();
    let vault = home.vault_directory();
    let inside = vault.join("keys/vault.key");
    let inside = inside.to_str().unwrap();
    fs::create_dir(home.path().join(".local")).unwrap();
    symlink(home.path().join(".local"), home.path().join("link")).unwrap();
    let refused = |home: &Home, more: &[&str]| {
        for command in [&["login", "openai", "--api-key"][..], &["vault", "init"], &["config", "check"]]
        {
            let run = home.run_with(more.iter().chain(command), "sk-secret-1").code(2);
            run.says("is in the vault's directory").says("try: --key-file FILE, with a file elsewhere");
        }
        assert!(!vault.exists() && !home.key_file().exists());
    };
    refused(&home, &["--key-file", inside]);
    refused(&home, &["--key-file", "link/share/tower-credentials/other/../vault/vault.key"]);
    let named = Home::new().variable("TOWER_CREDENTIALS_KEY_FILE", "vault/k");
    refused(&named, &["--vault", "vault"]);
    home.settings(&format!("[vault]\nkey_file = {inside:?}\n"));
    refused(&home, &[]);
    // Beside it, under a name that begins alike, it is fine.
    let beside = format!("{}.key", vault.display());
    home.run_with(["--key-file", &beside, "login", "openai", "--api-key"], "sk-secret-1").ok();
}

#[tokio::test]
async fn a_vault_that_has_its_key_in_it_goes_on_and_that_is_warned_of() {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    let inside = home.vault_directory().join("vault.key");
    fs::rename(home.key_file(), &inside).unwrap();
    let inside = inside.to_str().unwrap();
    let warning = format!("warning: the key file {inside} is in the vault's directory");
    for command in ["list", "status", "config"] {
        let more = if command == "config" { &["check"][..] } else { &[] };
        let arguments = ["--key-file", inside, command];
        let run = home
            .run(arguments.iter().chain(more))
            .ok()
            .says(&warning)
            .says("key_file in the table [vault]");
        assert_eq!(run.stderr.matches("warning:").count(), 1, "{run:?}");
    }
    home.run_with(["--key-file", inside, "login", "openai", "--api-key"], "sk-secret-2").ok();
    // Renamed with the vault, the key would be lost to whoever looks for it.
    let run = home.run(["--key-file", inside, "vault", "init", "--force", "--yes"]).code(2);
    run.says("would be moved with it");
    home.run(["--key-file", inside, "list"]).ok().prints("work");
}
