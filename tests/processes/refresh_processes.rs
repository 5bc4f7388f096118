//! Eight processes that share one vault of files and one account, at a server whose refresh tokens work once.

#![cfg(all(unix, feature = "oauth"))]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tempfile::TempDir;
use tower::{Layer, ServiceExt};
use tower_credentials::events::EventKind;
use tower_credentials::oauth::{FlowKind, OAuthClient, OAuthHttp, SignedIn};
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::Health;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::{Credential, CredentialsLayer, Pool, PoolKey, RefreshError, Refresher, Secret};

use crate::authorization_server::{AuthorizationServer, Fault, Kind, Rules, Vendor, client, config};
use crate::children::{self, Child, Job, hear_while_working, say, setting};
use crate::many_processes::flood;

const PROCESSES: usize = 8;
/// How many requests each of them makes at once.
const REQUESTS: usize = 25;

pub(crate) fn key() -> PoolKey {
    PoolKey::new("openai")
}

// The children

#[test]
fn a_child_does_its_job() {
    let Some(job) = children::job() else { return };
    children::on_two_threads(async {
        match job.as_str() {
            "asks" => asks().await,
            "floods" => flood(children::vault().await, key()).await,
            job => panic!("no such job: {job}"),
        }
    });
}

/// Requests the protected resource this many times at once, whenever it is told `go`, and says what the responses were.
async fn asks() {
    let server = setting("SERVER").unwrap();
    let provider = GenericProvider::bearer("openai").origin(&server).unwrap();
    let pool = Pool::builder(provider, children::vault().await).open().await.unwrap();
    let http = OAuthHttp::new(client());
    let http = match setting("TIMEOUT") {
        Some(seconds) => http.timeout(Duration::from_secs(seconds.parse().unwrap())),
        None => http,
    };
    let oauth = OAuthClient::new("openai", config(Vendor::OpenAi, &server), http);
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
    while hear_while_working().await == "go" {
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

/// Waits here for ever, if its parent wants to kill it at this point.
async fn pause(hold: &str, place: &str) {
    if hold == place {
        say(format!("held {place}"));
        std::future::pending::<Infallible>().await;
    }
}

// The parent

pub(crate) struct Scene {
    pub(crate) server: AuthorizationServer,
    pub(crate) directory: TempDir,
    pub(crate) key: VaultKey,
}

impl Scene {
    /// An account that has signed in, whose access token has expired.
    pub(crate) async fn new(rules: Rules) -> Self {
        let server = AuthorizationServer::start(rules);
        let scene = Self { server, directory: TempDir::new().unwrap(), key: VaultKey::generate() };
        let vault = scene.vault().await;
        let account: SignedIn =
            scene.server.sign_in(&scene.server.client(), FlowKind::Loopback).await.unwrap();
        account.store(&vault, key(), "work").await.unwrap();
        scene.expire();
        scene
    }

    pub(crate) fn expire(&self) {
        self.server.advance(self.server.rules().access_lifetime + Duration::from_secs(1));
    }

    pub(crate) async fn vault(&self) -> FileVault {
        FileVault::open(self.directory.path().join("vault"), &self.key).await.unwrap()
    }

    pub(crate) fn job(&self, name: &str) -> Job {
        let job = Job::new(module_path!(), name).vault(&self.directory.path().join("vault"), &self.key);
        job.set("SERVER", self.server.url())
    }

    fn start(&self, count: usize, name: &str) -> Vec<Child> {
        let mut children: Vec<_> = (0..count).map(|_| self.job(name).start()).collect();
        children.iter_mut().for_each(|child| child.wait_for("ready"));
        children
    }
}

/// Lets all of them send requests at once. Returns what each got.
pub(crate) fn go(children: &mut [Child]) -> Vec<String> {
    children.iter_mut().for_each(|child| child.tell("go"));
    children.iter_mut().map(|child| child.next().expect("a child that says what it got")).collect()
}

/// Returns why a new sign-in is needed, according to the processes that know.
pub(crate) fn end(children: Vec<Child>) -> Vec<String> {
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

/// The point of an exchange at which the process was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Killed {
    Before,
    /// The server has processed it, and has not responded.
    During,
    /// The new token has arrived, and is not saved.
    After,
}

/// Kills the process that refreshes, and lets the others go on. Returns what they got, and what they say in the end.
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
    // By now they all wait for the victim's lease, or come later.
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
        // One has presented the token once more, and none after that verdict.
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

/// Stopped for longer than it would have waited, and then continued.
#[tokio::test]
async fn a_response_that_came_while_the_process_was_stopped_is_used() {
    let scene = Scene::new(Rules::of(Vendor::OpenAi)).await;
    let gate = scene.server.hold_after();
    let mut child = scene.job("asks").set("TIMEOUT", "2").start();
    child.wait_for("ready");
    child.tell("go");
    gate.arrived().await;
    child.signal("STOP");
    gate.let_go();
    tokio::time::sleep(Duration::from_secs(4)).await;
    child.signal("CONT");
    assert_eq!(child.next().unwrap(), "200 OK");
    assert_eq!((scene.server.asked(Kind::Refresh), scene.server.reuses()), (1, 0));
    assert_eq!(end(vec![child]), Vec::<String>::new());
}

#[tokio::test]
async fn a_token_endpoint_that_fails_is_asked_by_one_of_six_processes() {
    let scene = Scene::new(Rules::of(Vendor::OpenAi)).await;
    let busy = Fault::Text(http::StatusCode::SERVICE_UNAVAILABLE, "busy");
    scene.server.fail_next(vec![busy; 6]);
    let before = scene.server.token_requests().len();
    let began = std::time::Instant::now();
    let mut children = scene.start(6, "asks");
    go(&mut children);
    let asked = scene.server.token_requests().len() - before;
    // One, and one more for each pause of a second or more that has passed.
    let most = 1 + began.elapsed().as_secs() as usize;
    assert!((1..=most).contains(&asked), "{asked} requests in {:?}", began.elapsed());
    end(children);
}

#[tokio::test]
async fn an_older_vault_that_is_put_back_under_a_running_process_costs_no_account() {
    let scene = Scene::new(Rules::of(Vendor::OpenAi)).await;
    let mut children = scene.start(1, "asks");
    let (vault, backup) = (scene.directory.path().join("vault"), scene.directory.path().join("backup"));
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
        assert!(status.unwrap().success());
    };
    copy(&vault, &backup);
    for _ in 0..2 {
        assert_eq!(go(&mut children), ["200 OK"]);
        scene.expire();
    }
    // The files come back under their names, as from a restored backup.
    copy(&backup.join("."), &vault);
    assert_eq!(go(&mut children), ["200 OK"]);
    assert_eq!((scene.server.asked(Kind::Refresh), scene.server.reuses()), (3, 0));
    // Later processes find the newer one, too.
    scene.expire();
    let mut others = scene.start(1, "asks");
    assert_eq!(go(&mut others), ["200 OK"]);
    assert_eq!(scene.server.reuses(), 0);
    assert_eq!(end(children), Vec::<String>::new());
    assert_eq!(end(others), Vec::<String>::new());
}

/// The key was changed, and this process has only the previous one.
#[tokio::test]
async fn a_process_with_an_old_key_locks_nobody_out_and_says_that_it_was_left_behind() {
    let scene = Scene::new(Rules::of(Vendor::OpenAi)).await;
    let pool_of = async |vault: FileVault, said: &Arc<Mutex<Vec<String>>>| {
        let said = said.clone();
        let provider = GenericProvider::bearer("openai").origin(scene.server.url()).unwrap();
        let pool = Pool::builder(provider, vault).on_event(move |event| {
            if let EventKind::RefreshFailed { error, .. } = &event.kind {
                said.lock().unwrap().push(error.to_string());
            }
        });
        let pool = pool.open().await.unwrap();
        let layer = CredentialsLayer::new(pool.clone()).refresher(scene.server.client().refresher());
        (pool, layer.layer(client()))
    };
    let ask = || {
        Request::get(format!("{}/resource", scene.server.url())).body(Full::<Bytes>::default()).unwrap()
    };
    let (said, directory) = (Arc::default(), scene.directory.path().join("vault"));
    let (left_behind, old) = pool_of(scene.vault().await, &said).await;
    let new_key = VaultKey::generate();
    let vault = FileVault::builder(&directory).old_key(&scene.key).open(&new_key).await.unwrap();
    assert_eq!(vault.reseal(|_| {}).await.unwrap().left, 0);

    for _ in 0..3 {
        assert_eq!(old.clone().oneshot(ask()).await.unwrap().status(), 401);
    }
    assert_eq!(scene.server.asked(Kind::Refresh), 0);
    left_behind.save().await.unwrap();
    let notes = std::fs::read_dir(directory.join("leases")).unwrap().map(|entry| entry.unwrap().path());
    assert!(!notes.into_iter().any(|path| path.extension().is_some_and(|end| end == "begun")));
    let said = said.lock().unwrap().clone();
    assert!(said.iter().all(|said| said.contains("start it again")) && !said.is_empty(), "{said:?}");
    let (_pool, new) = pool_of(vault, &Arc::default()).await;
    assert_eq!(new.oneshot(ask()).await.unwrap().status(), 200);
    assert_eq!((scene.server.asked(Kind::Refresh), scene.server.reuses()), (1, 0));
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
