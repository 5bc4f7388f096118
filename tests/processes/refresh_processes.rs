//! Eight processes that share one vault of files and one account, at a server whose refresh tokens work once.

#![cfg(all(unix, feature = "file", feature = "oauth"))]

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tempfile::TempDir;
use tower::{Layer, Service, ServiceExt};
use tower_credentials::oauth::{FlowKind, OAuthClient, OAuthHttp, SignedIn};
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::{Change, Cooldown, Health, Outcome, Reason, Scope};
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::{
    Credential, CredentialsLayer, Pool, PoolKey, RefreshError, Refresher, Secret, Timestamp,
};

use crate::authorization_server::{AuthorizationServer, Kind, Rules, Vendor, client, config};
use crate::children::{self, Child, Job, hear, say, setting};

const PROCESSES: usize = 8;
/// How many requests each of them makes at once.
const REQUESTS: usize = 25;

fn key() -> PoolKey {
    PoolKey::new("openai")
}

// The children

#[test]
fn a_child_does_its_job() {
    let Some(job) = children::job() else { return };
    children::on_two_threads(async {
        match job.as_str() {
            "asks" => asks().await,
            "floods" => floods().await,
            job => panic!("no such job: {job}"),
        }
    });
}

/// Asks for the protected resource, so many times at once, whenever it is told `go`, and says what came.
async fn asks() {
    let server = setting("SERVER").unwrap();
    let provider = GenericProvider::bearer("openai").origin(&server).unwrap();
    let pool = Pool::builder(provider, children::vault().await).open().await.unwrap();
    let oauth = OAuthClient::new("openai", config(Vendor::OpenAi, &server), OAuthHttp::new(client()));
    let hold = setting("HOLD").unwrap_or_default();
    let refresher = Refresher::new(move |credential: Credential| {
        let (oauth, hold) = (oauth.clone(), hold.clone());
        async move {
            pause(&hold, "before").await;
            let renewed: Result<Secret, RefreshError> = oauth.refresher().oneshot(credential).await;
            pause(&hold, "after").await;
            renewed
        }
    });
    let service = CredentialsLayer::new(pool.clone()).refresher(refresher).layer(client());
    say("ready");
    while hear() == "go" {
        let requests = (0..REQUESTS).map(|_| {
            let request = Request::get(format!("{server}/resource"));
            tokio::spawn(service.clone().oneshot(request.body(Full::<Bytes>::default()).unwrap()))
        });
        let mut statuses = Vec::new();
        for request in requests.collect::<Vec<_>>() {
            statuses.push(match request.await.unwrap() {
                Ok(response) => response.status().to_string(),
                Err(error) => error.to_string(),
            });
        }
        statuses.sort();
        statuses.dedup();
        say(statuses.join(", "));
    }
    if let Health::NeedsSignIn { reason, .. } = &pool.status()[0].standing.health {
        say(format!("needs sign-in: {reason}"));
    }
}

/// Stays here for good where its parent wants to kill it.
async fn pause(hold: &str, place: &str) {
    if hold == place {
        say(format!("held {place}"));
        std::future::pending::<Infallible>().await;
    }
}

/// Records cooldowns as fast as it can, until it is told to stop.
async fn floods() {
    let mut vault = children::vault().await;
    let id = vault.load_pool(key()).await.unwrap().credentials[0].metadata.id;
    say("ready");
    let stop = std::thread::spawn(hear);
    let mut recorded = 0;
    while !stop.is_finished() {
        let cooldown = Cooldown {
            until: Timestamp::from_millis(recorded),
            set_at: Timestamp::from_millis(recorded),
            reason: Reason::Limited,
            scope: Some(Scope::new(format!("model-{}", recorded % 3))),
            generation: None,
        };
        let change = Change::CooledDown { cooldown, failure: false, to_back: false };
        std::future::poll_fn(|cx| vault.poll_ready(cx)).await.unwrap();
        vault.record(key(), vec![Outcome { id, change }]).await.unwrap();
        recorded += 1;
    }
    say(recorded);
}

// The parent

struct Scene {
    server: AuthorizationServer,
    directory: TempDir,
    key: VaultKey,
}

impl Scene {
    /// An account that has signed in, whose access token has expired.
    async fn new(rules: Rules) -> Self {
        let server = AuthorizationServer::start(rules);
        let scene = Self { server, directory: TempDir::new().unwrap(), key: VaultKey::generate() };
        let vault = scene.vault().await;
        let account: SignedIn =
            scene.server.sign_in(&scene.server.client(), FlowKind::Loopback).await.unwrap();
        account.store(&vault, key(), "work").await.unwrap();
        scene.expire();
        scene
    }

    fn expire(&self) {
        self.server.advance(self.server.rules().access_lifetime + Duration::from_secs(1));
    }

    async fn vault(&self) -> FileVault {
        FileVault::open(self.directory.path().join("vault"), &self.key).await.unwrap()
    }

    fn job(&self, name: &str) -> Job {
        let job = Job::new(module_path!(), name).vault(&self.directory.path().join("vault"), &self.key);
        job.set("SERVER", self.server.url())
    }

    fn start(&self, count: usize, name: &str) -> Vec<Child> {
        let mut children: Vec<_> = (0..count).map(|_| self.job(name).start()).collect();
        children.iter_mut().for_each(|child| child.wait_for("ready"));
        children
    }
}

/// Lets all of them ask at once; what each has got.
fn go(children: &mut [Child]) -> Vec<String> {
    children.iter_mut().for_each(|child| child.tell("go"));
    children.iter_mut().map(|child| child.next().expect("a child that says what it got")).collect()
}

/// Why a new sign-in is needed, by those who know of that.
fn end(children: Vec<Child>) -> Vec<String> {
    let end = |mut child: Child| {
        child.tell("end");
        child.succeed()
    };
    let said = children.into_iter().flat_map(end);
    said.filter_map(|line| Some(line.strip_prefix("needs sign-in: ")?.to_owned())).collect()
}

#[tokio::test]
async fn eight_processes_with_an_expired_token_make_one_refresh_and_nobody_is_signed_out() {
    let scene = Scene::new(Rules::of(Vendor::OpenAi)).await;
    let mut children = scene.start(PROCESSES, "asks");
    for round in 1..=3 {
        assert_eq!(go(&mut children), ["200 OK"; PROCESSES]);
        assert_eq!(scene.server.asked(Kind::Refresh), round);
        scene.expire();
    }
    assert_eq!(scene.server.reuses(), 0);
    assert_eq!(end(children), Vec::<String>::new());
}

/// When in an exchange it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Killed {
    Before,
    /// The server has done it, and has not answered.
    During,
    /// The new token is there, and not saved.
    After,
}

/// Kills the process that refreshes, and lets the others go on; what they got, and what they say at their end.
async fn kill_the_refresher(scene: &Scene, killed: Killed) -> (Vec<String>, Vec<String>) {
    let hold = match killed {
        Killed::Before => "before",
        Killed::During => "",
        Killed::After => "after",
    };
    let gate = (killed == Killed::During).then(|| scene.server.hold_after());
    let mut victim = scene.job("asks").set("HOLD", hold).start();
    victim.wait_for("ready");
    victim.tell("go");
    match &gate {
        Some(gate) => gate.arrived().await,
        None => victim.wait_for(&format!("held {hold}")),
    }
    // They all wait for the victim's lease by now, or come after.
    let mut others = scene.start(PROCESSES - 1, "asks");
    others.iter_mut().for_each(|child| child.tell("go"));
    victim.kill();
    if let Some(gate) = gate {
        gate.let_go();
    }
    let got = others.iter_mut().map(|child| child.next().expect("what it got")).collect();
    (got, end(others))
}

#[tokio::test]
async fn a_killed_refresher_stops_nobody_at_a_server_with_a_grace_window() {
    for killed in [Killed::Before, Killed::During, Killed::After] {
        let rules = Rules { grace: Some(Duration::from_secs(300)), ..Rules::of(Vendor::OpenAi) };
        let scene = Scene::new(rules).await;
        let (got, said) = kill_the_refresher(&scene, killed).await;
        assert_eq!(got, ["200 OK"; PROCESSES - 1], "{killed:?}");
        assert_eq!(said, Vec::<String>::new(), "{killed:?}");
        let exchanges = 1 + usize::from(killed != Killed::Before);
        assert_eq!(scene.server.asked(Kind::Refresh), exchanges, "{killed:?}");
    }
}

#[tokio::test]
async fn at_a_server_without_grace_only_an_exchange_that_was_cut_off_is_lost_and_the_credential_says_so()
{
    for killed in [Killed::Before, Killed::During, Killed::After] {
        let scene = Scene::new(Rules::of(Vendor::OpenAi)).await;
        let (got, said) = kill_the_refresher(&scene, killed).await;
        if killed == Killed::Before {
            assert_eq!(got, ["200 OK"; PROCESSES - 1]);
            assert_eq!(scene.server.asked(Kind::Refresh), 1);
            continue;
        }
        // One has presented the token once more, and no other after that verdict.
        assert_eq!(scene.server.asked(Kind::Refresh), 2, "{killed:?}");
        let vault = scene.vault().await;
        let standings = vault.load_pool(key()).await.unwrap().standings;
        let standing = standings.credentials.values().next().unwrap();
        let Health::NeedsSignIn { reason, .. } = &standing.health else {
            panic!("{killed:?}: {standing:?}");
        };
        assert!(reason.contains("refresh_token_reused"), "{reason}");
        assert!(reason.contains("cut off before its new token was saved"), "{reason}");
        assert!(said.iter().all(|said| said == reason) && !said.is_empty(), "{said:?}");
        assert!(got.iter().all(|got| !got.contains("200")), "{got:?}");

        // A new sign-in mends it.
        let account = scene.server.sign_in(&scene.server.client(), FlowKind::Loopback).await.unwrap();
        account.store(&vault, key(), "work").await.unwrap();
        let mut children = scene.start(2, "asks");
        assert_eq!(go(&mut children), ["200 OK"; 2]);
        assert_eq!(vault.load_pool(key()).await.unwrap().credentials.len(), 1);
    }
}

#[tokio::test]
async fn a_flood_of_cooldowns_never_loses_a_rotated_refresh_token() {
    const ROUNDS: usize = 20;
    let scene = Scene::new(Rules::of(Vendor::OpenAi)).await;
    let floods = scene.start(3, "floods");
    let mut asking = scene.start(3, "asks");
    for round in 1..=ROUNDS {
        assert_eq!(go(&mut asking), ["200 OK"; 3], "round {round}");
        scene.expire();
    }
    assert_eq!((scene.server.asked(Kind::Refresh), scene.server.reuses()), (ROUNDS, 0));
    let recorded: Vec<usize> = end_floods(floods);
    assert!(recorded.iter().all(|recorded| *recorded >= ROUNDS), "{recorded:?}");
    end(asking);
}

fn end_floods(floods: Vec<Child>) -> Vec<usize> {
    let end = |mut child: Child| {
        child.tell("stop");
        child.succeed().last().expect("how many it recorded").parse().unwrap()
    };
    floods.into_iter().map(end).collect()
}
