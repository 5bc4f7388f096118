//! The crate page's table of features says what Cargo.toml says.

use std::collections::BTreeMap;

/// A feature, and the features of this crate that it turns on.
type Features = BTreeMap<String, Vec<String>>;

/// Reads the features of Cargo.toml.
fn declared() -> Features {
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().expect("Cargo.toml is TOML");
    let features = manifest["features"].as_table().expect("features");
    let implied = |list: &toml::Value| {
        let names = list.as_array().into_iter().flatten().filter_map(toml::Value::as_str);
        names.filter(|name| features.contains_key(*name)).map(String::from).collect()
    };
    features.iter().map(|(name, list)| (name.clone(), implied(list))).collect()
}

/// The rows of the table of features: name, default, text.
fn rows() -> Vec<[&'static str; 3]> {
    let page = include_str!("../../src/lib.rs");
    let (_, table) = page.split_once("//! # Features").expect("a section about features");
    let rows = table.lines().filter_map(|line| line.strip_prefix("//! | `"));
    let cells = rows.map(|row| row.trim_end_matches(" |").splitn(3, " | "));
    cells.map(|cells| cells.collect::<Vec<_>>().try_into().expect("three cells")).collect()
}

/// The names in backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(String::from).collect()
}

#[test]
fn the_table_of_features_has_a_row_for_each_feature() {
    let mut listed: Vec<_> =
        rows().iter().map(|[name, ..]| name.trim_end_matches('`').to_owned()).collect();
    listed.sort();
    let mut features = declared();
    features.remove("default");
    assert_eq!(listed, features.into_keys().collect::<Vec<_>>());
}

#[test]
fn the_table_of_features_says_which_are_on_by_default_and_why() {
    let features = declared();
    for [name, default, _] in rows() {
        let name = name.trim_end_matches('`');
        let by: Vec<_> = features["default"]
            .iter()
            .filter(|on| features[*on].iter().any(|implied| implied == name))
            .cloned()
            .collect();
        let is_default = features["default"].iter().any(|on| on == name);
        match default {
            "yes" => assert!(is_default, "{name}"),
            "no" => assert!(!is_default && by.is_empty(), "{name}"),
            text => assert_eq!((is_default, quoted(text)), (false, by), "{name}: {text}"),
        }
    }
}

#[test]
fn the_table_of_features_names_the_features_that_each_implies() {
    let features = declared();
    for [name, _, text] in rows() {
        let name = name.trim_end_matches('`');
        let mut implied = features[name].clone();
        implied.sort();
        let said = text.split_once("Implies ").map_or("", |(_, said)| said);
        assert_eq!(quoted(said), implied, "{name}: {text}");
    }
}
