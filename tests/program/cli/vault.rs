//! A home with a vault, and what its key opens.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tower_credentials::vault::key::VaultKey;

use crate::cli::Home;

/// The id of the key in a file.
pub(crate) fn key_id(path: &Path) -> String {
    VaultKey::from_base64(&fs::read_to_string(path).unwrap()).unwrap().id().to_string()
}

/// A home with two accounts.
pub(crate) async fn with_accounts() -> Home {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    home.add("anthropic", "spare", "sk-secret-2").await;
    home.secret(fs::read_to_string(home.key_file()).unwrap().trim());
    home
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Where everything is, as the program says.
pub(crate) fn places(home: &Home, arguments: &[&str]) -> Value {
    home.run([arguments, &["vault", "path", "--json"]].concat()).ok().json()
}

/// The labels of all accounts, by what a request with each would carry: they open.
pub(crate) fn opened(home: &Home, arguments: &[&str]) -> Vec<String> {
    let list = home.run([arguments, &["list", "--json"]].concat()).ok().json();
    let mut labels = Vec::new();
    for account in list.as_array().unwrap() {
        let id = account["id"].as_str().unwrap();
        let shown = home.run_showing([arguments, &["headers", id, "--json"]].concat(), "");
        assert!(shown.ok().stdout.contains("sk-secret-"), "it does not open: {account}");
        labels.push(account["label"].as_str().unwrap().to_owned());
    }
    labels.sort();
    labels
}
