//! Files that are not as the vault left them: each is named and kept, and stops nothing else.

use std::fs;

use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{CredentialId, Generation, Secret};

use crate::place::Place;
use crate::vault_contract::{PLANTED, account, cooled, order, pool, put_all, token, until};

/// Checks that every request reports `id` by its file and with this reason, and that the file is left as it is.
async fn assert_damaged(place: &Place, vault: &FileVault, id: CredentialId, reason: &str) {
    let path = place.record(id);
    let before = fs::read(&path).unwrap();
    match vault.get(&pool(), id).await {
        Err(VaultError::Damaged(damage)) => assert!(damage.reason.contains(reason), "{damage}"),
        other => panic!("{other:?}"),
    }
    let loaded = vault.load_pool(pool()).await.unwrap();
    assert!(loaded.credentials.iter().all(|credential| credential.metadata.id != id));
    assert_eq!(loaded.damaged.len(), 1, "{:?}", loaded.damaged);
    assert_eq!(loaded.damaged[0].record, path.display().to_string());
    assert!(loaded.damaged[0].reason.contains(reason), "{}", loaded.damaged[0]);
    assert_eq!(fs::read(&path).unwrap(), before, "left as it is");
}

#[tokio::test]
async fn a_damaged_record_is_named_and_the_others_load_and_keep_their_order() {
    let contents: [&[u8]; 5] =
        [b"", b"{\"version\":1", b"{\"version\":2}", b"[\"sk-stray-secret\"]", b"\xff\xfe\0"];
    for content in contents {
        let place = Place::new();
        let vault = place.open().await;
        let [a, b, c] = put_all(&vault, ["a", "b", "c"]).await;
        vault.record(pool(), vec![cooled(b, 5_000, 1, false)]).await.unwrap();
        let whole = fs::read(place.record(b)).unwrap();
        fs::write(place.record(b), content).unwrap();
        assert_damaged(&place, &vault, b, "").await;
        assert_eq!(order(&vault).await, ["a", "c"]);
        assert_eq!(token(&vault, a).await, format!("{PLANTED}-a"));
        vault.replace_secret(&pool(), c, Generation::FIRST, Secret::api_key("new")).await.unwrap();
        let listing = vault.list().await.unwrap();
        assert_eq!((listing.credentials.len(), listing.damaged.len()), (2, 1));
        assert!(!listing.damaged[0].to_string().contains("stray"), "{}", listing.damaged[0]);

        let reopened = place.open().await;
        assert_eq!(order(&reopened).await, ["a", "c"]);
        fs::write(place.record(b), whole).unwrap();
        assert_eq!(order(&reopened).await, ["a", "b", "c"], "mended, it has its place again");
        assert_eq!(until(&reopened, b).await, Some(5_000));
    }
}

#[tokio::test]
async fn a_damaged_record_can_be_removed() {
    let place = Place::new();
    let vault = place.open().await;
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    fs::write(place.record(a), "{").unwrap();
    vault.remove(&pool(), a).await.unwrap();
    let loaded = vault.load_pool(pool()).await.unwrap();
    assert!(loaded.damaged.is_empty());
    assert_eq!(loaded.standings.order, [b]);
}

#[tokio::test]
async fn a_stray_file_is_named_and_left() {
    let place = Place::new();
    let vault = place.open().await;
    put_all(&vault, ["a"]).await;
    let stray = place.root().join("records/notes.txt");
    fs::write(&stray, "sk-stray").unwrap();
    let loaded = vault.load_pool(pool()).await.unwrap();
    assert_eq!(loaded.credentials.len(), 1);
    assert_eq!(loaded.damaged[0].record, stray.display().to_string());
    assert_eq!(fs::read(&stray).unwrap(), b"sk-stray");
}

#[tokio::test]
async fn a_foreign_file_in_place_of_a_log_is_named_kept_and_stops_nothing() {
    for content in ["{", "{\"version\":9}\n", "a\nb\nc\n", "00000000 {}\n", "\u{0}\u{0}x"] {
        let place = Place::new();
        let vault = place.open().await;
        let [id] = put_all(&vault, ["a"]).await;
        fs::write(place.pool(), content).unwrap();
        let vault = place.open().await;
        let loaded = vault.load_pool(pool()).await.unwrap();
        assert_eq!(loaded.credentials.len(), 1);
        assert_eq!(loaded.damaged.len(), 1);
        assert_eq!(loaded.damaged[0].record, place.pool().display().to_string());
        // The credential had to be named again, so the file was already set aside.
        let kept = place.root().join("pools/example+default.damaged-1");
        assert_eq!(fs::read_to_string(&kept).unwrap(), content);
        vault.record(pool(), vec![cooled(id, 5_000, 1, true)]).await.unwrap();
        vault.replace_secret(&pool(), id, Generation::FIRST, Secret::api_key("rotated")).await.unwrap();
        vault.put(account("b")).await.unwrap();
        vault.move_to(&pool(), id, 1).await.unwrap();
        assert_eq!(order(&vault).await, ["b", "a"]);
        assert_eq!(until(&vault, id).await, Some(5_000));
        assert_eq!(token(&vault, id).await, "rotated");
        assert_eq!(fs::read_to_string(&kept).unwrap(), content);
    }
}

#[tokio::test]
async fn a_log_that_was_emptied_or_removed_begins_again_and_others_see_it() {
    for empty in [true, false] {
        let place = Place::new();
        let vault = place.open().await;
        let [a, b] = put_all(&vault, ["a", "b"]).await;
        vault.record(pool(), vec![cooled(a, 5_000, 1, true)]).await.unwrap();
        let before = vault.revision(pool()).await.unwrap();
        match empty {
            true => fs::write(place.pool(), "").unwrap(),
            false => fs::remove_file(place.pool()).unwrap(),
        }
        assert_ne!(vault.revision(pool()).await.unwrap(), before);
        let loaded = vault.load_pool(pool()).await.unwrap();
        assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
        assert_eq!(loaded.standings.order.len(), 2);
        assert!(loaded.standings.credentials.is_empty());
        vault.record(pool(), vec![cooled(b, 6_000, 1, true)]).await.unwrap();
        assert_eq!(until(&place.open().await, b).await, Some(6_000));
    }
}

#[tokio::test]
async fn a_damaged_line_of_a_log_is_named_and_the_others_count() {
    let place = Place::new();
    let vault = place.open().await;
    let [a, b, c] = put_all(&vault, ["a", "b", "c"]).await;
    for (id, until) in [(a, 5_000), (b, 6_000), (c, 7_000)] {
        vault.record(pool(), vec![cooled(id, until, 1, true)]).await.unwrap();
    }
    let mut bytes = fs::read(place.pool()).unwrap();
    // An id, a checksum or a sequence number may have these digits, too.
    let field = b"\"until\":6000";
    let at = bytes.windows(field.len()).position(|text| text == field).unwrap();
    bytes[at + field.len() - 4] = b'9';
    fs::write(place.pool(), &bytes).unwrap();
    let vault = place.open().await;
    let loaded = vault.load_pool(pool()).await.unwrap();
    assert_eq!(loaded.damaged.len(), 1);
    assert_eq!(loaded.damaged[0].record, place.pool().display().to_string());
    assert!(loaded.damaged[0].reason.contains("1 damaged"), "{}", loaded.damaged[0]);
    let until = |id| loaded.standings.credentials.get(&id)?.cooldown(None).map(|known| known.until);
    assert_eq!(
        [a, b, c].map(|id| until(id).map(|until| until.as_millis())),
        [Some(5_000), None, Some(7_000)]
    );
    assert_eq!(order(&vault).await, ["b", "a", "c"]);
    vault.record(pool(), vec![cooled(b, 8_000, 1, true)]).await.unwrap();
    let loaded = place.open().await.load_pool(pool()).await.unwrap();
    assert_eq!(loaded.standings.credentials[&b].cooldown(None).unwrap().until.as_millis(), 8_000);
    assert_eq!(loaded.damaged.len(), 1);
}

#[tokio::test]
async fn a_torn_end_of_a_log_is_cut_off() {
    for torn in ["012345", "01234567 {\"sequence\":", "\u{0}\u{0}\u{0}\u{0}", "00000000 {}\n"] {
        let place = Place::new();
        let vault = place.open().await;
        let [id] = put_all(&vault, ["a"]).await;
        vault.record(pool(), vec![cooled(id, 5_000, 1, true)]).await.unwrap();
        let whole = fs::read(place.pool()).unwrap();
        let mut bytes = whole.clone();
        bytes.extend_from_slice(torn.as_bytes());
        fs::write(place.pool(), bytes).unwrap();
        for vault in [vault, place.open().await] {
            let loaded = vault.load_pool(pool()).await.unwrap();
            assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
            assert_eq!(until(&vault, id).await, Some(5_000));
        }
        let vault = place.open().await;
        vault.record(pool(), vec![cooled(id, 6_000, 1, true)]).await.unwrap();
        let bytes = fs::read(place.pool()).unwrap();
        assert!(bytes.starts_with(&whole) && !bytes[whole.len()..].starts_with(torn.as_bytes()));
        let loaded = place.open().await.load_pool(pool()).await.unwrap();
        assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
        assert_eq!(loaded.standings.credentials[&id].failures, 2);
    }
}

#[tokio::test]
async fn a_record_that_the_order_does_not_name_comes_last_and_is_named_from_then_on() {
    let place = Place::new();
    let vault = place.open().await;
    let [a] = put_all(&vault, ["a"]).await;
    let record = fs::read(place.record(a)).unwrap();
    vault.remove(&pool(), a).await.unwrap();
    let [c, b] = put_all(&vault, ["c", "b"]).await;
    // As after a power cut that has taken what was not synced.
    fs::write(place.record(a), record).unwrap();
    vault.record(pool(), vec![cooled(a, 5_000, 1, false)]).await.unwrap();
    let loaded = vault.load_pool(pool()).await.unwrap();
    assert_eq!(loaded.standings.order, [c, b, a]);
    assert_eq!(order(&vault).await, ["c", "b", "a"]);
    assert_eq!(until(&vault, a).await, Some(5_000));
    assert_eq!(vault.revision(pool()).await.unwrap(), loaded.revision);
}

#[tokio::test]
async fn temporary_files_of_a_killed_process_are_swept_and_nothing_else() {
    let place = Place::new();
    let vault = place.open().await;
    let [a] = put_all(&vault, ["a"]).await;
    let left = place.root().join("records/.0123456789abcdef.tmp");
    let not_ours = place.root().join("records/.hidden");
    fs::write(&left, "half a rec").unwrap();
    fs::write(&not_ours, "x").unwrap();
    assert!(vault.load_pool(pool()).await.unwrap().damaged.is_empty());
    let vault = place.open().await;
    assert!(!left.exists() && not_ours.exists());
    assert_eq!(token(&vault, a).await, format!("{PLANTED}-a"));
}
