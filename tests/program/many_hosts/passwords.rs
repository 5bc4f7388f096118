//! The engine's password: where it may come from, and that nothing shows it.

use crate::cli::Home;
use crate::server::Server;

use super::{PASSWORD, Scene, labels, let_in, other_host, run};

fn with_password(scene: &Scene) -> String {
    format!("redis://vault:{PASSWORD}@127.0.0.1:{}", scene.server.port())
}

fn add_vault(home: &Home, toml: &str) {
    let before = std::fs::read_to_string(home.settings_file()).unwrap();
    home.settings(&format!("{before}[vault]\n{toml}\n"));
}

#[test]
fn one_on_the_command_line_or_in_the_settings_is_refused() {
    let Some(scene) = Scene::start() else { return };
    for url in [
        with_password(&scene),
        format!("redis+sentinel://a/main?sentinel_password={PASSWORD}"),
        format!("redis://:{PASSWORD}@a,b"),
    ] {
        for command in ["list", "vault path", "serve", "config show"] {
            run(&scene.home, &url, command).code(2).says("TOWER_CREDENTIALS_VAULT_PASSWORD");
        }
        let home = super::host();
        add_vault(&home, &format!("url = \"{url}\""));
        home.run(["list"]).code(2).says("vault.url");
    }
}

#[test]
fn it_comes_from_a_variable_from_the_url_in_one_or_from_a_command() {
    let Some(scene) = Scene::start() else { return };
    scene.login("a");
    let list = |home: &Home| labels(&run(home, &scene.named(), "list --json").ok());
    let home = || other_host(&scene.home);
    assert_eq!(list(&home().variable("TOWER_CREDENTIALS_VAULT_PASSWORD", PASSWORD)), ["a"]);
    let in_url = home().variable("TOWER_CREDENTIALS_DIR", with_password(&scene));
    assert_eq!(labels(&in_url.run(["list", "--json"]).ok()), ["a"]);
    let by_command = home();
    let file = by_command.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\nand what else the manager says\n")).unwrap();
    add_vault(&by_command, &format!("password_command = \"cat '{}'\"", file.display()));
    assert_eq!(list(&by_command), ["a"]);
    // The environment comes before the settings.
    let both = by_command.variable("TOWER_CREDENTIALS_VAULT_PASSWORD", "wrong");
    run(&both, &scene.named(), "list").code(5).says("TOWER_CREDENTIALS_VAULT_PASSWORD");
}

#[test]
fn a_wrong_a_missing_and_a_second_one_and_a_command_that_fails_are_told() {
    let Some(scene) = Scene::start() else { return };
    let home = super::host();
    run(&home, &scene.named(), "list").code(5).says("password");
    let home = home.variable("TOWER_CREDENTIALS_VAULT_PASSWORD", "wrong");
    run(&home, &scene.named(), "list").code(5).says("password");
    let home = home.variable("TOWER_CREDENTIALS_DIR", with_password(&scene));
    home.run(["list"]).code(2).says("keep one of them");
    for (command, says) in
        [("false", "has failed"), ("true", "password"), ("/nowhere/x", "can't be run")]
    {
        let home = super::host();
        add_vault(&home, &format!("password_command = \"{command}\""));
        run(&home, &scene.named(), "list").code(5).says(command).says(says);
    }
}

#[test]
fn that_of_the_settings_engine_goes_to_no_other() {
    let Some(scene) = Scene::start() else { return };
    let Some(other) = Server::start(&[]) else { return };
    let_in(&other);
    let home = super::host();
    let settings = format!("url = \"{}\"\npassword_command = \"echo {PASSWORD}\"", scene.named());
    add_vault(&home, &settings);
    home.run(["list"]).ok();
    let url = format!("redis://vault@127.0.0.1:{}", other.port());
    run(&home, &url, "list").code(5).says("password");
}

#[test]
fn no_output_and_no_child_has_it() {
    let Some(scene) = Scene::start() else { return };
    scene.login("a");
    let home = other_host(&scene.home).variable("TOWER_CREDENTIALS_DIR", with_password(&scene));
    let redacted = scene.url();
    for (words, code) in [
        ("-vvvv list", 0),
        ("list --json", 0),
        ("status", 0),
        ("status --json", 0),
        ("show a", 0),
        ("why x", 0),
        ("vault path", 0),
        ("vault path --json", 0),
        ("vault check", 0),
        ("vault check --json", 0),
        ("config show", 0),
        ("config check", 0),
        ("history", 0),
        ("pause a", 0),
        ("history --json", 0),
        ("resume a", 0),
        ("vault init", 1),
        ("vault rotate-key", 2),
        ("vault revoke-key 33eda49e8c74be7f", 2),
        ("vault restored", 2),
        ("__complete show", 0),
        ("__complete -- --vault ", 0),
        ("exec -- env", 0),
        ("logout nobody", 3),
    ] {
        let run = home.run(words.split(' ')).code(code);
        if ["vault path", "config show", "vault rotate-key", "exec -- env"].contains(&words) {
            assert!(format!("{}{}", run.stdout, run.stderr).contains(&redacted), "{words}: {run:?}");
        }
    }
    let kept = home.path().join(".local/state");
    let said = std::process::Command::new("grep").arg("-r").arg(PASSWORD).arg(kept).output().unwrap();
    assert!(said.stdout.is_empty(), "{said:?}");
}
