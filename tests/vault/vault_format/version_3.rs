//! Vaults of version 3, and each of their bytes.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{aead, hkdf, hmac};
use serde_json::Value;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;

use super::{ACME, EXAMPLE, OLD_KEY, Place, assert_changes, assert_whole, example, id, key};

#[tokio::test]
async fn a_vault_of_version_3_opens_whole() {
    let place = Place::new("vault-v3");
    for number in 1..=6 {
        assert_eq!(place.record(number)["secret"]["version"], 3);
    }
    let files = ["key.json".to_owned(), format!("{EXAMPLE}.log"), format!("{ACME}.log")];
    let read = || files.each_ref().map(|path| fs::read(place.root().join(path)).unwrap());
    let before = read();
    assert_whole(&place.open().await).await;
    assert_whole(&place.open().await).await;
    // The kinds of the members, which the fixture's logs do not have, and nothing else.
    let after = read();
    assert_eq!(after[0], before[0], "to read it changes no key");
    for (after, before) in after[1..].iter().zip(&before[1..]) {
        let added = str::from_utf8(after.strip_prefix(&before[..]).unwrap()).unwrap();
        assert!(added.lines().all(|line| line.contains(r#""entry":{"member":"#)), "{added}");
    }
    // It still does not admit what it has given up.
    let two = Place::new("vault-v2-two-keys");
    fs::copy(
        two.root().join(format!("records/{}.json", id(1))),
        place.root().join(format!("records/{}.json", id(1))),
    )
    .unwrap();
    let old = VaultKey::from_base64(OLD_KEY).unwrap();
    let vault = FileVault::builder(place.root()).old_key(&old).open(&key()).await.unwrap();
    let error = vault.get(&example(), id(1)).await.unwrap_err().to_string();
    assert!(error.contains("has given up"), "{error}");
}

#[tokio::test]
async fn changes_of_a_vault_of_version_3_work() {
    let place = Place::new("vault-v3");
    assert_changes(&place).await;
    for number in [1, 2, 3, 4, 6, 8] {
        let secret = &place.record(number)["secret"];
        assert_eq!((&secret["version"], &secret["vault"]), (&3.into(), &VAULT.into()), "{number}");
    }
}

/// The id of the vault in the fixture of version 3.
const VAULT: &str = "334aeb59e8f89e712dd297bdbabae93f";

/// Each field preceded by its length, as in the specification.
fn joined(fields: &[&[u8]]) -> Vec<u8> {
    let with_length = |field: &&[u8]| [&(field.len() as u64).to_be_bytes()[..], field].concat();
    fields.iter().flat_map(with_length).collect()
}

/// With other code than the crate's.
#[test]
fn a_vault_of_version_3_is_as_specified() {
    let place = Place::new("vault-v3");
    let decode = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let key: Vec<u8> = (0..32).collect();
    let vault = u128::from_str_radix(VAULT, 16).unwrap().to_be_bytes();

    let marker = place.json("key.json");
    assert_eq!((&marker["version"], &marker["vault"]["id"]), (&2.into(), &VAULT.into()));
    let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&key);
    let mut mac_key = [0; 32];
    let derived = derived.expand(&[b"tower-credentials vault mac v1"], hkdf::HKDF_SHA256);
    derived.unwrap().fill(&mut mac_key).unwrap();
    let message = joined(&[
        b"tower-credentials key.json",
        &vault,
        &3_u32.to_be_bytes(),
        b"97940b138434457f",
        b"0123456789abcdef",
    ]);
    let signature = decode(&marker["vault"]["signatures"]["9990f94e66ddc541"]);
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &mac_key), &message, &signature).unwrap();

    let record = place.record(1);
    let secret = &record["secret"];
    let data = joined(&[
        b"tower-credentials sealed secret",
        &3_u32.to_be_bytes(),
        &vault,
        &[0x11; 16],
        b"example",
        b"default",
        b"oauth",
        &2_u64.to_be_bytes(),
        b"account",
        b"acct-1",
        b"host",
        b"api.example.com",
    ]);
    let nonce = aead::Nonce::try_assume_unique_for_key(&decode(&secret["nonce"])).unwrap();
    let opener = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &key).unwrap());
    let mut sealed = decode(&secret["ciphertext"]);
    let opened = opener.open_in_place(nonce, aead::Aad::from(data), &mut sealed).unwrap();
    let plain: Value = serde_json::from_slice(opened).unwrap();
    assert_eq!((&plain["type"], &plain["access"]), (&"oauth".into(), &"access-1b".into()));
}
