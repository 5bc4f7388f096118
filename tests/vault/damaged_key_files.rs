//! A key file that holds no key is set aside under another name, and nothing else is.
#![cfg(all(unix, feature = "file"))]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tower_credentials::vault::VaultError;
use tower_credentials::vault::key::{FileKey, KeyServiceExt, VaultKey};

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn place() -> (TempDir, PathBuf, FileKey) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("vault.key");
    (directory, path.clone(), FileKey::new(path))
}

#[tokio::test]
async fn a_file_without_a_key_is_renamed_and_one_with_a_key_is_not() {
    let (directory, path, place) = place();
    assert!(!place.is_damaged().await.unwrap());
    assert_eq!(place.set_damaged_aside().await.unwrap(), None);
    for (number, text) in ["", "cut off", "c2stc2VjcmV0"].into_iter().enumerate() {
        write(&path, text);
        assert!(place.is_damaged().await.unwrap(), "{text}");
        let kept = directory.path().join(format!("vault.key.damaged-{}", number + 1));
        assert_eq!(place.set_damaged_aside().await.unwrap(), Some(kept.clone()));
        assert_eq!(fs::read_to_string(kept).unwrap(), text);
        assert!(!path.exists());
    }
    let key = VaultKey::generate();
    place.replace(&key).await.unwrap();
    assert!(!place.is_damaged().await.unwrap());
    assert_eq!(place.set_damaged_aside().await.unwrap(), None);
    assert_eq!(place.load().await.unwrap().unwrap().id(), key.id());
}

#[tokio::test]
async fn what_is_no_private_file_is_an_error_and_stays() {
    let (directory, path, place) = place();
    let refused = async || {
        assert!(matches!(place.is_damaged().await, Err(VaultError::Key(_))));
        assert!(matches!(place.set_damaged_aside().await, Err(VaultError::Key(_))));
    };
    fs::write(&path, "cut off").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    refused().await;
    assert_eq!(fs::read_to_string(&path).unwrap(), "cut off");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused().await;
    fs::remove_dir(&path).unwrap();
    symlink(directory.path().join("elsewhere"), &path).unwrap();
    refused().await;
    assert!(path.is_symlink());
}
