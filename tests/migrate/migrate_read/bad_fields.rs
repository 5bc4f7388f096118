//! A field that cannot be used is named, and its secret is kept or stays in the file.

use serde_json::{Value, json};
use tower_credentials::migrate::{Entry, Found, Source, read};

use super::places;
use crate::legacy::{Home, PLANTED, is_clean, json, secrets};

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

fn put(value: &mut Value, at: &[String], new: Value) {
    match at {
        [] => *value = new,
        [name, rest @ ..] => put(&mut value[name], rest, new),
    }
}

/// Members that are not secret and may appear in a record's metadata.
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

/// Everything that the entries contain.
fn kept(found: &Found) -> String {
    let entry = |entry: &Entry| {
        let secret = serde_json::to_string(&entry.secret).unwrap();
        format!("{secret} {:?} {}", entry.attributes, entry.name)
    };
    // Without escapes, since some of it is JSON within JSON.
    found.entries.iter().map(entry).collect::<Vec<_>>().join("\n").replace('\\', "")
}

#[test]
fn each_field_of_another_type_is_kept_or_named_and_never_shown() {
    let values = [
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
            for new in &values {
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
                // No secret of the file is lost without a word.
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
