//! What is left of a vault if the disk fails, the process is killed or the power goes, at any operation. Uses the hook
//! in [`fault`].

mod faults;
mod key_changes;
mod modes;
mod power_cuts;
mod sealed_at_once;
mod unwritable;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::{fs, io};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use tempfile::TempDir;

use super::busy::Stopped;
use super::store::Store;
use crate::clock::Timestamp;
use crate::credential::{Credential, CredentialId, Generation, Metadata, PoolKey, Record, Secret};
use crate::standing::{Change, Cooldown, Health, Outcome, Reason, Standing};
use crate::vault::disk::{self, fault};
use crate::vault::key::{KeyId, Signer, VaultKey};
use crate::vault::seal::{self, Sealed};
use crate::vault::{BatchId, Damage, Replaced, VaultError, VaultRequest, VaultResponse};

/// Part of every secret here. The tests search the files for it.
const PLANTED: &str = "sk-planted-0123456789-abcdefghijklmnop";

fn pool() -> PoolKey {
    PoolKey::new("example")
}

fn account(pool: PoolKey, label: &str) -> Credential {
    let mut credential = Credential::new(pool, label, Secret::api_key(format!("{PLANTED}-{label}")));
    // Each has an age of its own, so that the order does not depend on the ids.
    credential.metadata.created_at = Timestamp::from_millis(u64::from(label.as_bytes()[0]));
    credential
}

fn sealed(key: &VaultKey, credential: &Credential) -> Record<Sealed> {
    Record { metadata: credential.metadata.clone(), secret: seal::seal(key, credential) }
}

fn cooled(id: CredentialId, until: u64, to_back: bool) -> Outcome {
    let cooldown = Cooldown {
        until: Timestamp::from_millis(until),
        set_at: Timestamp::from_millis(1),
        reason: Reason::Limited,
        scope: None,
        generation: None,
        cause: None,
    };
    Outcome { id, change: Change::CooledDown { cooldown, failure: true, to_back } }
}

/// A directory that is removed at the end: in memory if possible, since there are many cases.
fn place() -> TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    place.expect("a temporary directory can be made")
}

/// What is done to a vault.
enum Work {
    Open,
    Ask(VaultRequest<Sealed>),
    Compact(PoolKey),
}

/// A vault in its initial state, and what is done to it.
struct Case {
    name: &'static str,
    template: TempDir,
    /// The first key seals.
    keys: Vec<VaultKey>,
    /// The labels that a credential has or had, before or after the work.
    labels: Vec<&'static str>,
    work: Work,
    /// Whether acknowledged work outlasts a power cut.
    is_durable: bool,
}

/// A directory's content: files with their content, and directories.
type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// A copy of a case's vault, or another vault, on which something is tried.
struct Copy<'a> {
    place: TempDir,
    keys: &'a [VaultKey],
}

impl Case {
    /// A vault with three credentials of one pool and one of another, some of them with standings.
    fn new(name: &'static str, work: impl FnOnce(&VaultKey, [CredentialId; 3]) -> Work) -> Self {
        Self::with(name, |_, key, ids| work(key, ids))
    }

    fn with(
        name: &'static str,
        work: impl FnOnce(&Store, &VaultKey, [CredentialId; 3]) -> Work,
    ) -> Self {
        let key = VaultKey::generate();
        let mut case = Self {
            name,
            template: place(),
            keys: vec![key.clone()],
            labels: vec!["a", "b", "c"],
            work: Work::Open,
            is_durable: true,
        };
        let store = opened(&root(case.template.path()), &case.keys);
        let accounts = [account(pool(), "a"), account(pool(), "b"), account(pool(), "c")];
        let other = account(PoolKey::new("other"), "x");
        for credential in accounts.iter().chain([&other]) {
            store.call(&VaultRequest::Put(sealed(&key, credential))).unwrap();
        }
        let [a, b, c] = accounts.map(|credential| credential.metadata.id);
        let health =
            Health::NeedsSignIn { reason: "revoked".into(), generation: Generation::FIRST, cause: None };
        let outcomes = vec![cooled(a, 5_000, true), Outcome { id: b, change: Change::Health(health) }];
        store.call(&VaultRequest::Record { pool: pool(), outcomes, batch: BatchId::unique() }).unwrap();
        store.call(&VaultRequest::Move { pool: pool(), id: c, place: 0 }).unwrap();
        case.work = work(&store, &key, [a, b, c]);
        case
    }

    fn put() -> Self {
        let mut case = Self::new("a put", |key, _| {
            Work::Ask(VaultRequest::Put(sealed(key, &account(pool(), "new"))))
        });
        case.labels.push("new");
        case
    }

    /// A vault that was just made.
    fn first_put() -> Self {
        let case = Self::new("a first put", |key, _| {
            Work::Ask(VaultRequest::Put(sealed(key, &account(pool(), "new"))))
        });
        let case = Self { template: place(), labels: vec!["new"], ..case };
        opened(&root(case.template.path()), &case.keys);
        case
    }

    fn swap() -> Self {
        Self::with("a swap", |store, key, [a, ..]| {
            let mut credential =
                Record { metadata: record(store, a).metadata, secret: Secret::api_key("") };
            credential.metadata.generation = Generation::FIRST.next();
            credential.secret = Secret::api_key(format!("{PLANTED}-rotated"));
            let secret = seal::seal(key, &credential);
            let expected = Generation::FIRST;
            Work::Ask(VaultRequest::ReplaceSecret {
                pool: pool(),
                id: a,
                expected,
                secret,
                attributes: None,
            })
        })
    }

    fn outcome() -> Self {
        let mut case = Self::new("an outcome", |_, [a, b, _]| {
            let outcomes = vec![cooled(a, 7_000, false), cooled(b, 6_000, true)];
            Work::Ask(VaultRequest::Record { pool: pool(), outcomes, batch: BatchId::unique() })
        });
        case.is_durable = false;
        case
    }

    fn compaction() -> Self {
        Self::with("a compaction", |store, _, [a, b, _]| {
            let outcomes: Vec<_> = (0..600).map(|until| cooled(a, until, false)).collect();
            store
                .call(&VaultRequest::Record { pool: pool(), outcomes, batch: BatchId::unique() })
                .unwrap();
            let outcomes = vec![cooled(b, 6_000, true)];
            store
                .call(&VaultRequest::Record { pool: pool(), outcomes, batch: BatchId::unique() })
                .unwrap();
            assert!(store.is_long(&pool()));
            Work::Compact(pool())
        })
    }

    fn resealing() -> Self {
        let second = VaultKey::generate();
        let mut case = Self::with("a resealing", |store, first, [a, ..]| {
            let stored = record(store, a);
            let metadata = stored.metadata.clone();
            let secret = seal::open(std::slice::from_ref(first), stored).unwrap();
            let secret = seal::seal(&second, &Record { metadata, secret });
            Work::Ask(VaultRequest::Reseal { pool: pool(), id: a, expected: Generation::FIRST, secret })
        });
        case.keys.insert(0, second);
        opened(&root(case.template.path()), &case.keys);
        case
    }

    /// A vault that does not exist yet, and neither does the directory above it.
    fn opening() -> Self {
        Self { template: place(), labels: Vec::new(), ..Self::new("an opening", |_, _| Work::Open) }
    }

    fn removal() -> Self {
        Self::new("a removal", |_, [a, ..]| Work::Ask(VaultRequest::Remove { pool: pool(), id: a }))
    }

    fn relabelling() -> Self {
        let mut case = Self::new("a relabelling", |_, [a, ..]| {
            Work::Ask(VaultRequest::Relabel { pool: pool(), id: a, label: "renamed".into() })
        });
        case.labels.push("renamed");
        case
    }

    fn movement() -> Self {
        let mut case = Self::new("a move", |_, [_, b, _]| {
            Work::Ask(VaultRequest::Move { pool: pool(), id: b, place: 2 })
        });
        case.is_durable = false;
        case
    }

    fn copy(&self) -> Copy<'_> {
        let place = place();
        copy(self.template.path(), place.path());
        Copy { place, keys: &self.keys }
    }

    fn run(&self, store: &Store) -> Result<VaultResponse<Sealed>, Stopped> {
        match &self.work {
            Work::Open => store.open(&signers(&self.keys), false).map(|()| VaultResponse::Done),
            Work::Ask(request) => store.call(request),
            Work::Compact(pool) => store.compact(pool).map(|()| VaultResponse::Done),
        }
    }

    /// Returns the vault's states before and after the work.
    fn before_and_after(&self) -> (State, State) {
        let before = self.copy().state().unwrap();
        let after = self.copy();
        let store = Store::new(after.root());
        if !matches!(self.work, Work::Open) {
            store.open(&signers(&self.keys), false).unwrap();
        }
        self.run(&store).unwrap();
        (before, after.state().unwrap())
    }
}

impl Copy<'_> {
    fn root(&self) -> PathBuf {
        root(self.place.path())
    }

    fn open(&self) -> Store {
        opened(&self.root(), self.keys)
    }

    fn again(&self) -> Self {
        let place = place();
        copy(self.place.path(), place.path());
        Copy { place, keys: self.keys }
    }

    /// Opens the vault as another process would, and returns its state. Fails if anything is wrong with it.
    fn state(&self) -> Result<State, String> {
        let store = Store::new(self.root());
        store.open(&signers(self.keys), false).map_err(|stopped| format!("no opening: {stopped:?}"))?;
        let state = State::of(&store, self.keys)?;
        match tree(self.place.path()).keys().find(|path| is_temporary(path)) {
            Some(path) => Err(format!("{} is left", path.display())),
            None => Ok(state),
        }
    }

    /// Opens the vault as another process would, without loading a pool. Fails if it cannot put credentials under
    /// labels that were in use, or if two then have the same label.
    fn takes_more(&self, labels: &[&str]) -> Result<(), String> {
        let other = self.again();
        let store = Store::new(other.root());
        store.open(&signers(self.keys), false).map_err(|stopped| format!("no opening: {stopped:?}"))?;
        for label in labels {
            let more = sealed(&self.keys[0], &account(pool(), label));
            let put = store.call(&VaultRequest::Put(more));
            put.map_err(|stopped| format!("can't put {label}: {stopped:?}"))?;
        }
        drop(store);
        let (all, known) = (other.state()?.credentials, self.again().state()?.credentials);
        match known.iter().all(|known| all.contains(known)) && all.len() == known.len() + labels.len() {
            true => Ok(()),
            false => Err(format!("to put more has changed {known:?} to {all:?}")),
        }
    }
}

/// Everything that a vault knows, except for times and revisions.
#[derive(Clone, Debug, PartialEq)]
struct State {
    /// Each credential's metadata, its secret, and the key that sealed it.
    credentials: Vec<(Metadata, String, KeyId)>,
    standings: BTreeMap<PoolKey, (Vec<CredentialId>, HashMap<CredentialId, Standing>)>,
    is_log_long: bool,
}

impl State {
    fn of(store: &Store, keys: &[VaultKey]) -> Result<Self, String> {
        let failed = |stopped: Stopped| format!("{stopped:?}");
        let is_log_long = {
            store.revision(&pool()).map_err(|error| error.to_string())?;
            store.is_long(&pool())
        };
        let listed = match store.call(&VaultRequest::List).map_err(failed)? {
            VaultResponse::List(listing) if listing.damaged.is_empty() => listing.credentials,
            response => return Err(format!("listed: {response:?}")),
        };
        let mut state = Self { credentials: Vec::new(), standings: BTreeMap::new(), is_log_long };
        let pools: BTreeSet<_> = listed.iter().map(|metadata| metadata.pool.clone()).collect();
        for key in pools.into_iter().chain([pool()]) {
            if state.standings.contains_key(&key) {
                continue;
            }
            let loaded = match store.call(&VaultRequest::Load(key.clone())).map_err(failed)? {
                VaultResponse::Pool(loaded) if loaded.damaged.is_empty() => loaded,
                response => return Err(format!("loaded: {response:?}")),
            };
            let mut labels = BTreeSet::new();
            for record in loaded.credentials {
                let (mut metadata, sealed_with) = (record.metadata.clone(), record.secret.key_id());
                let Some(secret) = seal::open(keys, record) else {
                    return Err(format!("{metadata:?} does not open"));
                };
                if !labels.insert(metadata.label.clone()) {
                    return Err(format!("two credentials are called {}", metadata.label));
                }
                metadata.updated_at = Timestamp::default();
                state.credentials.push((metadata, secret.token().expose().to_owned(), sealed_with));
            }
            state.standings.insert(key, (loaded.standings.order, loaded.standings.credentials));
        }
        let mut listed: Vec<_> =
            listed.into_iter().map(|metadata| (metadata.id, metadata.label)).collect();
        let loaded = state.credentials.iter();
        let mut loaded: Vec<_> =
            loaded.map(|(metadata, ..)| (metadata.id, metadata.label.clone())).collect();
        listed.sort();
        loaded.sort();
        if listed != loaded {
            return Err(format!("listed: {listed:?}; loaded: {loaded:?}"));
        }
        Ok(state)
    }
}

/// Returns the vault's path within its place: not at the top, so that two directories must be made.
fn root(place: &Path) -> PathBuf {
    place.join("config/vault")
}

fn signers(keys: &[VaultKey]) -> Vec<Signer> {
    keys.iter().map(Signer::new).collect()
}

fn opened(root: &Path, keys: &[VaultKey]) -> Store {
    let store = Store::new(root.to_owned());
    store.open(&signers(keys), false).unwrap();
    store
}

fn record(store: &Store, id: CredentialId) -> Record<Sealed> {
    match store.call(&VaultRequest::Get { pool: pool(), id }) {
        Ok(VaultResponse::Credential(record)) => record,
        response => panic!("{response:?}"),
    }
}

/// Returns everything below a directory, by relative path.
fn tree(place: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut directories = vec![place.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let below = path.strip_prefix(place).unwrap().to_owned();
            match path.is_dir() {
                true => {
                    tree.insert(below, None);
                    directories.push(path);
                }
                false => {
                    tree.insert(below, Some(fs::read(path).unwrap()));
                }
            }
        }
    }
    tree
}

/// Makes a tree's files and directories, with the modes that a vault uses.
fn plant(tree: &Tree, place: &Path) {
    for (below, content) in tree {
        let path = place.join(below);
        match content {
            None => disk::ops::make_dir(&path).unwrap(),
            Some(content) => {
                let mut file = disk::ops::create_new(&path).unwrap();
                io::Write::write_all(&mut file, content).unwrap();
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    plant(&tree(from), to);
}

fn is_temporary(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "tmp")
}

/// Shows an operation as a reader wants to see it.
fn brief(operation: &fault::Operation) -> String {
    match operation {
        fault::Operation::Write(path, bytes) => format!("Write({path:?}, {} bytes)", bytes.len()),
        operation => format!("{operation:?}"),
    }
}
