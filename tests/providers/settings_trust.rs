//! Settings that others could have written are not trusted.

#![cfg(feature = "config")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use tower_credentials::registry::Registry;
use tower_credentials::settings::SettingsError;

/// One of the user's directories, with a settings file in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.directory()).unwrap();
        fs::write(place.file(), "[vault]\nkey_command = 'cat key'\n").unwrap();
        set_mode(&place.directory(), 0o700);
        set_mode(&place.file(), 0o600);
        place
    }

    fn directory(&self) -> PathBuf {
        self.0.path().join("it's here")
    }

    fn file(&self) -> PathBuf {
        self.directory().join("config.toml")
    }

    fn link(&self) -> PathBuf {
        let link = self.0.path().join("link.toml");
        symlink(self.file(), &link).unwrap();
        link
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Returns the error, which is the same for a file that must exist and for an optional one.
fn refused(path: &Path) -> String {
    let error = |builder: tower_credentials::registry::RegistryBuilder| match builder.build() {
        Err(error @ SettingsError::NotTrusted { .. }) => error.to_string(),
        other => panic!("{}: {other:?}", path.display()),
    };
    let text = error(Registry::builder().file(path));
    assert_eq!(text, error(Registry::builder().optional_file(path)));
    assert!(text.starts_with(&format!("the settings in {} are not trusted", path.display())), "{text}");
    assert!(!text.contains("cat key"), "{text}");
    text
}

/// Runs the way out of an error, as a shell does.
fn run_the_command(text: &str) {
    let (_, command) = text.split_once(": ch").unwrap();
    let status = std::process::Command::new("sh").args(["-c", &format!("ch{command}")]).status();
    assert!(status.unwrap().success(), "{text}");
}

#[test]
fn a_file_that_only_its_owner_or_nobody_can_write_is_trusted() {
    let place = Place::new();
    for (mode_of_directory, mode) in [(0o700, 0o600), (0o755, 0o644), (0o755, 0o444), (0o1777, 0o644)] {
        set_mode(&place.directory(), mode_of_directory);
        set_mode(&place.file(), mode);
        Registry::builder().file(place.file()).build().unwrap();
    }
    Registry::builder().file(place.link()).build().unwrap();
    Registry::builder().optional_file(place.directory().join("none.toml")).build().unwrap();
}

fn is_refused_until_the_command_was_run(place: &Place, mode: u32) {
    for path in [place.file(), place.link()] {
        let text = refused(&path);
        assert!(text.contains(&format!("whose mode is 0{mode:o}")), "{text}");
    }
    run_the_command(&refused(&place.file()));
    Registry::builder().file(place.file()).build().unwrap();
}

#[test]
fn a_file_that_others_may_write_is_refused_with_the_command_that_fixes_it() {
    for mode in [0o620, 0o602, 0o666, 0o664] {
        let place = Place::new();
        set_mode(&place.file(), mode);
        is_refused_until_the_command_was_run(&place, mode);
    }
}

#[test]
fn a_file_in_a_directory_that_others_may_write_is_refused() {
    for mode in [0o720, 0o702, 0o777, 0o770] {
        let place = Place::new();
        set_mode(&place.directory(), mode);
        is_refused_until_the_command_was_run(&place, mode);
    }
}

#[test]
fn a_link_in_a_directory_that_others_may_write_is_refused() {
    let place = Place::new();
    let open = place.0.path().join("open");
    fs::create_dir(&open).unwrap();
    set_mode(&open, 0o777);
    symlink(place.file(), open.join("config.toml")).unwrap();
    assert!(refused(&open.join("config.toml")).contains("chmod go-w"));
}

/// Only root can give a file to another user.
#[test]
fn another_users_file_is_refused() {
    const SOMEBODY: u32 = 65534;
    let place = Place::new();
    if fs::metadata(place.file()).unwrap().uid() != 0 {
        return;
    }
    for path in [place.file(), place.directory()] {
        chown(&path, Some(SOMEBODY), None).unwrap();
        let text = refused(&place.file());
        assert!(text.contains("belongs to user 65534, and not to you (user 0)"), "{text}");
        run_the_command(&text);
        Registry::builder().file(place.file()).build().unwrap();
    }
}
