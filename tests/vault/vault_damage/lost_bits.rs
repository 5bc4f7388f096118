//! Every single bit that flips, and every length that a file can be cut to.

use std::fs;

use tower_credentials::vault::{VaultError, VaultExt};

use super::{assert_others_work, is_same_place, new, token};
use crate::thorough::is_thorough;
use crate::three_records::{cooled, id, replace};
use crate::vault_contract::pool;

/// The damages of a file: each single bit flipped, and each shorter length. One in five of them, unless the tests are
/// thorough.
fn damages(whole: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    let step = if is_thorough() { 1 } else { 5 };
    let flips = (0..whole.len() * 8).step_by(step).map(|bit| {
        let mut bytes = whole.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        (format!("bit {} of byte {} flipped", bit % 8, bit / 8), bytes)
    });
    let lengths = (0..whole.len()).step_by(step);
    flips.chain(lengths.map(|len| (format!("cut to {len} bytes"), whole[..len].to_vec())))
}

#[tokio::test]
async fn a_record_with_any_bit_flipped_or_cut_short_gives_its_secret_or_is_named() {
    let (place, vault) = new().await;
    let path = place.record(1);
    let whole = fs::read(&path).unwrap();
    let right = vault.get(&pool(), id(1)).await.unwrap().metadata;
    let (mut opened, mut named) = (0, 0);
    for (what, bytes) in damages(&whole) {
        fs::write(&path, &bytes).unwrap();
        match vault.get(&pool(), id(1)).await {
            Ok(known) => {
                assert_eq!(known.secret.token().expose(), token(1), "{what}");
                assert!(is_same_place(&known.metadata, &right), "{what}: {:?}", known.metadata);
                opened += 1;
            }
            Err(VaultError::Damaged(damage)) => {
                assert_eq!(damage.record, path.display().to_string(), "{what}");
                named += 1;
            }
            Err(VaultError::Key(reason)) => {
                assert!(reason.contains(&place.key.id().to_string()), "{what}: {reason}");
                named += 1;
            }
            Err(error) => panic!("{what}: {error:?}"),
        }
        let loaded = vault.load_pool(pool()).await.unwrap();
        let of = |number| loaded.credentials.iter().find(|known| known.metadata.id == id(number));
        assert_eq!(of(2).unwrap().secret.token().expose(), token(2), "{what}");
        match of(1) {
            Some(known) => {
                assert_eq!(known.secret.token().expose(), token(1), "{what}");
                assert!(is_same_place(&known.metadata, &right), "{what}: {:?}", known.metadata);
                assert!(loaded.damaged.is_empty(), "{what}: {:?}", loaded.damaged);
            }
            None => {
                assert_eq!(loaded.damaged.len(), 1, "{what}: {:?}", loaded.damaged);
                assert_eq!(loaded.damaged[0].record, path.display().to_string(), "{what}");
            }
        }
        assert_eq!(fs::read(&path).unwrap(), bytes, "{what}: left as it is");
    }
    fs::write(&path, &whole).unwrap();
    assert_others_work(&vault, None, "mended").await;
    assert!(opened > 0 && named > 8 * opened, "{opened} opened, {named} named");
}

#[tokio::test]
async fn a_log_with_any_bit_flipped_or_cut_short_stops_nothing_and_is_kept() {
    let (place, vault) = new().await;
    let (path, kept) = (place.log(), place.log().with_extension("damaged-1"));
    let whole = fs::read(&path).unwrap();
    let last_line = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let (mut unnoticed, mut named) = (0, 0);
    for (number, (what, bytes)) in damages(&whole).enumerate() {
        replace(&path, &bytes);
        let loaded = vault.load_pool(pool()).await.unwrap();
        let mut tokens: Vec<_> =
            loaded.credentials.iter().map(|known| known.secret.token().expose()).collect();
        tokens.sort_unstable();
        assert_eq!(tokens, [token(1), token(2)], "{what}");
        if let Some(standing) = loaded.standings.credentials.get(&id(1)) {
            let until = standing.cooldown(None).map(|known| known.until.as_millis());
            assert_eq!(until, Some(5_000), "{what}: no cooldown but the one that was set");
        }
        match &loaded.damaged[..] {
            [] => {
                // A torn end, as a killed process leaves it. The line end before it is part of it.
                let is_torn =
                    bytes.len() < whole.len() || bytes[..last_line - 1] == whole[..last_line - 1];
                assert!(is_torn, "{what}");
                unnoticed += 1;
            }
            [damage] => {
                assert_eq!(damage.record, path.display().to_string(), "{what}");
                named += 1;
            }
            more => panic!("{what}: {more:?}"),
        }

        vault.record(pool(), vec![cooled(2, 6_000)]).await.unwrap();
        // Not every time, since it is slow without optimization.
        if number % 8 == 0 {
            let loaded = vault.load_pool(pool()).await.unwrap();
            let cooldown = loaded.standings.credentials[&id(2)].cooldown(None);
            assert_eq!(cooldown.unwrap().until.as_millis(), 6_000, "{what}");
        }
        if !loaded.damaged.is_empty() {
            let files = [&path, &kept].map(|path| fs::read(path).unwrap_or_default());
            let end = bytes.len().min(last_line);
            assert!(files.iter().any(|file| file.starts_with(&bytes[..end])), "{what}: it is lost");
        }
        let _ = fs::remove_file(&kept);
    }
    assert_others_work(&vault, None, "after all of it").await;
    assert!(unnoticed > 0 && named > unnoticed, "{unnoticed} torn, {named} named");
}

#[tokio::test]
async fn a_key_json_with_any_bit_flipped_or_cut_short_is_mended_or_named() {
    let (place, vault) = new().await;
    drop(vault);
    let path = place.key_json();
    let whole = fs::read(&path).unwrap();
    let (mut opened, mut refused) = (0, 0);
    for (what, bytes) in damages(&whole) {
        fs::write(&path, &bytes).unwrap();
        match place.try_open().await {
            Ok(vault) => {
                assert_others_work(&vault, None, &what).await;
                opened += 1;
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(&path.display().to_string()), "{what}: {text}");
                refused += 1;
                // The way out that the error names.
                fs::rename(&path, place.root().join("key.damaged-1")).unwrap();
                assert_others_work(&place.open().await, None, &what).await;
            }
        }
        assert!(place.keeps(&bytes), "{what}: it is lost");
        let _ = fs::remove_file(place.root().join("key.damaged-1"));
    }
    assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused");
}
