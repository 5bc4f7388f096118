//! The links between the documents lead somewhere, and the tests that they name exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn documents() -> Vec<PathBuf> {
    let mut documents = files(&root().join("specs"));
    documents.extend(
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name)),
    );
    documents
}

/// A document's text without its blocks of code.
fn prose(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.split("```").step_by(2).collect()
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(path: &Path) -> BTreeSet<String> {
    let prose = prose(path);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        for link in prose(&document).split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => document.clone(),
                file => document.parent().unwrap().join(file),
            };
            if !target.exists() || !(anchor.is_empty() || anchors(&target).contains(anchor)) {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_test_that_the_security_page_names_exists() {
    let sources: Vec<_> =
        ["src", "tests"].iter().flat_map(|directory| files(&root().join(directory))).collect();
    let page = fs::read_to_string(root().join("specs/security.md")).unwrap();
    // The odd parts of the text between backticks are code. A file is named before the first of its tests.
    let mut file: Option<&PathBuf> = None;
    let mut missing = Vec::new();
    for code in page.split('`').skip(1).step_by(2) {
        let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
        let test = match code.split_once(".rs") {
            Some((name, rest)) => {
                let name = format!("{name}.rs");
                file = sources.iter().find(|source| source.ends_with(&name));
                if file.is_none() {
                    missing.push(code.clone());
                }
                rest.trim_start_matches(": ").to_owned()
            }
            None => code.clone(),
        };
        let is_name = test.contains('_')
            && test.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if let (true, Some(file)) = (is_name, file)
            && !fs::read_to_string(file).unwrap().contains(&format!("fn {test}("))
        {
            missing.push(format!("{}: {test}", file.display()));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
