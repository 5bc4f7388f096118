//! A vault that is looked through: what is wrong is found, with its file and the way out; nothing is changed but
//! on demand, and then only what is safe; a healthy vault has nothing to tell, however busy it is.

#![cfg(all(unix, feature = "file"))]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tempfile::TempDir;
use tower_credentials::standing::{Change, Cooldown, Health, Outcome, Reason};
use tower_credentials::vault::file::{Check, FileVault, FindingKind, Report, Severity};
use tower_credentials::vault::key::{FileKey, KeyServiceExt, Keys, VaultKey};
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{Credential, CredentialId, Generation, PoolKey, Secret, Timestamp};

use FindingKind as Kind;

use crate::children::{self, Job, hear, say};

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
    let cooldown =
        Cooldown { until, set_at, reason: Reason::Limited, scope: None, generation: None, cause: None };
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

use Severity::{Error, Note, Warning};

#[test]
fn a_child_does_its_job() {
    let Some(job) = children::job() else { return };
    assert_eq!(job, "work");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let vault = children::vault().await;
        let own = PoolKey::new(format!("worker-{}", std::process::id()));
        say("ready");
        let parent = tokio::task::spawn_blocking(hear);
        let mut generation = Generation::FIRST;
        for round in 0.. {
            if parent.is_finished() {
                break;
            }
            let label = format!("r{round}");
            let added = Credential::new(own.clone(), label.as_str(), Secret::api_key(PLANTED));
            let added = vault.put(added).await.unwrap().id;
            vault.relabel(added, format!("{label}-2")).await.unwrap();
            let lease = vault.lease_refresh(added).await.unwrap();
            vault.begin_refresh(added, Generation::FIRST).await.unwrap();
            vault.replace_secret(added, Generation::FIRST, Secret::api_key("new")).await.unwrap();
            drop(lease);
            // A log that is compacted now and then.
            let reason = "x".repeat(3000);
            let health = Change::Health(Health::NeedsSignIn { reason, generation, cause: None });
            let outcome = Outcome { id: added, change: health };
            vault.record(own.clone(), vec![outcome, cooled(1, 5_000)]).await.unwrap();
            vault.record(pool(), vec![cooled(2, round)]).await.unwrap();
            vault.move_to(added, 0).await.unwrap();
            vault.remove(added).await.unwrap();
            generation = generation.next();
            if round == 3 {
                say("busy");
            }
        }
    });
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
async fn a_vault_that_others_work_on_has_no_findings() {
    let place = Place::new().await;
    let job = || Job::new(module_path!(), "work").vault(&place.root(), &place.key).start();
    let mut workers = [job(), job()];
    workers.iter_mut().for_each(|worker| worker.wait_for("busy"));
    let (mut records, mut looked) = (0, 0);
    for round in 0..60 {
        let report = place.check().fix(round % 2 == 1).run().await.unwrap();
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        assert_eq!(report.opened, report.records);
        records = records.max(report.records);
        looked += 1;
    }
    for mut worker in workers {
        worker.tell("enough");
        worker.hang_up();
        worker.succeed();
    }
    assert!(records > 3, "they were seen at work");
    assert_eq!(looked, 60);
    let report = place.check().run().await.unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[tokio::test]
async fn files_that_others_may_touch_are_found() {
    let files = ["key.json", "lock", "pools/example+default.log", "pools/example+default.lock"];
    for name in files.into_iter().chain(["", "records", "pools", "leases"]) {
        finds(&format!("mode of {name}"), async |place| {
            let path = if name.is_empty() { place.root() } else { place.file(name) };
            set_mode(&path, if path.is_dir() { 0o755 } else { 0o640 });
            vec![fixable(Kind::OpenToOthers, Warning, path)]
        })
        .await;
    }
    finds("mode of a record", async |place| {
        set_mode(&place.record(1), 0o604);
        vec![fixable(Kind::OpenToOthers, Warning, place.record(1))]
    })
    .await;
    // Who keeps other things beside may have meant it so.
    finds("mode of a directory with other things", async |place| {
        put(&place.file("other"), "");
        set_mode(&place.root(), 0o755);
        vec![
            wrong(Kind::OpenToOthers, Warning, place.root()),
            wrong(Kind::UnknownFile, Note, place.file("other")),
        ]
    })
    .await;
    finds("mode of the key's file", async |place| {
        set_mode(&place.key_file(), 0o644);
        vec![fixable(Kind::OpenToOthers, Error, place.key_file())]
    })
    .await;
    finds("mode of a key that is kept", async |place| {
        let kept = place.key_file().with_extension("key.0123456789abcdef");
        fs::copy(place.key_file(), &kept).unwrap();
        set_mode(&kept, 0o644);
        vec![fixable(Kind::OpenToOthers, Warning, kept)]
    })
    .await;
}

#[tokio::test]
async fn files_of_another_user_are_found() {
    let place = Place::new().await;
    if std::os::unix::fs::chown(place.record(1), Some(4711), None).is_err() {
        println!("NOT RUN: only root can give a file to another user");
        return;
    }
    let report = place.check().fix(true).run().await.unwrap();
    assert_eq!(kinds(&report), [Kind::ForeignOwner]);
    assert_eq!(report.findings[0].path, place.record(1).display().to_string());
    assert!(report.findings[0].what.contains("4711"), "{:?}", report.findings);
    assert!(!report.findings[0].can_fix);
    for path in children::all_below(&place.root()) {
        std::os::unix::fs::chown(path, Some(4711), None).unwrap();
    }
    let report = Check::new(place.root()).keys(&Keys::new(place.key.clone())).run().await.unwrap();
    assert_eq!(kinds(&report), [Kind::ForeignOwner], "the whole vault is one finding");
    assert_eq!(report.findings[0].path, place.root().display().to_string());
}

#[tokio::test]
async fn what_a_killed_process_has_left_is_found() {
    for directory in ["", "records", "pools", "leases"] {
        finds(&format!("left in {directory:?}"), async |place| {
            let path = place.file(directory).join(".0123456789abcdef.tmp");
            put(&path, PLANTED);
            vec![fixable(Kind::Leftover, Warning, path)]
        })
        .await;
    }
    finds("left beside the key", async |place| {
        let directory = place.temporary.path().join("keys");
        let path = directory.join(".0123456789abcdef.tmp");
        put(&path, PLANTED);
        // Somebody may be at it: only one that is a while old is.
        let report = place.check().run().await.unwrap();
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        // Another program's is not ours to remove.
        let other = directory.join(".settings.tmp");
        put(&other, "");
        for path in [&path, &other] {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(600)).unwrap();
        }
        vec![fixable(Kind::Leftover, Warning, path)]
    })
    .await;
}

#[tokio::test]
async fn files_that_do_not_belong_to_the_vault_are_found() {
    for name in ["records/notes", "records/a.json", "pools/x", "leases/x.lock", "leases/y"] {
        finds(name, async |place| {
            put(&place.file(name), PLANTED);
            vec![wrong(Kind::UnknownFile, Warning, place.file(name))]
        })
        .await;
    }
    finds("in the vault's directory itself", async |place| {
        put(&place.file("README"), "");
        vec![wrong(Kind::UnknownFile, Note, place.file("README"))]
    })
    .await;
    finds("what was set aside", async |place| {
        put(&place.file("key.damaged-1"), "");
        put(&place.file("pools/example+default.damaged-12"), PLANTED);
        vec![
            wrong(Kind::SetAside, Note, place.file("key.damaged-1")),
            wrong(Kind::SetAside, Note, place.file("pools/example+default.damaged-12")),
        ]
    })
    .await;
}

#[tokio::test]
async fn a_record_that_does_not_open_is_found() {
    let error = |place: &Place| vec![wrong(Kind::Record, Error, place.record(1))];
    finds("cut short", async |place| {
        let bytes = fs::read(place.record(1)).unwrap();
        put(&place.record(1), &bytes[..bytes.len() / 2]);
        error(place)
    })
    .await;
    finds("a plain text", async |place| {
        put(&place.record(1), PLANTED);
        error(place)
    })
    .await;
    finds("edited", async |place| {
        place.edit(&place.record(1), |json| json["metadata"]["kind"] = json!("oauth"));
        error(place)
    })
    .await;
    finds("a copy of another", async |place| {
        fs::copy(place.record(2), place.record(1)).unwrap();
        error(place)
    })
    .await;
    finds("a link", async |place| {
        let elsewhere = place.temporary.path().join("elsewhere");
        fs::rename(place.record(1), &elsewhere).unwrap();
        symlink(elsewhere, place.record(1)).unwrap();
        error(place)
    })
    .await;
    finds("of a newer version", async |place| {
        place.edit(&place.record(1), |json| json["version"] = json!(99));
        error(place)
    })
    .await;
    finds("moved to another pool", async |place| {
        // One that the log names, under a key that opens it.
        place.edit(&place.record(1), |json| json["metadata"]["pool"]["namespace"] = json!("other"));
        vec![
            wrong(Kind::Record, Error, place.record(1)),
            wrong(Kind::Record, Error, place.record(1)),
            fixable(Kind::Unnamed, Warning, place.file("pools/example+other.log")),
        ]
    })
    .await;
}

#[tokio::test]
async fn a_record_of_another_key_is_found() {
    finds("a record of another vault", async |place| {
        let other = TempDir::new().unwrap();
        let vault = FileVault::open(other.path().join("v"), &VaultKey::generate()).await.unwrap();
        vault.put(account(4)).await.unwrap();
        let name = format!("records/{}.json", id(4));
        fs::copy(other.path().join("v").join(&name), place.file(&name)).unwrap();
        vec![wrong(Kind::OtherKey, Error, place.record(4)), fixable(Kind::Unnamed, Warning, place.log())]
    })
    .await;
}

#[tokio::test]
async fn a_key_other_than_the_vaults_is_found_and_never_shown() {
    let place = Place::new().await;
    let other = VaultKey::generate();
    let report = place.check().keys(&Keys::new(other.clone())).fix(true).run().await.unwrap();
    assert_eq!(kinds(&report), [Kind::WrongKey, Kind::OtherKey, Kind::OtherKey, Kind::OtherKey]);
    let text = &report.findings[0].to_string();
    for id in [place.key.id(), other.id()] {
        assert!(text.contains(&id.to_string()), "{text}");
    }
    assert_eq!((report.records, report.opened), (3, 0));
    assert_eq!(report.key, Some(place.key.id()));
    assert_eq!((report.sealed[0].key, report.sealed[0].records), (place.key.id(), 3));

    let without = Check::new(place.root()).run().await.unwrap();
    assert_eq!(kinds(&without), [Kind::NoKey]);
    assert!(without.findings[0].what.contains(&place.key.id().to_string()));
    assert_eq!((without.records, without.opened), (3, 0));
    assert!(!without.is_healthy(), "records that nobody opened are not known to open");
}

#[tokio::test]
async fn a_log_that_can_t_be_read_is_found() {
    finds("a line is damaged", async |place| {
        let mut bytes = fs::read(place.log()).unwrap();
        let lines: Vec<_> =
            bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
        // One that no member depends on.
        bytes[lines[lines.len() - 2] - 3] ^= 1;
        put(&place.log(), bytes);
        vec![fixable(Kind::Log, Warning, place.log())]
    })
    .await;
    finds("a torn end", async |place| {
        let mut bytes = fs::read(place.log()).unwrap();
        bytes.extend_from_slice(b"12ab");
        put(&place.log(), bytes);
        Vec::new()
    })
    .await;
    finds("no log at all", async |place| {
        put(&place.log(), format!("{PLANTED}\n"));
        vec![fixable(Kind::Log, Warning, place.log()), fixable(Kind::Unnamed, Warning, place.log())]
    })
    .await;
    finds("another pool's", async |place| {
        fs::copy(place.file("pools/example+other.log"), place.log()).unwrap();
        vec![fixable(Kind::Log, Warning, place.log()), fixable(Kind::Unnamed, Warning, place.log())]
    })
    .await;
    finds("a log of no pool", async |place| {
        put(&place.file("pools/stray.log"), PLANTED);
        vec![wrong(Kind::Log, Error, place.file("pools/stray.log"))]
    })
    .await;
    finds("a log by another pool's name", async |place| {
        fs::copy(place.log(), place.file("pools/stray+default.log")).unwrap();
        vec![wrong(Kind::Log, Error, place.file("pools/stray+default.log"))]
    })
    .await;
    finds("a link", async |place| {
        let elsewhere = place.temporary.path().join("elsewhere");
        fs::rename(place.log(), &elsewhere).unwrap();
        symlink(elsewhere, place.log()).unwrap();
        vec![wrong(Kind::Log, Error, place.log())]
    })
    .await;
}

#[tokio::test]
async fn what_a_log_and_the_records_do_not_agree_on_is_found() {
    finds("the log is gone", async |place| {
        fs::remove_file(place.log()).unwrap();
        vec![fixable(Kind::Unnamed, Warning, place.log())]
    })
    .await;
    finds("a label is another one", async |place| {
        place.edit(&place.record(1), |json| json["metadata"]["label"] = json!("x"));
        vec![fixable(Kind::Unnamed, Warning, place.log())]
    })
    .await;
    finds("a record is gone", async |place| {
        fs::remove_file(place.record(2)).unwrap();
        vec![fixable(Kind::MissingRecord, Warning, place.log())]
    })
    .await;
    // What it has mended is there for whoever comes next.
    let place = Place::new().await;
    fs::remove_file(place.log()).unwrap();
    assert!(place.check().fix(true).run().await.unwrap().is_healthy());
    let loaded = place.open().await.load_pool(pool()).await.unwrap();
    assert_eq!(loaded.standings.order, [id(1), id(2)]);
}

#[tokio::test]
async fn key_json_is_checked() {
    finds("key.json is gone", async |place| {
        fs::remove_file(place.file("key.json")).unwrap();
        vec![wrong(Kind::Marker, Warning, place.file("key.json"))]
    })
    .await;
    finds("key.json is damaged", async |place| {
        put(&place.file("key.json"), "{");
        vec![wrong(Kind::Marker, Error, place.file("key.json"))]
    })
    .await;
    for (seals, severity) in [(1_u64 << 31, Warning), (1 << 32, Error)] {
        finds(&format!("{seals} seals"), async |place| {
            let key = place.key.id().to_string();
            place.edit(&place.file("key.json"), |json| json["seals"][key] = json!(seals));
            vec![wrong(Kind::ManySeals, severity, place.file("key.json"))]
        })
        .await;
    }
}

#[tokio::test]
async fn a_refresh_that_did_not_end_is_found_and_one_that_goes_on_is_not() {
    let begin = async |place: &Place| {
        let vault = place.open().await;
        let lease = vault.lease_refresh(id(1)).await.unwrap();
        vault.begin_refresh(id(1), Generation::FIRST).await.unwrap();
        (vault, lease)
    };
    finds("one that did not end", async |place| {
        begin(place).await;
        let path = place.file(&format!("leases/{}.begun", id(1)));
        vec![wrong(Kind::UnfinishedRefresh, Note, path)]
    })
    .await;
    let place = Place::new().await;
    let (vault, lease) = begin(&place).await;
    let report = place.check().run().await.unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    vault.replace_secret(id(1), Generation::FIRST, Secret::api_key("new")).await.unwrap();
    drop(lease);
    let report = place.check().run().await.unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[tokio::test]
async fn a_vault_that_stays_locked_is_checked_all_the_same() {
    let place = Place::new().await;
    put(&place.file("records/.0123456789abcdef.tmp"), "somebody is writing it");
    put(&place.record(1), "{");
    let lock = fs::File::options().write(true).open(place.file("lock")).unwrap();
    lock.lock().unwrap();
    let before = place.all();
    let check = place.check().lock_timeout(Duration::from_millis(20)).fix(true);
    let report = check.run().await.unwrap();
    assert_eq!(kinds(&report), [Kind::Locked, Kind::Record], "nothing that may be somebody's work");
    assert_eq!(place.all(), before, "nothing is mended while somebody works");
    if cfg!(target_os = "linux") {
        let process = format!("process {}", std::process::id());
        assert!(report.findings[0].what.contains(&process), "{:?}", report.findings);
    }
    drop(lock);
    let report = place.check().run().await.unwrap();
    assert_eq!(kinds(&report), [Kind::Record, Kind::Leftover]);
}

#[tokio::test]
async fn nothing_is_mended_without_the_lock_which_is_made_for_that_where_it_is_missing() {
    let place = Place::new().await;
    let (lock, leftover) = (place.file("lock"), place.file("records/.0123456789abcdef.tmp"));
    put(&leftover, "somebody may be writing it");
    fs::remove_file(&lock).unwrap();
    let before = place.all();
    let report = place.check().run().await.unwrap();
    assert!(report.findings.is_empty(), "nobody was kept out: {:#?}", report.findings);
    assert_eq!(place.all(), before);
    let report = place.check().fix(true).run().await.unwrap();
    assert_eq!(kinds(&report), [Kind::Leftover]);
    assert!(report.is_healthy() && !leftover.exists(), "{:#?}", report.findings);
    assert_eq!(fs::metadata(&lock).unwrap().mode() & 0o777, 0o600);
    // What is no file can't be locked.
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    set_mode(&place.record(1), 0o644);
    let report = place.check().fix(true).run().await.unwrap();
    assert!(!report.is_healthy() && report.findings.iter().all(|finding| !finding.is_fixed));
    // Where there is no vault, none is begun.
    let empty = TempDir::new().unwrap();
    let report = Check::new(empty.path()).fix(true).run().await.unwrap();
    assert_eq!(kinds(&report)[0], Kind::NoVault);
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_missing_vault_is_distinguished_from_a_broken_one() {
    finds("without pools", async |place| {
        fs::remove_dir_all(place.file("pools")).unwrap();
        vec![
            fixable(Kind::MissingDirectory, Warning, place.file("pools")),
            fixable(Kind::Unnamed, Warning, place.log()),
            fixable(Kind::Unnamed, Warning, place.file("pools/example+other.log")),
        ]
    })
    .await;
    finds("without leases", async |place| {
        fs::remove_dir_all(place.file("leases")).unwrap();
        vec![fixable(Kind::MissingDirectory, Warning, place.file("leases"))]
    })
    .await;
    let place = Place::new().await;
    fs::remove_dir_all(place.file("records")).unwrap();
    let report = place.check().run().await.unwrap();
    assert_eq!(report.findings[0].kind, Kind::MissingDirectory);
    assert_eq!(report.findings[0].severity, Error);

    let other = TempDir::new().unwrap();
    let report = Check::new(other.path()).run().await.unwrap();
    assert_eq!(kinds(&report), [Kind::NoVault]);
    assert!(!FileVault::is_at(other.path()) && FileVault::is_at(place.root()));
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0, "none was made");
    match Check::new(other.path().join("none")).fix(true).run().await {
        Err(VaultError::DirectoryGone(path)) => assert_eq!(path, other.path().join("none")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_key_file_is_checked() {
    finds("it is gone", async |place| {
        fs::remove_file(place.key_file()).unwrap();
        vec![wrong(Kind::KeyFile, Error, place.key_file())]
    })
    .await;
    finds("it holds no key", async |place| {
        put(&place.key_file(), PLANTED);
        vec![wrong(Kind::KeyFile, Error, place.key_file())]
    })
    .await;
    finds("it is a link", async |place| {
        let elsewhere = place.temporary.path().join("elsewhere");
        fs::rename(place.key_file(), &elsewhere).unwrap();
        symlink(elsewhere, place.key_file()).unwrap();
        vec![wrong(Kind::KeyFile, Error, place.key_file())]
    })
    .await;
    // One in the vault's own directory is no stray.
    let place = Place::new().await;
    let inside = place.file("vault.key");
    fs::rename(place.key_file(), &inside).unwrap();
    let report = place.check().key_file(&inside).run().await.unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[tokio::test]
async fn a_change_of_the_key_that_is_not_finished_is_found() {
    let place = Place::new().await;
    let file = FileKey::new(place.key_file());
    let rotation = file.rotate().await.unwrap();
    let check = async || {
        let keys = file.load_keys().await.unwrap().unwrap();
        let report = place.check().keys(&keys).run().await.unwrap();
        assert_tells_no_secret(&report, &place.key);
        let found: Vec<_> =
            report.findings.iter().map(|finding| (finding.kind, finding.severity)).collect();
        (found, report.opened)
    };
    // While somebody is at it, it is no fault.
    assert_eq!(check().await, (vec![(Kind::UnfinishedKeyChange, Note)], 3));
    let keys = rotation.keys().clone();
    let vault = FileVault::builder(place.root()).open_with(&keys).await.unwrap();
    assert_eq!(check().await, (vec![(Kind::UnfinishedKeyChange, Note)], 3));
    drop(rotation);
    assert_eq!(check().await, (vec![(Kind::UnfinishedKeyChange, Warning)], 3));
    vault.reseal(|_| ()).await.unwrap();
    assert_eq!(check().await, (vec![(Kind::UnfinishedKeyChange, Warning)], 3), "the old key is kept");
    file.rotate().await.unwrap().finish().await.unwrap();
    assert_eq!(check().await, (Vec::new(), 3));
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
