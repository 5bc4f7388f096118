//! A check of a vault: it finds what is wrong, and names the file and the way out. It changes nothing unless it is told
//! to, and then only what is safe. In a healthy vault it finds nothing, however busy the vault is.

#![cfg(all(unix, feature = "file"))]

mod files;
mod in_use;
mod keys;
mod records;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::json;
use tempfile::TempDir;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::{Check, FileVault, FindingKind as Kind, Report, Severity};
use tower_credentials::vault::key::{Keys, VaultKey};
use tower_credentials::{Credential, Generation, Secret};

use crate::children;
use crate::three_records::{Place, cooled, credential, id, other_pool, set_mode};
use crate::vault_contract::{PLANTED, pool};

fn account(number: u8) -> Credential {
    credential(number, format!("{PLANTED}-{number}"))
}

/// Makes the vault, with its key in a file elsewhere and some cooldowns of the first record.
async fn new() -> Place {
    let temporary = TempDir::new().unwrap();
    let key = VaultKey::load_or_create(temporary.path().join("keys/vault.key")).await.unwrap();
    let place = Place { temporary, key };
    let vault = place.open().await;
    for number in [1, 2, 3] {
        vault.put(account(number)).await.unwrap();
    }
    for until in 5_000..5_010 {
        vault.record(pool(), vec![cooled(1, until)]).await.unwrap();
    }
    place
}

impl Place {
    fn key_file(&self) -> PathBuf {
        self.temporary.path().join("keys/vault.key")
    }

    fn check(&self) -> Check {
        let check = Check::new(self.root()).keys(&Keys::new(self.key.clone()));
        check.key_file(self.key_file()).lock_timeout(Duration::from_secs(60))
    }

    /// Everything below the directory: mode, time of the last change, content.
    fn all(&self) -> BTreeMap<PathBuf, (u32, Option<SystemTime>, Vec<u8>)> {
        let look = |path: PathBuf| {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            (path, (metadata.mode(), metadata.modified().ok(), content))
        };
        children::all_below(self.temporary.path()).into_iter().map(look).collect()
    }
}

/// Writes a file that only its owner may read.
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

/// An expected finding.
struct Wrong {
    kind: Kind,
    severity: Severity,
    path: PathBuf,
    can_fix: bool,
}

/// Breaks a vault, and checks that exactly this is found, that nothing is changed, that `fix` mends what it says and
/// nothing else, and that no record is ever touched.
async fn finds(what: &str, break_it: impl AsyncFnOnce(&Place) -> Vec<Wrong>) {
    let place = new().await;
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
    // Files that were set aside are reported from then on.
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
    let place = new().await;
    let report = place.check().run().await.unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert!(report.is_healthy());
    assert_eq!((report.records, report.opened, report.pools), (3, 3, 2));
    assert_eq!(report.directory, place.root().display().to_string());
    // After a removal, a sign-in and a new order, and with a pool whose credentials were all removed.
    let vault = place.open().await;
    vault.remove(&other_pool(), id(3)).await.unwrap();
    vault.replace_secret(&pool(), id(1), Generation::FIRST, Secret::api_key("new")).await.unwrap();
    vault.move_to(&pool(), id(2), 0).await.unwrap();
    drop(vault.lease_refresh(&pool(), id(1)).await.unwrap());
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
    let place = new().await;
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
