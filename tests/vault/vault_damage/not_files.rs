//! Links, pipes and directories where a file should be.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use tower_credentials::Secret;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{VaultError, VaultExt};

use super::{assert_others_work, assert_refused, new, token};
use crate::three_records::{Place, cooled, id};
use crate::vault_contract::pool;

/// What may be in the place of a regular file.
#[derive(Clone, Copy, Debug)]
enum NotFile {
    Link,
    DanglingLink,
    Pipe,
    Directory,
}

impl NotFile {
    const ALL: [NotFile; 4] = [NotFile::Link, NotFile::DanglingLink, NotFile::Pipe, NotFile::Directory];

    /// Puts it in the place of a file. The file is kept beside the vault, and its path is returned.
    fn put(self, place: &Place, path: &Path) -> PathBuf {
        let elsewhere = place.temporary.path().join("elsewhere");
        match path.exists() {
            true => fs::rename(path, &elsewhere).unwrap(),
            false => fs::write(&elsewhere, "").unwrap(),
        }
        match self {
            NotFile::Link => std::os::unix::fs::symlink(&elsewhere, path).unwrap(),
            NotFile::DanglingLink => std::os::unix::fs::symlink("/nonexistent/file", path).unwrap(),
            NotFile::Pipe => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
            NotFile::Directory => fs::create_dir(path).unwrap(),
        }
        elsewhere
    }

    fn is_at(self, path: &Path) -> bool {
        use std::os::unix::fs::FileTypeExt;
        let Ok(metadata) = fs::symlink_metadata(path) else { return false };
        match self {
            NotFile::Link | NotFile::DanglingLink => metadata.is_symlink(),
            NotFile::Pipe => metadata.file_type().is_fifo(),
            NotFile::Directory => metadata.is_dir(),
        }
    }
}

/// Runs the test for each of them, on a thread of its own, so that a test that hangs fails.
fn for_each_kind<F: Future<Output = ()>>(test: impl Fn(NotFile) -> F + Send + Copy + 'static) {
    for kind in NotFile::ALL {
        let (done, is_done) = mpsc::channel();
        let work = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(test(kind));
            drop(runtime);
            let _ = done.send(());
        });
        match is_done.recv_timeout(Duration::from_secs(60)) {
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("{kind:?}: it hangs"),
            _ => work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        }
    }
}

/// Checks that the error names the file, what is there, and what to do.
fn assert_explains(error: impl std::fmt::Display, path: &Path, kind: NotFile) {
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "{kind:?}: {text}");
    let what = match kind {
        NotFile::Link | NotFile::DanglingLink => {
            "it is a symbolic link, where a file should be; put the file"
        }
        NotFile::Pipe | NotFile::Directory => {
            "it is no plain file, and one should be there; move it away"
        }
    };
    assert!(text.contains(what), "{kind:?}: {text}");
}

#[test]
fn anything_but_a_file_in_place_of_a_record_is_named_and_kept() {
    for_each_kind(|kind| async move {
        let (place, vault) = new().await;
        let path = place.record(1);
        let elsewhere = kind.put(&place, &path);
        assert_refused(&place, &vault, "").await;
        assert_explains(vault.get(&pool(), id(1)).await.unwrap_err(), &path, kind);
        assert!(kind.is_at(&path) && elsewhere.exists());
    });
}

#[test]
fn anything_but_a_file_in_place_of_a_log_is_named_and_secrets_are_still_saved() {
    for_each_kind(|kind| async move {
        let (place, vault) = new().await;
        let path = place.log();
        let elsewhere = kind.put(&place, &path);
        let whole = fs::read(&elsewhere).unwrap();
        for vault in [vault, place.open().await] {
            let loaded = vault.load_pool(pool()).await.unwrap();
            assert_eq!((loaded.credentials.len(), loaded.damaged.len()), (2, 1), "{kind:?}");
            assert_explains(&loaded.damaged[0], &path, kind);
            assert_explains(
                vault.record(pool(), vec![cooled(1, 9_000)]).await.unwrap_err(),
                &path,
                kind,
            );
            assert_explains(vault.move_to(&pool(), id(1), 1).await.unwrap_err(), &path, kind);
            assert_explains(vault.revision(pool()).await.unwrap_err(), &path, kind);
            let generation = vault.get(&pool(), id(1)).await.unwrap().metadata.generation;
            vault.replace_secret(&pool(), id(1), generation, Secret::api_key(token(1))).await.unwrap();
            assert_others_work(&vault, None, "beside something that is not a log").await;
        }
        assert!(kind.is_at(&path) && fs::read(elsewhere).unwrap() == whole);
    });
}

#[test]
fn anything_but_a_file_in_place_of_a_lock_is_named_and_kept() {
    for_each_kind(|kind| async move {
        for name in ["lock", "pools/example+default.lock", &format!("leases/{}.lock", id(1))] {
            let (place, vault) = new().await;
            drop(vault);
            let path = place.root().join(name);
            let elsewhere = kind.put(&place, &path);
            let error = match name {
                "lock" => place.try_open().await.map(drop).unwrap_err(),
                name => {
                    let vault = place.open().await;
                    assert_others_work(&vault, None, name).await;
                    match name.starts_with("pools") {
                        true => {
                            vault.record(pool(), vec![cooled(1, 9_000)]).await.map(drop).unwrap_err()
                        }
                        false => vault.lease_refresh(&pool(), id(1)).await.map(drop).unwrap_err(),
                    }
                }
            };
            assert_explains(error, &path, kind);
            assert!(kind.is_at(&path));
            match fs::symlink_metadata(&path).unwrap().is_dir() {
                true => fs::remove_dir(&path).unwrap(),
                false => fs::remove_file(&path).unwrap(),
            }
            fs::rename(elsewhere, &path).unwrap();
            assert_others_work(&place.open().await, None, "put back").await;
        }
    });
}

#[test]
fn anything_but_a_file_in_place_of_key_json_is_kept_under_another_name() {
    for_each_kind(|kind| async move {
        let (place, vault) = new().await;
        drop(vault);
        kind.put(&place, &place.key_json());
        assert_others_work(&place.open().await, None, "it is made again").await;
        assert!(kind.is_at(&place.root().join("key.damaged-1")), "{kind:?}");
        assert!(fs::symlink_metadata(place.key_json()).unwrap().is_file());
        assert!(matches!(
            FileVault::open(place.root(), &VaultKey::generate()).await,
            Err(VaultError::Key(_))
        ));
    });
}

#[test]
fn anything_but_a_file_in_place_of_a_key_file_is_refused_and_kept() {
    for_each_kind(|kind| async move {
        let (place, _) = new().await;
        let path = place.temporary.path().join("vault.key");
        let id = VaultKey::load_or_create(&path).await.unwrap().id();
        let elsewhere = kind.put(&place, &path);
        match VaultKey::load_or_create(&path).await {
            Err(error @ VaultError::Key(_)) => assert_explains(error, &path, kind),
            other => panic!("{kind:?}: {other:?}"),
        }
        assert!(kind.is_at(&path));
        assert_eq!(VaultKey::load_or_create(elsewhere).await.unwrap().id(), id);
    });
}

#[test]
fn an_unexpected_file_among_the_vaults_own_is_left_and_stops_nothing() {
    for_each_kind(|kind| async move {
        for name in ["records/.0123456789abcdef.tmp", "pools/x.log", "leases/x", "key.damaged-1"] {
            let (place, vault) = new().await;
            drop(vault);
            let path = place.root().join(name);
            kind.put(&place, &path);
            let vault = place.open().await;
            assert_others_work(&vault, None, name).await;
            assert!(vault.load_pool(pool()).await.unwrap().damaged.is_empty());
            assert!(kind.is_at(&path), "{kind:?} at {name}");
        }
    });
}

#[tokio::test]
async fn a_file_in_place_of_a_directory_is_named_with_a_way_out() {
    for name in ["", "records", "pools", "leases"] {
        let (place, vault) = new().await;
        drop(vault);
        let path = place.root().join(name);
        let path = if name.is_empty() { place.root() } else { path };
        fs::rename(&path, place.temporary.path().join("elsewhere")).unwrap();
        fs::write(&path, "theirs").unwrap();
        let error = place.try_open().await.unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(error.contains("move away"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
    }
}
