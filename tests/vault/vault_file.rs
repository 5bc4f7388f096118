//! The vault in a directory: what its files hold, and what becomes of it when they are not as it left
//! them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine;
use tempfile::TempDir;
use tower_credentials::standing::{Change, Health, Outcome};
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{Credential, CredentialId, Generation, OAuthTokens, PoolKey, Secret};

use crate::place::Place;
use crate::vault_contract::{
    self, PLANTED, account, cooled, every_promise, order, pool, put_all, token, until,
};

async fn new() -> (FileVault, TempDir) {
    let place = TempDir::new().unwrap();
    (FileVault::open(place.path().join("vault"), &VaultKey::generate()).await.unwrap(), place)
}

every_promise!(new);

impl Place {
    fn record(&self, id: CredentialId) -> PathBuf {
        self.root().join(format!("records/{id}.json"))
    }

    fn pool(&self) -> PathBuf {
        self.root().join("pools/example+default.log")
    }

    /// Every file below the temporary directory, with what is in it.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut directories = vec![self.temporary.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    files.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        files
    }
}

#[tokio::test]
async fn credentials_order_and_cooldowns_survive_reopening() {
    let place = Place::new();
    let vault = place.open().await;
    let [a, b, c] = put_all(&vault, ["a", "b", "c"]).await;
    vault.move_to(c, 0).await.unwrap();
    let health = Change::Health(Health::NeedsSignIn {
        reason: "revoked".into(),
        generation: Generation::FIRST,
        cause: None,
    });
    vault
        .record(pool(), vec![cooled(a, 5_000, 1, true), Outcome { id: b, change: health }])
        .await
        .unwrap();
    vault.replace_secret(b, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    let before = vault.load_pool(pool()).await.unwrap();
    drop(vault);

    let vault = place.open().await;
    let after = vault.load_pool(pool()).await.unwrap();
    assert_eq!(order(&vault).await, ["c", "b", "a"]);
    assert_eq!(until(&vault, a).await, Some(5_000));
    assert_eq!(after.standings, before.standings);
    assert_eq!(after.standings.credentials[&b].failures, 0);
    assert_eq!(after.revision, before.revision);
    assert_eq!(token(&vault, b).await, "new");
    assert_eq!(vault.get(b).await.unwrap().metadata.generation, Generation::new(2));
}

#[tokio::test]
async fn another_opening_of_the_directory_sees_a_cooldown_by_its_revision() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    let [id] = put_all(&one, ["a"]).await;
    let seen = other.load_pool(pool()).await.unwrap().revision;
    one.record(pool(), vec![cooled(id, 5_000, 1, false)]).await.unwrap();
    assert_ne!(other.revision(pool()).await.unwrap(), seen);
    assert_eq!(until(&other, id).await, Some(5_000));
}

#[tokio::test]
async fn a_revision_grows_even_if_the_clock_stands_still_or_goes_back() {
    let place = Place::new();
    let vault = place.open().await;
    let [id] = put_all(&vault, ["a"]).await;
    // A time that the clock will not reach during the test.
    let ahead = SystemTime::now() + Duration::from_secs(3600);
    let file = fs::File::options().write(true).open(place.pool()).unwrap();
    file.set_modified(ahead).unwrap();
    let mut seen = vec![vault.revision(pool()).await.unwrap()];
    for generation in 1..10 {
        seen.push(vault.record(pool(), vec![cooled(id, 5, 1, false)]).await.unwrap());
        let expected = Generation::new(generation);
        vault.replace_secret(id, expected, Secret::api_key("n")).await.unwrap();
        seen.push(vault.revision(pool()).await.unwrap());
    }
    assert!(seen.is_sorted_by(|earlier, later| earlier < later), "{seen:?}");
}

#[test]
fn however_many_wait_for_the_lock_one_thread_waits_with_them() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(2).build().unwrap();
    runtime.block_on(async {
        let place = Place::new();
        let vault = place.open().await;
        put_all(&vault, ["a"]).await;
        let held = fs::File::options().write(true).open(place.root().join("lock")).unwrap();
        held.lock().unwrap();
        let mut waiting: Vec<_> = (0..10).map(|_| Box::pin(vault.load_pool(pool()))).collect();
        for load in &mut waiting {
            assert!(vault_contract::poll_once(load.as_mut()).is_pending());
        }
        let other = tokio::task::spawn_blocking(|| "done");
        let other = tokio::time::timeout(Duration::from_secs(10), other).await;
        drop(held);
        assert_eq!(other.expect("a thread is free for others").unwrap(), "done");
        for load in waiting {
            assert_eq!(load.await.unwrap().credentials.len(), 1);
        }
    });
}

#[tokio::test]
async fn two_openings_that_change_at_once_lose_nothing() {
    let place = Place::new();
    let vaults = [place.open().await, place.open().await];
    let [id] = put_all(&vaults[0], ["a"]).await;
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let vault = vaults[number % 2].clone();
            tokio::spawn(async move {
                vault.record(pool(), vec![cooled(id, 5, 1, false)]).await.unwrap();
                vault.put(account("more")).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let loaded = vaults[0].load_pool(pool()).await.unwrap();
    assert_eq!(loaded.standings.credentials[&id].failures, 40);
    assert_eq!(loaded.credentials.len(), 41);
    assert_eq!(loaded.standings.order.len(), 41);
    let labels: std::collections::HashSet<_> =
        loaded.credentials.iter().map(|credential| &credential.metadata.label).collect();
    assert_eq!(labels.len(), 41);
}

#[tokio::test]
async fn a_lease_is_held_against_another_opening_of_the_directory() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    let [id] = put_all(&one, ["a"]).await;
    let lease = one.lease_refresh(id).await.unwrap();
    let lock = fs::File::options().write(true).open(place.root().join(format!("leases/{id}.lock")));
    let lock = lock.unwrap();
    assert!(matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)), "it is an OS lock");
    let mut waiting = Box::pin(other.lease_refresh(id));
    assert!(vault_contract::poll_once(waiting.as_mut()).is_pending());
    // Whoever waits for a lease holds up nothing else.
    assert_eq!(order(&other).await, ["a"]);
    drop(lease);
    let lease = waiting.await.unwrap();
    assert!(matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)));
    drop(lease);
    lock.lock().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn waiting_for_another_processs_lock_does_not_block_the_runtime() {
    let place = Place::new();
    let vault = place.open().await;
    put_all(&vault, ["a"]).await;
    let held = fs::File::options().write(true).open(place.root().join("lock")).unwrap();
    held.lock().unwrap();
    let mut waiting = Box::pin(vault.load_pool(pool()));
    for _ in 0..100 {
        assert!(vault_contract::poll_once(waiting.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    vault.revision(pool()).await.expect("a revision needs no lock");
    drop(held);
    assert_eq!(waiting.await.unwrap().credentials.len(), 1);
}

#[tokio::test]
async fn a_change_that_has_begun_is_finished_though_its_caller_went_away() {
    let place = Place::new();
    let vault = place.open().await;
    let [id] = put_all(&vault, ["a"]).await;
    let mut abandoned = Box::pin(vault.record(pool(), vec![cooled(id, 5_000, 1, false)]));
    // Nobody holds a lock, so this begins it.
    let _ = vault_contract::poll_once(abandoned.as_mut());
    drop(abandoned);
    // The next outcome takes its turn after it.
    vault.record(pool(), vec![cooled(id, 4_000, 1, false)]).await.unwrap();
    assert_eq!(until(&vault, id).await, Some(5_000));
}

#[tokio::test]
async fn a_lock_that_is_held_too_long_is_an_error_that_names_file_and_holder() {
    let place = Place::new();
    let builder = FileVault::builder(place.root()).lock_timeout(Duration::from_millis(20));
    let vault = builder.lease_timeout(Duration::from_millis(20)).open(&place.key).await.unwrap();
    let [id] = put_all(&vault, ["a"]).await;
    drop(vault.lease_refresh(id).await.unwrap());
    let names = ["lock", "pools/example+default.lock", &format!("leases/{id}.lock")].map(str::to_owned);
    for name in names {
        let path = place.root().join(&name);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.lock().unwrap();
        let error = match &*name {
            "lock" => vault.load_pool(pool()).await.map(drop).unwrap_err(),
            name if name.starts_with("pools") => {
                vault.record(pool(), vec![cooled(id, 5_000, 1, false)]).await.map(drop).unwrap_err()
            }
            _ => vault.lease_refresh(id).await.map(drop).unwrap_err(),
        };
        let VaultError::Locked { path: named, holder, .. } = &error else { panic!("{error:?}") };
        assert_eq!(named, &path);
        assert!(error.to_string().contains(&name), "{error}");
        if cfg!(target_os = "linux") {
            assert_eq!(*holder, Some(std::process::id()), "{error}");
        }
        // What needs no such lock goes on.
        assert_eq!(token(&vault, id).await, format!("{PLANTED}-a"));
        file.unlock().unwrap();
    }
    assert_eq!(until(&vault, id).await, None, "what could not be recorded has changed nothing");
    vault.record(pool(), vec![cooled(id, 5_000, 1, false)]).await.unwrap();
    assert_eq!(until(&vault, id).await, Some(5_000));
}

#[tokio::test]
async fn nothing_of_a_secret_is_in_any_file() {
    let place = Place::new();
    let vault = place.open().await;
    let mut tokens = OAuthTokens::new(PLANTED).refresh(format!("refresh-{PLANTED}"));
    tokens.extra.insert("id_token".into(), PLANTED.into());
    let id = vault.put(Credential::new(pool(), "a", tokens.clone())).await.unwrap().id;
    vault.replace_secret(id, Generation::FIRST, tokens).await.unwrap();
    vault.record(pool(), vec![cooled(id, 5_000, 1, true)]).await.unwrap();
    put_all(&vault, ["b"]).await;
    let _lease = vault.lease_refresh(id).await.unwrap();

    let files = place.files();
    assert!(files.len() >= 5, "{:?}", files.keys());
    let mut needles = vec![b"planted".to_vec()];
    for shift in 0..3 {
        // Base64 of it at each of the three alignments that it may have within a longer text.
        let text = format!("{}{PLANTED}", &"xxx"[..shift]);
        for engine in
            [base64::engine::general_purpose::STANDARD, base64::engine::general_purpose::URL_SAFE]
        {
            needles.push(engine.encode(&text).as_bytes()[4..40].to_vec());
        }
    }
    needles.push(PLANTED.bytes().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
    needles.push(place.key.to_base64().expose().as_bytes()[..20].to_vec());
    for (path, bytes) in files {
        for needle in &needles {
            let found = bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!found, "{} is in {}", String::from_utf8_lossy(needle), path.display());
        }
    }
}

#[tokio::test]
async fn a_cooldown_or_a_move_never_touches_a_record() {
    let place = Place::new();
    let vault = place.open().await;
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    let contents = |id| {
        let path = place.record(id);
        (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap())
    };
    let before = [contents(a), contents(b)];
    let pool_before = fs::read(place.pool()).unwrap();
    vault.record(pool(), vec![cooled(a, 5_000, 1, true)]).await.unwrap();
    vault.move_to(b, 1).await.unwrap();
    assert_ne!(fs::read(place.pool()).unwrap(), pool_before);
    assert_eq!([contents(a), contents(b)], before);
}

/// `id` is reported by its file's name with this reason, by whoever asks, and left as it is.
async fn assert_damaged(place: &Place, vault: &FileVault, id: CredentialId, reason: &str) {
    let path = place.record(id);
    let before = fs::read(&path).unwrap();
    match vault.get(id).await {
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
        vault.replace_secret(c, Generation::FIRST, Secret::api_key("new")).await.unwrap();
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
    vault.remove(a).await.unwrap();
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
        // The credential had to be named anew, so the file was already set aside.
        let kept = place.root().join("pools/example+default.damaged-1");
        assert_eq!(fs::read_to_string(&kept).unwrap(), content);
        vault.record(pool(), vec![cooled(id, 5_000, 1, true)]).await.unwrap();
        vault.replace_secret(id, Generation::FIRST, Secret::api_key("rotated")).await.unwrap();
        vault.put(account("b")).await.unwrap();
        vault.move_to(id, 1).await.unwrap();
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
    vault.remove(a).await.unwrap();
    let [c, b] = put_all(&vault, ["c", "b"]).await;
    // As a power cut leaves it that has taken what was not synced.
    fs::write(place.record(a), record).unwrap();
    vault.record(pool(), vec![cooled(a, 5_000, 1, false)]).await.unwrap();
    let loaded = vault.load_pool(pool()).await.unwrap();
    assert_eq!(loaded.standings.order, [c, b, a]);
    assert_eq!(order(&vault).await, ["c", "b", "a"]);
    assert_eq!(until(&vault, a).await, Some(5_000));
    assert_eq!(vault.revision(pool()).await.unwrap(), loaded.revision);
}

#[tokio::test]
async fn names_never_leave_the_directory() {
    let place = Place::new();
    let vault = place.open().await;
    let before = place.files().len();
    let long = "é/".repeat(60);
    let pools = [
        PoolKey::new("../../x"),
        PoolKey::new("/etc/passwd"),
        PoolKey::with_namespace("..", "../.."),
        PoolKey::with_namespace(".", "c:\\x"),
        PoolKey::with_namespace(long.as_str(), long.as_str()),
        PoolKey::new("Example"),
        PoolKey::new("example"),
    ];
    for pool in &pools {
        let id =
            vault.put(Credential::new(pool.clone(), "../l", Secret::api_key("k"))).await.unwrap().id;
        vault.record(pool.clone(), vec![cooled(id, 5_000, 1, false)]).await.unwrap();
        let loaded = vault.load_pool(pool.clone()).await.unwrap();
        assert_eq!(loaded.credentials.len(), 1, "{pool}");
        assert_eq!(&*loaded.credentials[0].metadata.label, "../l");
    }
    let files = place.files();
    assert_eq!(files.len(), before + 3 * pools.len());
    for path in files.keys() {
        let below = path.strip_prefix(place.root()).unwrap();
        assert!(below.components().count() <= 2, "{}", path.display());
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_when_the_vault_is_opened() {
    let place = Place::new();
    let vault = place.open().await;
    put_all(&vault, ["a", "b"]).await;
    let before = place.files();
    let other = VaultKey::generate();
    match FileVault::open(place.root(), &other).await {
        Err(VaultError::Key(text)) => {
            assert!(text.contains(&place.key.id().to_string()), "{text}");
            assert!(text.contains(&other.id().to_string()), "{text}");
        }
        opened => panic!("{opened:?}"),
    }
    assert_eq!(place.files(), before);
    assert_eq!(order(&place.open().await).await, ["a", "b"]);
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

#[tokio::test]
async fn a_finished_vault_leaves_no_temporary_file() {
    let place = Place::new();
    let vault = place.open().await;
    let [a, _] = put_all(&vault, ["a", "b"]).await;
    vault.replace_secret(a, Generation::FIRST, Secret::api_key("n")).await.unwrap();
    vault.record(pool(), vec![cooled(a, 1, 1, true)]).await.unwrap();
    let names: Vec<_> = place.files().into_keys().collect();
    assert_eq!(names.len(), 6, "two records, a log, two locks and the key's file: {names:?}");
}

#[cfg(unix)]
mod modes {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    async fn filled(place: &Place) -> CredentialId {
        let vault = place.open().await;
        let [id] = put_all(&vault, ["a"]).await;
        vault.replace_secret(id, Generation::FIRST, Secret::api_key("n")).await.unwrap();
        vault.record(pool(), vec![cooled(id, 1, 1, true)]).await.unwrap();
        drop(vault.lease_refresh(id).await.unwrap());
        id
    }

    fn assert_private(place: &Place) {
        let files = place.files();
        assert_eq!(files.len(), 6);
        for path in files.keys() {
            assert_eq!(mode(path), 0o600, "{}", path.display());
        }
        for directory in ["", "records", "pools", "leases"] {
            assert_eq!(mode(&place.root().join(directory)), 0o700, "{directory:?}");
        }
    }

    #[tokio::test]
    async fn directories_are_0700_and_files_0600() {
        let place = Place::new();
        filled(&place).await;
        assert_private(&place);
    }

    #[tokio::test]
    async fn modes_that_are_too_wide_are_narrowed_on_opening() {
        let place = Place::new();
        filled(&place).await;
        for path in place.files().keys() {
            set(path, 0o644);
        }
        for directory in ["", "records", "pools", "leases"] {
            set(&place.root().join(directory), 0o755);
        }
        place.open().await;
        assert_private(&place);
    }

    #[tokio::test]
    async fn the_mode_of_a_directory_that_others_use_is_left() {
        let place = Place::new();
        fs::create_dir(place.root()).unwrap();
        fs::write(place.root().join("theirs"), "x").unwrap();
        set(&place.root(), 0o755);
        filled(&place).await;
        assert_eq!(mode(&place.root()), 0o755);
        assert_eq!(mode(&place.root().join("records")), 0o700);
    }

    #[tokio::test]
    async fn a_key_file_is_made_private_in_a_private_directory_and_read_again() {
        let place = Place::new();
        let path = place.temporary.path().join("config/deep/vault.key");
        let key = VaultKey::load_or_create(&path).await.unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(mode(path.parent().unwrap().parent().unwrap()), 0o700);
        assert_eq!(VaultKey::load_or_create(&path).await.unwrap().id(), key.id());
        assert_eq!(place.files().len(), 1, "no temporary file is left");
    }

    #[tokio::test]
    async fn a_key_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        let place = Place::new();
        let path = place.temporary.path().join("vault.key");
        let key = VaultKey::load_or_create(&path).await.unwrap();
        for wide in [0o640, 0o604, 0o660] {
            set(&path, wide);
            match VaultKey::load_or_create(&path).await {
                Err(VaultError::Key(text)) => {
                    assert!(text.contains(&format!("chmod 600 '{}'", path.display())), "{text}");
                }
                loaded => panic!("{loaded:?}"),
            }
        }
        set(&path, 0o600);
        assert_eq!(VaultKey::load_or_create(&path).await.unwrap().id(), key.id());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn first_runs_at_once_agree_on_one_key() {
    let place = Place::new();
    let path = place.temporary.path().join("config/vault.key");
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move { VaultKey::load_or_create(path).await.unwrap().id() })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.unwrap());
    }
    let kept = VaultKey::load_or_create(&path).await.unwrap().id();
    assert_eq!(ids, vec![kept; 32]);
    assert_eq!(place.files().len(), 1, "no temporary file is left");
}

#[tokio::test]
async fn a_file_that_holds_no_key_is_refused_and_kept() {
    let place = Place::new();
    let path = place.temporary.path().join("vault.key");
    for content in ["", "c2VjcmV0LXN0cmF5", "\u{0}\u{1}"] {
        VaultKey::load_or_create(&path).await.unwrap();
        fs::write(&path, content).unwrap();
        match VaultKey::load_or_create(&path).await {
            Err(VaultError::Key(text)) => {
                assert!(text.contains(&path.display().to_string()), "{text}");
                assert!(content.is_empty() || !text.contains(content));
            }
            loaded => panic!("{loaded:?}"),
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        fs::remove_file(&path).unwrap();
    }
}

#[tokio::test]
async fn debug_shows_the_directory() {
    let place = Place::new();
    let vault = place.open().await;
    assert!(format!("{vault:?}").contains("vault"));
    assert_eq!(vault.directory(), place.root());
}
