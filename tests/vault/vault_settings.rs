//! The place of a program's vault and of its key, from a settings file or environment variables.
#![cfg(feature = "config")]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tower_credentials::registry::Registry;
use tower_credentials::settings::{KeySource, SettingsError, VaultSettings};

fn read(text: &str) -> Result<VaultSettings, SettingsError> {
    Ok(Registry::builder().toml("credentials.toml", text).build()?.vault_settings().clone())
}

fn command<const N: usize>(words: [&str; N]) -> KeySource {
    KeySource::Command(words.map(str::to_owned).into())
}

#[test]
fn each_place_of_a_key_can_be_named() {
    for (text, source) in [
        ("[vault]", None),
        ("", None),
        ("[vault]\nkey_file = \"/a/vault.key\"", Some(KeySource::File("/a/vault.key".into()))),
        ("[vault]\nkeyring = true", Some(KeySource::Keyring)),
        ("[vault]\nkeyring = false", None),
        ("vault = { key_file = \"/k\", keyring = false }", Some(KeySource::File("/k".into()))),
        ("[vault]\nkey_command = [\"pass\", \"show\", \"a b\"]", Some(command(["pass", "show", "a b"]))),
        ("[vault]\nkey_command = \"pass show 'a b'\"", Some(command(["pass", "show", "a b"]))),
        // No shell runs it, so it is only split into words.
        ("[vault]\nkey_command = 'echo $HOME; id'", Some(command(["echo", "$HOME;", "id"]))),
        ("[vault]\nkey_command = ['a', '']", Some(command(["a", ""]))),
    ] {
        let settings = read(text).unwrap();
        assert_eq!(settings.key, source, "{text}");
        assert_eq!(settings.directory, None, "{text}");
    }
    let settings = read("[vault]\ndirectory = \"/a/b\"\n[providers.openai]\nmode = \"api\"").unwrap();
    assert_eq!(settings.directory, Some("/a/b".into()));
}

#[test]
fn paths_begin_at_the_files_directory_or_at_home() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("config.toml");
    fs::write(&file, "[vault]\nkey_file = \"../keys/vault.key\"\ndirectory = \"~/vault\"").unwrap();
    for builder in [Registry::builder().file(&file), Registry::builder().optional_file(&file)] {
        let registry = builder.build().unwrap();
        let settings = registry.vault_settings();
        let key = place.path().join("../keys/vault.key");
        assert_eq!(settings.key, Some(KeySource::File(key)));
        assert_eq!(settings.directory, Some(std::env::home_dir().unwrap().join("vault")));
    }
    let missing = Registry::builder().optional_file(place.path().join("none")).build().unwrap();
    assert_eq!(*missing.vault_settings(), VaultSettings::default());
    let in_text = read("[vault]\ndirectory = \"a/b\"").unwrap();
    assert_eq!(in_text.directory.as_deref(), Some(Path::new("a/b")));
    assert_eq!(read("[vault]\ndirectory = \"~a\"").unwrap().directory.as_deref(), Some(Path::new("~a")));
}

#[test]
fn a_mistake_is_named_with_its_line_and_the_accepted_values() {
    let cases: &[(&str, &[&str])] = &[
        ("[vault]\nkeyfile = \"a\"", &["credentials.toml, line 2", "`vault.keyfile`", "`key_file`"]),
        ("[vault]\nkey_comand = \"a\"", &["`vault.key_comand`", "`key_command`"]),
        ("[vault]\ndir = \"a\"", &["`directory`"]),
        ("[vualt]\nkeyring = true", &["line 1", "`vualt`", "`vault`"]),
        ("key_file = \"a\"", &["line 1", "`key_file`", "`vault`"]),
        ("mode = \"api\"", &["line 1", "`mode`", "`providers`"]),
        ("vault = 1", &["line 1", "`vault` must be a table"]),
        ("[vault]\nkey_file = \"\"", &["`vault.key_file` is empty"]),
        ("[vault]\nkey_file = 1", &["`vault.key_file`", "in quotes"]),
        ("[vault]\ndirectory = true", &["`vault.directory`", "not a true or false"]),
        ("[vault]\nkeyring = \"yes\"", &["`vault.keyring` must be true or false"]),
        ("[vault]\nhistory = \"yes\"", &["`vault.history` must be true or false"]),
        ("[vault]\nkey_command = []", &["`vault.key_command` names no command"]),
        ("[vault]\nkey_command = \"\"", &["names no command"]),
        ("[vault]\nkey_command = [\"\"]", &["names no command"]),
        ("[vault]\nkey_command = [\"a\", 1]", &["`vault.key_command`", "in quotes"]),
        ("[vault]\nkey_command = true", &["`vault.key_command`", "not a true or false"]),
        ("[vault]\nkey_command = \"a 'b\"", &["a quote or a backslash that is not ended"]),
        (
            "[vault]\nkey_file = \"a\"\nkey_command = \"b\"",
            &["is set beside `key_command`", "keep one of them"],
        ),
        ("[vault]\nkeyring = true\nkey_file = \"a\"", &["is set beside `", "keep one of them"]),
    ];
    for (text, parts) in cases {
        let error = read(text).unwrap_err().to_string();
        for part in *parts {
            assert!(error.contains(part), "{text}: {error:?} has no {part:?}");
        }
    }
}

#[test]
fn values_that_may_be_secret_are_not_shown() {
    for text in [
        "[vault]\nkey_command = \"echo 'sk-planted\"",
        "[vault]\nkey_command = [1, \"sk-planted\"]",
        "[vault]\nkeyring = \"sk-planted\"",
    ] {
        let error = read(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("planted"), "{error}");
    }
}

fn in_environment<const N: usize>(
    variables: [(&str, &str); N],
) -> Result<Option<KeySource>, SettingsError> {
    KeySource::from_environment(variables)
}

#[test]
fn the_environment_names_a_place_too() {
    for (variables, source) in [
        (vec![], None),
        (vec![("TOWER_CREDENTIALS_VAULT_KEY", "k")], Some(KeySource::Variable)),
        // A missing key must not be taken for a key that is elsewhere.
        (vec![("TOWER_CREDENTIALS_VAULT_KEY", "")], Some(KeySource::Variable)),
        (vec![("TOWER_CREDENTIALS_KEY_FILE", "a/b")], Some(KeySource::File("a/b".into()))),
        (vec![("TOWER_CREDENTIALS_KEY_COMMAND", "a 'b c'")], Some(command(["a", "b c"]))),
        (vec![("TOWER_CREDENTIALS_KEYRING", "1")], Some(KeySource::Keyring)),
        (vec![("TOWER_CREDENTIALS_KEYRING", "0")], None),
        (vec![("TOWER_CREDENTIALS_KEYRING", ""), ("TOWER_CREDENTIALS_KEY_FILE", "")], None),
        (
            vec![("TOWER_CREDENTIALS_KEYRING", "0"), ("TOWER_CREDENTIALS_KEY_FILE", "k")],
            Some(KeySource::File("k".into())),
        ),
    ] {
        let found = KeySource::from_environment(variables.clone()).unwrap();
        assert_eq!(found, source, "{variables:?}");
    }
}

#[test]
fn two_places_in_the_environment_or_an_unusable_one_are_an_error() {
    for (variables, parts) in [
        (
            [("TOWER_CREDENTIALS_VAULT_KEY", "sk-planted"), ("TOWER_CREDENTIALS_KEY_FILE", "k")],
            ["`TOWER_CREDENTIALS_KEY_FILE`", "`TOWER_CREDENTIALS_VAULT_KEY`"],
        ),
        (
            [("TOWER_CREDENTIALS_KEYRING", "1"), ("TOWER_CREDENTIALS_KEY_COMMAND", "k")],
            ["`TOWER_CREDENTIALS_KEYRING`", "`TOWER_CREDENTIALS_KEY_COMMAND`"],
        ),
        (
            [("TOWER_CREDENTIALS_KEYRING", "sk-planted"), ("X", "")],
            ["`TOWER_CREDENTIALS_KEYRING`", "must be 1 or 0"],
        ),
        (
            [("TOWER_CREDENTIALS_KEY_COMMAND", "a \"sk-planted"), ("X", "")],
            ["`TOWER_CREDENTIALS_KEY_COMMAND`", "not ended"],
        ),
        (
            [("TOWER_CREDENTIALS_KEY_COMMAND", " "), ("X", "")],
            ["`TOWER_CREDENTIALS_KEY_COMMAND`", "names no command"],
        ),
    ] {
        let error = in_environment(variables).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        assert!(!error.contains("planted"), "{error}");
    }
}

#[test]
fn the_vaults_variables_are_no_settings_of_a_provider() {
    let names = ["VAULT_KEY", "KEY_FILE", "KEY_COMMAND", "KEYRING", "DIR", "CONFIG"];
    let variables = names.map(|name| (format!("TOWER_CREDENTIALS_{name}"), "x"));
    Registry::builder().environment(variables).build().unwrap();
}

#[cfg(unix)]
#[test]
fn a_key_files_name_need_not_be_text() {
    use std::os::unix::ffi::OsStringExt;
    let name = OsString::from_vec(vec![b'/', 0xff]);
    let found = KeySource::from_environment([("TOWER_CREDENTIALS_KEY_FILE", &name)]).unwrap();
    assert_eq!(found, Some(KeySource::File(PathBuf::from(name.clone()))));
    let error = KeySource::from_environment([("TOWER_CREDENTIALS_KEY_COMMAND", &name)]).unwrap_err();
    assert!(error.to_string().contains("must be UTF-8"), "{error}");
}
