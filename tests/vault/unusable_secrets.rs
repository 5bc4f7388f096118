//! A key or token that no header can carry is not stored. If a vault has one all the same, it is named wherever it
//! would be used, and harms no other.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::{MemoryVault, Replaced, Vault, VaultError, VaultExt, VaultRequest};
use tower_credentials::{
    Credential, CredentialId, CredentialsLayer, Error, Generation, OAuthTokens, Pin, Pool, PoolKey,
    Secret,
};

/// Keys that no header can carry. Each begins with the key itself, which no error shows.
const UNUSABLE: [&str; 5] =
    ["sk-planted\n", "sk-planted\r\nx-evil: 1", "sk-planted\0", "sk-planted\u{7f}", "\n"];

fn key() -> PoolKey {
    PoolKey::new("example")
}

fn api(label: &str, secret: &str) -> Credential {
    Credential::new(key(), label, Secret::api_key(secret))
}

/// Stores it as a version did that refused none, or as a vault of another type does.
async fn put_unchecked(vault: &impl Vault, credential: Credential) -> CredentialId {
    let id = credential.metadata.id;
    let put = vault.clone().oneshot(VaultRequest::Put(credential)).await;
    put.map_err(Into::<BoxError>::into).unwrap();
    id
}

async fn open(vault: &(impl Vault + Sync)) -> Pool {
    let provider = GenericProvider::bearer("example").origin("https://api.example.com").unwrap();
    Pool::builder(provider, vault.clone()).open().await.unwrap()
}

/// Returns the key or token that a request uses.
async fn taken(pool: &Pool, pin: Option<Pin>) -> Result<String, BoxError> {
    let client = service_fn(|request: Request<Full<Bytes>>| async move {
        let token = request.headers()["authorization"].to_str().unwrap().replace("Bearer ", "");
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(token)))
    });
    let mut request = Request::post("https://api.example.com/v1").body(Full::default()).unwrap();
    if let Some(pin) = pin {
        request.extensions_mut().insert(pin);
    }
    let response = CredentialsLayer::new(pool.clone()).layer(client).oneshot(request).await?;
    Ok(String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?)
}

/// Checks that a text names the account and the reason, and does not show the secret.
fn assert_named(words: &str, id: CredentialId) {
    for part in ["\"work\"", &id.to_string(), "can't be sent in a header", "store it again"] {
        assert!(words.contains(part), "{words:?} does not say {part:?}");
    }
    for part in ["planted", "evil", "add one"] {
        assert!(!words.contains(part), "{words:?}");
    }
}

#[tokio::test]
async fn a_secret_that_no_header_can_carry_is_refused_with_the_field_and_the_way_out() {
    let vault = MemoryVault::new();
    let well = vault.put(api("well", "sk-well")).await.unwrap();
    for text in
        UNUSABLE.into_iter().chain(["\tsk-planted", "sk-planted\t1", " sk-planted", "sk-planted\u{a0}"])
    {
        let secrets = [
            (Secret::api_key(text), "API key"),
            (OAuthTokens::new(text).refresh("refresh").into(), "access token"),
            (Secret::Mcp(OAuthTokens::new(text)), "access token"),
            (Secret::WellKnown { variable: "TOKEN".into(), token: text.into() }, "token"),
        ];
        for (secret, field) in secrets {
            let new = || Credential::new(key(), "work", secret.clone());
            let (id, generation) = (well.id, well.generation);
            for refused in [
                vault.put(new()).await.map(drop),
                vault.ensure(new()).await.map(drop),
                vault.replace_secret(&key(), id, generation, secret.clone()).await.map(drop),
                vault
                    .replace(&key(), id, generation, secret.clone(), Default::default())
                    .await
                    .map(drop),
            ] {
                let error = refused.unwrap_err();
                assert!(
                    matches!(error, VaultError::InvalidSecret { field: named, .. } if named == field),
                    "{text:?}: {error:?}"
                );
                let words = error.to_string();
                assert!(words.contains(field) && words.contains("store it without"), "{words}");
                assert!(!words.contains("planted"), "{words}");
            }
        }
    }
    let stored = vault.load_pool(key()).await.unwrap().credentials;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].metadata, well);
}

#[tokio::test]
async fn a_missing_token_and_one_that_a_provider_may_encode_are_stored() {
    let vault = MemoryVault::new();
    for text in ["", " ", "user:pass word", "clé"] {
        vault.put(api("work", text)).await.unwrap();
        vault.put(Credential::new(key(), "work", OAuthTokens::new(text))).await.unwrap();
    }
}

async fn is_named_wherever_it_would_be_used(vault: &(impl Vault + Sync), text: &str) {
    let id = put_unchecked(vault, api("work", text)).await;
    let pool = open(vault).await;
    let error = taken(&pool, None).await.unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(Error::NoCredential { damaged: Some(_), .. })),
        "{error:?}"
    );
    assert_named(&error.to_string(), id);
    for pin in [Pin::label("work"), Pin::id(id)] {
        assert_named(&taken(&pool, Some(pin)).await.unwrap_err().to_string(), id);
    }
    let error = taken(&pool, Some(Pin::label("other"))).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::UnknownPin { .. })), "{error:?}");
    // Other accounts go on working.
    vault.put(api("well", "sk-well")).await.unwrap();
    pool.sync().await.unwrap();
    assert_eq!(taken(&pool, None).await.unwrap(), "sk-well");
    // And storing the key again mends it.
    vault.ensure(api("work", "sk-mended")).await.unwrap();
    pool.sync().await.unwrap();
    assert_eq!(taken(&pool, Some(Pin::label("work"))).await.unwrap(), "sk-mended");
}

#[tokio::test]
async fn one_in_a_vault_is_named_with_its_account_and_harms_no_other() {
    for text in UNUSABLE {
        is_named_wherever_it_would_be_used(&MemoryVault::new(), text).await;
    }
}

#[cfg(feature = "file")]
#[tokio::test]
async fn one_in_an_older_vault_of_files_is_named_as_well() {
    use tower_credentials::vault::{file::FileVault, key::VaultKey};
    let directory = tempfile::TempDir::new().unwrap();
    let vault = FileVault::open(directory.path().join("vault"), &VaultKey::generate()).await.unwrap();
    is_named_wherever_it_would_be_used(&vault, UNUSABLE[0]).await;
}

#[tokio::test]
async fn a_sign_in_of_that_kind_lets_no_key_pay() {
    let vault = MemoryVault::new();
    let tokens = OAuthTokens::new("sk-planted\n").refresh("refresh");
    let id = put_unchecked(&vault, Credential::new(key(), "work", tokens)).await;
    vault.put(api("paid", "sk-paid")).await.unwrap();
    assert_named(&taken(&open(&vault).await, None).await.unwrap_err().to_string(), id);
}

#[tokio::test]
async fn a_replaced_secret_of_that_kind_takes_its_account_out_of_use() {
    let vault = MemoryVault::new();
    let id = vault.put(api("work", "sk-well")).await.unwrap().id;
    let pool = open(&vault).await;
    let (secret, attributes) = (Secret::api_key("sk-planted\n"), None);
    let expected = Generation::FIRST;
    let request = VaultRequest::ReplaceSecret { pool: key(), id, expected, secret, attributes };
    vault.clone().oneshot(request).await.unwrap();
    pool.sync().await.unwrap();
    assert_named(&taken(&pool, None).await.unwrap_err().to_string(), id);
    let mended =
        vault.replace_secret(&key(), id, Generation::new(2), Secret::api_key("sk-mended")).await;
    assert!(matches!(mended.unwrap(), Replaced::Swapped(_)));
    pool.sync().await.unwrap();
    assert_eq!(taken(&pool, None).await.unwrap(), "sk-mended");
}

#[cfg(feature = "backup")]
#[tokio::test]
async fn a_backup_brings_one_back_as_it_was() {
    use tower_credentials::vault::backup::{Backup, RestoredAs};
    let vault = MemoryVault::new();
    let id = put_unchecked(&vault, api("work", "sk-planted\n")).await;
    let backup = Backup::of(&vault).await.unwrap();
    let there = MemoryVault::new();
    let restored = backup.restore(&there).await.unwrap();
    assert_eq!(restored[0].what, RestoredAs::Added);
    assert_eq!(there.get(&key(), id).await.unwrap().secret.token().expose(), "sk-planted\n");
}
