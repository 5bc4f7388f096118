//! A damaged record never changes who pays, and a record that cannot be read for a moment stays in use.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tempfile::TempDir;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_credentials::events::EventKind;
use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{
    Damage, EnvironmentLayer, MemoryVault, VaultExt, VaultRequest, VaultResponse,
};
use tower_credentials::{
    Credential, CredentialId, CredentialsLayer, Error, Kind, Mode, OAuthTokens, Pool, PoolKey, Secret,
    SecretString,
};

fn key() -> PoolKey {
    PoolKey::new("example")
}

fn provider() -> GenericProvider {
    GenericProvider::bearer("example").origin("https://api.example.com").unwrap()
}

/// Returns the token that a request uses.
async fn taken(pool: &Pool) -> Result<String, BoxError> {
    let client = service_fn(|request: Request<Full<Bytes>>| async move {
        let token = request.headers()["authorization"].to_str().unwrap().to_owned();
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(token)))
    });
    let request = Request::post("https://api.example.com/v1").body(Full::default()).unwrap();
    let response = CredentialsLayer::new(pool.clone()).layer(client).oneshot(request).await?;
    let body = http_body_util::BodyExt::collect(response.into_body()).await?.to_bytes();
    Ok(String::from_utf8(body.to_vec())?.replace("Bearer ", ""))
}

/// Checks that no request is sent, and that the error contains this.
async fn assert_nobody_pays(pool: &Pool, named: &str, case: &str) {
    let error = taken(pool).await.unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(Error::NoCredential { damaged: Some(_), .. })),
        "{error:?}"
    );
    assert!(error.to_string().contains(named), "{case}: {error}");
}

/// A vault of files with a sign-in and an API key.
struct Place {
    directory: TempDir,
    key: VaultKey,
    sign_in: CredentialId,
}

impl Place {
    async fn new() -> Self {
        let (directory, key) = (TempDir::new().unwrap(), VaultKey::generate());
        let vault = FileVault::open(directory.path().join("vault"), &key).await.unwrap();
        let tokens = OAuthTokens::new("of-the-sign-in").refresh("refresh");
        let sign_in = vault.put(Credential::new(self::key(), "subscription", tokens)).await.unwrap().id;
        vault.put(Credential::new(self::key(), "paid", Secret::api_key("of-the-key"))).await.unwrap();
        Self { directory, key, sign_in }
    }

    async fn vault(&self) -> FileVault {
        FileVault::open(self.directory.path().join("vault"), &self.key).await.unwrap()
    }

    fn record(&self) -> PathBuf {
        self.directory.path().join(format!("vault/records/{}.json", self.sign_in))
    }
}

#[tokio::test]
async fn a_damaged_sign_in_never_lets_an_api_key_pay() {
    type Damaging = fn(String) -> Vec<u8>;
    let damage: [(&str, Damaging); 6] = [
        ("an altered secret", |text| {
            let at = text.rfind("\"ciphertext\"").unwrap_or(text.len() - 40);
            let (head, tail) = text.split_at(at + 16);
            let flipped = if tail.starts_with('A') { "B" } else { "A" };
            format!("{head}{flipped}{}", &tail[1..]).into_bytes()
        }),
        ("half a file", |text| text.as_bytes()[..text.len() / 2].to_vec()),
        ("a newer version", |text| text.replacen("\"version\": 1", "\"version\": 9", 1).into_bytes()),
        ("an empty file", |_| Vec::new()),
        ("another file", |_| b"\xff\xfe nothing of ours".to_vec()),
        ("no object", |_| b"[]\n".to_vec()),
    ];
    for (case, damaged) in damage {
        let place = Place::new().await;
        let running = Pool::builder(provider(), place.vault().await).open().await.unwrap();
        assert_eq!(taken(&running).await.unwrap(), "of-the-sign-in");
        let text = std::fs::read_to_string(place.record()).unwrap();
        let bytes = damaged(text.clone());
        assert_ne!(bytes, text.as_bytes(), "{case}");
        std::fs::write(place.record(), bytes).unwrap();
        let opened = Pool::builder(provider(), place.vault().await).open().await.unwrap();
        assert_nobody_pays(&opened, &place.sign_in.to_string(), case).await;
        // A running pool finds it the next time it looks.
        let vault = place.vault().await;
        vault.put(Credential::new(key(), "also paid", Secret::api_key("another"))).await.unwrap();
        running.sync().await.unwrap();
        assert_nobody_pays(&running, &place.sign_in.to_string(), case).await;
        // Somebody who wants the keys to be used can say so.
        let api = Pool::builder(provider(), place.vault().await).mode(Mode::Api).open().await.unwrap();
        assert_eq!(taken(&api).await.unwrap(), "of-the-key", "{case}");
    }
}

/// What happens for a record's text.
type Spoiled = fn(&str) -> Vec<u8>;

/// What may happen for a record of which not even the kind can be read.
const UNREADABLE: [(&str, Spoiled); 4] = [
    ("an empty file", |_| Vec::new()),
    ("the beginning of a file", |text| text.as_bytes()[..20].to_vec()),
    ("another file", |_| b"\xff\xfe nothing of ours".to_vec()),
    ("zeros", |text| vec![0; text.len()]),
];

/// A vault of two API keys and the path of the first one's record.
async fn two_keys(directory: &TempDir, key: &VaultKey) -> PathBuf {
    let vault = FileVault::open(directory.path().join("vault"), key).await.unwrap();
    let put = async |label: &str| {
        let stored = Credential::new(self::key(), label, Secret::api_key(format!("of-{label}")));
        vault.put(stored).await.unwrap().id
    };
    let first = put("first").await;
    put("second").await;
    directory.path().join(format!("vault/records/{first}.json"))
}

/// The path of the pool's log in this vault.
fn log_of(directory: &TempDir) -> PathBuf {
    let pools = std::fs::read_dir(directory.path().join("vault/pools")).unwrap();
    let mut paths = pools.map(|entry| entry.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|ending| ending == "log")).unwrap()
}

#[tokio::test]
async fn one_unreadable_key_takes_no_other_key_out_of_use() {
    for (case, damaged) in UNREADABLE {
        let (directory, key) = (TempDir::new().unwrap(), VaultKey::generate());
        let record = two_keys(&directory, &key).await;
        let text = std::fs::read_to_string(&record).unwrap();
        std::fs::write(&record, damaged(&text)).unwrap();
        let vault = FileVault::open(directory.path().join("vault"), &key).await.unwrap();
        let stored = vault.load_pool(self::key()).await.unwrap();
        assert_eq!(stored.damaged[0].kind, Some(Kind::Api), "{case}");
        assert_eq!(vault.list().await.unwrap().damaged[0].kind, Some(Kind::Api), "{case}");
        let pool = Pool::builder(provider(), vault).open().await.unwrap();
        assert_eq!(taken(&pool).await.unwrap(), "of-second", "{case}");
    }
}

/// The log of this vault as written by a version that knew no kinds.
fn without_kinds(directory: &TempDir) {
    let path = log_of(directory);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut older = String::new();
    for line in text.lines() {
        let entry = line[9..].replace(r#","kind":"api""#, "");
        let entry = match entry.find(r#","kinds":{"#) {
            Some(at) => {
                let end = at + entry[at..].find('}').unwrap() + 1;
                format!("{}{}", &entry[..at], &entry[end..])
            }
            None => entry,
        };
        older += &format!("{:08x} {entry}\n", crc32fast::hash(entry.as_bytes()));
    }
    assert_ne!(older, text);
    std::fs::write(path, older).unwrap();
}

#[tokio::test]
async fn a_log_without_kinds_gets_them_when_it_is_loaded() {
    let (directory, key) = (TempDir::new().unwrap(), VaultKey::generate());
    let record = two_keys(&directory, &key).await;
    without_kinds(&directory);
    let vault = FileVault::open(directory.path().join("vault"), &key).await.unwrap();
    assert!(vault.load_pool(self::key()).await.unwrap().damaged.is_empty());
    let log = std::fs::read(log_of(&directory)).unwrap();
    vault.load_pool(self::key()).await.unwrap();
    assert_eq!(std::fs::read(log_of(&directory)).unwrap(), log, "once");
    std::fs::write(record, "").unwrap();
    let vault = FileVault::open(directory.path().join("vault"), &key).await.unwrap();
    let pool = Pool::builder(provider(), vault).open().await.unwrap();
    assert_eq!(taken(&pool).await.unwrap(), "of-second");
}

#[tokio::test]
async fn if_a_records_kind_is_unknown_the_error_names_the_ways_out() {
    let (directory, key) = (TempDir::new().unwrap(), VaultKey::generate());
    let record = two_keys(&directory, &key).await;
    without_kinds(&directory);
    std::fs::write(&record, "").unwrap();
    let open = async || FileVault::open(directory.path().join("vault"), &key).await.unwrap();
    let pool = Pool::builder(provider(), open().await).open().await.unwrap();
    let error = taken(&pool).await.unwrap_err().to_string();
    for way_out in [record.to_str().unwrap(), "mode = \"api\"", "remove it"] {
        assert!(error.contains(way_out), "{error}");
    }
    let api = Pool::builder(provider(), open().await).mode(Mode::Api).open().await.unwrap();
    assert_eq!(taken(&api).await.unwrap(), "of-second");
    std::fs::remove_file(record).unwrap();
    let pool = Pool::builder(provider(), open().await).open().await.unwrap();
    assert_eq!(taken(&pool).await.unwrap(), "of-second");
}

#[tokio::test]
async fn a_damaged_key_lets_no_key_of_the_environment_pay() {
    let vault = MemoryVault::new();
    let damaged = Arc::new(AtomicBool::new(true));
    let vault = unreadable(vault, damaged, |id| Damage::new(id.to_string(), "it does not open"));
    vault.put(Credential::new(key(), "stored", Secret::api_key("of-the-vault"))).await.unwrap();
    let environment =
        EnvironmentLayer::new(key(), "KEY", || Some(SecretString::from("of-the-environment")));
    let pool = Pool::builder(provider(), environment.layer(vault)).open().await.unwrap();
    assert_nobody_pays(&pool, "it does not open", "a stored key").await;
}

/// A vault in which no record of a sign-in or key called `stored` can be read while the flag is set.
fn unreadable(
    vault: MemoryVault,
    is_unreadable: Arc<AtomicBool>,
    damage: fn(CredentialId) -> Damage,
) -> impl Service<VaultRequest, Response = VaultResponse, Error = BoxError, Future: Send> + Clone + Send + Sync
{
    service_fn(move |request: VaultRequest| {
        let (vault, is_unreadable) = (vault.clone(), is_unreadable.clone());
        async move {
            let mut response = vault.oneshot(request).await?;
            if let VaultResponse::Pool(pool) = &mut response
                && is_unreadable.load(Ordering::SeqCst)
            {
                let is_it = |stored: &mut Credential| &*stored.metadata.label == "stored";
                for stored in pool.credentials.extract_if(.., is_it) {
                    pool.damaged.push(damage(stored.metadata.id).of(stored.metadata.id, None));
                }
            }
            Ok(response)
        }
    })
}

#[tokio::test]
async fn a_record_that_cannot_be_read_for_a_moment_stays_in_use_and_is_read_again() {
    let vault = MemoryVault::new();
    let is_unreadable = Arc::new(AtomicBool::new(false));
    let reports = Arc::new(std::sync::Mutex::new(0));
    let seen = reports.clone();
    vault.put(Credential::new(key(), "other", OAuthTokens::new("of-the-other"))).await.unwrap();
    vault.put(Credential::new(key(), "stored", OAuthTokens::new("first").refresh("r"))).await.unwrap();
    let id = vault.load_pool(key()).await.unwrap().credentials[1].metadata.id;
    vault.move_to(&key(), id, 0).await.unwrap();
    let wrapped = unreadable(vault.clone(), is_unreadable.clone(), |id| {
        Damage::new(id.to_string(), "too many open files").may_pass()
    });
    let pool = Pool::builder(provider(), wrapped)
        .sync_every(None)
        .on_event(move |event| {
            *seen.lock().unwrap() += i32::from(matches!(event.kind, EventKind::Damaged { .. }))
        })
        .open()
        .await
        .unwrap();
    is_unreadable.store(true, Ordering::SeqCst);
    // Something else changes meanwhile, and is picked up.
    vault.put(Credential::new(key(), "third", OAuthTokens::new("of-the-third"))).await.unwrap();
    for _ in 0..3 {
        pool.sync().await.unwrap();
        assert_eq!(taken(&pool).await.unwrap(), "first");
        let order: Vec<_> = pool.status().iter().map(|status| status.credential.label.clone()).collect();
        assert_eq!(order.iter().map(|label| &**label).collect::<Vec<_>>(), ["stored", "other", "third"]);
    }
    assert_eq!(*reports.lock().unwrap(), 1, "it is reported once");
    let generation = vault.get(&key(), id).await.unwrap().metadata.generation;
    let next = OAuthTokens::new("second").refresh("r2");
    vault.replace_secret(&key(), id, generation, Secret::from(next)).await.unwrap();
    pool.sync().await.unwrap();
    assert_eq!(taken(&pool).await.unwrap(), "first");
    is_unreadable.store(false, Ordering::SeqCst);
    // It is found without any other change.
    pool.sync().await.unwrap();
    assert_eq!(taken(&pool).await.unwrap(), "second");
    assert_eq!(pool.status()[0].credential.kind, Kind::OAuth);
}
