//! Settings that cannot be used: each error says where it is, what is wrong, and what would work.

#![cfg(all(feature = "config", feature = "oauth"))]

use std::num::NonZeroU32;

use tower_credentials::provider::Provider;
use tower_credentials::registry::Registry;
use tower_credentials::settings::{ProviderSettings, SettingsError};
use tower_credentials::vault::MemoryVault;

use crate::settings_rig::{refused, variables, with_file};

/// Files, and words of the error.
const WRONG_FILES: &[(&str, &[&str])] = &[
    (
        "[providers.openai]\n\nmoed = \"api\"",
        &["credentials.toml, line 3", "`providers.openai.moed`", "`mode`"],
    ),
    ("[providers.openai]\nmax_atempts = 1", &["line 2", "`max_attempts`"]),
    ("[providers.openai]\norigin = []", &["line 2", "`origins`"]),
    (
        "[providers.openai.oauth]\nclientid = \"x\"",
        &["line 2", "`providers.openai.oauth.clientid`", "`oauth.client_id`"],
    ),
    ("[providers.openai.oauth]\ntoken_uri = \"x\"", &["`oauth.token_url`"]),
    ("[providers.openai]\noauth.authorise_url = \"x\"", &["`oauth.authorize_url`"]),
    (
        "[providers.openai.cooldowns]\nlimited = 1",
        &["line 1", "`providers.openai.cooldowns`", "`cooldown_"],
    ),
    ("[provider.openai]\nmode = \"api\"", &["line 1", "`provider`", "`providers`"]),
    ("mode = \"api\"", &["line 1", "`mode`", "`providers`"]),
    ("[providers.opnai]\nmode = \"api\"", &["line 1", "\"opnai\"", "`openai`", "`type`"]),
    ("[providers.anthropc]", &["`anthropic`"]),
    ("\n\n[providers.github-copliot]", &["line 3", "`github-copilot`"]),
    ("providers = 1", &["line 1", "`providers` must be a table"]),
    ("[providers]\nopenai = \"api\"", &["line 2", "`providers.openai` must be a table"]),
    (
        "[providers.openai]\nmode = \"apis\"",
        &["line 2", "`providers.openai.mode`", "\"auto\", \"api\", \"subscription\""],
    ),
    ("[providers.openai]\nmode = 1", &["must be text, in quotes"]),
    ("[providers.openai]\nmode = [\"api\"]", &["must be text, not a list"]),
    ("[providers.openai]\nmode.x = 1", &["must be text, not a table"]),
    ("[providers.openai]\nmode = true", &["must be text, not a true or false"]),
    (
        "[providers.openai]\nmax_attempts = 0",
        &["line 2", "`providers.openai.max_attempts`", "from 1 on"],
    ),
    ("[providers.openai]\nmax_attempts = -1", &["from 1 on"]),
    ("[providers.openai]\nmax_attempts = 4294967296", &["from 1 on"]),
    ("[providers.openai]\nmax_attempts = 1.5", &["from 1 on"]),
    ("[providers.openai]\nmax_attempts = []", &["from 1 on"]),
    (
        "[providers.openai]\ncooldown_limited = \"soon\"",
        &["`providers.openai.cooldown_limited`", "\"30s\""],
    ),
    ("[providers.openai]\ncooldown_limited = -1", &["\"30s\""]),
    ("[providers.openai]\ncooldown_limited = \"-1s\"", &["\"30s\""]),
    ("[providers.openai]\ncooldown_refused = \"5 minutes\"", &["\"5m\""]),
    ("[providers.openai]\ncooldown_cap = []", &["\"1h30m\""]),
    ("[providers.openai]\nnamespace = \"\"", &["`providers.openai.namespace`", "it is empty"]),
    ("[providers.openai]\nnamespace = \"a\\nb\"", &["control characters"]),
    ("[providers.openai]\napi_key_variable = \"A=B\"", &["environment variable"]),
    ("[providers.openai]\norigins = \"https://a.test\"", &["must be a list of texts"]),
    ("[providers.openai]\norigins = [1]", &["must be text, in quotes"]),
    ("[providers.openai]\norigins = [\"http://a.test\"]", &["`providers.openai.origins`", "use https"]),
    ("[providers.openai]\norigins = [\"https://a.test/v1\"]", &["no path"]),
    ("[providers.github-copilot]\nendpoint_hosts = [\"http://a.test\"]", &["use https"]),
    ("[providers.github-copilot]\nendpoint_hosts = [\"*.a.test\"]", &["letters, digits and dashes"]),
    (
        "[providers.openai]\nendpoint_hosts = [\"a.test\"]",
        &["openai", "`endpoint_hosts`", "Copilot and Qwen"],
    ),
    ("[providers.openai]\nsubscription_endpoint = \"http://a.test\"", &["use https"]),
    ("[providers.qwen]\nsubscription_endpoint = \"https://a.test\"", &["qwen", "OpenAI alone"]),
    (
        "[providers.openai]\nmodels_url = \"http://a.test/models\"",
        &["`providers.openai.models_url`", "use https"],
    ),
    (
        "[providers.openai]\nmodels_url = \"v1/models\"",
        &["`providers.openai.models_url`", "begins with /"],
    ),
    ("[providers.openai]\nmodels_url = 1", &["must be text"]),
    (
        "[providers.openai]\nmodels_shape = \"json\"",
        &["models_shape`", "\"openai\", \"anthropic\", \"google\""],
    ),
    ("[providers.openai]\nheaders = 1", &["must be a table of headers"]),
    ("[providers.openai.headers]\n\"a b\" = \"x\"", &["line 2", "header's name"]),
    ("[providers.openai.headers]\na = 1", &["must be text"]),
    ("[providers.openai.headers]\na = \"x\\ny\"", &["one line of plain text"]),
    ("[providers.openai]\nheader = \"x-api-key\"", &["openai", "`header`", "\"generic\" alone"]),
    ("[providers.openai]\nprefix = \"\"", &["`prefix`", "\"generic\" alone"]),
    ("[providers.openai.extra_headers]\na = \"b\"", &["`extra_headers`", "\"generic\" alone"]),
    ("[providers.openai]\nquery_names = [\"k\"]", &["`query_names`", "\"generic\" alone"]),
    ("[providers.mine]\ntype = \"genric\"", &["mine", "`type`", "\"generic\"", "\"github-copilot\""]),
    ("[providers.mine]\ntype = \"openai\"\nheader = \"a\"", &["`header`", "\"generic\" alone"]),
    ("[providers.mine]\ntype = \"generic\"\naliases = [\"openai\"]", &["\"openai\" is taken by openai"]),
    (
        "[providers.mine]\ntype = \"generic\"\naliases = [\"claude\"]",
        &["\"claude\" is taken by anthropic"],
    ),
    ("[providers.mine]\ntype = \"generic\"\nquery_names = [\"\"]", &["empty name"]),
    ("[providers.openai]\nquota_headers = [\"x y\"]", &["quota_headers`", "header's name"]),
    (
        "[providers.mine]\ntype = \"generic\"\nprefix = \"Bearer\\n\"",
        &["`providers.mine.prefix`", "one line of plain text"],
    ),
    (
        "[providers.mine]\ntype = \"generic\"\noauth_prefix = \"Bearer\\n\"",
        &["`providers.mine.oauth_prefix`", "one line of plain text"],
    ),
    ("[providers.mine]\ntype = \"generic\"\nheader = \"a b\"", &["header's name"]),
    ("[providers.openai]\naliases = [\"oai\"]", &["openai", "`aliases`", "credentials.toml, line 1"]),
    ("[providers.\"\"]\ntype = \"generic\"", &["line 1", "it is empty"]),
    ("[providers.claude]\n[providers.anthropic]", &["`claude`", "another name of anthropic"]),
    ("[providers.openai]\noauth = 1", &["`providers.openai.oauth` must be a table"]),
    ("[providers.openai]\noauth.client_id = \"\"", &["is empty"]),
    ("[providers.openai]\noauth.client_id = 1", &["must be text"]),
    ("[providers.openai]\noauth.scopes = \"a b\"", &["must be a list"]),
    ("[providers.openai]\noauth.flows = [\"divice\"]", &["\"device\"", "\"pasted-code\""]),
    ("[providers.openai]\noauth.token_encoding = \"xml\"", &["\"form\", \"json\""]),
    ("[providers.openai]\noauth.dialect = \"x\"", &["\"standard\""]),
    (
        "[providers.openai]\noauth.token_url = \"http://a.test/token\"",
        &["`providers.openai.oauth.token_url`", "use https"],
    ),
    ("[providers.openai]\noauth.device_url = \"a.test\"", &["https://"]),
    ("[providers.openai]\noauth.redirect_uri = \"localhost:1\"", &["http://127.0.0.1"]),
    ("[providers.openai]\noauth.redirect_uri = \"/callback\"", &["http://127.0.0.1"]),
    ("[providers.openai]\noauth.redirect_uri = \"http://a.test/callback\"", &["http://127.0.0.1"]),
    ("[providers.openai]\noauth.authorize_url = \"https://u:p@a.test/\"", &["must not name a user"]),
    ("[providers.openai]\noauth.authorize_params = \"a=b\"", &["must be a table of texts"]),
    ("[providers.openai]\noauth.authorize_params.a = 1", &["must be text"]),
    ("[providers.openai\nmode = \"api\"", &["credentials.toml, line 1", "not valid TOML"]),
    (
        "[providers.openai]\nmode = \"api\"\nmode = \"api\"",
        &["credentials.toml, line 3", "not valid TOML"],
    ),
];

#[test]
fn an_error_in_a_file_names_its_line_and_the_way_out() {
    for (text, says) in WRONG_FILES {
        let error = refused(with_file(text)).to_string();
        for part in *says {
            assert!(error.contains(part), "{text:?}: {error:?} does not say {part:?}");
        }
    }
    assert!(WRONG_FILES.len() >= 65);
}

/// Variables, and words of the error; `None` if there is none.
const WRONG_VARIABLES: &[(&str, &str, Option<&[&str]>)] = &[
    (
        "TOWER_CREDENTIALS_OPENAI_MOED",
        "api",
        Some(&["TOWER_CREDENTIALS_OPENAI_MOED", "`TOWER_CREDENTIALS_OPENAI_MODE`"]),
    ),
    (
        "TOWER_CREDENTIALS_GITHUB_COPILOT_MAX_ATEMPTS",
        "1",
        Some(&["`TOWER_CREDENTIALS_GITHUB_COPILOT_MAX_ATTEMPTS`"]),
    ),
    (
        "TOWER_CREDENTIALS_OPENAI_OAUTH_CLIENTID",
        "x",
        Some(&["`TOWER_CREDENTIALS_OPENAI_OAUTH_CLIENT_ID`"]),
    ),
    ("TOWER_CREDENTIALS_OPENAI_mode", "api", Some(&["`TOWER_CREDENTIALS_OPENAI_MODE`"])),
    ("TOWER_CREDENTIALS_OPENAI_", "x", Some(&["TOWER_CREDENTIALS_OPENAI_"])),
    ("TOWER_CREDENTIALS_OPENAI_OAUTH", "x", Some(&["TOWER_CREDENTIALS_OPENAI_OAUTH"])),
    ("TOWER_CREDENTIALS_OPENAI_HEADERS", "x", Some(&["must be a table"])),
    (
        "TOWER_CREDENTIALS_OPNAI_MODE",
        "api",
        Some(&["TOWER_CREDENTIALS_OPNAI_MODE", "\"OPNAI\"", "`OPENAI`"]),
    ),
    ("TOWER_CREDENTIALS_COPLIOT_OAUTH_CLIENT_ID", "x", Some(&["\"COPLIOT\"", "`COPILOT`"])),
    (
        "TOWER_CREDENTIALS_OPENAI_MODE",
        "apis",
        Some(&["TOWER_CREDENTIALS_OPENAI_MODE", "`mode`", "\"api\""]),
    ),
    ("TOWER_CREDENTIALS_OPENAI_MAX_ATTEMPTS", "0", Some(&["from 1 on"])),
    ("TOWER_CREDENTIALS_OPENAI_MAX_ATTEMPTS", "many", Some(&["from 1 on"])),
    ("TOWER_CREDENTIALS_OPENAI_COOLDOWN_LIMITED", "soon", Some(&["\"30s\""])),
    ("TOWER_CREDENTIALS_OPENAI_ORIGINS", "https://a.test http://b.test", Some(&["use https"])),
    ("TOWER_CREDENTIALS_OPENAI_HEADERS_X_TEAM", "a\nb", Some(&["one line"])),
    ("TOWER_CREDENTIALS_OPENAI_OAUTH_TOKEN_URL", "ftp://a.test", Some(&["https"])),
    ("TOWER_CREDENTIALS_OPENAI_HEADER", "a", Some(&["`header`", "\"generic\" alone"])),
    (
        "TOWER_CREDENTIALS_OPENAI_API_KEY",
        "planted",
        Some(&["`API_KEY`", "`TOWER_CREDENTIALS_OPENAI_API_KEY_VARIABLE`"]),
    ),
    ("TOWER_CREDENTIALS_MINE_TYPE", "generic", Some(&["\"MINE\"", "in a file or in the program"])),
    ("TOWER_CREDENTIALS_VAULT_KEY", "planted", None),
    ("TOWER_CREDENTIALS_DIR", "/tmp", None),
    ("TOWER_CREDENTIALS_SOMETHING_ELSE", "x", None),
    ("TOWER_CREDENTIALS_", "x", None),
    ("TOWER_CREDENTIALS", "x", None),
    ("OPENAI_MOED", "x", None),
    ("XTOWER_CREDENTIALS_OPENAI_MOED", "x", None),
];

#[test]
fn an_error_in_the_environment_names_the_variable_and_the_way_out() {
    for (name, value, says) in WRONG_VARIABLES {
        let built = Registry::builder().environment(variables(&[(name, value)])).build();
        match says {
            None => assert!(built.is_ok(), "{name}: {built:?}"),
            Some(says) => {
                let error = built.expect_err(name).to_string();
                for part in *says {
                    assert!(error.contains(part), "{name}: {error:?} does not say {part:?}");
                }
            }
        }
    }
}

#[test]
fn two_variables_of_one_setting_and_an_ambiguous_variable_are_refused() {
    let twice =
        variables(&[("TOWER_CREDENTIALS_OPENAI_MODE", "api"), ("TOWER_CREDENTIALS_CODEX_MODE", "auto")]);
    let error = refused(Registry::builder().environment(twice)).to_string();
    assert!(error.contains("TOWER_CREDENTIALS_CODEX_MODE"), "{error}");
    assert!(error.contains("is set by TOWER_CREDENTIALS_OPENAI_MODE, too"), "{error}");
    let text = "[providers.a-b]\ntype = \"generic\"\n[providers.\"a.b\"]\ntype = \"generic\"";
    with_file(text).build().unwrap();
    let of_two = variables(&[("TOWER_CREDENTIALS_A_B_MODE", "api")]);
    let error = refused(with_file(text).environment(of_two)).to_string();
    assert!(error.contains("a-b's or a.b's"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_unicode_is_refused_and_others_are_left_alone() {
    use std::os::unix::ffi::OsStringExt;
    let not_text = || std::ffi::OsString::from_vec(vec![b'a', 0xff]);
    let mode = (std::ffi::OsString::from("TOWER_CREDENTIALS_OPENAI_MODE"), not_text());
    assert!(refused(Registry::builder().environment([mode])).to_string().contains("UTF-8"));
    let others =
        [(not_text(), not_text()), ("PATH".into(), not_text()), ("OPENAI_API_KEY".into(), not_text())];
    Registry::builder().environment(others).build().unwrap();
}

#[test]
fn an_error_in_the_programs_own_settings_is_reported() {
    let set = |key, value| ProviderSettings::new().set(key, value).unwrap_err().to_string();
    assert!(set("moed", "api").contains("`mode`"));
    assert!(set("max_attempts", "0").contains("from 1 on"));
    assert!(set("oauth.client", "x").contains("`oauth.client_id`"));
    assert!(set("mode.x", "x").contains("`mode`"));
    assert!(set("", "x").contains("nearest"));
    let unknown = refused(Registry::builder().set("opnai", ProviderSettings::new())).to_string();
    assert!(unknown.contains("the program") && unknown.contains("`openai`"), "{unknown}");
}

#[test]
fn an_unknown_name_is_an_error_with_the_nearest_one() {
    let registry = Registry::builder().build().unwrap();
    for (name, nearest) in [
        ("opnai", "openai"),
        ("Anthropic", "anthropic"),
        ("gemni", "gemini"),
        ("githubcopilot", "github-copilot"),
        ("copilt", "copilot"),
    ] {
        let text = registry.provider(name).err().unwrap().to_string();
        assert_eq!(text, format!("no provider is called {name:?}; the nearest is `{nearest}`"));
        assert!(registry.max_attempts(name).is_err() && registry.pool_key(name).is_err());
        assert!(registry.pool(name, MemoryVault::new()).is_err());
    }
}

#[test]
fn a_missing_file_is_an_error_unless_it_is_optional() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("credentials.toml");
    let error = refused(Registry::builder().file(&path));
    assert!(matches!(error, SettingsError::Io { .. }) && error.to_string().contains("credentials.toml"));
    Registry::builder().optional_file(&path).build().unwrap();
    std::fs::write(&path, "[providers.openai]\nmax_attempts = 2").unwrap();
    for builder in [Registry::builder().file(&path), Registry::builder().optional_file(&path)] {
        let registry = builder.build().unwrap();
        assert_eq!(registry.max_attempts("openai").unwrap(), NonZeroU32::new(2));
    }
    std::fs::write(&path, "[providers.openai]\nmax_attempts = 0").unwrap();
    let error = refused(Registry::builder().optional_file(&path)).to_string();
    assert!(error.starts_with(&path.display().to_string()), "{error}");
    assert!(matches!(
        refused(Registry::builder().optional_file(directory.path())),
        SettingsError::Io { .. }
    ));
}

#[test]
fn no_error_and_no_debug_output_contains_a_secret() {
    let whole = "[providers.openai]\noauth.client_secret = \"planted\"\n[providers.openai.headers]\nx = \"planted\"\n";
    let registry =
        with_file(whole).environment(variables(&[("OPENAI_API_KEY", "planted")])).build().unwrap();
    assert!(!format!("{registry:?}").contains("planted"));
    assert!(!format!("{:?}", with_file(whole)).contains("planted"));
    let settings = ProviderSettings::new().set("oauth.client_secret", "planted").unwrap();
    assert!(!format!("{settings:?}").contains("planted"));
    let oauth = registry.provider("openai").unwrap().oauth().unwrap().clone();
    assert_eq!(oauth.client_secret.as_ref().unwrap().expose(), "planted");
    assert!(!format!("{oauth:?}").contains("planted"));
    for broken in [
        "[providers.openai]\noauth.client_secret = \"planted\nx",
        "[providers.openai]\noauth.client_secret = [\"planted\"]",
        "[providers.openai]\noauth.client_secret = planted",
        "[providers.openai]\noauth.client_secret = \"\\planted\"",
        "[providers.openai]\noauth.client_secrt = \"planted\"",
        "[providers.openai.headers]\nx = \"planted\\n\"",
        "[providers.openai]\noauth.token_url = \"https://planted:planted@a.test/x\"",
        "[providers.openai]\norigins = [\"https://planted@a.test\"]",
        "[providers.openai]\nsubscription_endpoint = \"https://u:planted@a.test/x\"",
    ] {
        let error = refused(with_file(broken));
        assert!(!format!("{error} {error:?}").contains("planted"), "{error} {error:?}");
    }
}
