//! What becomes of a vault whose files were damaged or exchanged: no secret is ever a wrong one, what can't be
//! read is named, everything else works, and nothing that was there is lost.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tower_credentials::standing::{Change, Cooldown, Outcome, Reason};
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{Replaced, VaultError, VaultExt};
use tower_credentials::{Credential, CredentialId, Generation, Metadata, PoolKey, Secret, Timestamp};

use crate::thorough::is_thorough;

/// A vault of three records: 1 and 2 are of one pool, 3 is of another.
struct Place {
    temporary: TempDir,
    key: VaultKey,
}

fn id(number: u8) -> CredentialId {
    CredentialId::from_bytes([number * 0x11; 16])
}

fn pool() -> PoolKey {
    PoolKey::new("example")
}

fn other_pool() -> PoolKey {
    PoolKey::with_namespace("example", "other")
}

fn token(number: u8) -> String {
    format!("sk-{number}")
}

fn cooled(number: u8, until: u64) -> Vec<Outcome> {
    let [until, set_at] = [until, 1].map(Timestamp::from_millis);
    let cooldown =
        Cooldown { until, set_at, reason: Reason::Limited, scope: None, generation: None, cause: None };
    let change = Change::CooledDown { cooldown, failure: false, to_back: false };
    vec![Outcome { id: id(number), change }]
}

impl Place {
    async fn new() -> (Self, FileVault) {
        let place = Self { temporary: TempDir::new().unwrap(), key: VaultKey::generate() };
        let vault = place.open().await;
        for (number, pool) in [(1, pool()), (2, pool()), (3, other_pool())] {
            let mut credential =
                Credential::new(pool, format!("l{number}"), Secret::api_key(token(number)))
                    .attribute("host", "a.example");
            credential.metadata.id = id(number);
            vault.put(credential).await.unwrap();
        }
        vault.record(pool(), cooled(1, 5_000)).await.unwrap();
        (place, vault)
    }

    fn root(&self) -> PathBuf {
        self.temporary.path().join("vault")
    }

    async fn try_open(&self) -> Result<FileVault, VaultError> {
        FileVault::open(self.root(), &self.key).await
    }

    async fn open(&self) -> FileVault {
        self.try_open().await.unwrap()
    }

    fn record(&self, number: u8) -> PathBuf {
        self.root().join(format!("records/{}.json", id(number)))
    }

    fn log(&self) -> PathBuf {
        self.root().join("pools/example+default.log")
    }

    fn key_file(&self) -> PathBuf {
        self.root().join("key.json")
    }

    /// Every plain file of the vault, with what is in it.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let directories = ["", "records", "pools", "leases"].map(|name| self.root().join(name));
        let entries = directories.iter().flat_map(|directory| fs::read_dir(directory).unwrap());
        let paths = entries.map(|entry| entry.unwrap().path());
        let plain = paths.filter(|path| fs::symlink_metadata(path).unwrap().is_file());
        plain.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    /// Whether these bytes are in some file of the vault.
    fn keeps(&self, bytes: &[u8]) -> bool {
        let in_file = |file: &Vec<u8>| file.windows(bytes.len().max(1)).any(|part| part == bytes);
        bytes.is_empty() || self.files().values().any(in_file)
    }

    fn edit(&self, number: u8, change: impl FnOnce(&mut Value)) {
        let path = self.record(number);
        let mut json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut json);
        fs::write(path, serde_json::to_vec(&json).unwrap()).unwrap();
    }
}

/// What bits and lengths a file can have lost: each single bit flipped, and each shorter length. If the
/// tests aren't to be thorough, one in five of them.
fn damages(whole: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    let step = if is_thorough() { 1 } else { 5 };
    let flips = (0..whole.len() * 8).step_by(step).map(|bit| {
        let mut bytes = whole.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        (format!("bit {} of byte {} flipped", bit % 8, bit / 8), bytes)
    });
    let lengths = (0..whole.len()).step_by(step);
    flips.chain(lengths.map(|len| (format!("cut to {len} bytes"), whole[..len].to_vec())))
}

/// Puts a file with these bytes in place of the one at `path`, as another process would.
fn replace(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    fs::rename(new, path).unwrap();
}

/// Whether the metadata is the same in all that decides where a secret goes.
fn is_same_place(one: &Metadata, other: &Metadata) -> bool {
    one.id == other.id
        && one.pool == other.pool
        && one.kind == other.kind
        && one.generation == other.generation
        && one.attributes == other.attributes
}

/// Everything but record `damaged` is as it was, for who asks for it alone and for who loads the pools.
async fn assert_others_work(vault: &FileVault, damaged: Option<u8>, what: &str) {
    for number in [1, 2, 3].into_iter().filter(|number| Some(*number) != damaged) {
        let known = vault.get(id(number)).await.unwrap();
        assert_eq!(known.secret.token().expose(), token(number), "{what}");
    }
    let loaded = vault.load_pool(other_pool()).await.unwrap();
    let labels: Vec<_> = loaded.credentials.iter().map(|known| &*known.metadata.label).collect();
    assert!(damaged == Some(3) || labels == ["l3"], "{what}: {labels:?}");
}

/// Record 1 is named as damaged by its file, with a reason that has `reason` in it, by whoever asks; it is
/// left as it is, and the others work.
async fn assert_refused(place: &Place, vault: &FileVault, reason: &str) {
    let path = place.record(1);
    let before = fs::symlink_metadata(&path).unwrap().is_file().then(|| fs::read(&path).unwrap());
    match vault.get(id(1)).await {
        Err(VaultError::Damaged(damage)) => {
            assert_eq!(damage.record, path.display().to_string(), "{damage}");
            assert!(damage.reason.contains(reason), "{damage}");
        }
        other => panic!("{reason}: {other:?}"),
    }
    let replaced = vault.replace_secret(id(1), Generation::FIRST, Secret::api_key("new")).await;
    assert!(matches!(replaced, Err(VaultError::Damaged(_))), "{reason}: {replaced:?}");
    for vault in [vault.clone(), place.open().await] {
        // The second time from what it remembers of the first.
        for _ in 0..2 {
            let loaded = vault.load_pool(pool()).await.unwrap();
            let ids: Vec<_> = loaded.credentials.iter().map(|known| known.metadata.id).collect();
            assert_eq!(ids, [id(2)], "{reason}");
            let named: Vec<_> = loaded.damaged.iter().map(|damage| &damage.record).collect();
            assert_eq!(named, [&path.display().to_string()], "{reason}: {:?}", loaded.damaged);
        }
        assert_others_work(&vault, Some(1), reason).await;
    }
    if let Some(before) = before {
        assert_eq!(fs::read(&path).unwrap(), before, "{reason}: left as it is");
    }
}

#[tokio::test]
async fn a_record_with_any_bit_flipped_or_cut_short_gives_its_secret_or_is_named() {
    let (place, vault) = Place::new().await;
    let path = place.record(1);
    let whole = fs::read(&path).unwrap();
    let right = vault.get(id(1)).await.unwrap().metadata;
    let (mut opened, mut named) = (0, 0);
    for (what, bytes) in damages(&whole) {
        fs::write(&path, &bytes).unwrap();
        match vault.get(id(1)).await {
            Ok(known) => {
                assert_eq!(known.secret.token().expose(), token(1), "{what}");
                assert!(is_same_place(&known.metadata, &right), "{what}: {:?}", known.metadata);
                opened += 1;
            }
            Err(VaultError::Damaged(damage)) => {
                assert_eq!(damage.record, path.display().to_string(), "{what}");
                named += 1;
            }
            Err(VaultError::Key(reason)) => {
                assert!(reason.contains(&place.key.id().to_string()), "{what}: {reason}");
                named += 1;
            }
            Err(error) => panic!("{what}: {error:?}"),
        }
        let loaded = vault.load_pool(pool()).await.unwrap();
        let of = |number| loaded.credentials.iter().find(|known| known.metadata.id == id(number));
        assert_eq!(of(2).unwrap().secret.token().expose(), token(2), "{what}");
        match of(1) {
            Some(known) => {
                assert_eq!(known.secret.token().expose(), token(1), "{what}");
                assert!(is_same_place(&known.metadata, &right), "{what}: {:?}", known.metadata);
                assert!(loaded.damaged.is_empty(), "{what}: {:?}", loaded.damaged);
            }
            None => {
                assert_eq!(loaded.damaged.len(), 1, "{what}: {:?}", loaded.damaged);
                assert_eq!(loaded.damaged[0].record, path.display().to_string(), "{what}");
            }
        }
        assert_eq!(fs::read(&path).unwrap(), bytes, "{what}: left as it is");
    }
    fs::write(&path, &whole).unwrap();
    assert_others_work(&vault, None, "mended").await;
    assert!(opened > 0 && named > 8 * opened, "{opened} opened, {named} named");
}

#[tokio::test]
async fn a_log_with_any_bit_flipped_or_cut_short_stops_nothing_and_is_kept() {
    let (place, vault) = Place::new().await;
    let (path, kept) = (place.log(), place.log().with_extension("damaged-1"));
    let whole = fs::read(&path).unwrap();
    let last_line = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let (mut unnoticed, mut named) = (0, 0);
    for (number, (what, bytes)) in damages(&whole).enumerate() {
        replace(&path, &bytes);
        let loaded = vault.load_pool(pool()).await.unwrap();
        let mut tokens: Vec<_> =
            loaded.credentials.iter().map(|known| known.secret.token().expose()).collect();
        tokens.sort_unstable();
        assert_eq!(tokens, [token(1), token(2)], "{what}");
        if let Some(standing) = loaded.standings.credentials.get(&id(1)) {
            let until = standing.cooldown(None).map(|known| known.until.as_millis());
            assert_eq!(until, Some(5_000), "{what}: no cooldown but the one that was set");
        }
        match &loaded.damaged[..] {
            [] => {
                // A torn end, as a process leaves it that was killed; the line end before it is of it.
                let is_torn =
                    bytes.len() < whole.len() || bytes[..last_line - 1] == whole[..last_line - 1];
                assert!(is_torn, "{what}");
                unnoticed += 1;
            }
            [damage] => {
                assert_eq!(damage.record, path.display().to_string(), "{what}");
                named += 1;
            }
            more => panic!("{what}: {more:?}"),
        }

        vault.record(pool(), cooled(2, 6_000)).await.unwrap();
        // Not each time, since it takes long without optimization.
        if number % 8 == 0 {
            let loaded = vault.load_pool(pool()).await.unwrap();
            let cooldown = loaded.standings.credentials[&id(2)].cooldown(None);
            assert_eq!(cooldown.unwrap().until.as_millis(), 6_000, "{what}");
        }
        if !loaded.damaged.is_empty() {
            let files = [&path, &kept].map(|path| fs::read(path).unwrap_or_default());
            let end = bytes.len().min(last_line);
            assert!(files.iter().any(|file| file.starts_with(&bytes[..end])), "{what}: it is lost");
        }
        let _ = fs::remove_file(&kept);
    }
    assert_others_work(&vault, None, "after all of it").await;
    assert!(unnoticed > 0 && named > unnoticed, "{unnoticed} torn, {named} named");
}

#[tokio::test]
async fn a_key_json_with_any_bit_flipped_or_cut_short_is_mended_or_named() {
    let (place, vault) = Place::new().await;
    drop(vault);
    let path = place.key_file();
    let whole = fs::read(&path).unwrap();
    let (mut opened, mut refused) = (0, 0);
    for (what, bytes) in damages(&whole) {
        fs::write(&path, &bytes).unwrap();
        match place.try_open().await {
            Ok(vault) => {
                assert_others_work(&vault, None, &what).await;
                opened += 1;
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(&path.display().to_string()), "{what}: {text}");
                refused += 1;
                // The way out that the error tells.
                fs::rename(&path, place.root().join("key.damaged-1")).unwrap();
                assert_others_work(&place.open().await, None, &what).await;
            }
        }
        assert!(place.keeps(&bytes), "{what}: it is lost");
        let _ = fs::remove_file(place.root().join("key.damaged-1"));
    }
    assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused");
}

#[tokio::test]
async fn what_is_bound_can_t_be_edited() {
    type Edit = (&'static str, fn(&mut Value));
    let edits: [Edit; 9] = [
        ("it holds the record", |json| json["metadata"]["id"] = json!(id(9).to_string())),
        ("does not open", |json| json["metadata"]["pool"]["provider"] = json!("examplf")),
        ("does not open", |json| json["metadata"]["pool"]["provider"] = json!("../../x")),
        ("does not open", |json| json["metadata"]["pool"]["namespace"] = json!("other")),
        ("does not open", |json| json["metadata"]["kind"] = json!("oauth")),
        ("does not open", |json| json["metadata"]["generation"] = json!(2)),
        ("does not open", |json| json["metadata"]["attributes"]["host"] = json!("b.example")),
        ("does not open", |json| json["metadata"]["attributes"]["more"] = json!("")),
        ("does not open", |json| {
            json["metadata"].as_object_mut().unwrap().remove("attributes").unwrap();
        }),
    ];
    for (reason, edit) in edits {
        let (place, vault) = Place::new().await;
        place.edit(1, edit);
        assert_refused(&place, &vault, reason).await;
        let above = fs::read_dir(place.temporary.path()).unwrap().count();
        assert_eq!(above, 1, "nothing is written beside the vault");
    }
}

#[tokio::test]
async fn blobs_that_two_records_have_exchanged_open_in_neither() {
    let (place, vault) = Place::new().await;
    let mut blobs = [Value::Null, Value::Null];
    for (blob, number) in blobs.iter_mut().zip([1, 2]) {
        place.edit(number, |json| *blob = json["secret"].clone());
    }
    place.edit(1, |json| json["secret"] = blobs[1].clone());
    place.edit(2, |json| json["secret"] = blobs[0].clone());
    for number in [1, 2] {
        match vault.get(id(number)).await {
            Err(VaultError::Damaged(damage)) => {
                assert_eq!(damage.record, place.record(number).display().to_string());
                assert!(damage.reason.contains("restore the record from a backup"), "{damage}");
            }
            other => panic!("{other:?}"),
        }
    }
    let loaded = vault.load_pool(pool()).await.unwrap();
    assert_eq!((loaded.credentials.len(), loaded.damaged.len()), (0, 2));
    // Put back, they open again: nothing was changed.
    place.edit(1, |json| json["secret"] = blobs[0].clone());
    place.edit(2, |json| json["secret"] = blobs[1].clone());
    assert_others_work(&vault, None, "put back").await;
}

#[tokio::test]
async fn an_old_record_put_back_whole_opens_as_what_it_was() {
    // Nothing can tell: its metadata is as old as its secret. That only a lost race can do.
    let (place, vault) = Place::new().await;
    let old = fs::read(place.record(1)).unwrap();
    vault.replace_secret(id(1), Generation::FIRST, Secret::api_key("new")).await.unwrap();
    let new = fs::read(place.record(1)).unwrap();
    let blob = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap()["secret"].clone();
    place.edit(1, |json| json["secret"] = blob(&old));
    assert_refused(&place, &vault, "does not open").await;
    fs::write(place.record(1), &old).unwrap();
    place.edit(1, |json| json["secret"] = blob(&new));
    assert_refused(&place, &vault, "does not open").await;
    fs::write(place.record(1), &old).unwrap();
    assert_others_work(&vault, None, "the old one whole").await;
}

#[tokio::test]
async fn label_and_times_are_not_bound_and_decide_nothing() {
    for (field, value) in
        [("label", json!("other")), ("created_at", json!(7)), ("updated_at", json!(u64::MAX))]
    {
        let (place, vault) = Place::new().await;
        let before = vault.get(id(1)).await.unwrap().metadata;
        place.edit(1, |json| json["metadata"][field] = value.clone());
        let known = vault.get(id(1)).await.unwrap();
        assert_eq!(known.secret.token().expose(), token(1));
        assert!(is_same_place(&known.metadata, &before), "{field}");
        assert_eq!(serde_json::to_value(&known.metadata).unwrap()[field], value);
        for vault in [vault.clone(), place.open().await] {
            let loaded = vault.load_pool(pool()).await.unwrap();
            assert_eq!((loaded.credentials.len(), loaded.damaged.len()), (2, 0));
        }
        let new = Secret::api_key(token(1));
        let swapped = vault.replace_secret(id(1), Generation::FIRST, new).await.unwrap();
        assert!(matches!(swapped, Replaced::Swapped(_)));
        assert_others_work(&vault, None, field).await;
    }
}

#[tokio::test]
async fn a_stored_label_that_could_not_be_put_is_refused_by_the_files_name() {
    let long = "x".repeat(10_000);
    for label in [long.as_str(), "\u{1b}[2Jevil", "a\nb", "\0", ""] {
        let (place, vault) = Place::new().await;
        place.edit(1, |json| json["metadata"]["label"] = json!(label));
        assert_refused(&place, &vault, "the label").await;
        place.edit(1, |json| json["metadata"]["label"] = json!("l1"));
        assert_others_work(&vault, None, "corrected").await;
    }
}

#[tokio::test]
async fn a_record_of_a_newer_version_is_named_and_kept_as_it_is() {
    for (field, reason) in [("/version", "version 99"), ("/secret/version", "use a newer one")] {
        let (place, vault) = Place::new().await;
        place.edit(1, |json| {
            *json.pointer_mut(field).unwrap() = json!(99);
            json["secret"]["more"] = json!("what only a newer version knows");
        });
        assert_refused(&place, &vault, reason).await;
        let before = fs::read(place.record(1)).unwrap();
        let error = vault.relabel(id(1), "new").await.unwrap_err().to_string();
        assert!(error.contains(&place.record(1).display().to_string()), "{error}");
        assert!(error.contains("use a newer one"), "{error}");
        assert_eq!(fs::read(place.record(1)).unwrap(), before, "what it does not know is not lost");
    }
}

fn line(text: &str) -> String {
    format!("{:08x} {text}\n", crc32fast_hash(text.as_bytes()))
}

/// The CRC that `specs/vault-format.md` names, bit by bit.
fn crc32fast_hash(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8)
            .fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[tokio::test]
async fn a_log_of_a_newer_format_is_left_alone_and_secrets_are_still_saved() {
    let same_shape = r#"{"sequence":1,"entry":{"snapshot":{"format":99,"pool":{"provider":"example","namespace":"default"},"standings":{"order":[],"credentials":{}},"labels":{}}}}"#;
    let other_shape = r#"{"sequence":1,"entry":{"snapshot":{"format":99,"places":{}}}}"#;
    let known = format!(r#"{{"sequence":2,"entry":{{"touched":"{}"}}}}"#, id(1));
    let unknown = r#"{"sequence":2,"entry":{"folded":[]}}"#;
    for lines in [
        vec![same_shape],
        vec![other_shape],
        vec![same_shape, &known],
        vec![other_shape, unknown],
        vec![other_shape, &known],
        vec![other_shape, unknown, &known],
    ] {
        let (place, vault) = Place::new().await;
        let mut bytes: String = lines.iter().map(|text| line(text)).collect();
        replace(&place.log(), bytes.as_bytes());
        let path = place.log().display().to_string();
        for vault in [vault, place.open().await] {
            let loaded = vault.load_pool(pool()).await.unwrap();
            assert_eq!(loaded.credentials.len(), 2, "{lines:?}");
            let damage: Vec<_> = loaded.damaged.iter().map(ToString::to_string).collect();
            assert_eq!(damage.len(), 1, "{lines:?}: {damage:?}");
            assert!(damage[0].contains(&path) && damage[0].contains("newer version"), "{damage:?}");

            let added = Credential::new(pool(), "l4", Secret::api_key("sk-4"));
            let errors = [
                vault.record(pool(), cooled(1, 9_000)).await.unwrap_err(),
                vault.move_to(id(1), 1).await.unwrap_err(),
                vault.put(added).await.unwrap_err(),
                vault.relabel(id(1), "new").await.unwrap_err(),
            ];
            for error in errors.map(|error| error.to_string()) {
                assert!(error.contains(&path) && error.contains("use that one"), "{lines:?}: {error}");
            }
            let generation = vault.get(id(1)).await.unwrap().metadata.generation;
            vault.replace_secret(id(1), generation, Secret::api_key(token(1))).await.unwrap();
            drop(vault.lease_refresh(id(1)).await.unwrap());
            assert_others_work(&vault, None, "beside a newer log").await;

            // What the newer version appends is a change, and makes the log no damaged one of ours.
            for more in [unknown, &known] {
                let before = vault.revision(pool()).await.unwrap();
                bytes += &line(more);
                fs::write(place.log(), &bytes).unwrap();
                assert_ne!(vault.revision(pool()).await.unwrap(), before, "{lines:?}");
                let error = vault.record(pool(), cooled(1, 9_000)).await.unwrap_err().to_string();
                assert!(error.contains("use that one"), "{lines:?}: {error}");
            }
        }
        assert_eq!(fs::read_to_string(place.log()).unwrap(), bytes, "left as it is");
    }
}

#[tokio::test]
async fn a_log_with_the_highest_number_there_is_goes_on_at_0() {
    let (place, vault) = Place::new().await;
    let text = format!(r#"{{"sequence":{},"entry":{{"touched":"{}"}}}}"#, u64::MAX, id(1));
    let mut bytes = fs::read(place.log()).unwrap();
    bytes.extend_from_slice(line(&text).as_bytes());
    replace(&place.log(), &bytes);
    for vault in [vault, place.open().await] {
        let before = vault.load_pool(pool()).await.unwrap();
        assert_eq!(
            before.standings.credentials[&id(1)].cooldown(None).unwrap().until.as_millis(),
            5_000
        );
        assert_ne!(vault.record(pool(), cooled(2, 6_000)).await.unwrap(), before.revision);
        assert_others_work(&vault, None, "after that").await;
    }
}

#[tokio::test]
async fn a_key_json_of_a_newer_version_is_left_alone_and_the_vault_is_not_opened() {
    let (place, _) = Place::new().await;
    let newer = r#"{"version":99,"keys":[]}"#;
    fs::write(place.key_file(), newer).unwrap();
    let before = place.files();
    let error = place.try_open().await.unwrap_err().to_string();
    assert!(error.contains(&place.key_file().display().to_string()), "{error}");
    assert!(error.contains("version 99") && error.contains("use a newer one"), "{error}");
    assert_eq!(place.files(), before, "nothing has changed");
}

#[tokio::test]
async fn a_record_that_is_far_too_long_is_named_and_kept() {
    let (place, vault) = Place::new().await;
    place.edit(1, |json| json["metadata"]["attributes"]["host"] = json!("x".repeat(5 << 20)));
    assert_refused(&place, &vault, "too long to be a file of this vault; restore it").await;
    fs::write(place.record(1), vec![b' '; 5 << 20]).unwrap();
    assert_refused(&place, &vault, "too long").await;
}

/// What may be where a plain file should be.
#[derive(Clone, Copy, Debug)]
enum Odd {
    Link,
    DanglingLink,
    Pipe,
    Directory,
}

impl Odd {
    const ALL: [Odd; 4] = [Odd::Link, Odd::DanglingLink, Odd::Pipe, Odd::Directory];

    /// Puts it in the place of a file, which is kept beside the vault and returned.
    fn put(self, place: &Place, path: &Path) -> PathBuf {
        let elsewhere = place.temporary.path().join("elsewhere");
        match path.exists() {
            true => fs::rename(path, &elsewhere).unwrap(),
            false => fs::write(&elsewhere, "").unwrap(),
        }
        match self {
            Odd::Link => std::os::unix::fs::symlink(&elsewhere, path).unwrap(),
            Odd::DanglingLink => std::os::unix::fs::symlink("/nonexistent/file", path).unwrap(),
            Odd::Pipe => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
            Odd::Directory => fs::create_dir(path).unwrap(),
        }
        elsewhere
    }

    fn is_at(self, path: &Path) -> bool {
        use std::os::unix::fs::FileTypeExt;
        let Ok(metadata) = fs::symlink_metadata(path) else { return false };
        match self {
            Odd::Link | Odd::DanglingLink => metadata.is_symlink(),
            Odd::Pipe => metadata.file_type().is_fifo(),
            Odd::Directory => metadata.is_dir(),
        }
    }
}

/// Runs the test for each odd file on a thread of its own, so that one that hangs is a failure.
fn for_each_odd<F: Future<Output = ()>>(test: impl Fn(Odd) -> F + Send + Copy + 'static) {
    for odd in Odd::ALL {
        let (done, is_done) = mpsc::channel();
        let work = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(test(odd));
            drop(runtime);
            let _ = done.send(());
        });
        match is_done.recv_timeout(Duration::from_secs(60)) {
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("{odd:?}: it hangs"),
            _ => work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        }
    }
}

/// The error names the file, says what is there, and what to do.
fn assert_tells(error: impl std::fmt::Display, path: &Path, odd: Odd) {
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "{odd:?}: {text}");
    let what = match odd {
        Odd::Link | Odd::DanglingLink => "it is a symbolic link, where a file should be; put the file",
        Odd::Pipe | Odd::Directory => "it is no plain file, and one should be there; move it away",
    };
    assert!(text.contains(what), "{odd:?}: {text}");
}

#[test]
fn what_is_no_plain_file_in_place_of_a_record_is_named_and_kept() {
    for_each_odd(|odd| async move {
        let (place, vault) = Place::new().await;
        let path = place.record(1);
        let elsewhere = odd.put(&place, &path);
        assert_refused(&place, &vault, "").await;
        assert_tells(vault.get(id(1)).await.unwrap_err(), &path, odd);
        assert!(odd.is_at(&path) && elsewhere.exists());
    });
}

#[test]
fn what_is_no_plain_file_in_place_of_a_log_is_named_and_secrets_are_still_saved() {
    for_each_odd(|odd| async move {
        let (place, vault) = Place::new().await;
        let path = place.log();
        let elsewhere = odd.put(&place, &path);
        let whole = fs::read(&elsewhere).unwrap();
        for vault in [vault, place.open().await] {
            let loaded = vault.load_pool(pool()).await.unwrap();
            assert_eq!((loaded.credentials.len(), loaded.damaged.len()), (2, 1), "{odd:?}");
            assert_tells(&loaded.damaged[0], &path, odd);
            assert_tells(vault.record(pool(), cooled(1, 9_000)).await.unwrap_err(), &path, odd);
            assert_tells(vault.move_to(id(1), 1).await.unwrap_err(), &path, odd);
            assert_tells(vault.revision(pool()).await.unwrap_err(), &path, odd);
            let generation = vault.get(id(1)).await.unwrap().metadata.generation;
            vault.replace_secret(id(1), generation, Secret::api_key(token(1))).await.unwrap();
            assert_others_work(&vault, None, "beside an odd log").await;
        }
        assert!(odd.is_at(&path) && fs::read(elsewhere).unwrap() == whole);
    });
}

#[test]
fn what_is_no_plain_file_in_place_of_a_lock_is_named_and_kept() {
    for_each_odd(|odd| async move {
        for name in ["lock", "pools/example+default.lock", &format!("leases/{}.lock", id(1))] {
            let (place, vault) = Place::new().await;
            drop(vault);
            let path = place.root().join(name);
            let elsewhere = odd.put(&place, &path);
            let error = match name {
                "lock" => place.try_open().await.map(drop).unwrap_err(),
                name => {
                    let vault = place.open().await;
                    assert_others_work(&vault, None, name).await;
                    match name.starts_with("pools") {
                        true => vault.record(pool(), cooled(1, 9_000)).await.map(drop).unwrap_err(),
                        false => vault.lease_refresh(id(1)).await.map(drop).unwrap_err(),
                    }
                }
            };
            assert_tells(error, &path, odd);
            assert!(odd.is_at(&path));
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
fn what_is_no_plain_file_in_place_of_key_json_is_kept_under_another_name() {
    for_each_odd(|odd| async move {
        let (place, vault) = Place::new().await;
        drop(vault);
        odd.put(&place, &place.key_file());
        assert_others_work(&place.open().await, None, "it is made anew").await;
        assert!(odd.is_at(&place.root().join("key.damaged-1")), "{odd:?}");
        assert!(fs::symlink_metadata(place.key_file()).unwrap().is_file());
        assert!(matches!(
            FileVault::open(place.root(), &VaultKey::generate()).await,
            Err(VaultError::Key(_))
        ));
    });
}

#[test]
fn what_is_no_plain_file_in_place_of_a_key_file_is_refused_and_kept() {
    for_each_odd(|odd| async move {
        let (place, _) = Place::new().await;
        let path = place.temporary.path().join("vault.key");
        let id = VaultKey::load_or_create(&path).await.unwrap().id();
        let elsewhere = odd.put(&place, &path);
        match VaultKey::load_or_create(&path).await {
            Err(error @ VaultError::Key(_)) => assert_tells(error, &path, odd),
            other => panic!("{odd:?}: {other:?}"),
        }
        assert!(odd.is_at(&path));
        assert_eq!(VaultKey::load_or_create(elsewhere).await.unwrap().id(), id);
    });
}

#[test]
fn an_unexpected_file_among_the_vaults_own_is_left_and_stops_nothing() {
    for_each_odd(|odd| async move {
        for name in ["records/.0123456789abcdef.tmp", "pools/x.log", "leases/x", "key.damaged-1"] {
            let (place, vault) = Place::new().await;
            drop(vault);
            let path = place.root().join(name);
            odd.put(&place, &path);
            let vault = place.open().await;
            assert_others_work(&vault, None, name).await;
            assert!(vault.load_pool(pool()).await.unwrap().damaged.is_empty());
            assert!(odd.is_at(&path), "{odd:?} at {name}");
        }
    });
}

#[tokio::test]
async fn a_file_in_place_of_a_directory_is_named_with_a_way_out() {
    for name in ["", "records", "pools", "leases"] {
        let (place, vault) = Place::new().await;
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

#[tokio::test]
async fn a_key_of_another_length_is_refused_and_not_shown() {
    let place = Place { temporary: TempDir::new().unwrap(), key: VaultKey::generate() };
    let path = place.temporary.path().join("vault.key");
    let whole = place.key.to_base64();
    let whole = whole.expose();
    let texts = [
        // 31 and 33 bytes, no padding, twice the key, more than a file of ours ever has.
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
