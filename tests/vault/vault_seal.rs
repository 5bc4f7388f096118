//! Sealing: a sealed secret opens with the right key, in its place, and nowhere else.

use std::collections::HashSet;
use std::future::poll_fn;

use serde_json::Value;
use tower_credentials::standing::Standings;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::seal::{Seal, SealLayer, Sealed};
use tower_credentials::vault::{MemoryVault, Vault, VaultError, VaultExt, VaultRequest, VaultResponse};
use tower_credentials::{CredentialId, Generation, Kind, Metadata, PoolKey, Record, Secret};
use tower_layer::Layer;
use tower_service::Service;

use crate::children;
use crate::vault_contract::{self, PLANTED, account, every_promise, pool, put_all};

type Backend = MemoryVault<Sealed>;

async fn new() -> (Seal<Backend>, ()) {
    (Seal::new(Backend::new(), &VaultKey::generate()), ())
}

every_promise!(new);

async fn ask(backend: &Backend, request: VaultRequest<Sealed>) -> VaultResponse<Sealed> {
    let mut backend = backend.clone();
    poll_fn(|cx| backend.poll_ready(cx)).await.unwrap();
    backend.call(request).await.unwrap()
}

async fn stored(backend: &Backend, id: CredentialId) -> Record<Sealed> {
    stored_in(backend, pool(), id).await
}

async fn stored_in(backend: &Backend, pool: PoolKey, id: CredentialId) -> Record<Sealed> {
    match ask(backend, VaultRequest::Get { pool, id }).await {
        VaultResponse::Credential(record) => record,
        other => panic!("{other:?}"),
    }
}

/// Replaces the backend's record with the same id.
async fn plant(backend: &Backend, record: Record<Sealed>) {
    ask(backend, VaultRequest::Remove { pool: pool(), id: record.metadata.id }).await;
    ask(backend, VaultRequest::Put(record)).await;
}

async fn assert_does_not_open(vault: &impl Vault, metadata: &Metadata) {
    match vault.get(&metadata.pool, metadata.id).await {
        Err(VaultError::Damaged(damage)) => {
            assert_eq!(damage.record, metadata.id.to_string());
            assert!(damage.reason.contains("does not open"), "{damage}");
        }
        other => panic!("{other:?}"),
    }
    let loaded = vault.load_pool(metadata.pool.clone()).await.unwrap();
    assert!(loaded.credentials.iter().all(|credential| credential.metadata.id != metadata.id));
    assert_eq!(loaded.damaged.len(), 1);
    assert_eq!(loaded.damaged[0].record, metadata.id.to_string());
}

fn vault() -> (Backend, Seal<Backend>, VaultKey) {
    let (backend, key) = (Backend::new(), VaultKey::generate());
    (backend.clone(), SealLayer::new(&key).layer(backend), key)
}

#[tokio::test]
async fn a_backend_never_sees_a_secret() {
    let (backend, vault, _) = vault();
    let [id] = put_all(&vault, ["a"]).await;
    vault.replace_secret(&pool(), id, Generation::FIRST, Secret::api_key(PLANTED)).await.unwrap();
    let record = stored(&backend, id).await;
    let json = serde_json::to_value(&record.secret).unwrap();
    for field in ["nonce", "ciphertext"] {
        let bytes = decode(&json[field]);
        assert!(!bytes.is_empty());
        assert!(!bytes.windows(7).any(|window| window == b"planted"), "in {field}");
    }
    assert!(!format!("{record:?} {json}").contains("planted"));
}

#[tokio::test]
async fn each_sealing_has_a_new_nonce() {
    let (backend, vault, _) = vault();
    let [id] = put_all(&vault, ["a"]).await;
    let mut nonces = HashSet::new();
    for generation in 1..50 {
        nonces
            .insert(serde_json::to_value(&stored(&backend, id).await.secret).unwrap()["nonce"].clone());
        vault
            .replace_secret(&pool(), id, Generation::new(generation), Secret::api_key("same"))
            .await
            .unwrap();
    }
    assert_eq!(nonces.len(), 49);
    assert_eq!(decode(nonces.iter().next().unwrap()).len(), 12);
}

#[tokio::test]
async fn a_blob_moved_to_another_record_does_not_open() {
    let (backend, vault, _) = vault();
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    let moved = Record { secret: stored(&backend, a).await.secret, ..stored(&backend, b).await };
    plant(&backend, moved.clone()).await;
    assert_does_not_open(&vault, &moved.metadata).await;
    assert_eq!(vault_contract::token(&vault, a).await, format!("{PLANTED}-a"));
}

#[tokio::test]
async fn edited_metadata_does_not_open() {
    type Edit = fn(&mut Metadata);
    let edits: [Edit; 5] = [
        |metadata| metadata.pool = PoolKey::new("attacker"),
        |metadata| metadata.pool = PoolKey::with_namespace("example", "team"),
        |metadata| metadata.pool = PoolKey::with_namespace("exampled", "efault"),
        |metadata| metadata.kind = Kind::WellKnown,
        |metadata| metadata.generation = Generation::new(2),
    ];
    for edit in edits {
        let (backend, vault, _) = vault();
        let [id] = put_all(&vault, ["a"]).await;
        let mut record = stored(&backend, id).await;
        edit(&mut record.metadata);
        plant(&backend, record.clone()).await;
        assert_does_not_open(&vault, &record.metadata).await;
    }
}

#[tokio::test]
async fn what_is_not_bound_may_change() {
    let (backend, vault, _) = vault();
    let [id] = put_all(&vault, ["a"]).await;
    let mut record = stored(&backend, id).await;
    record.metadata.label = "b".into();
    plant(&backend, record).await;
    assert_eq!(vault_contract::token(&vault, id).await, format!("{PLANTED}-a"));
}

#[tokio::test]
async fn an_old_blob_under_new_metadata_does_not_open() {
    let (backend, vault, _) = vault();
    let [id] = put_all(&vault, ["a"]).await;
    let old = stored(&backend, id).await.secret;
    vault.replace_secret(&pool(), id, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    let record = Record { secret: old, ..stored(&backend, id).await };
    plant(&backend, record.clone()).await;
    assert_does_not_open(&vault, &record.metadata).await;
}

#[tokio::test]
async fn a_new_secret_is_never_sealed_under_edited_metadata() {
    let edits: [fn(&mut Metadata); 2] = [
        |metadata| metadata.pool = PoolKey::new("attacker"),
        |metadata| drop(metadata.attributes.insert("host".into(), "attacker".into())),
    ];
    for edit in edits {
        let (backend, vault, _) = vault();
        let [id] = put_all(&vault, ["a"]).await;
        let mut record = stored(&backend, id).await;
        edit(&mut record.metadata);
        let (of, planted) = (record.metadata.pool.clone(), record.secret.clone());
        plant(&backend, record).await;
        let replaced = vault.replace_secret(&of, id, Generation::FIRST, Secret::api_key("new")).await;
        assert!(matches!(replaced, Err(VaultError::Damaged(_))), "{replaced:?}");
        assert_eq!(stored_in(&backend, of, id).await.secret, planted);
    }
}

#[tokio::test]
async fn a_changed_byte_does_not_open_and_the_others_load() {
    for field in ["nonce", "ciphertext"] {
        let (backend, vault, _) = vault();
        let [a, b, c] = put_all(&vault, ["a", "b", "c"]).await;
        let mut record = stored(&backend, b).await;
        let mut json = serde_json::to_value(&record.secret).unwrap();
        let text = json[field].as_str().unwrap();
        let first = if text.starts_with('A') { "B" } else { "A" };
        json[field] = format!("{first}{}", &text[1..]).into();
        record.secret = serde_json::from_value(json).unwrap();
        plant(&backend, record.clone()).await;
        assert_does_not_open(&vault, &record.metadata).await;
        let loaded = vault.load_pool(pool()).await.unwrap();
        let ids: Vec<_> = loaded.credentials.iter().map(|credential| credential.metadata.id).collect();
        assert_eq!(ids, [a, c]);
    }
}

#[tokio::test]
async fn a_blob_cut_short_or_of_another_version_is_damage_and_does_not_panic() {
    let edits = [
        ("nonce", Value::from("")),
        ("nonce", "AAAA".into()),
        ("ciphertext", "".into()),
        ("ciphertext", "AAAA".into()),
        ("version", 3.into()),
        ("version", 1.into()),
    ];
    for (field, value) in edits {
        let (backend, vault, _) = vault();
        let [id] = put_all(&vault, ["a"]).await;
        let mut record = stored(&backend, id).await;
        let mut json = serde_json::to_value(&record.secret).unwrap();
        json[field] = value;
        record.secret = serde_json::from_value(json).unwrap();
        plant(&backend, record).await;
        assert!(matches!(vault.get(&pool(), id).await, Err(VaultError::Damaged(_))), "{field}");
        assert_eq!(vault.load_pool(pool()).await.unwrap().damaged.len(), 1, "{field}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_distinguished_from_damage_and_both_keys_are_named() {
    let (backend, vault, key) = vault();
    let [id] = put_all(&vault, ["a"]).await;
    let other = VaultKey::generate();
    let wrong = Seal::new(backend, &other);
    let errors = [
        wrong.get(&pool(), id).await.unwrap_err(),
        wrong.load_pool(pool()).await.unwrap_err(),
        wrong.replace_secret(&pool(), id, Generation::FIRST, Secret::api_key("n")).await.unwrap_err(),
    ];
    for error in errors {
        let VaultError::Key(text) = &error else { panic!("{error:?}") };
        for expected in [&key.id().to_string(), &other.id().to_string(), VaultKey::VARIABLE] {
            assert!(text.contains(expected), "{text}");
        }
        let secret = other.to_base64();
        assert!(!format!("{error} {error:?}").contains(secret.expose()));
    }
    assert_eq!(vault_contract::token(&vault, id).await, format!("{PLANTED}-a"));
}

#[tokio::test]
async fn a_record_under_another_key_is_left_out_if_others_open() {
    let (backend, vault, key) = vault();
    let [a] = put_all(&vault, ["a"]).await;
    let other = Seal::new(backend, &VaultKey::generate());
    let foreign = other.put(account("b")).await.unwrap().id;
    let loaded = vault.load_pool(pool()).await.unwrap();
    assert_eq!(loaded.credentials.len(), 1);
    assert_eq!(loaded.credentials[0].metadata.id, a);
    assert_eq!(loaded.damaged.len(), 1);
    assert_eq!(loaded.damaged[0].record, foreign.to_string());
    assert!(loaded.damaged[0].reason.contains(&key.id().to_string()));
    assert_eq!(
        loaded.standings,
        Standings { order: vec![a, foreign], preferred: vec![a, foreign], ..Standings::default() }
    );
}

#[tokio::test]
async fn what_another_implementation_of_aes_gcm_sealed_opens() {
    // Made with Python's `cryptography`: the key is 32 bytes 7, the nonce counts from 0 to 11.
    let sealed = serde_json::json!({
        "version": 1,
        "key_id": "97940b138434457f",
        "nonce": "AAECAwQFBgcICQoL",
        "ciphertext": "Y6OdCW1s+3NV05X1wHROkYRFlLQ6ERwcfaAMzeD1EENcK9BF4u4UD9cShysxVJk=",
    });
    let mut metadata = account("a").metadata;
    metadata.id = CredentialId::from_bytes([1; 16]);
    metadata.generation = Generation::new(3);
    let backend = Backend::new();
    let id = metadata.id;
    let secret = serde_json::from_value(sealed).unwrap();
    ask(&backend, VaultRequest::Put(Record { metadata, secret })).await;
    let vault = Seal::new(backend, &VaultKey::from_bytes([7; 32]));
    assert_eq!(vault_contract::token(&vault, id).await, "sk-known");
}

#[test]
fn the_same_key_has_the_same_id_and_another_key_another_id() {
    let key = VaultKey::from_bytes([7; 32]);
    assert_eq!(key.id(), VaultKey::from_base64(key.to_base64().expose()).unwrap().id());
    assert_ne!(key.id(), VaultKey::from_bytes([8; 32]).id());
    // Must never change: it is written into every record.
    assert_eq!(key.id().to_string(), "97940b138434457f");
    assert_eq!(key.id().to_string().parse(), Ok(key.id()));
    assert!("0123".parse::<tower_credentials::vault::key::KeyId>().is_err());
}

#[test]
fn a_text_that_is_not_a_key_is_refused_and_not_shown() {
    let short = "c2hvcnQtc2VjcmV0";
    let long = format!("{}AAAA", VaultKey::generate().to_base64().expose().trim_end_matches('='));
    let unpadded = VaultKey::generate().to_base64().expose().trim_end_matches('=').to_owned();
    for text in ["", short, &long, &unpadded, "not base64!", &"A".repeat(5000)] {
        let error = VaultKey::from_base64(text).unwrap_err();
        assert!(matches!(error, VaultError::Key(_)));
        assert!(text.is_empty() || !format!("{error} {error:?}").contains(text));
    }
    let key = VaultKey::generate();
    let spaced = format!(" {}\n", key.to_base64().expose());
    assert_eq!(VaultKey::from_base64(&spaced).unwrap().id(), key.id());
}

#[test]
fn a_keys_debug_shows_its_id_and_nothing_else() {
    let key = VaultKey::from_bytes([7; 32]);
    assert_eq!(format!("{key:?}"), format!("VaultKey({})", key.id()));
}

/// Base64, decoded.
fn decode(value: &Value) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// A test process can't set its own environment safely, so the test runs itself again.
#[test]
fn a_key_comes_from_the_environment_and_anything_but_a_key_is_refused() {
    const CHILD: &str = "VAULT_SEAL_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        match VaultKey::from_env() {
            Ok(key) => println!("found {:?}", key.map(|key| key.id())),
            Err(error) => println!("refused {error}"),
        }
        return;
    }
    let run = |value: Option<&str>| {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let name = "a_key_comes_from_the_environment_and_anything_but_a_key_is_refused";
        let name = children::test_name(module_path!(), name);
        child.args(["--exact", &name, "--nocapture"]).env(CHILD, "1").env_remove(VaultKey::VARIABLE);
        if let Some(value) = value {
            child.env(VaultKey::VARIABLE, value);
        }
        String::from_utf8(child.output().unwrap().stdout).unwrap()
    };
    let key = VaultKey::generate();
    assert!(run(None).contains("found None"));
    assert!(run(Some(key.to_base64().expose())).contains(&format!("found Some({})", key.id())));
    for wrong in ["", "c2VjcmV0LXN0cmF5"] {
        let said = run(Some(wrong));
        assert!(said.contains("refused") && said.contains(VaultKey::VARIABLE), "{said}");
        assert!(wrong.is_empty() || !said.contains(wrong), "{said}");
    }
}
