//! The file that holds the key.

use std::fs;

use tower_credentials::vault::VaultError;
use tower_credentials::vault::key::VaultKey;

use crate::place::Place;

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
async fn a_key_of_another_length_is_refused_and_not_shown() {
    let place = Place::new();
    let path = place.temporary.path().join("vault.key");
    let whole = place.key.to_base64();
    let whole = whole.expose();
    let texts = [
        // 31 and 33 bytes, no padding, twice the key, and more than any key file has.
        "A".repeat(40) + "AA==",
        "A".repeat(44),
        whole.trim_end_matches('=').to_owned(),
        whole.repeat(2),
        format!("{whole}{}", "\n".repeat(300)),
    ];
    for text in &texts {
        if text.trim() != whole {
            let error = VaultKey::from_base64(text).unwrap_err().to_string();
            assert!(error.contains("32 bytes in base64") && !error.contains(text), "{error}");
        }
    }
    for text in &texts[..4] {
        VaultKey::load_or_create(&path).await.unwrap();
        fs::write(&path, text).unwrap();
        let error = VaultKey::load_or_create(&path).await.unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(error.contains("restore it from a backup") && !error.contains(text), "{error}");
        assert_eq!(&fs::read_to_string(&path).unwrap(), text, "kept");
        fs::remove_file(&path).unwrap();
    }
}
