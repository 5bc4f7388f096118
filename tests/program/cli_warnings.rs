//! The library's warnings have the form of the program's own.
#![cfg(feature = "cli")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::cli::Home;

#[tokio::test]
async fn every_warning_has_one_form_and_details_need_the_verbose_flag() {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    let open = || {
        fs::set_permissions(home.vault_directory(), fs::Permissions::from_mode(0o755)).unwrap();
    };
    open();
    let run = home.run(["list"]).ok();
    let vault = home.vault_directory();
    let warning = format!(
        "warning: {}: others could touch a part of the vault; its mode is now 700\n",
        vault.display()
    );
    assert!(run.stderr.contains(&warning) && !run.stderr.contains("WARN"), "{run:?}");
    open();
    let run = home.run(["list", "-v"]).ok();
    assert!(run.stderr.contains(" WARN tower_credentials::vault"), "{run:?}");
}

#[tokio::test]
async fn a_variable_that_does_nothing_is_warned_of_on_one_line() {
    let home = Home::new().variable("TOWER_CREDENTIALS_NOBODY_KNOWS", "x");
    home.add("openai", "work", "sk-secret-1").await;
    let run = home.run(["list"]).ok();
    let lines: Vec<_> = run.stderr.lines().filter(|line| line.contains("NOBODY_KNOWS")).collect();
    assert!(matches!(&lines[..], [line] if line.starts_with("warning: ")), "{run:?}");
}
