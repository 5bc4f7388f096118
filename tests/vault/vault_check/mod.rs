//! A vault that is looked through: what is wrong is found, with its file and the way out; nothing is changed but
//! on demand, and then only what is safe; a healthy vault has nothing to tell, however busy it is.

#![cfg(all(unix, feature = "file"))]

mod files;
mod in_use;
mod keys;
mod records;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tempfile::TempDir;
use tower_credentials::standing::{Change, Cooldown, Outcome, Reason};
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::{Check, FileVault, FindingKind as Kind, Report, Severity};
use tower_credentials::vault::key::{Keys, VaultKey};
use tower_credentials::{Credential, CredentialId, Generation, PoolKey, Secret, Timestamp};

use crate::children;

const PLANTED: &str = "sk-planted-0123456789-abcdefghijklmnop";

/// A vault of three records: 1 and 2 are of one pool, 3 is of another; the key in a file elsewhere.
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

fn account(number: u8) -> Credential {
    let pool = if number == 3 { PoolKey::with_namespace("example", "other") } else { pool() };
    let secret = Secret::api_key(format!("{PLANTED}-{number}"));
    let mut credential = Credential::new(pool, format!("l{number}"), secret);
    credential.metadata.id = id(number);
    credential
}

fn cooled(number: u8, until: u64) -> Outcome {
    let [until, set_at] = [until, 1].map(Timestamp::from_millis);
    let cooldown = Cooldown { until, set_at, reason: Reason::Limited, scope: None, generation: None };
    let change = Change::CooledDown { cooldown, failure: false, to_back: false };
    Outcome { id: id(number), change }
}

impl Place {
    async fn new() -> Self {
        let temporary = TempDir::new().unwrap();
        let key = VaultKey::load_or_create(temporary.path().join("keys/vault.key")).await.unwrap();
        let place = Self { temporary, key };
        let vault = place.open().await;
        for number in [1, 2, 3] {
            vault.put(account(number)).await.unwrap();
        }
        for until in 5_000..5_010 {
            vault.record(pool(), vec![cooled(1, until)]).await.unwrap();
        }
        place
    }

    fn root(&self) -> PathBuf {
        self.temporary.path().join("vault")
    }

    fn file(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn record(&self, number: u8) -> PathBuf {
        self.file(&format!("records/{}.json", id(number)))
    }

    fn log(&self) -> PathBuf {
        self.file("pools/example+default.log")
    }

    fn key_file(&self) -> PathBuf {
        self.temporary.path().join("keys/vault.key")
    }

    async fn open(&self) -> FileVault {
        FileVault::open(self.root(), &self.key).await.unwrap()
    }

    fn check(&self) -> Check {
        let check = Check::new(self.root()).keys(&Keys::new(self.key.clone()));
        check.key_file(self.key_file()).lock_timeout(Duration::from_secs(60))
    }

    /// Everything that is there: mode, time of the last change, content.
    fn all(&self) -> BTreeMap<PathBuf, (u32, Option<SystemTime>, Vec<u8>)> {
        let look = |path: PathBuf| {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            (path, (metadata.mode(), metadata.modified().ok(), content))
        };
        children::all_below(self.temporary.path()).into_iter().map(look).collect()
    }

    fn edit(&self, path: &Path, change: impl FnOnce(&mut Value)) {
        let mut json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        change(&mut json);
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(&json).unwrap()).unwrap();
        set_mode(&new, 0o600);
        fs::rename(new, path).unwrap();
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Puts a file of this content there, only for its owner.
fn put(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
    set_mode(path, 0o600);
}

fn kinds(report: &Report) -> Vec<Kind> {
    report.findings.iter().map(|finding| finding.kind).collect()
}

fn assert_tells_no_secret(report: &Report, key: &VaultKey) {
    let text = format!("{report:?} {}", serde_json::to_string(report).unwrap());
    assert!(!text.contains("planted") && !text.contains(key.to_base64().expose()), "{text}");
}

/// What is wrong, and how it is found.
struct Wrong {
    kind: Kind,
    severity: Severity,
    path: PathBuf,
    can_fix: bool,
}

/// Breaks a vault, and looks that exactly this is found, that nothing is changed, that `fix` mends what it
/// says and no more, and that no record is ever touched.
async fn finds(what: &str, break_it: impl AsyncFnOnce(&Place) -> Vec<Wrong>) {
    let place = Place::new().await;
    let wrong = break_it(&place).await;
    let before = place.all();
    let report = place.check().run().await.unwrap();
    assert_eq!(place.all(), before, "{what}: something was changed");
    assert_tells_no_secret(&report, &place.key);

    let describe = |report: &Report| {
        let one = |finding: &tower_credentials::vault::file::Finding| {
            (finding.kind, finding.severity, finding.path.clone(), finding.can_fix, finding.is_fixed)
        };
        let mut all: Vec<_> = report.findings.iter().map(one).collect();
        all.sort_by_key(|found| format!("{found:?}"));
        all
    };
    let expected = |is_fixed: bool| {
        let one = |wrong: &Wrong| {
            let path = wrong.path.display().to_string();
            (wrong.kind, wrong.severity, path, wrong.can_fix, wrong.can_fix && is_fixed)
        };
        let mut all: Vec<_> = wrong.iter().map(one).collect();
        all.sort_by_key(|found| format!("{found:?}"));
        all
    };
    assert_eq!(describe(&report), expected(false), "{what}: {:#?}", report.findings);
    let is_bad = wrong.iter().any(|wrong| wrong.severity > Severity::Note);
    assert_eq!(report.is_healthy(), !is_bad, "{what}");
    assert!(report.findings.is_sorted_by(|a, b| a.severity >= b.severity), "{what}: the worst first");
    for finding in report.findings.iter().filter(|finding| finding.severity > Severity::Note) {
        let text = finding.to_string();
        assert!(
            finding.way_out.is_some() || finding.kind == Kind::NoVault,
            "{what}: no way out: {text}"
        );
        assert!(text.starts_with(&format!("{}: {}", finding.severity, finding.path)), "{text}");
    }

    let fixed = place.check().fix(true).run().await.unwrap();
    assert_tells_no_secret(&fixed, &place.key);
    assert_eq!(describe(&fixed), expected(true), "{what}: {:#?}", fixed.findings);
    let after = place.all();
    let is_record = |path: &Path| path.extension().is_some_and(|ending| ending == "json");
    for (path, (_, _, content)) in before.iter().filter(|(path, _)| is_record(path)) {
        let now = after.get(path).map(|(_, _, content)| content);
        assert_eq!(now, Some(content), "{what}: {} was touched", path.display());
    }
    let again = place.check().run().await.unwrap();
    let left: Vec<_> = wrong.iter().filter(|wrong| !wrong.can_fix).map(|wrong| wrong.kind).collect();
    let mut bad = again.findings.clone();
    // What was set aside is told from then on.
    bad.retain(|finding| finding.kind != Kind::SetAside || left.contains(&Kind::SetAside));
    assert_eq!(bad.len(), left.len(), "{what}: {bad:#?}");
    assert!(bad.iter().all(|finding| left.contains(&finding.kind)), "{what}: {bad:#?}");
}

fn wrong(kind: Kind, severity: Severity, path: PathBuf) -> Wrong {
    Wrong { kind, severity, path, can_fix: false }
}

fn fixable(kind: Kind, severity: Severity, path: PathBuf) -> Wrong {
    Wrong { kind, severity, path, can_fix: true }
}

#[tokio::test]
async fn a_healthy_vault_has_no_findings() {
    let place = Place::new().await;
    let report = place.check().run().await.unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert!(report.is_healthy());
    assert_eq!((report.records, report.opened, report.pools), (3, 3, 2));
    assert_eq!(report.directory, place.root().display().to_string());
    // After a removal, a sign-in, a new order, and with a pool of which nothing is left.
    let vault = place.open().await;
    vault.remove(id(3)).await.unwrap();
    vault.replace_secret(id(1), Generation::FIRST, Secret::api_key("new")).await.unwrap();
    vault.move_to(id(2), 0).await.unwrap();
    drop(vault.lease_refresh(id(1)).await.unwrap());
    drop(vault.lease_client("client".into()).await.unwrap());
    let report = place.check().run().await.unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!((report.records, report.opened, report.pools), (2, 2, 2));

    let empty = TempDir::new().unwrap();
    let root = empty.path().join("vault");
    FileVault::open(&root, &place.key).await.unwrap();
    let report = Check::new(&root).keys(&Keys::new(place.key.clone())).run().await.unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[tokio::test]
async fn a_report_is_json_for_scripts() {
    let place = Place::new().await;
    set_mode(&place.record(1), 0o644);
    let report = place.check().run().await.unwrap();
    let path = place.record(1).display().to_string();
    let key_json: serde_json::Value =
        serde_json::from_slice(&fs::read(place.file("key.json")).unwrap()).unwrap();
    let expected = json!({
        "directory": place.root().display().to_string(),
        "records": 3,
        "opened": 3,
        "pools": 2,
        "key": place.key.id().to_string(),
        "vault": key_json["vault"]["id"],
        "older": 0,
        "sealed": [{ "key": place.key.id().to_string(), "records": 3, "providers": ["example"] }],
        "findings": [{
            "kind": "open_to_others",
            "severity": "warning",
            "path": path,
            "what": "others may touch it (mode 644)",
            "way_out": format!("chmod 600 '{path}'"),
            "can_fix": true,
            "is_fixed": false,
        }],
    });
    assert_eq!(serde_json::to_value(&report).unwrap(), expected);
}
