//! A network for a test alone. What tools send home goes nowhere in it, and each name that they look up is known.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::{TcpStream, UdpSocket};
use tokio::process::Command;

use super::ends::Ends;
use crate::cli::{Home, Run};
use crate::support::Journal;
use crate::thorough::is_thorough;

/// The directory into which `.ci/tools` has installed the tools.
const TOOLS: &str = "TOWER_CREDENTIALS_TOOLS";
/// Set in a test that has a network of its own.
const INSIDE: &str = "TOWER_CREDENTIALS_TESTS_ALONE";

/// How long a tool, or a test of several, may take; nothing should ever take it.
const PATIENCE: Duration = Duration::from_secs(300);

/// The scripts, beside this file.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/gateway/sdks");

/// Only loopback, and a server of names on it. Some resolvers ask nobody if the machine has no other address than 127.0.0.1,
/// and `/run` has sockets by which a system looks names up outside.
const NETWORK: &str = "\
set -e
PATH=$PATH:/usr/sbin:/sbin
ip link set lo up
ip addr add 192.0.2.1/32 dev lo
mount -t tmpfs tmpfs /run
if [ -e /etc/resolv.conf ]; then mount --bind \"$1\" /etc/resolv.conf; fi
shift
exec \"$@\"";

/// A test in a network of its own.
pub(super) struct Alone {
    tools: PathBuf,
    /// The scripts, and what they import.
    scripts: TempDir,
    /// The names that were looked up.
    asked: Journal<String>,
}

impl Alone {
    /// Runs the test again in a network of its own, which `None` stands for, or is in it. `None` also if the tools are not
    /// there: `.ci/run` installs them, and there it is an error. `None`, too, if the system allows no such network.
    pub(super) async fn of<T>(_test: T) -> Option<Self> {
        let Some(tools) = std::env::var_os(TOOLS) else {
            assert!(!is_thorough(), "{TOOLS} is not set: .ci/tools installs the tools");
            eprintln!("left out: {TOOLS} is not set, and .ci/tools has not installed the tools");
            return None;
        };
        if std::env::var_os(INSIDE).is_none() {
            let probe = output(unshare(["true"])).await;
            if !probe.status.success() {
                let reason = String::from_utf8_lossy(&probe.stderr).into_owned();
                eprintln!("left out: this system gives a process no network of its own: {reason}");
                return None;
            }
            let (_, name) = std::any::type_name::<T>().split_once("::").unwrap();
            run_again(name).await;
            return None;
        }
        let scripts = TempDir::new().unwrap();
        let tools = PathBuf::from(tools);
        for script in std::fs::read_dir(SCRIPTS).unwrap() {
            let script = script.unwrap().path();
            if script.extension().is_some_and(|extension| extension == "py" || extension == "mjs") {
                std::fs::copy(&script, scripts.path().join(script.file_name().unwrap())).unwrap();
            }
        }
        let modules = tools.join("node/node_modules");
        std::os::unix::fs::symlink(modules, scripts.path().join("node_modules")).unwrap();
        let asked = Journal::new();
        tokio::spawn(answer(UdpSocket::bind("127.0.0.1:53").await.unwrap(), asked.clone()));
        Some(Self { tools, scripts, asked })
    }

    /// A file in the directory of the tools.
    pub(super) fn tool(&self, path: &str) -> PathBuf {
        self.tools.join(path)
    }

    /// A script, beside what it imports.
    pub(super) fn script(&self, name: &str) -> PathBuf {
        self.scripts.path().join(name)
    }

    /// Runs scenarios of a script in Python or for Node.js with all accounts behind it.
    pub(super) async fn scenarios(&self, home: &Home, script: &str, scenarios: &[&str]) -> Ends {
        let program =
            if script.ends_with(".py") { self.tool("python/bin/python") } else { "node".into() };
        let run =
            self.exec(home, [program.as_os_str(), self.script(script).as_os_str()], scenarios).await;
        Ends::of(&run.ok())
    }

    /// Runs a chat, one that streams, and one with a tool for each of these providers, whose first account is limited; and
    /// then other scenarios.
    pub(super) async fn chats(
        &self,
        home: &Home,
        script: &str,
        providers: &[&str],
        more: &[&str],
    ) -> Ends {
        let chats = ["chat", "stream", "tools"];
        let all = providers
            .iter()
            .flat_map(|provider| chats.map(|chat| format!("{provider}_{chat}=limited-for-a")));
        let all: Vec<_> = all.collect();
        let scenarios: Vec<_> = all.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let ends = self.scenarios(home, script, &scenarios).await;
        for scenario in &all {
            let expected =
                if scenario.contains("tools") { "It is sunny, says b" } else { "hello from b" };
            assert_eq!(ends.said(scenario), expected, "{scenario}");
        }
        ends
    }

    /// Runs a program with all accounts behind it.
    pub(super) async fn exec<'a>(
        &self,
        home: &Home,
        program: impl IntoIterator<Item = &'a OsStr>,
        arguments: &[&str],
    ) -> Run {
        let mut command = home.command(["exec", "--"]);
        command.args(program).args(arguments);
        let run = self.run(command).await;
        home.check(&run.stdout);
        home.check(&run.stderr);
        run
    }

    /// Runs a command to its end, and checks that it has looked no name up.
    pub(super) async fn run(&self, command: std::process::Command) -> Run {
        let run = Run::of(output(command.into()).await);
        assert_eq!(self.asked.all(), [""; 0], "names that were looked up by {run:#?}");
        run
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_looked_up_is_known_and_there_is_none() {
    let Some(alone) = Alone::of(a_name_that_is_looked_up_is_known_and_there_is_none).await else {
        return;
    };
    let mut command = Command::new("getent");
    command.args(["ahostsv4", "api.vendor.test"]);
    let found = output(command).await;
    assert!(!found.status.success(), "{found:?}");
    assert!(alone.asked.all().contains(&"api.vendor.test".into()), "{:?}", alone.asked.all());
    assert!(TcpStream::connect("198.51.100.1:443").await.is_err());
}

async fn output(mut command: Command) -> Output {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    output.expect("it has not ended").unwrap()
}

async fn run_again(name: &str) {
    let mut servers = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut servers, b"nameserver 127.0.0.1\n").unwrap();
    let mut command = unshare(["sh", "-c", NETWORK, "sh"]);
    command
        .arg(servers.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1");
    let run = Run::of(output(command).await);
    print!("{}", run.stdout);
    assert!(run.stdout.contains("test result: ok. 1 passed"), "{}", run.stderr);
}

/// A command that runs another one in a network of its own.
fn unshare<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--mount"]).args(arguments);
    command
}

/// Answers that there is no such name, and keeps it.
async fn answer(socket: UdpSocket, asked: Journal<String>) {
    let mut query = [0; 512];
    loop {
        let (length, from) = socket.recv_from(&mut query).await.unwrap();
        let query = &mut query[..length];
        asked.push(name(&query[12..]));
        // A response, and NXDOMAIN (RFC 1035, section 4.1.1).
        query[2] |= 0x80;
        query[3] = 0x83;
        // A client that has gone needs none.
        let _ = socket.send_to(query, from).await;
    }
}

/// The name in a question: labels with their lengths (RFC 1035, section 4.1.2).
fn name(mut question: &[u8]) -> String {
    let mut labels = Vec::new();
    while let Some((length @ 1.., rest)) = question.split_first() {
        let (label, rest) = rest.split_at(usize::from(*length));
        labels.push(String::from_utf8_lossy(label));
        question = rest;
    }
    labels.join(".")
}
