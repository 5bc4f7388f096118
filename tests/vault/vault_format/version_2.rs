//! Vaults of version 2.

use std::fs;

use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{Generation, Secret};

use super::{ACME, EXAMPLE, OLD_KEY, Place, assert_changes, assert_whole, example, id, key};

#[tokio::test]
async fn a_vault_of_version_2_opens_whole() {
    let place = Place::new("vault-v2");
    let log = fs::read_to_string(place.root().join(format!("{EXAMPLE}.log"))).unwrap();
    for entry in ["snapshot", "outcomes", "member", "moved", "removed", "touched"] {
        assert!(log.contains(&format!(r#""entry":{{"{entry}":"#)), "it shows an entry {entry}");
    }
    let compacted = fs::read_to_string(place.root().join(format!("{ACME}.log"))).unwrap();
    assert_eq!(compacted.lines().count(), 1);
    for number in 1..=6 {
        assert_eq!(place.record(number)["secret"]["version"], 2);
    }
    let before = fs::read(place.root().join("key.json")).unwrap();
    let logs = || {
        let logs = [EXAMPLE, ACME].map(|pool| format!("{pool}.log"));
        logs.map(|path| fs::read_to_string(place.root().join(path)).unwrap())
    };
    assert_whole(&place.open().await).await;
    let read = logs();
    for (read, before) in read.iter().zip([log, compacted]) {
        // The kinds of the members, which earlier versions did not write, and nothing else.
        let added = read.strip_prefix(&before).unwrap();
        assert!(added.lines().all(|line| line.contains(r#""entry":{"member":"#)), "{added}");
        assert!(added.lines().all(|line| line.contains(r#""kind":"#)), "{added}");
    }
    assert_whole(&place.open().await).await;
    assert_eq!(logs(), read, "to read it again changes nothing");
    assert_eq!(fs::read(place.root().join("key.json")).unwrap(), before);
}

#[tokio::test]
async fn changes_of_a_vault_of_version_2_work() {
    let place = Place::new("vault-v2");
    assert_changes(&place).await;
    let seals = &place.json("key.json")["seals"][key().id().to_string()];
    assert!(seals.as_u64().unwrap() > 1024, "seals are counted on from what was there: {seals}");
}

#[tokio::test]
async fn a_process_that_has_an_older_vault_open_goes_on_when_another_gives_it_an_id() {
    let place = Place::new("vault-v2");
    let (one, two) = (place.open().await, place.open().await);
    assert_eq!(one.load_pool(example()).await.unwrap().credentials.len(), 4);
    two.replace_secret(&example(), id(2), Generation::FIRST, Secret::api_key("sk-2b")).await.unwrap();
    let loaded = one.load_pool(example()).await.unwrap();
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
    one.replace_secret(&example(), id(3), Generation::FIRST, loaded.credentials[2].secret.clone())
        .await
        .unwrap();
    let vaults = [2, 3].map(|number| place.record(number)["secret"]["vault"].clone());
    assert_eq!(vaults[0], vaults[1], "both know the one id");
    let loaded = two.load_pool(example()).await.unwrap();
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
}

#[tokio::test]
async fn a_change_of_keys_that_was_begun_by_version_2_can_be_ended() {
    let place = Place::new("vault-v2-two-keys");
    let old = VaultKey::from_base64(OLD_KEY).unwrap();
    // Each key alone opens its part.
    for (key, opens, other) in [(&key(), 2, 1), (&old, 1, 2)] {
        let vault = FileVault::open(place.root(), key).await.unwrap();
        let loaded = vault.load_pool(example()).await.unwrap();
        assert_eq!(loaded.credentials.len(), 1);
        let opened = &loaded.credentials[0];
        assert_eq!(opened.metadata.id, id(opens));
        assert_eq!(opened.secret.token().expose(), format!("sk-{opens}"));
        assert_eq!(loaded.damaged.len(), 1);
        assert!(loaded.damaged[0].record.contains(&id(other).to_string()), "{:?}", loaded.damaged);
    }
    let vault = FileVault::builder(place.root()).old_key(&old).open(&key()).await.unwrap();
    let resealing = vault.reseal(|_| {}).await.unwrap();
    // One for the old key, the other for its format.
    assert_eq!((resealing.sealed, resealing.left), (2, 0), "{:?}", resealing.damaged);
    let loaded = place.open().await.load_pool(example()).await.unwrap();
    let labels = loaded.credentials.iter().map(|credential| &*credential.metadata.label);
    assert_eq!(labels.collect::<Vec<_>>(), ["old", "new"]);
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
    assert!(place.json("key.json").get("previous").is_none());
    assert!(matches!(FileVault::open(place.root(), &old).await, Err(VaultError::Key(_))));
}
