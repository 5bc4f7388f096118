//! A file that cannot be read is an error, whatever its size and kind, and a file that can be read is read.

use std::fs;

use proptest::prelude::*;
use tower_credentials::migrate::{MigrateError, Source, read};

use crate::legacy::{Home, fixture, is_clean};

#[test]
fn an_unreadable_file_is_an_error_and_never_counts_as_empty() {
    let home = Home::new();
    for (text, what) in [
        (&b""[..], "line 1, column 1: it ends in the middle"),
        (b"   \n ", "line 2, column 1: it ends in the middle"),
        (b"{\n  \"a\": {\"type\": \"api\", \"key\": \"pLaNtEd", "line 2, column"),
        (b"{\n  \"a\": pLaNtEd\n}", "line 2, column 8: it is not JSON from here on (it may be cut off)"),
        (b"{} {}", "line 1, column 4: it is not JSON from here on (it may be cut off)"),
        (b"[]", "line 1, column 1: must be an object"),
        (b"\"pLaNtEd\"", "line 1, column 1: must be an object"),
        (b"null", "line 1, column 1: must be an object"),
        (b"{\n\"a\": \"\xff\"}", "line 2, column 7: it is not UTF-8 there"),
        (b"\0\0\0\0", "line 1, column 1: it is not JSON from here on (it may be cut off)"),
    ] {
        for source in Source::ALL {
            let path = home.write(source, text);
            let error = read(source, &path).unwrap_err();
            assert!(matches!(error, MigrateError::Damaged { .. }), "{error}");
            let error = error.to_string();
            assert!(error.contains(what), "{error}");
            assert!(error.contains(&path.display().to_string()), "{error}");
            is_clean(&error);
        }
    }
}

#[test]
fn a_byte_order_mark_is_accepted() {
    let home = Home::new();
    for source in Source::ALL {
        let marked = format!("\u{feff}{}", fixture(source));
        assert_eq!(
            home.found(source, marked).entries.len(),
            home.found(source, fixture(source)).entries.len()
        );
    }
}

#[test]
fn a_huge_file_is_refused_and_a_large_one_is_read() {
    let home = Home::new();
    let entry = |number: usize| format!("\"p{number}\": {{\"type\": \"api\", \"key\": \"k{number}\"}}");
    let entries: Vec<_> = (0..20_000).map(entry).collect();
    let large = format!("{{{}}}", entries.join(",\n"));
    assert_eq!(home.found(Source::Opencode, &large).entries.len(), 20_000);

    let path = home.write(Source::Opencode, "");
    fs::File::options().write(true).open(&path).unwrap().set_len((16 << 20) + 1).unwrap();
    let error = read(Source::Opencode, &path).unwrap_err();
    assert!(matches!(error, MigrateError::TooLong { .. }), "{error}");
    assert!(error.to_string().contains("auth.json is longer than 16777216 bytes"), "{error}");
}

#[test]
fn many_unknown_members_take_linear_time() {
    // Quadratic work would take minutes here.
    let home = Home::new();
    let members: Vec<_> = (0..300_000).map(|number| format!("\"m{number}\":0\n")).collect();
    let found = home.found(Source::Opencode, format!("{{{}}}", members.join(",")));
    assert_eq!(found.skipped.len(), 300_000);
    assert_eq!(found.skipped[299_999].line, 300_000);
}

#[test]
fn deeply_nested_values_are_read_or_refused_without_a_crash() {
    let home = Home::new();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let text = format!(r#"{{"access_token": "a", "refresh_token": "r", "new": {deep}}}"#);
    // Whether such a value is kept or refused, nothing is lost without a word.
    match read(Source::Qwen, home.write(Source::Qwen, text)) {
        Ok(found) => assert_eq!(found.entries.len() + found.skipped.len(), 1),
        Err(error) => assert!(matches!(error, MigrateError::Damaged { .. }), "{error}"),
    }
}

#[test]
fn only_a_regular_file_is_read_and_a_link_is_followed() {
    let home = Home::new();
    let missing = read(Source::Codex, home.path().join("missing.json")).unwrap_err();
    let MigrateError::Io { action: "read", source, .. } = &missing else { panic!("{missing}") };
    assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
    let directory = read(Source::Codex, home.path()).unwrap_err();
    assert!(matches!(directory, MigrateError::NotAFile(_)), "{directory}");
    #[cfg(unix)]
    {
        let pipe = home.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for special in [pipe.as_path(), std::path::Path::new("/dev/zero")] {
            let error = read(Source::Codex, special).unwrap_err();
            assert!(matches!(error, MigrateError::NotAFile(_)), "{error}");
        }
        let link = home.path().join("link.json");
        std::os::unix::fs::symlink(home.write(Source::Codex, fixture(Source::Codex)), &link).unwrap();
        assert_eq!(read(Source::Codex, &link).unwrap().entries.len(), 2);
        let nowhere = home.path().join("nowhere.json");
        std::os::unix::fs::symlink(home.path().join("missing.json"), &nowhere).unwrap();
        assert!(matches!(read(Source::Codex, &nowhere), Err(MigrateError::Io { .. })));
    }
}

#[cfg(unix)]
#[test]
fn a_file_without_read_permission_is_an_error_that_says_what_to_check() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let path = home.write(Source::Codex, fixture(Source::Codex));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        // Root can read everything, so there is nothing to test.
        assert!(read(Source::Codex, &path).is_ok());
        return;
    }
    let error = read(Source::Codex, &path).unwrap_err().to_string();
    assert!(error.contains("could not read") && error.contains("owner and the mode"), "{error}");
}

#[test]
fn a_truncated_file_is_an_error() {
    let home = Home::new();
    for source in Source::ALL {
        let text = fixture(source).trim_end();
        for end in 0..text.len() {
            let path = home.write(source, &text[..end]);
            for named in [Some(source), None] {
                let error = read(named, &path).unwrap_err();
                assert!(matches!(error, MigrateError::Damaged { .. }), "{source} cut at {end}: {error}");
                is_clean(&format!("{error} {error:?}"));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_damaged_file_causes_a_panic_or_shows_a_secret(
        source in prop::sample::select(Source::ALL.to_vec()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..6),
    ) {
        let mut bytes = fixture(source).as_bytes().to_vec();
        for (place, byte, sort) in changes {
            let place = place.index(bytes.len());
            match sort {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                _ => drop(bytes.remove(place)),
            }
        }
        let home = Home::new();
        let path = home.write(source, &bytes);
        for named in [Some(source), None] {
            match read(named, &path) {
                Ok(found) => {
                    let values: Vec<_> = found.skipped.iter().map(|skipped| &skipped.reason).collect();
                    is_clean(&format!("{values:?} {:?}", found.entries));
                }
                Err(error) => is_clean(&format!("{error} {error:?}")),
            }
        }
    }
}
