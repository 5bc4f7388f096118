//! All that is wrong in the settings is told at once.
#![cfg(all(feature = "config", feature = "oauth"))]

use tower_credentials::registry::{Registry, RegistryBuilder};
use tower_credentials::settings::SettingsError;

fn faults(builder: RegistryBuilder) -> Vec<String> {
    match builder.build().expect_err("it was taken") {
        SettingsError::Several(errors) => errors.iter().map(ToString::to_string).collect(),
        one => vec![one.to_string()],
    }
}

/// That there are these faults and no others, each with these words.
#[track_caller]
fn assert_faults(builder: RegistryBuilder, expected: &[&str]) {
    let faults = faults(builder);
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.contains(expected), "no {expected:?} in {faults:#?}");
    }
}

#[test]
fn a_file_s_faults_come_in_the_order_of_its_lines() {
    let text = "[providers.qwen]\nmod = 1\nmode = 1\noauth = { client = 1, flows = 1 }\nheaders = 1\n\
                [providers.anthropic]\norigins = [\"x\"]\n[vault]\ndirectory = 1\nkeyring = 1\nkey = 1\n[other]\n";
    let expected = [
        "line 2: there is no setting `providers.qwen.mod`",
        "line 3: `providers.qwen.mode`",
        "line 4: there is no setting `providers.qwen.oauth.client`",
        "line 4: `providers.qwen.oauth.flows`",
        "line 5: `providers.qwen.headers`",
        "line 7: `providers.anthropic.origins`",
        "line 9: `vault.directory`",
        "line 10: `vault.keyring`",
        "line 11: there is no setting `vault.key`",
        "line 12: there is no setting `other`",
    ];
    assert_faults(Registry::builder().toml("c.toml", text), &expected);
}

#[test]
fn faults_between_settings_are_told_with_those_of_single_ones() {
    let text = "[providers.openai]\nmode = 1\nheader = \"x-key\"\nprefix = \"\"\nendpoint_hosts = [\"a.test\"]\n\
                [providers.claude]\nmode = \"api\"\n[providers.anthropic]\n[providers.acme]\ntype = \"gneric\"\n\
                [providers.opnai]\n";
    let expected = [
        "line 2: `providers.openai.mode`",
        "`claude` is another name of anthropic",
        "no provider is called \"opnai\"",
        "`type` must be \"generic\" or one of",
        "`header` is for providers of the type \"generic\" alone",
        "`prefix` is for providers of the type \"generic\" alone",
        "`endpoint_hosts` is for Copilot and Qwen",
    ];
    assert_faults(Registry::builder().toml("c.toml", text), &expected);
}

#[test]
fn a_fault_that_follows_from_another_is_not_told() {
    for text in ["[providers.acme]\ntype = 1", "[providers.acme]\ntyp = \"generic\""] {
        let variables = [("TOWER_CREDENTIALS_ACME_MODE", "api")];
        let builder = Registry::builder().toml("c.toml", text).environment(variables);
        assert_faults(builder, &["line 2: "]);
    }
}

#[test]
fn every_variable_that_is_wrong_is_told() {
    let variables = [
        ("TOWER_CREDENTIALS_OPENAI_MOED", "api"),
        ("TOWER_CREDENTIALS_OPENAI_MODE", "apis"),
        ("TOWER_CREDENTIALS_OPNAI_MODE", "api"),
        ("TOWER_CREDENTIALS_CONFG", "x"),
    ];
    let expected = ["OPENAI_MOED: there", "OPENAI_MODE: `mode`", "no provider is called", "CONFG"];
    assert_faults(Registry::builder().environment(variables), &expected);
}

#[test]
fn the_error_of_several_numbers_them() {
    let text = "[providers.openai]\nmoed = 1\nmode = 1";
    let error = Registry::builder().toml("c.toml", text).build().unwrap_err().to_string();
    let expected = "2 settings are wrong: (1) c.toml, line 2: there is no setting `providers.openai.moed`; the nearest \
                    is `mode`; (2) c.toml, line 3: `providers.openai.mode` must be text, in quotes";
    assert_eq!(error, expected);
}
