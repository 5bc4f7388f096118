//! Files of a newer version are left alone.

use std::fs;

use serde_json::json;
use tower_credentials::vault::VaultExt;
use tower_credentials::{Credential, Secret};

use super::{assert_others_work, assert_refused, new, token};
use crate::three_records::{cooled, id, replace};
use crate::vault_contract::pool;

#[tokio::test]
async fn a_record_of_a_newer_version_is_named_and_kept_as_it_is() {
    for (field, reason) in [("/version", "version 99"), ("/secret/version", "use a newer one")] {
        let (place, vault) = new().await;
        place.edit(&place.record(1), |json| {
            *json.pointer_mut(field).unwrap() = json!(99);
            json["secret"]["more"] = json!("what only a newer version knows");
        });
        assert_refused(&place, &vault, reason).await;
        let before = fs::read(place.record(1)).unwrap();
        let error = vault.relabel(&pool(), id(1), "new").await.unwrap_err().to_string();
        assert!(error.contains(&place.record(1).display().to_string()), "{error}");
        assert!(error.contains("use a newer one"), "{error}");
        assert_eq!(fs::read(place.record(1)).unwrap(), before, "what it does not know is not lost");
    }
}

fn line(text: &str) -> String {
    format!("{:08x} {text}\n", crc32fast_hash(text.as_bytes()))
}

/// The CRC that `specs/vault-format.md` names, bit by bit.
fn crc32fast_hash(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8)
            .fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[tokio::test]
async fn a_log_of_a_newer_format_is_left_alone_and_secrets_are_still_saved() {
    let same_shape = r#"{"sequence":1,"entry":{"snapshot":{"format":99,"pool":{"provider":"example","namespace":"default"},"standings":{"order":[],"credentials":{}},"labels":{}}}}"#;
    let other_shape = r#"{"sequence":1,"entry":{"snapshot":{"format":99,"places":{}}}}"#;
    let known = format!(r#"{{"sequence":2,"entry":{{"touched":"{}"}}}}"#, id(1));
    let unknown = r#"{"sequence":2,"entry":{"folded":[]}}"#;
    for lines in [
        vec![same_shape],
        vec![other_shape],
        vec![same_shape, &known],
        vec![other_shape, unknown],
        vec![other_shape, &known],
        vec![other_shape, unknown, &known],
    ] {
        let (place, vault) = new().await;
        let mut bytes: String = lines.iter().map(|text| line(text)).collect();
        replace(&place.log(), bytes.as_bytes());
        let path = place.log().display().to_string();
        for vault in [vault, place.open().await] {
            let loaded = vault.load_pool(pool()).await.unwrap();
            assert_eq!(loaded.credentials.len(), 2, "{lines:?}");
            let damage: Vec<_> = loaded.damaged.iter().map(ToString::to_string).collect();
            assert_eq!(damage.len(), 1, "{lines:?}: {damage:?}");
            assert!(damage[0].contains(&path) && damage[0].contains("newer version"), "{damage:?}");

            let added = Credential::new(pool(), "l4", Secret::api_key("sk-4"));
            let errors = [
                vault.record(pool(), vec![cooled(1, 9_000)]).await.unwrap_err(),
                vault.move_to(&pool(), id(1), 1).await.unwrap_err(),
                vault.put(added).await.unwrap_err(),
                vault.relabel(&pool(), id(1), "new").await.unwrap_err(),
            ];
            for error in errors.map(|error| error.to_string()) {
                assert!(error.contains(&path) && error.contains("use that one"), "{lines:?}: {error}");
            }
            let generation = vault.get(&pool(), id(1)).await.unwrap().metadata.generation;
            vault.replace_secret(&pool(), id(1), generation, Secret::api_key(token(1))).await.unwrap();
            drop(vault.lease_refresh(&pool(), id(1)).await.unwrap());
            assert_others_work(&vault, None, "beside a newer log").await;

            // A line that the newer version appends is a change. It does not make the log a damaged one of ours.
            for more in [unknown, &known] {
                let before = vault.revision(pool()).await.unwrap();
                bytes += &line(more);
                fs::write(place.log(), &bytes).unwrap();
                assert_ne!(vault.revision(pool()).await.unwrap(), before, "{lines:?}");
                let error = vault.record(pool(), vec![cooled(1, 9_000)]).await.unwrap_err().to_string();
                assert!(error.contains("use that one"), "{lines:?}: {error}");
            }
        }
        assert_eq!(fs::read_to_string(place.log()).unwrap(), bytes, "left as it is");
    }
}

#[tokio::test]
async fn a_log_with_the_highest_possible_number_continues_at_0() {
    let (place, vault) = new().await;
    let text = format!(r#"{{"sequence":{},"entry":{{"touched":"{}"}}}}"#, u64::MAX, id(1));
    let mut bytes = fs::read(place.log()).unwrap();
    bytes.extend_from_slice(line(&text).as_bytes());
    replace(&place.log(), &bytes);
    for vault in [vault, place.open().await] {
        let before = vault.load_pool(pool()).await.unwrap();
        assert_eq!(
            before.standings.credentials[&id(1)].cooldown(None).unwrap().until.as_millis(),
            5_000
        );
        assert_ne!(vault.record(pool(), vec![cooled(2, 6_000)]).await.unwrap(), before.revision);
        assert_others_work(&vault, None, "after that").await;
    }
}

#[tokio::test]
async fn a_key_json_of_a_newer_version_is_left_alone_and_the_vault_is_not_opened() {
    let (place, _) = new().await;
    let newer = r#"{"version":99,"keys":[]}"#;
    fs::write(place.key_json(), newer).unwrap();
    let before = place.files();
    let error = place.try_open().await.unwrap_err().to_string();
    assert!(error.contains(&place.key_json().display().to_string()), "{error}");
    assert!(error.contains("version 99") && error.contains("use a newer one"), "{error}");
    assert_eq!(place.files(), before, "nothing has changed");
}
