//! The suite of promises is whole: each promise that the library has becomes a test.

use std::collections::BTreeSet;

/// Returns the words that follow `before` at the beginning of a line.
fn names<'a>(source: &'a str, before: &str) -> BTreeSet<&'a str> {
    let found = source.lines().filter_map(|line| line.strip_prefix(before));
    found.map(|rest| rest.split(['(', '<', ',']).next().unwrap()).collect()
}

const MACROS: &str = include_str!("../../src/conformance/macros.rs");

#[test]
fn every_promise_becomes_a_test() {
    let listed = names(MACROS, "            ");
    let sources = [
        include_str!("../../src/conformance/changes.rs"),
        include_str!("../../src/conformance/credentials.rs"),
        include_str!("../../src/conformance/hosts.rs"),
        include_str!("../../src/conformance/leases.rs"),
        include_str!("../../src/conformance/new_secrets.rs"),
        include_str!("../../src/conformance/other_pools.rs"),
        include_str!("../../src/conformance/standings.rs"),
    ];
    let promises: BTreeSet<_> =
        sources.iter().flat_map(|source| names(source, "pub async fn ")).collect();
    assert!(promises.len() > 50, "{promises:?}");
    assert_eq!(promises.difference(&listed).collect::<Vec<_>>(), Vec::<&&str>::new());
}
