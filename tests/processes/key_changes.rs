//! A long-running process goes on while another one changes the vault's key, and after that: it reads, renews and
//! saves, with the new key from its own key place.
#![cfg(all(unix, feature = "oauth"))]

use std::fs;
use std::path::PathBuf;

use tower_credentials::standing::Standing;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::{FileKey, Keys, VaultKey};

use crate::authorization_server::{Kind, Rules, Vendor};
use crate::children::{Child, eventually};
use crate::refresh_processes::{Scene, end, go, key};

/// A vault whose key is in a file.
struct Kept {
    scene: Scene,
    file: PathBuf,
}

impl Kept {
    async fn new() -> Self {
        let scene = Scene::new(Rules::of(Vendor::OpenAi)).await;
        let file = scene.directory.path().join("vault.key");
        let this = Self { scene, file };
        FileKey::new(&this.file).replace(&this.scene.key).await.unwrap();
        this
    }

    /// Starts a process that has the vault open and its key from this place.
    fn start(&self, place: &str, value: &str) -> Vec<Child> {
        let mut child = self.scene.job("asks").set(place, value).start();
        child.wait_for("ready");
        vec![child]
    }

    /// The token has expired, and is renewed.
    fn renews(&self, children: &mut [Child]) {
        self.scene.expire();
        assert_eq!(go(children), ["200 OK"]);
    }

    async fn open(&self, keys: &Keys) -> FileVault {
        FileVault::builder(self.scene.directory.path().join("vault")).open_with(keys).await.unwrap()
    }

    /// Checks that there were this many renewals, that each has cost one token, and that the account is fine.
    async fn assert_sound(&self, renewals: usize, new: &VaultKey) {
        let server = &self.scene.server;
        assert_eq!((server.asked(Kind::Refresh), server.reuses()), (renewals, 0));
        let stored = self.open(&Keys::new(new.clone())).await.load_pool(key()).await.unwrap();
        assert!(stored.damaged.is_empty(), "{:?}", stored.damaged);
        assert_eq!(stored.credentials[0].metadata.generation.get(), 1 + renewals as u64);
        for standing in stored.standings.credentials.values() {
            let Standing { cooldowns, failures, health, .. } = standing;
            assert!(cooldowns.is_empty() && *failures == 0, "{standing:?}");
            assert_eq!(*health, Default::default());
        }
    }
}

#[tokio::test]
async fn while_a_key_file_changes_a_process_reads_renews_and_saves() {
    let kept = Kept::new().await;
    let mut children = kept.start("KEY_FILE", kept.file.to_str().unwrap());
    kept.renews(&mut children);
    let rotation = FileKey::new(&kept.file).rotate().await.unwrap();
    let new = rotation.keys().current.clone();
    // The new key is there, and the vault does not know it yet.
    kept.renews(&mut children);
    let vault = kept.open(rotation.keys()).await;
    // The vault knows it, and nothing is sealed with it.
    kept.renews(&mut children);
    assert_eq!(vault.reseal(|_| ()).await.unwrap().left, 0);
    // Everything is sealed with it, and both keys are there.
    kept.renews(&mut children);
    rotation.finish().await.unwrap();
    kept.renews(&mut children);
    assert_eq!(end(children), Vec::<String>::new());
    kept.assert_sound(5, &new).await;
}

#[tokio::test]
async fn while_a_commands_key_changes_a_process_reads_renews_and_saves() {
    let kept = Kept::new().await;
    let runs = kept.scene.directory.path().join("runs");
    let count = || fs::read_to_string(&runs).unwrap_or_default().lines().count();
    let script = format!("echo run >> '{}'; cat '{}'", runs.display(), kept.file.display());
    let mut children = kept.start("KEY_COMMAND", &script);
    kept.renews(&mut children);
    let new = VaultKey::generate();
    let vault = kept.open(&Keys::new(new.clone()).previous(kept.scene.key.clone())).await;
    kept.renews(&mut children);
    assert_eq!(count(), 1, "the old key still does it");
    assert_eq!(vault.reseal(|_| ()).await.unwrap().left, 0);
    // The old key opens nothing any more, and the command does not print the new one yet.
    kept.scene.expire();
    children[0].tell("go");
    eventually("the command was asked again", async || (count() > 1).then_some(())).await;
    FileKey::new(&kept.file).replace(&new).await.unwrap();
    assert_eq!(children[0].next().unwrap(), "200 OK");
    let asked = count();
    kept.renews(&mut children);
    assert_eq!(count(), asked, "nothing has changed");
    assert_eq!(end(children), Vec::<String>::new());
    kept.assert_sound(4, &new).await;
}
