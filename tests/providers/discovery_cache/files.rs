//! What is kept on disk, for whom, and what happens to a damaged file.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tower_credentials::discovery::{Discovery, DiscoveryBuilder};
use tower_credentials::provider::ModelsEndpoint;
use tower_credentials::provider::ModelsShape::{Anthropic, OpenAi};
use tower_credentials::vault::VaultExt;
use tower_credentials::{Credential, PoolKey, Secret};

use super::{HOUR, cached, rig};
use crate::discovery_rig::{Rig, ids, list};
use crate::support::{Canned, accounts, keys};

/// Returns the only file that is kept.
fn file(directory: &TempDir) -> PathBuf {
    let mut files = files(&directory.path().join("cache"));
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn a_list_outlives_its_process_and_is_only_for_its_own_pool_and_url() {
    let directory = TempDir::new().unwrap();
    let rig = rig().await;
    rig.upstream.set("token-a", [list(&["a"])]);
    assert_eq!(ids(&cached(&rig, &directory).models().await.unwrap()), ["a"]);
    assert_eq!(ids(&cached(&rig, &directory).models().await.unwrap()), ["a"]);
    assert_eq!(rig.requests(), 1);
    let other_url = ModelsEndpoint::new(OpenAi, "/v2/models").unwrap();
    let other_shape = ModelsEndpoint::new(Anthropic, "/v1/models").unwrap();
    for (endpoint, requests) in [(other_url, 2), (other_shape, 3)] {
        let builder = rig.builder(OpenAi).endpoint(endpoint);
        builder.cache_dir(directory.path().join("cache")).build().unwrap().models().await.unwrap();
        assert_eq!(rig.requests(), requests);
    }
    let paths = files(&directory.path().join("cache"));
    assert_eq!(paths.len(), 3);
    for path in paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("x+default+") && name.ends_with(".models"), "{name}");
    }
}

#[tokio::test]
async fn a_list_is_only_for_the_accounts_that_it_was_requested_for() {
    let directory = TempDir::new().unwrap();
    for in_memory in [true, false] {
        let vault = keys(["token-a"]).await;
        let rig = Rig::new(vault.clone()).await;
        let keep = |builder: DiscoveryBuilder| {
            if in_memory { builder } else { builder.cache_dir(directory.path()) }.build().unwrap()
        };
        rig.upstream.set("token-a", [list(&["a"]), list(&["a", "more"]), Canned::status(500)]);
        rig.upstream.set("token-b", [list(&["b"])]);
        let discovery = keep(rig.builder(OpenAi));
        assert_eq!(ids(&discovery.models().await.unwrap()), ["a"]);
        // Another vault, with the same provider, namespace and labels.
        let other = rig.beside(keys(["token-b"]).await).await;
        assert_eq!(ids(&keep(other.builder(OpenAi)).models().await.unwrap()), ["b"]);
        // And the other way round.
        let (kept, requests) = (keep(rig.builder(OpenAi)), rig.requests());
        let shown = if in_memory { &["a"][..] } else { &["a", "more"] };
        assert_eq!(ids(&if in_memory { &discovery } else { &kept }.models().await.unwrap()), shown);
        assert_eq!(rig.requests() - requests, usize::from(!in_memory));
        // The response may be for another account this time. The last list was for other accounts, so it does not count.
        vault.put(Credential::new(PoolKey::new("x"), "new", Secret::api_key("token-c"))).await.unwrap();
        rig.pool.sync().await.unwrap();
        rig.upstream.set("token-a", [Canned::status(500)]);
        rig.upstream.set("token-c", [Canned::status(500)]);
        let discovery = if in_memory { discovery } else { kept };
        assert_eq!(
            discovery.models().await.unwrap_err().status().map(|status| status.as_u16()),
            Some(500)
        );
    }
}

/// Checks that a file with these bytes is ignored, and is replaced.
async fn is_replaced(rig: &Rig, discovery: &Discovery, path: &Path, bytes: &[u8], what: &str) {
    fs::write(path, bytes).unwrap();
    let before = rig.requests();
    let models = discovery.models().await.unwrap();
    assert_eq!(ids(&models), ["a", "b"], "{what}");
    assert_eq!(rig.requests(), before + 1, "{what}");
    discovery.models().await.unwrap();
    assert_eq!(rig.requests(), before + 1, "{what}");
}

#[tokio::test]
async fn a_file_that_is_damaged_anywhere_is_ignored() {
    let directory = TempDir::new().unwrap();
    let rig = rig().await;
    rig.upstream.set("token-a", [list(&["a", "b"]).header("etag", "\"1\"")]);
    let discovery = cached(&rig, &directory);
    discovery.models().await.unwrap();
    let path = file(&directory);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        // Changes a digit, or the case of a letter.
        bytes[at] ^= if at % 2 == 0 { 0x01 } else { 0x20 };
        is_replaced(&rig, &discovery, &path, &bytes, &format!("byte {at}")).await;
        is_replaced(&rig, &discovery, &path, &whole[..at], &format!("cut off at {at}")).await;
    }
    for (what, bytes) in [
        ("more at its end", [&whole[..], b"\n"].concat()),
        ("twice", whole.repeat(2)),
        ("another program's", b"{\"models\": [\"a\"]}\n".to_vec()),
        ("no text", vec![0xff; 4096]),
    ] {
        is_replaced(&rig, &discovery, &path, &bytes, what).await;
    }
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[tokio::test]
async fn a_file_of_another_version_or_format_is_ignored() {
    let directory = TempDir::new().unwrap();
    let rig = rig().await;
    rig.upstream.set("token-a", [list(&["a", "b"])]);
    let discovery = cached(&rig, &directory);
    discovery.models().await.unwrap();
    let path = file(&directory);
    let text = fs::read_to_string(&path).unwrap();
    let newer = text.replacen("models 2 ", "models 3 ", 1);
    assert_ne!(newer, text);
    is_replaced(&rig, &discovery, &path, newer.as_bytes(), "newer").await;
    // Well-formed, but with other words.
    for (from, to) in [
        ("\"provider\":\"x\"", "\"provider\":\"y\""),
        ("\"namespace\":\"default\"", "\"namespace\":\"other\""),
        ("/v1/models", "/v2/models"),
        ("\"shape\":\"openai\"", "\"shape\":\"google\""),
        ("\"accounts\":\"", "\"accounts\":\"0"),
        ("\"id\":\"a\"", "\"id\":\"c\""),
        ("\"id\":\"a\"", "\"id\":\"b\""),
        ("\"id\":\"a\"", "\"name\":\"a\""),
        ("\"models\":[", "\"models\":[1,"),
    ] {
        let (_, json) = text.split_once('\n').unwrap();
        let json = json.replacen(from, to, 1);
        assert!(!text.ends_with(&json), "{from}");
        let digest = <sha2::Sha256 as sha2::Digest>::digest(&json);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let made = format!("tower-credentials models 2 {digest}\n{json}");
        is_replaced(&rig, &discovery, &path, made.as_bytes(), to).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_private_to_the_owner_and_links_are_not_followed() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let directory = TempDir::new().unwrap();
    let rig = rig().await;
    rig.upstream.set("token-a", [list(&["a", "b"])]);
    let discovery = cached(&rig, &directory);
    discovery.models().await.unwrap();
    let path = file(&directory);
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert_eq!(ids(&discovery.models().await.unwrap()), ["a", "b"]);
    assert_eq!(rig.requests(), 2);
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    // A pipe makes nobody wait.
    fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert_eq!(ids(&discovery.models().await.unwrap()), ["a", "b"]);
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
}

#[tokio::test]
async fn only_old_temporary_files_of_killed_processes_are_removed() {
    let directory = TempDir::new().unwrap();
    let cache = directory.path().join("cache");
    fs::create_dir(&cache).unwrap();
    let long_ago = std::time::SystemTime::now() - 2 * HOUR;
    for (name, is_old) in [
        (".0123456789abcdef.tmp", true),
        (".fedcba9876543210.tmp", false),
        (".somebody-elses.tmp", true),
        (".0123456789abcdeg.tmp", true),
        ("notes", true),
    ] {
        let left = fs::File::create(cache.join(name)).unwrap();
        if is_old {
            left.set_modified(long_ago).unwrap();
        }
    }
    let rig = rig().await;
    rig.upstream.set("token-a", [list(&["a"])]);
    cached(&rig, &directory).models().await.unwrap();
    let names = files(&cache).into_iter().map(|path| path.file_name().unwrap().to_owned());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with(".models"));
    names.sort();
    assert_eq!(
        names,
        [".0123456789abcdeg.tmp", ".fedcba9876543210.tmp", ".somebody-elses.tmp", "notes"]
    );
}

#[tokio::test]
async fn no_secret_is_kept() {
    let directory = TempDir::new().unwrap();
    let rig = Rig::new(accounts(["account"]).await).await;
    rig.upstream.set("account-1", [list(&["a"]).header("etag", "\"1\"")]);
    cached(&rig, &directory).models().await.unwrap();
    let kept = fs::read_to_string(file(&directory)).unwrap();
    assert!(kept.contains("\"a\"") && kept.contains("\\\"1\\\""), "{kept}");
    for secret in ["account-1", "refresh-account", "Bearer"] {
        assert!(!kept.contains(secret), "{kept}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_concurrent_writers_always_leave_one_complete_list() {
    const TIMES: usize = 40;
    let directory = TempDir::new().unwrap();
    let rig = rig().await;
    let long: Vec<_> = (0..500).map(|number| format!("model-{number:04}")).collect();
    let long: Vec<_> = long.iter().map(String::as_str).collect();
    let responses = (0..TIMES).flat_map(|_| [list(&["a"]), list(&long)]);
    rig.upstream.set("token-a", responses);
    cached(&rig, &directory).models().await.unwrap();
    let writers = [cached(&rig, &directory), cached(&rig, &directory)];
    let writers = writers.map(|discovery| {
        tokio::spawn(async move {
            for _ in 0..TIMES {
                assert!(discovery.refresh().await.unwrap().stale().is_none());
            }
        })
    });
    // The clock is paused, so a reader sends a request only if it finds nothing.
    let reader = cached(&rig, &directory);
    let mut read = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        assert!(matches!(reader.models().await.unwrap().as_slice().len(), 1 | 500));
        read += 1;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(read > 0);
    assert_eq!(rig.requests(), 1 + 2 * TIMES);
    assert_eq!(files(&directory.path().join("cache")).len(), 1);
}
