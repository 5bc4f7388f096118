//! Other programs' files, read: each field in its place, and what is wrong with a file told without what is in
//! it.
#![cfg(feature = "migrate")]

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use serde_json::{Value, json};
use tower_credentials::migrate::{Entry, Found, MigrateError, Source, read};
use tower_credentials::{Kind, OAuthTokens, Secret, Timestamp};

use crate::legacy::{Home, PLANTED, fixture, is_clean, json, secrets};

const END: Timestamp = Timestamp::from_millis(1_767_225_600_000);

fn entry<'f>(found: &'f Found, name: &str) -> &'f Entry {
    let names = || found.entries.iter().map(|entry| &entry.name).collect::<Vec<_>>();
    let entry = found.entries.iter().find(|entry| entry.name == name);
    entry.unwrap_or_else(|| panic!("{name} is none of {:?}", names()))
}

fn tokens(entry: &Entry) -> &OAuthTokens {
    match &entry.secret {
        Secret::OAuth(tokens) | Secret::Mcp(tokens) => tokens,
        other => panic!("{other:?}"),
    }
}

fn extra(entry: &Entry) -> BTreeMap<&str, &str> {
    tokens(entry).extra.iter().map(|(name, value)| (name.as_str(), value.expose())).collect()
}

fn attributes(entry: &Entry) -> BTreeMap<&str, &str> {
    entry.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// The access token, the refresh token and the end.
fn triple(entry: &Entry) -> (&str, Option<&str>, Option<Timestamp>) {
    let tokens = tokens(entry);
    (tokens.access.expose(), tokens.refresh.as_ref().map(|token| token.expose()), tokens.expires_at)
}

#[test]
fn opencodes_accounts_and_keys_are_what_a_sign_in_would_store() {
    let home = Home::new();
    let found = home.found(Source::Opencode, fixture(Source::Opencode));
    assert_eq!(found.skipped, []);
    let summary: Vec<_> = found
        .entries
        .iter()
        .map(|entry| (&*entry.provider, &*entry.label, entry.secret.kind(), entry.line))
        .collect();
    assert_eq!(
        summary,
        [
            ("anthropic", "opencode", Kind::OAuth, 2),
            ("openai", "opencode", Kind::OAuth, 8),
            ("github-copilot", "opencode", Kind::OAuth, 15),
            ("github-copilot-enterprise", "opencode", Kind::OAuth, 21),
            ("google", "default", Kind::Api, 28),
            ("cloudflare-ai-gateway", "default", Kind::Api, 32),
            ("https://models.company.example", "default", Kind::WellKnown, 40),
        ]
    );

    let anthropic = entry(&found, "anthropic");
    let expected = ("pLaNtEd-anthropic-access", Some("pLaNtEd-anthropic-refresh"), Some(END));
    assert_eq!(triple(anthropic), expected);
    assert_eq!(extra(anthropic), [].into());

    let openai = entry(&found, "openai");
    assert_eq!(extra(openai), [("account_id", "workspace-1")].into());
    assert_eq!(attributes(openai), [("account", "workspace-1/auth0|alice")].into());

    // The program gets the short-lived token when it needs one, and so does the refresher.
    let copilot = entry(&found, "github-copilot");
    let expected = ("", Some("pLaNtEd-github-token"), Some(Timestamp::from_millis(0)));
    assert_eq!(triple(copilot), expected);

    let enterprise = entry(&found, "github-copilot-enterprise");
    assert_eq!(extra(enterprise), [("endpoint", "https://copilot-api.company.ghe.com")].into());
    assert_eq!(attributes(enterprise), [("enterprise_host", "company.ghe.com")].into());

    let Secret::Api { key } = &entry(&found, "google").secret else { panic!("a key") };
    assert_eq!(key.expose(), "pLaNtEd-google-key");
    let metadata = [("metadata.accountId", "account-1"), ("metadata.gatewayId", "gateway-1")];
    assert_eq!(attributes(entry(&found, "cloudflare-ai-gateway")), metadata.into());
    let Secret::WellKnown { variable, token } = &entry(&found, "https://models.company.example").secret
    else {
        panic!("a token with a variable")
    };
    assert_eq!((&**variable, token.expose()), ("COMPANY_TOKEN", "pLaNtEd-company-wellknown"));
}

#[test]
fn an_mcp_account_keeps_its_client_and_the_state_of_an_unfinished_sign_in() {
    let home = Home::new();
    let found = home.found(Source::OpencodeMcp, fixture(Source::OpencodeMcp));
    let sentry = entry(&found, "sentry");
    assert_eq!((&*sentry.provider, &*sentry.label), ("mcp:sentry", "sentry"));
    assert_eq!(sentry.secret.kind(), Kind::Mcp);
    // The program counts seconds here.
    let expected = ("pLaNtEd-sentry-access", Some("pLaNtEd-sentry-refresh"), Some(END));
    assert_eq!(triple(sentry), expected);
    assert_eq!(
        extra(sentry),
        [
            ("client_id", "pLaNtEd-sentry-client"),
            ("client_secret", "pLaNtEd-sentry-client-secret"),
            ("code_verifier", "pLaNtEd-sentry-verifier"),
            ("oauth_state", "pLaNtEd-sentry-state"),
            ("server_url", "https://mcp.sentry.example/mcp"),
        ]
        .into()
    );
    assert_eq!(
        attributes(sentry),
        [
            ("client_id_issued_at", "1764547200"),
            ("client_secret_expires_at", "1796083200"),
            ("scope", "org:read project:read"),
            ("server_url", "https://mcp.sentry.example"),
        ]
        .into()
    );
    let keyed = entry(&found, "keyed");
    assert_eq!(
        extra(keyed),
        [("server_url", "https://mcp.keyed.example/?key=pLaNtEd-keyed-url")].into()
    );
    assert_eq!(attributes(keyed), [("server_url", "https://mcp.keyed.example")].into());

    let skipped: Vec<_> = found.skipped.iter().map(ToString::to_string).collect();
    assert_eq!(skipped, ["begun (line 25): has no tokens: its sign-in was never finished"]);
}

#[test]
fn an_mcp_servers_url_is_sealed_and_only_its_origin_is_visible() {
    let home = Home::new();
    for (url, origin) in [
        ("https://mcp.example/pLaNtEd-key/mcp", Some("https://mcp.example")),
        ("https://MCP.example:443", Some("https://mcp.example")),
        ("https://mcp.example:8443/", Some("https://mcp.example:8443")),
        ("https://mcp.example?pLaNtEd", Some("https://mcp.example")),
        ("https://mcp.example#pLaNtEd", Some("https://mcp.example")),
        ("https://mcp.example\\pLaNtEd", Some("https://mcp.example")),
        ("https://pLaNtEd@mcp.example/", Some("https://mcp.example")),
        ("https://user:pLaNtEd@x@[::1]:1/", Some("https://[::1]:1")),
        ("http://127.0.0.1:3000/pLaNtEd", Some("http://127.0.0.1:3000")),
        ("http://mcp.example/pLaNtEd", None),
        ("https://pLaNtEd key/", None),
        ("pLaNtEd", None),
        ("", None),
    ] {
        let account = json!({"accessToken": "t", "serverUrl": url});
        let claude = json!({"mcpOAuth": {"s": account}});
        let opencode = json!({"s": {"tokens": {"accessToken": "t"}, "serverUrl": url}});
        for (source, text) in [(Source::Claude, claude), (Source::OpencodeMcp, opencode)] {
            let found = home.found(source, text.to_string());
            let [server] = &found.entries[..] else { panic!("{url}: {found:?}") };
            let sealed = extra(server).get("server_url").copied().unwrap_or_default();
            assert_eq!(sealed, url);
            assert_eq!(attributes(server).get("server_url").copied(), origin, "{url}");
            is_clean(&format!("{:?}", server.attributes));
        }
    }
}

#[test]
fn codexs_key_and_account_are_read() {
    let home = Home::new();
    let found = home.found(Source::Codex, fixture(Source::Codex));
    assert_eq!(found.skipped, []);
    let key = entry(&found, "OPENAI_API_KEY");
    assert_eq!((&*key.provider, &*key.label), ("openai", "default"));
    assert_eq!(key.secret.token().expose(), "pLaNtEd-openai-key");

    let account = entry(&found, "tokens");
    assert_eq!((&*account.provider, &*account.label), ("openai", "codex"));
    let file = json(Source::Codex);
    let (access, id) = (&file["tokens"]["access_token"], &file["tokens"]["id_token"]);
    // Only the access token has the expiry.
    let expected = (access.as_str().unwrap(), Some("pLaNtEd-codex-refresh"), Some(END));
    assert_eq!(triple(account), expected);
    assert_eq!(
        extra(account),
        [("account_id", "workspace-1"), ("id_token", id.as_str().unwrap())].into()
    );
    assert_eq!(attributes(account), [("account", "workspace-1/auth0|alice")].into());
}

#[test]
fn codexs_account_id_is_also_found_in_its_tokens() {
    let home = Home::new();
    for missing in [&["account_id"][..], &["account_id", "id_token"]] {
        let mut file = json(Source::Codex);
        let tokens = file["tokens"].as_object_mut().unwrap();
        missing.iter().for_each(|name| drop(tokens.remove(*name)));
        let found = home.found(Source::Codex, file.to_string());
        let account = entry(&found, "tokens");
        assert_eq!(extra(account)["account_id"], "workspace-1", "without {missing:?}");
        assert_eq!(attributes(account), [("account", "workspace-1/auth0|alice")].into());
    }
}

#[test]
fn codex_may_have_a_key_alone_or_an_account_alone() {
    let home = Home::new();
    for (gone, left) in [("OPENAI_API_KEY", "tokens"), ("tokens", "OPENAI_API_KEY")] {
        let mut file = json(Source::Codex);
        file[gone] = Value::Null;
        let found = home.found(Source::Codex, file.to_string());
        assert_eq!(found.entries.len(), 1);
        assert_eq!(found.entries[0].name, left);
        assert_eq!(found.skipped, []);
    }
}

#[test]
fn claudes_account_keeps_the_facts_about_its_subscription() {
    let home = Home::new();
    let found = home.found(Source::Claude, fixture(Source::Claude));
    assert_eq!(found.skipped, []);
    let account = entry(&found, "claudeAiOauth");
    assert_eq!((&*account.provider, &*account.label), ("anthropic", "claude"));
    let expected = ("pLaNtEd-claude-access", Some("pLaNtEd-claude-refresh"), Some(END));
    assert_eq!(triple(account), expected);
    let known = [("scope", "user:inference user:profile"), ("subscription", "max")];
    assert_eq!(attributes(account), known.into());
    // What this version doesn't know is kept all the same.
    assert_eq!(extra(account), [("claude", r#"{"rateLimitTier":"default_claude_max_20x"}"#)].into());

    let server = entry(&found, "mcpOAuth.plugin:docs|800cb29a3ac61727");
    assert_eq!((&*server.provider, &*server.label), ("mcp:plugin:docs", "plugin:docs"));
    let expected = ("pLaNtEd-docs-access", Some("pLaNtEd-docs-refresh"), Some(END));
    assert_eq!(triple(server), expected);
    assert_eq!(
        extra(server),
        [("client_id", "pLaNtEd-docs-client"), ("server_url", "https://mcp.docs.example/mcp")].into()
    );
}

#[test]
fn geminis_and_qwens_accounts_have_what_their_adapters_read() {
    let home = Home::new();
    let found = home.found(Source::Gemini, fixture(Source::Gemini));
    let gemini = entry(&found, "gemini");
    assert_eq!((&*gemini.provider, &*gemini.label), ("google", "gemini"));
    let expected = ("pLaNtEd-gemini-access", Some("pLaNtEd-gemini-refresh"), Some(END));
    assert_eq!(triple(gemini), expected);
    assert_eq!(attributes(gemini)["account"], "1234567890");
    assert_eq!(attributes(gemini)["scope"], "https://www.googleapis.com/auth/cloud-platform openid");

    let found = home.found(Source::Qwen, fixture(Source::Qwen));
    let qwen = entry(&found, "qwen");
    assert_eq!(&*qwen.provider, "qwen");
    assert_eq!(extra(qwen), [("endpoint", "portal.qwen.ai")].into());
}

#[test]
fn an_unknown_member_is_not_mistaken_for_one_that_adapters_read() {
    let home = Home::new();
    let mut file = json(Source::Qwen);
    let members = file.as_object_mut().unwrap();
    members.remove("resource_url");
    members.insert("endpoint".into(), json!("evil.test"));
    members.insert("account_id".into(), json!({"deep": [1, "x"]}));
    let found = home.found(Source::Qwen, file.to_string());
    let rest = r#"{"account_id":{"deep":[1,"x"]},"endpoint":"evil.test"}"#;
    assert_eq!(extra(entry(&found, "qwen")), [("qwen", rest)].into());
}

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
            // Google's has nothing of its own.
            (Source::Gemini, Err(error @ MigrateError::Unclear { .. })) => {
                let text = error.to_string();
                assert!(text.ends_with("may be of gemini or qwen; say which (--from)"), "{text}");
            }
            (_, found) => assert_eq!(found.unwrap().source, source),
        }
        // In its directory all are.
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
    // A server may have any name, also one that another program's file has.
    let mcp = r#"{"tokens": {"tokens": {"accessToken": "t"}}}"#;
    let path = home.path().join("other.json");
    fs::write(&path, mcp).unwrap();
    assert_eq!(read(None, &path).unwrap().source, Source::OpencodeMcp);
}

#[test]
fn an_entry_that_cannot_be_read_is_named_with_line_and_field_and_the_others_are_read() {
    let home = Home::new();
    let text = format!(
        r#"{{
  "good": {{"type": "api", "key": "{PLANTED}"}},
  "no-object": "{PLANTED}",
  "no-type": {{"key": "{PLANTED}"}},
  "new-type": {{"type": "{PLANTED}", "key": "{PLANTED}"}},
  "no-key": {{"type": "api"}},
  "empty-key": {{"type": "api", "key": ""}},
  "number-key": {{"type": "api",
    "key": 17}},
  "two-lines": {{"type": "api", "key": "{PLANTED}\n"}},
  "no-tokens": {{"type": "oauth", "access": "", "refresh": null, "expires": 0}},
  "odd-end": {{"type": "oauth", "access": "{PLANTED}", "refresh": "x", "expires": "{PLANTED}"}},
  "old-end": {{"type": "oauth", "access": "{PLANTED}", "refresh": "x", "expires": -1}},
  "far-end": {{"type": "oauth", "access": "{PLANTED}", "refresh": "x", "expires": 1e300}},
  "no-token": {{"type": "wellknown", "key": "NAME"}},
  "twice": {{"type": "api", "key": "{PLANTED}"}},
  "twice": {{"type": "api", "key": "{PLANTED}-2"}},
  "key-twice": {{"type": "api", "key": "{PLANTED}", "key": "{PLANTED}-2"}},
  "odd-escape": {{"type": "api", "key": "\ud800{PLANTED}"}},
  "": {{"type": "api", "key": "{PLANTED}"}},
  "odd\u202ename": {{"type": "api", "key": "{PLANTED}"}},
  "odd\u001b[2Jname": {{"type": "api", "key": "{PLANTED}"}},
  "more": {{"type": "api", "key": "{PLANTED}", "since": "{PLANTED}"}},
  "last": {{"type": "api", "key": "{PLANTED}"}}
}}"#
    );
    let found = home.found(Source::Opencode, text);
    let names: Vec<_> = found.entries.iter().map(|entry| &*entry.name).collect();
    assert_eq!(names, ["good", "more", "last"]);
    let skipped: Vec<_> = found.skipped.iter().map(ToString::to_string).collect();
    let moment = "must be a moment after 1970 that a calendar has";
    let twice = "is there twice, and it can't be told which one counts";
    assert_eq!(
        skipped,
        [
            "no-object (line 3): must be an object".to_owned(),
            "no-type (line 4): `type` is missing".to_owned(),
            "new-type (line 5): `type` is none that this version knows".to_owned(),
            "no-key (line 6): `key` is missing".to_owned(),
            "empty-key (line 7): `key` is missing".to_owned(),
            "number-key (line 9): `key` must be a string".to_owned(),
            "two-lines (line 10): `key` has a line break or the like, which no header can carry"
                .to_owned(),
            "no-tokens (line 11): has no token: nobody is signed in, or the sign-in was never finished"
                .to_owned(),
            "odd-end (line 12): `expires` must be a number, of milliseconds or seconds since 1970"
                .to_owned(),
            format!("old-end (line 13): `expires` {moment}"),
            format!("far-end (line 14): `expires` {moment}"),
            "no-token (line 15): `token` is missing".to_owned(),
            format!("key-twice (line 18): `key` {twice}"),
            "odd-escape (line 19): `key` has an escape that makes no character".to_owned(),
            " (line 20): it is empty".to_owned(),
            "odd\\u{202e}name (line 21): it has characters that are not seen, or turn a line around"
                .to_owned(),
            "odd\\u{1b}[2Jname (line 22): it has control characters".to_owned(),
            "more (line 23): `since` isn't known to this version and stays in the file".to_owned(),
            format!("twice (line 1): {twice}"),
        ]
    );
    is_clean(&format!("{found:?}"));
}

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
    // Whether such a value is kept or refused: nothing is lost without a word.
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
        for odd in [pipe.as_path(), std::path::Path::new("/dev/zero")] {
            let error = read(Source::Codex, odd).unwrap_err();
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
        // Root reads everything; then there is nothing to see.
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

/// Every place in a value where another could be.
fn places(value: &Value, at: Vec<String>) -> Vec<Vec<String>> {
    let inner: Vec<_> = match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| places(value, [at.clone(), vec![name.clone()]].concat()))
            .collect(),
        _ => Vec::new(),
    };
    [vec![at], inner].concat()
}

fn put(value: &mut Value, at: &[String], new: Value) {
    match at {
        [] => *value = new,
        [name, rest @ ..] => put(&mut value[name], rest, new),
    }
}

/// Members that are no secrets, and may be seen in a record's metadata.
const PUBLIC: [&str; 10] = [
    "scope",
    "scopes",
    "subscriptionType",
    "enterpriseUrl",
    "accountId",
    "account_id",
    "gatewayId",
    "serverUrl",
    "serverName",
    "key",
];

/// What is in the entries, all of it.
fn kept(found: &Found) -> String {
    let entry = |entry: &Entry| {
        let secret = serde_json::to_string(&entry.secret).unwrap();
        format!("{secret} {:?} {}", entry.attributes, entry.name)
    };
    // Without what escapes, since some of it is JSON in JSON.
    found.entries.iter().map(entry).collect::<Vec<_>>().join("\n").replace('\\', "")
}

#[test]
fn each_field_of_another_type_is_kept_or_named_and_never_shown() {
    let odd = [
        json!(null),
        json!(true),
        json!(-1.5),
        json!(1e18),
        json!(""),
        json!(PLANTED),
        json!(format!("{PLANTED}\r\n")),
        json!([]),
        json!([PLANTED]),
        json!({}),
        json!({PLANTED.to_lowercase(): PLANTED}),
    ];
    let home = Home::new();
    let mut tried = 0;
    for source in Source::ALL {
        let file = json(source);
        for at in places(&file, Vec::new()) {
            for new in &odd {
                let mut changed = file.clone();
                put(&mut changed, &at, new.clone());
                tried += 1;
                let found = match read(source, home.write(source, changed.to_string())) {
                    Ok(found) => found,
                    Err(error) => {
                        assert!(at.is_empty() && !new.is_object(), "{source} {at:?} {new}: {error}");
                        is_clean(&format!("{error} {error:?}"));
                        continue;
                    }
                };
                found.skipped.iter().for_each(|skipped| is_clean(&skipped.to_string()));
                if !at.last().is_some_and(|name| PUBLIC.contains(&name.as_str())) {
                    is_clean(&format!("{found:?}"));
                }
                // No secret of the file is gone without a word.
                let kept = kept(&found);
                let lost = secrets(&changed).into_iter().any(|secret| {
                    let secret = serde_json::to_string(&secret).unwrap().replace('\\', "");
                    !kept.contains(secret.trim_matches('"'))
                });
                assert!(!lost || !found.skipped.is_empty(), "{source} {at:?} {new}: {found:?}");
            }
        }
    }
    assert!(tried > 800, "{tried}");
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
