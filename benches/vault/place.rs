//! A vault in a directory, and the accounts in it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aes_gcm::{Aes256Gcm, KeyInit};
use serde::Serialize;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::{Layer, Service};
use tower_credentials::standing::{Change, Cooldown, Outcome, Reason};
use tower_credentials::vault::file::{Check, FileVault};
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::seal::{SealLayer, Sealed};
use tower_credentials::vault::{MemoryVault, VaultExt, VaultRequest, VaultResponse};
use tower_credentials::{Credential, CredentialId, Metadata, OAuthTokens, Record, Timestamp};

use crate::by_hand::create;
use crate::support::{at_once, key};

const KEY: [u8; 32] = [7; 32];

pub(crate) fn vault_key() -> VaultKey {
    VaultKey::from_bytes(KEY)
}

pub(crate) fn aes() -> Aes256Gcm {
    Aes256Gcm::new(&KEY.into())
}

/// A directory on the build's disk, and a vault in it.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) vault: FileVault,
}

impl Place {
    pub(crate) fn new(runtime: &Runtime) -> Self {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let vault = open(runtime, &directory.path().join("vault"));
        Self { directory, vault }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("vault")
    }

    pub(crate) fn record(&self, id: CredentialId) -> PathBuf {
        self.root().join("records").join(format!("{id}.json"))
    }

    /// Writes the records of this many accounts at once, and returns their ids: to put them, each with its own
    /// syncs, would take minutes.
    pub(crate) fn fill(&self, runtime: &Runtime, count: usize) -> Vec<CredentialId> {
        #[derive(Serialize)]
        struct Written {
            version: u32,
            metadata: Metadata,
            secret: Sealed,
        }
        let mut backend = MemoryVault::<Sealed>::new();
        let report = runtime.block_on(Check::new(self.root()).run()).expect("a report");
        let id = report.vault.expect("a vault with an id");
        let seal = SealLayer::new(&vault_key()).vault(id).layer(backend.clone());
        for number in 0..count {
            at_once(seal.put(account(number))).expect("a vault that stores");
        }
        let VaultResponse::Pool(pool) =
            at_once(backend.call(VaultRequest::Load(key()))).expect("a vault that loads")
        else {
            panic!("no pool");
        };
        let mut ids = Vec::new();
        for Record { metadata, secret } in pool.credentials {
            ids.push(metadata.id);
            let path = self.record(metadata.id);
            let written = Written { version: 1, metadata, secret };
            let bytes = serde_json::to_vec_pretty(&written).expect("a record in JSON");
            create(&path).write_all(&bytes).expect("a file that can be written");
        }
        // Adds them to the log, and then makes the log as short as possible.
        runtime.block_on(async {
            self.vault.load_pool(key()).await.expect("a pool");
            self.vault.record(key(), vec![cooled(ids[0])]).await.expect("a vault that records");
        });
        // The log is compacted after the response, and the next call waits for the lock of that.
        std::thread::sleep(Duration::from_millis(100));
        runtime.block_on(self.vault.load_pool(key())).expect("a pool");
        ids
    }
}

pub(crate) fn open(runtime: &Runtime, root: &Path) -> FileVault {
    runtime.block_on(FileVault::open(root, &vault_key())).expect("a vault")
}

/// An account as large as a subscription's.
pub(crate) fn account(number: usize) -> Credential {
    let token = |kind: &str| format!("{kind}-{number:06}-{}", "0123456789abcdef".repeat(6));
    let tokens = OAuthTokens::new(token("access")).refresh(token("refresh"));
    let secret = tokens.expires_at(Timestamp::from_millis(1_900_000_000_000));
    Credential::new(key(), format!("account {number}"), secret)
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// The outcome of a 429.
pub(crate) fn cooled(id: CredentialId) -> Outcome {
    let (until, set_at) = (now().after(Duration::from_secs(60)), now());
    let cooldown =
        Cooldown { until, set_at, reason: Reason::Limited, scope: None, generation: None, cause: None };
    Outcome { id, change: Change::CooledDown { cooldown, failure: true, to_back: true } }
}
