//! `credentials logout`: what is left of an account that was removed.
#![cfg(feature = "cli")]

use std::fs;
use std::path::Path;

use crate::cli::Home;

/// The files of a directory that have this text in them, or in their names.
fn with(directory: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        if path.is_dir() {
            found.extend(with(&path, text));
        } else if name.contains(text)
            || String::from_utf8_lossy(&fs::read(&path).unwrap()).contains(text)
        {
            found.push(name);
        }
    }
    found
}

#[tokio::test]
async fn no_name_of_a_removed_account_is_left_on_the_disk_though_its_record_was_damaged() {
    let home = Home::new();
    for (label, key) in
        [("first", "sk-secret-0"), ("me@example.com", "sk-secret-1"), ("last", "sk-secret-2")]
    {
        home.add("openai", label, key).await;
    }
    let damaged = home.add("openai", "you@example.com", "sk-secret-3").await;
    let only = home.add("anthropic", "they@example.com", "sk-secret-4").await;
    for account in [&damaged, &only] {
        let record = home.vault_directory().join(format!("records/{}.json", account.id));
        fs::write(record, "no record").unwrap();
    }
    home.run(["logout", "me@example.com", "--yes"]).ok().says("Removed openai/me@example.com");
    for account in [&damaged, &only] {
        let run = home.run(["logout", &account.id.to_string(), "--yes"]).ok();
        run.says(&format!("Removed the record {}", account.id));
    }
    assert_eq!(with(&home.vault_directory(), "example.com"), [""; 0]);
    for account in [&damaged, &only] {
        assert_eq!(with(&home.vault_directory(), &account.id.to_string()), [""; 0]);
    }
    // The others are where they were.
    let listed = home.run(["list", "--json"]).ok().json();
    let labels = listed.as_array().unwrap().iter().map(|account| account["label"].as_str().unwrap());
    assert_eq!(labels.collect::<Vec<_>>(), ["first", "last"]);
    home.run(["vault", "check"]).ok();
}

#[tokio::test]
async fn a_whole_id_names_its_record_in_whatever_namespace_it_is() {
    let home = Home::new();
    let known = home.add("openai", "spare", "sk-secret-0").await;
    let id = known.id.to_string();
    let logout = ["logout", id.as_str(), "--namespace", "team"];
    // It asks, and nobody is there to answer.
    home.run(logout).code(2).says(&format!("Remove the record {id} from the vault?"));
    assert_eq!(home.run(["list", "--json"]).ok().json().as_array().unwrap().len(), 1);
    home.run([&logout[..], &["--yes"]].concat()).ok().says(&format!("Removed the record {id}"));
    assert_eq!(home.run(["list", "--json"]).ok().json(), serde_json::json!([]));
}
