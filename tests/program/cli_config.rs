//! `credentials config`: the settings file is made, found, checked and shown.
#![cfg(feature = "cli")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tower_credentials::registry::Registry;

use crate::cli::Home;

#[test]
fn config_init_writes_a_file_that_explains_everything_and_sets_nothing() {
    let home = Home::new();
    let path = home.config_directory().join("config.toml");
    let shown = path.to_str().unwrap();
    assert_eq!(home.run(["config", "path"]).ok().says("config init").stdout, format!("{shown}\n"));
    home.run(["config", "check"]).ok().says("none is needed");
    home.run(["config", "init"]).ok().says(&format!("Created {shown}"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(home.run(["config", "path"]).ok().stderr, "");
    home.run(["config", "check"]).ok().says("is valid");
    let before = home.run(["providers", "--json"]).ok().stdout;
    // It is never overwritten.
    fs::write(&path, "# mine\n").unwrap();
    home.run(["config", "init"]).code(1).says("is there already").says("config check");
    assert_eq!(fs::read_to_string(&path).unwrap(), "# mine\n");
    assert_eq!(home.run(["providers", "--json"]).ok().stdout, before);
    // A file that is named need not be there to be made.
    home.run(["config", "init", "--config", "there/other.toml"]).ok();
    home.run(["config", "check", "--config", "there/other.toml"]).ok();
    home.run(["config", "check", "--config", "nowhere.toml"]).code(3).says("nowhere.toml");
}

#[test]
fn everything_that_the_file_explains_is_valid_and_nothing_is_missing() {
    let text = Home::new().run(["config", "init", "--stdout"]).ok().stdout;
    Registry::builder().toml("as it is", text.as_str()).build().unwrap();
    let used: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("##"))
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .collect();
    let registry = Registry::builder().toml("put to use", used.join("\n")).build().unwrap();
    assert!(registry.provider("acme-corp").is_ok());
    // Every name that an error may suggest is in it.
    for key in [
        "directory",
        "key_file",
        "key_command",
        "keyring",
        "type",
        "mode",
        "namespace",
        "max_attempts",
        "max_in_flight",
        "cooldown_limited",
        "cooldown_refused",
        "cooldown_cap",
        "api_key_variable",
        "origins",
        "insecure_http_origins",
        "endpoint_hosts",
        "subscription_endpoint",
        "models_url",
        "models_shape",
        "header",
        "prefix",
        "oauth_header",
        "oauth_prefix",
        "query_names",
        "aliases",
        "client_id",
        "client_secret",
        "scopes",
        "flows",
        "authorize_url",
        "authorize_params",
        "redirect_uri",
        "device_url",
        "token_url",
        "refresh_url",
        "exchange_url",
        "poll_url",
        "account_url",
        "token_encoding",
        "dialect",
        "status",
        "body",
        "text",
        "means",
        "until",
        "lasts",
        "of",
        "what_to_do",
    ] {
        assert!(text.contains(&format!("{key} = ")), "{key} is not explained");
    }
    for table in ["headers]", "extra_headers]", "oauth]", "responses]]"] {
        assert!(text.contains(table), "{table} is not explained");
    }
}

#[test]
fn a_misspelt_setting_is_named_with_the_nearest_one() {
    let home = Home::new();
    home.settings("[providers.openai]\nmoed = \"api\"\n");
    home.run(["config", "check"]).code(2).says("config.toml, line 2").says("`mode`");
    home.run(["config", "show"]).code(2).says("`mode`");
    // Its path is shown all the same.
    home.run(["config", "path"]).ok().prints("config.toml");
    home.run(["config", "chekc"]).code(2).says("check");
}

#[tokio::test]
async fn plain_http_in_a_private_network_needs_its_own_setting_and_is_warned_of() {
    let home = Home::new();
    let settings =
        |line: &str| home.settings(&format!("[providers.acme]\ntype = \"generic\"\n{line}\n"));
    settings("origins = [\"http://10.0.0.5:8080\"]");
    home.run(["config", "check"]).code(2).says("config.toml, line 3").says("`insecure_http_origins`");
    settings("insecure_http_origins = [\"http://api.example.com\"]");
    home.run(["config", "check"]).code(2).says("config.toml, line 3").says("not public");
    settings("insecure_http_origins = [\"http://10.0.0.5:8080\"]");
    home.run(["config", "check"])
        .ok()
        .says("acme")
        .says("http://10.0.0.5:8080 unencrypted")
        .says("is valid");
    home.run(["config", "show", "acme"]).ok().prints("http://10.0.0.5:8080");
    home.add("acme", "work", "sk-1").await;
    let run = home.run_showing(["headers", "acme", "--json"], "").ok();
    assert_eq!(run.json()["url"], "http://10.0.0.5:8080/");
    home.run(["headers", "acme", "--url", "http://10.0.0.6:8080/"]).code(1).says("may not be sent to");
}

#[test]
fn settings_are_shown_as_they_are_in_effect_and_without_secrets() {
    let mut home = Home::new();
    home.secret("planted-secret");
    home.settings(
        "[providers.openai]\nmode = \"api\"\nmax_attempts = 3\n\
         oauth = { client_id = \"mine\", client_secret = \"planted-secret\" }\n",
    );
    home.set("TOWER_CREDENTIALS_OPENAI_NAMESPACE", "team");
    let run = home.run(["config", "show", "codex", "--json"]).ok();
    assert_eq!(
        run.json(),
        serde_json::json!([{
            "provider": "openai", "namespace": "team", "mode": "api", "max_attempts": 3,
            "origin": "https://api.openai.com", "api_key_variable": "OPENAI_API_KEY", "client_id": "mine",
            "oauth": {
                "authorize_url": "https://auth.openai.com/oauth/authorize",
                "redirect_uri": "http://localhost:1455/auth/callback",
                "token_url": "https://auth.openai.com/oauth/token",
            },
        }])
    );
    home.run(["config", "show"]).ok().prints("anthropic").prints("team").says("config.toml");
    home.run(["config", "show", "opnai"]).code(3).says("openai");
}

#[test]
fn a_setting_that_does_nothing_is_named() {
    let home = Home::new();
    home.settings(
        "[providers.noorig]\ntype = \"generic\"\n\n[providers.\"a/b c\"]\ntype = \"generic\"\n",
    );
    let run = home.run(["config", "check"]).ok().says("noorig does not say where its requests go");
    let run = run.says("try: set providers.noorig.origins in ");
    run.says("the provider's name \"a/b c\" has a `/` or a blank in it");
    home.settings("[vault]\ndirectory = \"$HOME/x\"\n");
    home.run(["config", "check"]).code(2).says("vault.directory").says("takes no variables");
    for name in ["MY KEY", "MY=KEY"] {
        home.settings(&format!("[providers.openai]\napi_key_variable = \"{name}\"\n"));
        home.run(["config", "check"]).code(2).says("must be the name of an environment variable");
    }
}

#[test]
fn every_fault_of_the_file_is_named_at_once_in_its_order() {
    let home = Home::new();
    home.settings(
        "[providers.openai]\nmoed = \"api\"\nmode = 3\n\n[vualt]\n\n[providers.opnai]\nmode = \"api\"\n\n\
         [vault]\nkeyring = 3\n",
    );
    let run = home.run(["config", "check"]).code(2).says("error: 5 settings are wrong:\n");
    let mut lines = run.stderr.lines().skip(1);
    for expected in [
        "config.toml, line 2: there is no setting `providers.openai.moed`; the nearest is `mode`",
        "config.toml, line 3: `providers.openai.mode` must be text, in quotes",
        "config.toml, line 5: there is no setting `vualt`; the nearest is `vault`",
        "config.toml, line 11: `vault.keyring` must be true or false",
        "config.toml, line 7: no provider is called \"opnai\"; the nearest is `openai`",
    ] {
        let line = lines.next().unwrap_or_default();
        assert!(line.starts_with("  ") && line.contains(expected), "no {expected:?} in {run:#?}");
    }
    assert_eq!(lines.next(), None);
    // One alone is an error as before.
    home.settings("[providers.openai]\nmoed = \"api\"\n");
    let run = home.run(["config", "check"]).code(2);
    assert!(run.stderr.starts_with("error: /") && run.stderr.lines().count() == 1, "{run:#?}");
}

#[test]
fn text_without_quotes_is_named_as_that_and_not_repeated() {
    let home = Home::new();
    home.secret("TOPSECRET");
    for line in [
        "client_secret = TOPSECRET",
        "client_secret = TOPSECRET # mine",
        "client_id = 1234.TOPSECRET.example",
        "token_url = https://TOPSECRET.example/token",
        "scopes = [TOPSECRET, \"b\"]",
    ] {
        home.settings(&format!("[providers.openai.oauth]\n{line}\n"));
        home.run(["config", "check"]).code(2).says("line 2: text must be in quotes");
    }
    for line in ["client_id = \"a", "client_id = ", "client_id", "= \"a\"", "scopes = [\"a\", \"b\""] {
        home.settings(&format!("[providers.openai.oauth]\n{line}\n"));
        let run = home.run(["config", "check"]).code(2);
        assert!(!run.stderr.contains("in quotes"), "{line}: {run:#?}");
    }
}

#[test]
fn oauth_settings_with_which_a_sign_in_or_a_renewal_fails_are_warned_of() {
    let home = Home::new();
    let settings = |redirect: &str, id: &str| {
        home.settings(&format!(
            "[providers.acme]\ntype = \"generic\"\norigins = [\"http://127.0.0.1:9\"]\nmax_in_flight = 3\n\
             [providers.acme.oauth]\nflows = [\"pasted-code\"]\nauthorize_url = \"http://127.0.0.1:9/a\"\n\
             token_url = \"http://127.0.0.1:9/t\"\nredirect_uri = \"{redirect}\"\n{id}"
        ));
    };
    settings("http://127.0.0.1:0/callback", "");
    let run = home.run(["config", "check"]).ok().says("is valid");
    let run = run.says("tokens of acme can't be renewed: no `client_id` is set");
    run.says("`login acme --paste-code` fails").says("set providers.acme.oauth.redirect_uri in ");
    settings("http://127.0.0.1:8080/callback", "client_id = \"mine\"\nclient_secret = \"TOPSECRET\"\n");
    let run = home.run(["config", "check"]).ok();
    assert!(!run.stderr.contains("warning"), "{run:#?}");
    // What is in effect is shown, and no secret.
    let run = home.run(["config", "show", "acme"]).ok().prints("max_in_flight: 3\n");
    let run =
        run.prints("origins: http://127.0.0.1:9\n").prints("oauth.token_url: http://127.0.0.1:9/t\n");
    assert!(!run.stdout.contains("TOPSECRET"), "{run:#?}");
    let json = home.run(["config", "show", "acme", "--json"]).ok().json();
    assert_eq!(
        (&json[0]["max_in_flight"], &json[0]["origins"][0]),
        (&3.into(), &"http://127.0.0.1:9".into())
    );
    assert_eq!(json[0]["oauth"]["redirect_uri"], "http://127.0.0.1:8080/callback");
}
