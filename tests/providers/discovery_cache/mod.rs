//! The cache of a list of models: what is kept, for how long, and what happens if it is damaged.
#![cfg(feature = "discovery")]

mod failures;
mod files;
mod freshness;

use std::time::Duration;

use tempfile::TempDir;
use tower_credentials::discovery::Discovery;
use tower_credentials::provider::ModelsShape::OpenAi;

use crate::discovery_rig::Rig;
use crate::support::keys;

const HOUR: Duration = Duration::from_secs(3600);

async fn rig() -> Rig {
    Rig::new(keys(["token-a"]).await).await
}

fn cached(rig: &Rig, directory: &TempDir) -> Discovery {
    rig.builder(OpenAi).cache_dir(directory.path().join("cache")).build().unwrap()
}
