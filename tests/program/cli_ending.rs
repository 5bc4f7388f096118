//! However the program ends, a renewal that has begun is not cut off: the account would be lost.
#![cfg(all(unix, feature = "cli"))]

use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tower_credentials::vault::VaultExt;
use tower_credentials::{Clock, Metadata, PoolKey, Secret};

use crate::authorization_server::{AuthorizationServer, Fault, Kind, Rules, Vendor};
use crate::cli::{Home, PATIENCE};
use crate::support::seconds;
use crate::thorough::is_thorough;

/// A home with an account at a server whose refresh tokens work once; its token has expired.
struct Scene {
    home: Home,
    server: AuthorizationServer,
    account: Metadata,
}

impl Scene {
    async fn new() -> Self {
        let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
        let home = Home::new();
        home.settings(&server.settings(true));
        let mut tokens = server.account().await.tokens.clone();
        tokens.expires_at = Some(Clock::system().now().before(seconds(60)));
        let account = home.add_to(PoolKey::new("openai"), "work", tokens).await;
        Self { home, server, account }
    }

    /// Stores the account again, with its present tokens as if they had expired.
    async fn expire(&mut self) {
        let vault = self.home.vault().await;
        let stored = vault.get(&self.account.pool, self.account.id).await.unwrap();
        let Secret::OAuth(mut tokens) = stored.secret else { panic!("another kind") };
        tokens.expires_at = Some(Clock::system().now().before(seconds(60)));
        vault.remove(&self.account.pool, self.account.id).await.unwrap();
        self.account = self.home.add_to(PoolKey::new("openai"), "work", tokens).await;
    }

    fn start(&self, command: &str) -> Child {
        let mut command = self.home.command([command, "openai"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap()
    }

    /// The account works, and nobody has presented a token twice.
    fn check(&self, when: &str) {
        let run = self.home.run_showing(["headers", "openai"], "");
        assert_eq!(run.code, Some(0), "{when}: {run:?}");
        assert_eq!(self.server.reuses(), 0, "{when}");
    }
}

fn signal(child: &Child, name: &str) {
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
}

async fn says(child: &mut Child, text: &str) {
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    let said = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(text) {
                return;
            }
        }
        panic!("it has ended without saying {text:?}");
    };
    tokio::time::timeout(PATIENCE, said).await.unwrap();
}

async fn code(mut child: Child) -> Option<i32> {
    tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap().code()
}

const SIGNALS: [(&str, i32); 4] = [("INT", 130), ("TERM", 143), ("HUP", 129), ("QUIT", 131)];

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_in_the_middle_of_a_renewal_waits_for_it_and_says_so() {
    let mut scene = Scene::new().await;
    for (number, command) in ["headers", "test", "models"].into_iter().enumerate() {
        let signals = if is_thorough() { &SIGNALS[..] } else { &SIGNALS[number..=number] };
        for (name, expected) in signals {
            let gate = scene.server.hold_after();
            let mut child = scene.start(command);
            gate.arrived().await;
            signal(&child, name);
            says(&mut child, "Waiting until the token of openai/work is renewed; another signal").await;
            gate.let_go();
            assert_eq!(code(child).await, Some(*expected), "{command} {name}");
            scene.check(&format!("{command} {name}"));
            scene.expire().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once_and_it_says_what_may_be_lost() {
    let scene = Scene::new().await;
    let gate = scene.server.hold_after();
    let mut child = scene.start("headers");
    gate.arrived().await;
    signal(&child, "TERM");
    says(&mut child, "Waiting").await;
    signal(&child, "INT");
    let lost =
        "the renewal of openai/work was cut off: its new token may be lost; `credentials list` names it";
    says(&mut child, lost).await;
    assert_eq!(code(child).await, Some(130));
    let run =
        scene.home.run(["vault", "check"]).ok().prints("a refresh of work of the pool openai/default");
    run.prints("the next refresh presents the token once more");
    const CUT_OFF: &str = "openai/work: a renewal of its token was cut off, and the new one may be lost";
    scene.home.run(["list"]).ok().says(CUT_OFF);
    assert_eq!(scene.home.run(["list", "--json"]).ok().json()[0]["renewal_cut_off"], true);
    scene.home.run(["show", "work"]).ok().prints("was cut off");
    scene.home.run(["status"]).ok().prints("was cut off");
    // While it is paused, no test renews it.
    scene.home.run(["pause", "openai/work"]).ok();
    scene.home.run(["test", "openai"]).code(2).says(CUT_OFF);
    gate.let_go();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_failed_was_not_cut_off_and_its_reason_is_said_everywhere() {
    for is_reachable in [true, false] {
        let Scene { home, server, .. } = Scene::new().await;
        let reason = match is_reachable {
            true => "503",
            false => "127.0.0.1",
        };
        match is_reachable {
            true => server.fail_next([Fault::Text(http::StatusCode::SERVICE_UNAVAILABLE, "busy")]),
            false => drop(server),
        }
        home.run(["headers", "openai"]).code(6).says("could not be renewed").says(reason);
        let run = home.run(["list"]).ok().says("openai/work: its renewal failed: ").says(reason);
        assert!(!run.stderr.contains("cut off"), "{run:#?}");
        let json = home.run(["list", "--json"]).ok().json();
        assert!(json[0]["renewal_failed"].as_str().unwrap().contains(reason), "{json}");
        assert_eq!(json[0].get("renewal_cut_off"), None);
        home.run(["show", "work"]).ok().prints("its renewal failed: ");
        let run = home.run(["status"]).code(6).prints("openai/work: its renewal failed: ");
        run.prints("  try: credentials test openai/work\n");
        let run = home.run(["vault", "check"]).ok().prints("failed: ").prints(reason);
        assert!(!run.stdout.contains("nothing was stored"), "{run:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_at_random_moments_lose_no_account() {
    let rounds = if is_thorough() { 300 } else { 8 };
    let mut scene = Scene::new().await;
    let mut random = SplitMix(u64::from(std::process::id()));
    for round in 0..rounds {
        let command = ["headers", "test", "models"][round % 3];
        let (name, _) = SIGNALS[random.below(4)];
        let child = scene.start(command);
        tokio::time::sleep(Duration::from_micros(random.below(60_000) as u64)).await;
        if child.id().is_some() {
            // It may have ended already.
            let _ = Command::new("kill")
                .args([&format!("-{name}"), &child.id().unwrap().to_string()])
                .stderr(Stdio::null())
                .status();
        }
        code(child).await;
        scene.check(&format!("round {round}: {command} {name}"));
        scene.expire().await;
    }
    assert!(scene.server.granted(Kind::Refresh) >= rounds);
}

/// Sebastiano Vigna's generator.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

/// The vault's lock is held: the new token can't be saved for longer than any request would wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_that_can_not_be_saved_yet_is_waited_for_and_used_then() {
    let scene = Scene::new().await;
    let gate = scene.server.hold_after();
    let mut command = scene.home.command(["headers", "openai"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    gate.arrived().await;
    let lock = std::fs::File::options().write(true).open(scene.home.vault_directory().join("lock"));
    let lock = lock.unwrap();
    lock.lock().unwrap();
    gate.let_go();
    says(&mut child, "the new token of openai/work can't be saved").await;
    lock.unlock().unwrap();
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("authorization: Bearer "));
    assert_eq!((scene.server.granted(Kind::Refresh), scene.server.reuses()), (1, 0));
}
