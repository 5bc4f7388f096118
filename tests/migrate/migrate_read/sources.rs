//! Where each program keeps its file, and how a file elsewhere is recognized.

use std::fs;

use tower_credentials::migrate::{MigrateError, Source, read};

use crate::legacy::{Home, fixture};

#[test]
fn every_place_is_the_programs_own_and_follows_its_variable() {
    let none = |_: &str| None;
    let places = Source::ALL.map(|source| source.place("/home/me", none).display().to_string());
    assert_eq!(
        places,
        [
            "/home/me/.local/share/opencode/auth.json",
            "/home/me/.local/share/opencode/mcp-auth.json",
            "/home/me/.codex/auth.json",
            "/home/me/.claude/.credentials.json",
            "/home/me/.gemini/oauth_creds.json",
            "/home/me/.qwen/oauth_creds.json",
        ]
    );
    for (source, variable, place) in [
        (Source::Opencode, "XDG_DATA_HOME", "/x/opencode/auth.json"),
        (Source::OpencodeMcp, "XDG_DATA_HOME", "/x/opencode/mcp-auth.json"),
        (Source::Codex, "CODEX_HOME", "/x/auth.json"),
        (Source::Claude, "CLAUDE_CONFIG_DIR", "/x/.credentials.json"),
        (Source::Gemini, "GEMINI_CLI_HOME", "/x/.gemini/oauth_creds.json"),
    ] {
        let moved = |name: &str| (name == variable).then(|| "/x".into());
        assert_eq!(source.place("/home/me", moved).display().to_string(), place);
        let empty = |name: &str| (name == variable).then(Default::default);
        assert_eq!(source.place("/home/me", empty), source.place("/home/me", none), "{variable}");
    }
    let relative = |name: &str| (name == "XDG_DATA_HOME").then(|| "share".into());
    assert!(Source::Opencode.place("/home/me", relative).starts_with("/home/me/.local/share"));
}

#[test]
fn a_source_is_known_by_its_name() {
    for source in Source::ALL {
        assert_eq!(source.as_str().parse(), Ok(source));
        assert_eq!(source.to_string(), source.as_str());
    }
    let unknown = "copilot".parse::<Source>().unwrap_err().to_string();
    assert!(unknown.contains("opencode, opencode-mcp, codex"), "{unknown}");
}

#[test]
fn a_file_without_a_source_is_recognized_by_its_contents() {
    let home = Home::new();
    for source in Source::ALL {
        let path = home.path().join("a-copy.json");
        fs::write(&path, fixture(source)).unwrap();
        match (source, read(None, &path)) {
            // Google's file has no member that only it has.
            (Source::Gemini, Err(error @ MigrateError::Unclear { .. })) => {
                let text = error.to_string();
                assert!(text.ends_with("may be of gemini or qwen; say which (--from)"), "{text}");
            }
            (_, found) => assert_eq!(found.unwrap().source, source),
        }
        // In their own directories all are recognized.
        assert_eq!(read(None, home.write(source, fixture(source))).unwrap().source, source);
    }
}

#[test]
fn an_unrecognized_file_is_an_error_that_names_the_sources() {
    let home = Home::new();
    for text in ["{}", r#"{"name": "a", "version": 1}"#, r#"{"a": {"b": {"type": "oauth"}}}"#] {
        let path = home.path().join("other.json");
        fs::write(&path, text).unwrap();
        let error = read(None, &path).unwrap_err();
        assert!(matches!(&error, MigrateError::Unclear { among, .. } if among.is_empty()), "{error}");
        let error = error.to_string();
        assert!(error.contains("other.json") && error.contains("--from, one of opencode"), "{error}");
    }
    // A server may have any name, even that of a member of another program's file.
    let mcp = r#"{"tokens": {"tokens": {"accessToken": "t"}}}"#;
    let path = home.path().join("other.json");
    fs::write(&path, mcp).unwrap();
    assert_eq!(read(None, &path).unwrap().source, Source::OpencodeMcp);
}
