//! The guide names the versions that are tried.

use serde_json::Value;

#[test]
fn the_guide_names_the_versions_that_are_tried() {
    let guide = include_str!("../../../../specs/guides/gateway.md");
    let names = |name: &str, version: &str| {
        let is_it = |line: &&str| line.contains(&format!("`{name}`")) && line.contains(version);
        assert!(guide.lines().any(|line| is_it(&line)), "{name} {version}");
    };
    for line in include_str!("requirements.in").lines() {
        let (name, version) = line.split_once("==").unwrap();
        names(name, version);
    }
    let node: Value = serde_json::from_str(include_str!("package.json")).unwrap();
    for dependencies in ["dependencies", "optionalDependencies"] {
        for (name, version) in node[dependencies].as_object().unwrap() {
            names(name, version.as_str().unwrap());
        }
    }
}
