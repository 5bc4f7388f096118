//! A vault's history: whole lines, bounded, nobody else's to read, and never waited for.

#![cfg(all(unix, feature = "file"))]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Request, Response, StatusCode};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_credentials::events::{Account, Event, EventKind};
use tower_credentials::history::{Entry, History};
use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::file::{Check, FileVault, FindingKind};
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{
    BoxError, Clock, Credential, CredentialsLayer, Pool, PoolKey, Secret, Timestamp,
};

use crate::place::Place;

fn key() -> PoolKey {
    PoolKey::new("x")
}

async fn vault_of(place: &Place, labels: &[&str]) -> FileVault {
    let vault = place.open().await;
    for label in labels {
        vault.put(Credential::new(key(), *label, Secret::api_key(*label))).await.unwrap();
    }
    vault
}

async fn account(vault: &FileVault, label: &str) -> Account {
    let all = vault.list().await.unwrap().credentials;
    all.iter().find(|one| *one.label == *label).unwrap().into()
}

async fn open(vault: &FileVault, clock: Clock) -> Pool {
    let provider = GenericProvider::bearer("x").origin("https://x.test").unwrap();
    Pool::builder(provider, vault.clone()).clock(clock).sync_every(None).open().await.unwrap()
}

/// Sends requests to an upstream that limits the account `limited`.
async fn send(pool: &Pool, requests: usize) {
    let upstream = service_fn(async |request: Request<String>| {
        let is_limited = request.headers()["authorization"] == "Bearer limited";
        let status = if is_limited { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
        Response::builder().status(status).body(String::new()).map_err(BoxError::from)
    });
    let mut service = CredentialsLayer::new(pool.clone()).layer(upstream);
    for _ in 0..requests {
        let request = Request::post("https://x.test/v1").body(String::new()).unwrap();
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}

fn names(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.event.kind.name().to_owned()).collect()
}

fn resets(account: &Account, count: u64) -> Vec<Event> {
    let event = |number| {
        Event::new(Timestamp::from_millis(number), EventKind::Reset { account: account.clone() })
    };
    (0..count).map(event).collect()
}

/// The files of a history, the oldest first.
fn files(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.root().join("history")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    files
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn what_a_pool_does_is_kept_and_nobody_else_may_read_it() {
    let place = Place::new();
    let vault = vault_of(&place, &["limited", "good"]).await;
    let history = vault.history();
    assert_eq!(history.read().await.unwrap(), [], "nothing is there before something is written");
    assert!(!place.root().join("history").exists());
    let pool = open(&vault, Clock::system()).await;
    let recording = history.record(&pool);
    send(&pool, 3).await;
    let good = account(&vault, "good").await;
    pool.pause(good.id).await.unwrap();
    recording.close().await;
    send(&pool, 0).await;

    let entries = history.read().await.unwrap();
    let expected = ["answered", "cooled_down", "rotated", "answered", "paused", "answered"];
    assert_eq!(names(&entries), expected);
    assert!(entries.iter().all(|entry| entry.process == std::process::id()));
    let numbers =
        |entry: &Entry| (entry.event.request.map(u64::from), entry.event.attempt.map(u32::from));
    assert_eq!(numbers(&entries[2]), (Some(1), Some(2)));
    let EventKind::Answered { account, status, requests } = &entries[5].event.kind else { panic!() };
    assert_eq!((account, status.as_u16(), *requests), (&good, 200, 2), "the others are counted");
    assert_eq!(mode(&place.root().join("history")), 0o700);
    for path in files(&place) {
        assert_eq!(mode(&path), 0o600);
    }
}

#[tokio::test]
async fn an_accounts_answers_are_told_once_a_minute_with_their_number() {
    let place = Place::new();
    let vault = vault_of(&place, &["good"]).await;
    let seconds = Arc::new(AtomicU64::new(0));
    let clock = seconds.clone();
    let clock = move || UNIX_EPOCH + Duration::from_secs(4_000_000_000 + clock.load(Ordering::SeqCst));
    let pool = open(&vault, Clock::from_fn(move || -> SystemTime { clock() })).await;
    let recording = vault.history().record(&pool);
    for _ in 0..120 {
        send(&pool, 5).await;
        seconds.fetch_add(1, Ordering::SeqCst);
    }
    recording.close().await;
    let entries = vault.history().read().await.unwrap();
    let requests = |entry: &Entry| match entry.event.kind {
        EventKind::Answered { requests, .. } => requests,
        _ => panic!("{entry:?}"),
    };
    let told: Vec<_> = entries.iter().map(requests).collect();
    assert_eq!(told, [1, 300, 299], "600 in all");
}

#[tokio::test]
async fn a_torn_line_is_passed_over_and_ruins_no_other() {
    let place = Place::new();
    let vault = vault_of(&place, &["a"]).await;
    let (history, account) = (vault.history(), account(&vault, "a").await);
    history.append(resets(&account, 2)).await.unwrap();
    let path = files(&place).remove(0);
    let whole = fs::read(&path).unwrap();
    let line = whole.len() / 2;
    let mut follower = history.follow();
    for cut in [1, 10, line - 2] {
        fs::write(&path, &whole[..line + cut]).unwrap();
        assert_eq!(history.read().await.unwrap().len(), 1, "{cut}");
        history.append(resets(&account, 1)).await.unwrap();
        assert_eq!(history.read().await.unwrap().len(), 2, "{cut}");
    }
    for _ in 0..2 {
        follower.next().await.unwrap();
    }
    fs::write(&path, b"\n\0\0\0\n{}\nnot a line\n\xff\xff\n").unwrap();
    history.append(resets(&account, 1)).await.unwrap();
    assert_eq!(names(&history.read().await.unwrap()), ["reset"]);
}

#[tokio::test]
async fn a_follower_reads_what_is_new_without_waiting() {
    let place = Place::new();
    let vault = vault_of(&place, &["a"]).await;
    let account = account(&vault, "a").await;
    let mut follower = vault.history().follow();
    for count in [0, 3, 0, 1] {
        let written = resets(&account, count);
        vault.history().append(written.clone()).await.unwrap();
        let read = follower.read().await.unwrap();
        assert_eq!(read.into_iter().map(|entry| entry.event).collect::<Vec<_>>(), written);
    }
}

#[tokio::test]
async fn it_is_bounded_in_size_and_the_newest_entries_are_kept() {
    const MOST: u64 = 64 << 10;
    let place = Place::new();
    let vault = vault_of(&place, &["a"]).await;
    let (history, account) = (vault.history().max_bytes(MOST), account(&vault, "a").await);
    let all = resets(&account, 5_000);
    let mut follower = history.follow();
    let mut followed = 0;
    for some in all.chunks(50) {
        history.append(some.to_vec()).await.unwrap();
        let size: u64 = files(&place).iter().map(|path| path.metadata().unwrap().len()).sum();
        assert!(size <= MOST && files(&place).len() <= 4, "{size} bytes in {:?}", files(&place));
        for event in some {
            assert_eq!(follower.next().await.unwrap().event, *event, "each line once, across all files");
            followed += 1;
        }
    }
    assert_eq!(followed, all.len());
    let kept = history.read().await.unwrap();
    assert!(kept.len() > 200, "{}", kept.len());
    let kept: Vec<_> = kept.into_iter().map(|entry| entry.event).collect();
    assert_eq!(kept, all[all.len() - kept.len()..]);
}

#[tokio::test]
async fn what_is_too_old_is_removed_by_the_next_write() {
    let place = Place::new();
    let vault = vault_of(&place, &["a"]).await;
    let (history, account) = (vault.history(), account(&vault, "a").await);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let day = 24 * 60 * 60;
    history.append(resets(&account, 1)).await.unwrap();
    let path = files(&place).remove(0);
    let began = |days: u64| path.with_file_name(format!("000001-{}.jsonl", now - days * day));
    // After some days another file is begun, since lines of one file go together.
    fs::rename(&path, began(10)).unwrap();
    history.append(resets(&account, 1)).await.unwrap();
    assert_eq!(files(&place).len(), 2);
    assert_eq!(history.read().await.unwrap().len(), 2);
    fs::rename(began(10), began(30)).unwrap();
    history.append(resets(&account, 1)).await.unwrap();
    assert_eq!(files(&place).len(), 1);
    assert_eq!(history.read().await.unwrap().len(), 2);
}

#[tokio::test]
async fn no_link_is_followed_and_no_strange_file_is_written_to() {
    let place = Place::new();
    let vault = vault_of(&place, &["a"]).await;
    let (history, account) = (vault.history(), account(&vault, "a").await);
    let (elsewhere, directory) =
        (place.temporary.path().join("elsewhere"), place.root().join("history"));
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, &directory).unwrap();
    let error = history.append(resets(&account, 1)).await.unwrap_err();
    assert!(matches!(error, VaultError::Damaged(_)), "{error:?}");
    assert!(history.read().await.is_err());
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    let report = Check::new(place.root()).run().await.unwrap();
    assert!(report.findings.iter().any(|found| found.path.ends_with("/history")), "{report:?}");

    fs::remove_file(&directory).unwrap();
    history.append(resets(&account, 1)).await.unwrap();
    let (path, target) = (files(&place).remove(0), elsewhere.join("file"));
    fs::rename(&path, &target).unwrap();
    symlink(&target, &path).unwrap();
    let before = fs::read(&target).unwrap();
    let error = history.append(resets(&account, 1)).await.unwrap_err();
    assert!(error.to_string().contains("symbolic link"), "{error}");
    assert!(history.read().await.is_err());
    assert_eq!(fs::read(&target).unwrap(), before);
}

#[tokio::test]
async fn no_request_waits_for_the_history_and_what_is_lost_is_counted() {
    let place = Place::new();
    let vault = vault_of(&place, &["good"]).await;
    let (history, good) = (vault.history(), account(&vault, "good").await);
    history.append(resets(&good, 1)).await.unwrap();
    let pool = open(&vault, Clock::system()).await;
    let recording = history.record(&pool);
    let lock = fs::File::open(place.root().join("history/write.lock")).unwrap();
    lock.lock().unwrap();
    let began = std::time::Instant::now();
    send(&pool, 10).await;
    for _ in 0..5 {
        pool.pause(good.id).await.unwrap();
        pool.resume(good.id).await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // Writers wait for a second.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    lock.unlock().unwrap();
    pool.pause(good.id).await.unwrap();
    recording.close().await;
    let entries = history.read().await.unwrap();
    let names = names(&entries);
    assert_eq!((&*names[0], &*names[1]), ("reset", "lost"), "{names:?}");
    let EventKind::Lost { events } = entries[1].event.kind else { panic!("{:?}", entries[1]) };
    let written =
        names.iter().filter(|name| ["answered", "paused", "resumed"].contains(&&***name)).count();
    // The end tells the rest of the answers, with one more line.
    assert_eq!(events as usize + written, 1 + 5 + 5 + 1 + 1, "{names:?}");
}

#[tokio::test]
async fn a_removed_account_is_erased_and_the_others_lines_stay_in_their_places() {
    let place = Place::new();
    let vault = vault_of(&place, &["me@example.com", "other"]).await;
    let (me, other) = (account(&vault, "me@example.com").await, account(&vault, "other").await);
    let history = vault.history();
    history.append(resets(&me, 3)).await.unwrap();
    history.append(resets(&other, 1)).await.unwrap();
    let rotated = EventKind::Rotated {
        from: me.clone(),
        to: other.clone(),
        reason: tower_credentials::events::RotationReason::Limited,
    };
    history.append([Event::new(Timestamp::from_millis(1), rotated)]).await.unwrap();
    let mut follower = history.follow();
    for _ in 0..5 {
        follower.next().await.unwrap();
    }
    vault.remove(&me.pool, me.id).await.unwrap();
    vault.forget_removed(&[me.id]).await.unwrap();
    let removed = EventKind::Removed { pool: me.pool.clone(), id: me.id };
    history.append([Event::new(Timestamp::from_millis(2), removed)]).await.unwrap();
    assert_eq!(names(&history.read().await.unwrap()), ["reset", "removed"]);
    assert!(matches!(follower.next().await.unwrap().event.kind, EventKind::Removed { .. }));
    for path in files(&place) {
        assert!(!fs::read_to_string(path).unwrap().contains("me@example.com"));
    }
}

#[tokio::test]
async fn a_line_is_short_whatever_a_vendor_says() {
    let place = Place::new();
    let label = "\u{7f}é".repeat(60);
    let vault = vault_of(&place, &["a"]).await;
    let (history, mut account) = (vault.history(), account(&vault, "a").await);
    account.label = label.into();
    for text in ["x".repeat(100_000), "\u{1}é\"".repeat(10_000)] {
        let error: Arc<str> = text.into();
        let kinds = [
            EventKind::RefreshFailed { account: account.clone(), error: error.clone() },
            EventKind::Spent { account: account.clone(), reason: error.clone() },
            EventKind::SaveFailed { error, unreachable: false },
        ];
        history.append(kinds.map(|kind| Event::new(Timestamp::from_millis(1), kind))).await.unwrap();
    }
    assert_eq!(history.read().await.unwrap().len(), 6);
    let text = fs::read_to_string(files(&place).remove(0)).unwrap();
    assert!(text.lines().all(|line| line.len() < 4096));
}

#[tokio::test]
async fn a_check_knows_the_history_and_what_does_not_belong_to_it() {
    let place = Place::new();
    let vault = vault_of(&place, &["a"]).await;
    let history: History = vault.history();
    history.append(resets(&account(&vault, "a").await, 1)).await.unwrap();
    let check = || async {
        let report = Check::new(place.root()).run().await.unwrap();
        let ours = report.findings.into_iter().filter(|found| found.path.contains("/history"));
        ours.map(|found| found.kind).collect::<Vec<_>>()
    };
    assert_eq!(check().await, []);
    fs::write(place.root().join("history/notes.txt"), "").unwrap();
    fs::set_permissions(files(&place).remove(0), fs::Permissions::from_mode(0o644)).unwrap();
    let mut found = check().await;
    found.sort_by_key(|kind| format!("{kind:?}"));
    assert_eq!(
        found,
        [FindingKind::OpenToOthers, FindingKind::UnknownFile, FindingKind::OpenToOthers][..found.len()]
    );
    drop(place.open().await);
    assert_eq!(mode(&files(&place).remove(0)), 0o600, "opening the vault narrows it");
}
