//! Every way to name the engine leads to the same vault.

use crate::cli::Home;

use super::{Scene, labels, login, other_host, run};

const LIST: [&str; 2] = ["list", "--json"];

fn add_settings(home: &Home, toml: &str) {
    let before = std::fs::read_to_string(home.settings_file()).unwrap();
    home.settings(&format!("{before}{toml}"));
}

#[test]
fn the_flag_both_variables_and_the_settings_name_it() {
    let Some(scene) = Scene::start() else { return };
    scene.login("a");
    assert_eq!(labels(&scene.run("list --json").ok()), ["a"]);
    for variable in ["TOWER_CREDENTIALS_DIR", "TOWER_CREDENTIALS_VAULT"] {
        let home = other_host(&scene.home).variable(variable, scene.url());
        assert_eq!(labels(&home.run(LIST).ok()), ["a"], "{variable}");
    }
    for (url, more) in [
        (scene.url(), ""),
        (scene.url().replace("redis:", "valkey:"), ""),
        (scene.url(), "prefix = \"tower-credentials\""),
        (format!("{}/0?prefix=tower-credentials", scene.url()), "require_durable = true"),
    ] {
        let home = other_host(&scene.home);
        add_settings(&home, &format!("[vault]\nurl = \"{url}\"\n{more}\n"));
        assert_eq!(labels(&home.run(LIST).ok()), ["a"], "{url} {more}");
    }
    // The flag before the environment, and that before the settings.
    let mut home = other_host(&scene.home);
    add_settings(&home, &format!("[vault]\nurl = \"{}?prefix=settings\"\n", scene.url()));
    assert!(labels(&home.run(LIST).ok()).is_empty());
    home.set("TOWER_CREDENTIALS_DIR", scene.url());
    assert!(labels(&home.run(LIST).ok()).is_empty(), "the prefix is that of the same engine");
    home.set("TOWER_CREDENTIALS_DIR", format!("{}?prefix=tower-credentials", scene.url()));
    assert_eq!(labels(&home.run(LIST).ok()), ["a"]);
    assert!(labels(&run(&home, &format!("{}?prefix=flag", scene.url()), "list --json").ok()).is_empty());
}

#[test]
fn vaults_of_different_prefixes_share_nothing() {
    let Some(scene) = Scene::start() else { return };
    scene.login("a");
    let other = format!("{}?prefix=other", scene.url());
    login(&scene.home, &other, "b");
    assert_eq!(labels(&scene.run("list --json").ok()), ["a"]);
    assert_eq!(labels(&run(&scene.home, &other, "list --json").ok()), ["b"]);
    let shown = run(&scene.home, &other, "vault path").ok();
    assert!(shown.stdout.contains("?prefix=other"), "{shown:?}");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (toml, says) in [
        ("url = \"redis://a\"\ndirectory = \"/v\"", "vault.url"),
        ("directory = \"/v\"\npassword_command = \"cat\"", "vault.password_command"),
        ("directory = \"/v\"\nrequire_durable = true", "vault.require_durable"),
        ("url = \"redis://a?prefix=b\"\nprefix = \"c\"", "vault.prefix"),
        ("url = \"http://a\"", "redis, rediss, valkey or valkeys"),
        ("url = \"redis://a\"\nrequire_durable = 1", "true or false"),
        ("prefix = \"\"", "is empty"),
        ("pasword_command = \"cat\"", "the nearest is `password_command`"),
    ] {
        let home = super::host();
        add_settings(&home, &format!("[vault]\n{toml}\n"));
        home.run(["list"]).code(2).says(says);
    }
    let home = super::host().variable("TOWER_CREDENTIALS_DIR", "redis://a:1");
    run(&home, "redsi://a", "list").code(2).says("redis, rediss, valkey or valkeys");
    assert!(!home.path().join("redsi:").exists());
    let home = home.variable("TOWER_CREDENTIALS_VAULT", "redis://b:1");
    home.run(["list"]).code(2).says("redis://a:1").says("redis://b:1");
    let home = super::host().variable("TOWER_CREDENTIALS_DIR", "redis://a,b");
    home.run(["list"]).code(2).says("TOWER_CREDENTIALS_DIR").says("cluster");
}

#[test]
fn a_directory_is_a_directory_still() {
    let home = super::host();
    let directory = home.path().join("my vault");
    login(&home, directory.to_str().unwrap(), "a");
    assert!(directory.join("key.json").exists());
}
