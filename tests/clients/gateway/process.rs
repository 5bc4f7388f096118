//! The gateway as a process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::SystemTime;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::{Credential, PoolKey, Secret};

use crate::wire::soon;

/// The provider of the tests' accounts, which is not a known vendor.
pub(crate) const PROVIDER: &str = "x";

/// The example's program. `cargo test` builds it beside the tests. If it is missing or out of date, as with
/// `--test clients`, this builds it.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().unwrap().parent().unwrap();
        let name = format!("axum_gateway{}", std::env::consts::EXE_SUFFIX);
        let program = profile.join("examples").join(name);
        if !is_fresh(&program) {
            build(profile);
        }
        assert!(
            program.exists(),
            "{program:?} is missing: cargo build --all-features --example axum_gateway"
        );
        program
    })
}

fn is_fresh(program: &Path) -> bool {
    let Ok(built) = program.metadata().and_then(|metadata| metadata.modified()) else { return false };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let newest = ["src", "examples/axum_gateway"].map(|directory| newest(&root.join(directory)));
    newest.into_iter().all(|changed| changed < built)
}

/// The time of the latest change to a file under a directory.
fn newest(directory: &Path) -> SystemTime {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let changed = entries.map(|entry| {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() { newest(&entry.path()) } else { metadata.modified().unwrap() }
    });
    changed.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn build(profile: &Path) {
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--all-features", "--example", "axum_gateway", "--target-dir"]);
    cargo.arg(profile.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    for (name, _) in std::env::vars_os() {
        // Cargo sets these for the tests, and build scripts would run again because of them.
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"]
            .iter()
            .any(|is| text.starts_with(is))
        {
            cargo.env_remove(&name);
        }
    }
    assert!(cargo.status().unwrap().success(), "the example can't be built");
}

/// A home directory with a vault and its key.
pub(crate) struct Home {
    directory: TempDir,
    key: VaultKey,
}

impl Home {
    /// A home with an API key for each label. The label is also the key.
    pub(crate) async fn with_keys(labels: &[&str]) -> Self {
        let this = Self { directory: tempfile::tempdir().unwrap(), key: VaultKey::generate() };
        let vault = this.open().await;
        for label in labels {
            this.put(&vault, label, Secret::api_key(*label)).await;
        }
        this
    }

    pub(crate) async fn put(&self, vault: &FileVault, label: &str, secret: impl Into<Secret>) {
        vault.put(Credential::new(PoolKey::new(PROVIDER), label, secret)).await.unwrap();
    }

    pub(crate) async fn open(&self) -> FileVault {
        FileVault::open(self.vault(), &self.key).await.unwrap()
    }

    /// The home directory.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn vault(&self) -> PathBuf {
        self.directory.path().join("vault")
    }

    /// Writes a file beside the vault.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The program with these arguments, without this process's environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).env_clear().env("HOME", self.directory.path());
        command.env(VaultKey::VARIABLE, self.key.to_base64().expose());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Starts a gateway to this upstream, and waits until it listens.
    pub(crate) async fn gateway(&self, upstream: &str, more: &[&str]) -> Gateway {
        let vault = self.vault();
        let vault = vault.to_str().unwrap();
        let mut arguments = vec!["--upstream", upstream, "--vault", vault];
        for (flag, usual) in [("--listen", "127.0.0.1:0"), ("--provider", PROVIDER)] {
            if !more.contains(&flag) {
                arguments.extend([flag, usual]);
            }
        }
        arguments.extend(more);
        let mut child = self.command(&arguments).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = soon("a line of the gateway's", stdout.next_line()).await.unwrap();
        let Some(first) = first else {
            panic!("it has ended: {}", ended(child).await.1);
        };
        let address = first.strip_prefix("listening on http://").expect(&first).parse().unwrap();
        Gateway { child, address, stdout, said: String::new() }
    }
}

/// A gateway that listens.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) address: SocketAddr,
    stdout: Lines<BufReader<ChildStdout>>,
    /// Its standard error so far.
    said: String,
}

impl Gateway {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) async fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([format!("-{name}"), self.id().to_string()]).status().await;
        assert!(kill.unwrap().success());
    }

    /// Waits until its standard error has this text.
    pub(crate) async fn says(&mut self, text: &str) {
        let stderr = self.child.stderr.as_mut().unwrap();
        while !self.said.contains(text) {
            let mut piece = [0; 1024];
            let length = soon("a line of the gateway's errors", stderr.read(&mut piece)).await.unwrap();
            assert_ne!(length, 0, "it has ended without saying {text:?}: {}", self.said);
            self.said.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    }

    /// Waits for its end. Returns its exit status and its standard error.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let last = soon("the end of its output", self.stdout.next_line()).await.unwrap();
        assert_eq!(last, None, "it says one line");
        let (status, rest) = ended(self.child).await;
        (status, self.said + &rest)
    }

    /// Ends it with SIGTERM. Returns its standard error.
    pub(crate) async fn stop(self) -> String {
        self.signal("TERM").await;
        let (status, said) = self.ended().await;
        assert!(status.success(), "{status}: {said}");
        said
    }
}

async fn ended(mut child: Child) -> (ExitStatus, String) {
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    soon("the end of the gateway's errors", stderr.read_to_string(&mut said)).await.unwrap();
    (soon("the gateway's end", child.wait()).await.unwrap(), said)
}
