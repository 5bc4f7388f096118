//! The README's code: each of its blocks is a file here, word for word, and runs.

#![cfg(all(feature = "config", feature = "file", feature = "hyper", feature = "reqwest"))]

mod fifteen_lines;
mod over_reqwest;

use tempfile::TempDir;

use crate::support::{Canned, Server, Upstream, keys};

const README: &str = include_str!("../../../README.md");

/// The README's fenced blocks of a language, in order.
fn blocks(language: &str) -> Vec<String> {
    let opening = format!("```{language}");
    let mut lines = README.lines();
    let mut blocks = Vec::new();
    while lines.any(|line| line == opening) {
        let block = lines.by_ref().take_while(|line| *line != "```");
        blocks.push(block.map(|line| format!("{line}\n")).collect());
    }
    blocks
}

#[test]
fn every_rust_block_of_the_readme_is_run_here() {
    assert_eq!(blocks("rust"), [include_str!("fifteen_lines.rs"), include_str!("over_reqwest.rs")]);
    assert_eq!(README.matches("```rust").count(), 2, "a block of Rust with attributes");
}

#[tokio::test]
async fn the_crate_in_fifteen_lines_uses_the_next_account_after_a_429_and_remembers_the_limit() {
    let upstream = Upstream::new().answers("sk-1", [Canned::limited(600)]);
    let (server, place) = (Server::start(&upstream).await, TempDir::new().unwrap());
    assert_eq!(fifteen_lines::hello(&server.origin(), place.path()).await.unwrap(), 200);
    // The next run of the program knows which account is limited.
    assert_eq!(fifteen_lines::hello(&server.origin(), place.path()).await.unwrap(), 200);
    assert_eq!(upstream.tokens(), ["sk-1", "sk-2", "sk-2"]);
}

#[tokio::test]
async fn the_block_for_reqwest_uses_the_next_account_after_a_429() {
    let upstream = Upstream::new().answers("a", [Canned::limited(600)]);
    let server = Server::start(&upstream).await;
    let pool = server.builder(keys(["a", "b"]).await).open().await.unwrap();
    let url = format!("{}/v1", server.origin());
    let response = over_reqwest::post(pool, &url, b"hello".to_vec()).await.unwrap();
    assert_eq!((response.status().as_u16(), response.text().await.unwrap()), (200, "b".to_owned()));
    assert_eq!(upstream.tokens(), ["a", "b"]);
}

#[test]
fn the_manifest_blocks_have_the_features_and_versions_that_are_tested() {
    let blocks = blocks("toml");
    assert_eq!(blocks.len(), 2, "one for hyper, one for reqwest");
    blocks.iter().for_each(|block| check_manifest(block));
}

fn check_manifest(block: &str) {
    let block: toml::Table = toml::from_str(block).unwrap();
    let ours: toml::Table = toml::from_str(include_str!("../../../Cargo.toml")).unwrap();
    let table = |name: &str| ours[name].as_table().unwrap();
    for (name, dependency) in block["dependencies"].as_table().unwrap() {
        let asked = version(dependency);
        let features = dependency.get("features").and_then(|features| features.as_array());
        if name == "tower-credentials" {
            let ours = env!("CARGO_PKG_VERSION");
            assert!(ours.starts_with(asked), "{asked} of {name}, which is {ours}");
            for feature in features.into_iter().flatten() {
                assert!(
                    table("features").contains_key(feature.as_str().unwrap()),
                    "no feature {feature:?}"
                );
            }
        } else {
            let known = table("dev-dependencies").get(name).or(table("dependencies").get(name));
            let known = version(known.unwrap_or_else(|| panic!("{name} is no dependency of ours")));
            assert!(known.starts_with(asked), "{asked} of {name}, but ours is {known}");
        }
    }
}

fn version(dependency: &toml::Value) -> &str {
    dependency.as_str().or_else(|| dependency.get("version")?.as_str()).unwrap()
}
