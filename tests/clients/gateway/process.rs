//! The example as a process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::SystemTime;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::{Credential, PoolKey, Secret};

use crate::wire::soon;

/// The example's program. `cargo test` builds it beside the tests. If it is missing or out of date, as with
/// `--test clients`, this builds it.
fn program() -> &'static Path {
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
    let example = root.join("examples/axum_gateway.rs").metadata().unwrap().modified().unwrap();
    newest(&root.join("src")).max(example) < built
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

/// A home directory with a vault, its key, and settings.
pub(crate) struct Home(TempDir);

impl Home {
    /// A home with an API key of the provider `x` for each label, whose requests go to this origin. The label is also the
    /// key.
    pub(crate) async fn with_keys(origin: &str, labels: &[&str]) -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        let settings = this.0.path().join(".config/tower-credentials");
        std::fs::create_dir_all(&settings).unwrap();
        let key = VaultKey::load_or_create(settings.join("vault.key")).await.unwrap();
        let text = format!("[providers.x]\ntype = \"generic\"\norigins = [\"{origin}\"]\n");
        std::fs::write(settings.join("config.toml"), text).unwrap();
        let vault = this.0.path().join(".local/share/tower-credentials/vault");
        let vault = FileVault::open(vault, &key).await.unwrap();
        for label in labels {
            vault
                .put(Credential::new(PoolKey::new("x"), *label, Secret::api_key(*label)))
                .await
                .unwrap();
        }
        this
    }

    /// The program with these arguments, without this process's environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).env_clear().env("HOME", self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Starts a gateway, and waits until it listens.
    pub(crate) async fn gateway(&self) -> Gateway {
        let mut child = self.command(&["x", "0"]).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = soon("a line of the gateway's", stdout.next_line()).await.unwrap();
        let Some(first) = first else { panic!("it has ended: {}", Gateway::output(child).await.1) };
        let address = first.strip_prefix("listening on http://").expect(&first).parse().unwrap();
        Gateway { child, address }
    }
}

/// A gateway that listens.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Gateway {
    /// Sends what Ctrl-C sends.
    pub(crate) async fn interrupt(&self) {
        let kill =
            Command::new("kill").args(["-INT", &self.child.id().unwrap().to_string()]).status().await;
        assert!(kill.unwrap().success());
    }

    /// Waits for its end. Returns whether it ended well, and its standard error.
    pub(crate) async fn ended(self) -> (bool, String) {
        Self::output(self.child).await
    }

    async fn output(child: Child) -> (bool, String) {
        let output = soon("the gateway's end", child.wait_with_output()).await.unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    }
}
