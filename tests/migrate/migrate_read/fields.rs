//! Each program's fields end up in their places.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tower_credentials::migrate::{Entry, Source};
use tower_credentials::{Kind, Secret, Timestamp};

use super::{attributes, entry, tokens};
use crate::legacy::{Home, fixture, is_clean, json};

const END: Timestamp = Timestamp::from_millis(1_767_225_600_000);

fn extra(entry: &Entry) -> BTreeMap<&str, &str> {
    tokens(entry).extra.iter().map(|(name, value)| (name.as_str(), value.expose())).collect()
}

/// Returns the access token, the refresh token and the expiry.
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
    // This program counts in seconds.
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
    // Members that this version does not know are kept all the same.
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
