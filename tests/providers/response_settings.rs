//! Rules for responses, from a settings file.

#![cfg(feature = "config")]

use http::{HeaderMap, StatusCode};
use tower_credentials::Timestamp;
use tower_credentials::provider::{Assessment, LimitOf, Provider, ResponseView, Verdict};
use tower_credentials::registry::Registry;

fn registry(rules: &str) -> Result<Registry, String> {
    let text =
        format!("[providers.acme]\ntype = \"generic\"\norigins = [\"https://api.acme.test\"]\n{rules}");
    Registry::builder().toml("settings.toml", text).build().map_err(|error| error.to_string())
}

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn read(
    provider: &dyn Provider,
    status: u16,
    headers: &[(&'static str, &str)],
    body: &str,
) -> Assessment {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    let status = StatusCode::from_u16(status).unwrap();
    let seen = &body.as_bytes()[..body.len().min(provider.body_prefix(status))];
    provider.read(&ResponseView::new(status, &map, NOW).body(seen))
}

#[test]
fn each_meaning_has_its_verdict() {
    let rules = r#"
        [[providers.acme.responses]]
        status = 403
        body = { "error.code" = ["quota", "no_credit"] }
        means = "spent"
        what_to_do = "buy credits"
        until = "error.back_at"

        [[providers.acme.responses]]
        status = [409, 503]
        header = { x-busy = "yes*" }
        means = "limit"
        lasts = "45s"
        of = "account"

        [[providers.acme.responses]]
        status = 400
        text = "key * is deleted"
        means = "dead"

        [[providers.acme.responses]]
        status = 401
        body = { code = "banned" }
        means = "stopped"
        what_to_do = "appeal"

        [[providers.acme.responses]]
        status = 403
        header = { content-type = "text/html*" }
        means = "refused"

        [[providers.acme.responses]]
        status = 418
        means = "not-the-account"

        [[providers.acme.responses]]
        status = 422
        means = "this-request"

        [[providers.acme.responses]]
        status = 424
        means = "insufficient-scope"

        [[providers.acme.responses]]
        status = 498
        means = "refused"
    "#;
    let registry = registry(rules).unwrap();
    let acme = registry.provider("acme").unwrap();
    let acme = &*acme;
    let later = |seconds: u64| Timestamp::from_millis(NOW.as_millis() + seconds * 1000);
    let spent =
        |until| Some(Verdict::Spent { reason: "acme answered quota: buy credits".into(), until });
    assert_eq!(read(acme, 403, &[], r#"{"error":{"code":"quota"}}"#).verdict, spent(None));
    let in_a_day = r#"{"error":{"code":"quota","back_at":1800086400}}"#;
    assert_eq!(read(acme, 403, &[], in_a_day).verdict, spent(Some(later(86_400))));
    for status in [409, 503] {
        let busy = read(acme, status, &[("x-busy", "yes, very")], "");
        assert_eq!((busy.verdict, busy.retry_at), (Some(Verdict::Limited), Some(later(45))));
        assert_eq!(busy.limit_of, Some(LimitOf::Account));
    }
    assert_eq!(read(acme, 409, &[("x-busy", "no")], "").verdict, None);
    let dead = read(acme, 400, &[], "key 7 is deleted.\n").verdict;
    assert_eq!(dead, Some(Verdict::Dead { reason: "acme: see to the account".into() }));
    let stopped = read(acme, 401, &[], r#"{"code":"banned"}"#).verdict;
    assert_eq!(stopped, Some(Verdict::Stopped { reason: "acme answered banned: appeal".into() }));
    let page = &[("content-type", "text/html; charset=utf-8")];
    assert_eq!(read(acme, 403, page, "<html>").verdict, None, "refused, as the user says");
    assert_eq!(read(acme, 418, &[], "").verdict, Some(Verdict::NotTheAccount));
    assert_eq!(read(acme, 422, &[], "").verdict, Some(Verdict::ThisRequest));
    assert_eq!(read(acme, 424, &[], "").verdict, Some(Verdict::InsufficientScope));
    assert_eq!(read(acme, 498, &[], "").verdict, Some(Verdict::Refused));
    assert_eq!(read(acme, 500, &[("x-busy", "yes")], "").verdict, None);
}

#[test]
fn a_vendors_rules_come_after_the_users() {
    let text = r#"
        [[providers.openai.responses]]
        status = 429
        body = { "error.code" = "insufficient_quota" }
        means = "limit"
        lasts = 60
    "#;
    let registry = Registry::builder().toml("settings.toml", text).build().unwrap();
    let openai = registry.provider("openai").unwrap();
    let usual = Registry::builder().build().unwrap().provider("openai").unwrap();
    let body = r#"{"error":{"code":"insufficient_quota"}}"#;
    assert_eq!(read(&*openai, 429, &[], body).verdict, None);
    assert!(matches!(read(&*usual, 429, &[], body).verdict, Some(Verdict::Spent { .. })));
    let body = r#"{"error":{"code":"token_revoked"}}"#;
    assert_eq!(read(&*openai, 401, &[], body), read(&*usual, 401, &[], body));
    assert_eq!(openai.responses().len(), usual.responses().len() + 1);
}

#[test]
fn an_error_names_the_fault_and_the_way_out() {
    for (rule, expected) in [
        ("status = 403", "has no `means`"),
        ("means = \"limit\"", "has no `status`"),
        ("status = 200\nmeans = \"limit\"", "from 400 to 599"),
        ("status = []\nmeans = \"limit\"", "from 400 to 599"),
        ("status = \"403\"\nmeans = \"limit\"", "from 400 to 599"),
        ("status = 403\nmeans = \"broke\"", "must be one of \"limit\", \"spent\""),
        ("status = 403\nmeans = 7", "`means` must be text"),
        ("status = 403\nmeaning = \"limit\"", "is `means` meant?"),
        ("status = 403\nmeans = \"limit\"\nbody = \"quota\"", "`body` must be a table"),
        ("status = 403\nmeans = \"limit\"\nbody = { \"a..b\" = \"x\" }", "empty name"),
        ("status = 403\nmeans = \"limit\"\nbody = { a = 7 }", "`body` must be text"),
        ("status = 403\nmeans = \"limit\"\nbody = { a = [] }", "empty list"),
        ("status = 403\nmeans = \"limit\"\nheader = { \"no header\" = \"x\" }", "a header's name"),
        ("status = 403\nmeans = \"limit\"\nlasts = \"long\"", "`lasts` must be"),
        ("status = 403\nmeans = \"limit\"\nof = \"all\"", "`of` must be one of"),
        ("status = 403\nmeans = \"dead\"\nlasts = 5", "is for limits"),
        ("status = 403\nmeans = \"dead\"\nuntil = \"x\"", "is for limits"),
        (
            "status = 403\nmeans = \"limit\"\nwhat_to_do = \"wait\"",
            "`what_to_do` is for what is `spent`",
        ),
    ] {
        let good = "[[providers.acme.responses]]\nstatus = 402\nmeans = \"spent\"\n";
        let error = registry(&format!("{good}[[providers.acme.responses]]\n{rule}\n")).unwrap_err();
        assert!(error.contains(expected), "{rule}: {error}");
        for part in ["settings.toml, line ", "providers.acme.responses", "entry 2"] {
            assert!(error.contains(part), "{rule}: {error}");
        }
    }
    let error = registry("responses = \"x\"").unwrap_err();
    assert!(error.contains("[[providers.NAME.responses]]"), "{error}");
    let variable = [("TOWER_CREDENTIALS_OPENAI_RESPONSES", "x")];
    let error = Registry::builder().environment(variable).build().unwrap_err().to_string();
    assert!(error.contains("[[providers.NAME.responses]]"), "{error}");
}
