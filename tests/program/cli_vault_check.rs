//! `credentials vault check`: what is wrong is named, and what is safe is mended.
#![cfg(feature = "cli")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::cli::Home;
use crate::cli::vault::{key_id, mode, opened, with_accounts};

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
