//! What is known of accounts, and in which order they are.

use std::time::Duration;

use tower_credentials::standing::{Change, Cooldown, Outcome, Reason, Scope};
use tower_credentials::vault::VaultExt;
use tower_credentials::{Clock, Metadata};

use crate::cli::Home;

pub(crate) fn cooldown(seconds: u64, scope: Option<&str>) -> Change {
    let now = Clock::system().now();
    let until = now.after(Duration::from_secs(seconds));
    let scope = scope.map(Scope::new);
    let cooldown =
        Cooldown { until, set_at: now, reason: Reason::Limited, scope, generation: None, cause: None };
    Change::CooledDown { cooldown, failure: true, to_back: false }
}

pub(crate) async fn learn(home: &Home, credential: &Metadata, change: Change) {
    let outcome = Outcome { id: credential.id, change };
    home.vault().await.record(credential.pool.clone(), vec![outcome]).await.unwrap();
}

/// The labels of a pool, in order, as the program lists them.
pub(crate) fn labels(home: &Home, provider: &str) -> Vec<String> {
    let listed = home.run(["list", provider, "--json"]).ok().json();
    let label = |account: &serde_json::Value| account["label"].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(label).collect()
}
