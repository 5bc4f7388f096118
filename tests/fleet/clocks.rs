//! Hosts whose clocks differ: a limit that one of them has met lasts as long for all.

mod cost;
mod set;
mod shifted;

use std::time::{Duration, SystemTime};

use tower_credentials::vault::Vault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::seal::Seal;
use tower_credentials::{Clock, CredentialStatus, Timestamp};

use crate::authorization_server::{AuthorizationServer, Rules, Vendor};
use crate::host::{Host, LIMITED_SECONDS, oauth, sign_in};
use crate::server::{Server, sealed};

/// How far a clock is off.
#[derive(Clone, Copy, Debug)]
enum Off {
    Ahead(Duration),
    Behind(Duration),
}

impl Off {
    fn clock(self) -> Clock {
        Clock::from_fn(move || match self {
            Self::Ahead(by) => SystemTime::now() + by,
            Self::Behind(by) => SystemTime::now() - by,
        })
    }
}

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);
const HALF_A_MINUTE: Duration = Duration::from_secs(30);

/// A host with this clock, which its backend knows or not. Nothing is synced but by the test.
async fn open(server: &AuthorizationServer, vault: impl Vault, clock: Clock) -> Host {
    let refresher = oauth(server.url()).refresher().into();
    Host::with(vault, server.url(), refresher, |builder| builder.clock(clock).sync_every(None)).await
}

/// A host whose clock is off, and another one. Their backends go by the system's clock.
async fn hosts(engine: &Server, server: &AuthorizationServer, off: Off) -> [Host; 2] {
    let key = VaultKey::generate();
    let vault = || sealed(engine.builder().build().unwrap(), &key);
    for person in ["alice", "bob"] {
        sign_in(server, &vault(), person).await;
    }
    [open(server, vault(), off.clock()).await, open(server, vault(), Clock::system()).await]
}

/// The vault of a host with this clock.
fn vault(engine: &Server, key: &VaultKey, clock: Clock) -> Seal<RedisBackend> {
    sealed(engine.builder().clock(clock).build().unwrap(), key)
}

/// Hosts with these clocks, and the accounts of alice and bob.
async fn hosts_with<const N: usize>(
    engine: &Server,
    server: &AuthorizationServer,
    clocks: [Clock; N],
) -> [Host; N] {
    let key = VaultKey::generate();
    for person in ["alice", "bob"] {
        sign_in(server, &vault(engine, &key, Clock::system()), person).await;
    }
    let mut hosts = Vec::new();
    for clock in clocks {
        hosts.push(open(server, vault(engine, &key, clock.clone()), clock).await);
    }
    hosts.try_into().ok().unwrap()
}

/// Returns alice's account, as this host sees it.
fn alice(host: &Host) -> CredentialStatus {
    let status = host.pool.status();
    status.into_iter().find(|one| &*one.credential.label == "alice").unwrap()
}

/// Returns until when alice's account cools down, as this host sees it.
fn alice_until(host: &Host) -> Option<Timestamp> {
    alice(host).standing.cooldown(None).map(|cooldown| cooldown.until)
}

#[tokio::test]
async fn a_limit_met_by_a_host_whose_clock_is_wrong_lasts_no_longer_on_another_host() {
    let Some(engine) = Server::start(&[]) else { return };
    for off in [Off::Ahead(HOUR), Off::Behind(HOUR), Off::Ahead(HALF_A_MINUTE)] {
        engine.tell::<()>(&["FLUSHALL"]);
        let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
        let [wrong, right] = hosts(&engine, &server, off).await;
        wrong.meet_limit();
        assert_eq!(wrong.ask(1).await, "200", "with bob");
        assert!(alice_until(&wrong).is_some(), "{off:?}");
        right.pool.sync().await.unwrap();
        // By one hundredth it is spread, and by a minute clocks may differ.
        let most = Duration::from_secs(LIMITED_SECONDS).mul_f64(1.01) + Duration::from_secs(60);
        let latest = Timestamp::from(SystemTime::now()).after(most);
        assert!(alice_until(&right).is_none_or(|until| until <= latest), "{off:?}");
    }
}

#[tokio::test]
async fn clocks_that_differ_by_half_a_minute_end_no_cooldown_of_others() {
    let Some(engine) = Server::start(&[]) else { return };
    for off in [Off::Ahead(HALF_A_MINUTE), Off::Behind(HALF_A_MINUTE)] {
        engine.tell::<()>(&["FLUSHALL"]);
        let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
        let [wrong, right] = hosts(&engine, &server, off).await;
        right.meet_limit();
        assert_eq!(right.ask(1).await, "200", "with bob");
        let until = alice_until(&right).expect("it cools down");
        wrong.pool.sync().await.unwrap();
        assert_eq!(alice_until(&wrong), Some(until), "{off:?}");
        assert_eq!(wrong.ask(5).await, "200", "with bob");
        wrong.pool.save().await.unwrap();
        right.pool.sync().await.unwrap();
        assert_eq!(alice_until(&right), Some(until), "{off:?}");
    }
}

/// Checks that alice's account cools down for as long as the limit says, by this host's clock.
fn is_limited(host: &Host, clock: &Clock, what: &str) {
    let until = alice_until(host).unwrap_or_else(|| panic!("{what}: it does not cool down"));
    let left = until.since(clock.now());
    // By one hundredth it is spread, and by less than a second clocks count as one. The test itself takes its time.
    let stated = Duration::from_secs(LIMITED_SECONDS);
    let [least, most] = [stated - HALF_A_MINUTE, stated.mul_f64(1.01) + Duration::from_secs(1)];
    assert!(least < left && left <= most, "{what}: {left:?}");
}

#[tokio::test]
async fn a_limit_met_by_any_host_is_acted_on_by_all_others_for_its_true_length() {
    let Some(engine) = Server::start(&[]) else { return };
    let offs = [HALF_A_MINUTE, HOUR, DAY].into_iter().flat_map(|by| [Off::Ahead(by), Off::Behind(by)]);
    for off in offs {
        for meets in 0..3 {
            engine.tell::<()>(&["FLUSHALL"]);
            let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
            let clocks = [off.clock(), Clock::system(), Off::Behind(HOUR * 2).clock()];
            let hosts = hosts_with(&engine, &server, clocks.clone()).await;
            hosts[meets].meet_limit();
            assert_eq!(hosts[meets].ask(1).await, "200", "with bob");
            let own = alice_until(&hosts[meets]);
            for (host, clock) in hosts.iter().zip(&clocks) {
                host.pool.sync().await.unwrap();
                is_limited(host, clock, &format!("{off:?}, met by {meets}"));
                assert_eq!(host.ask(5).await, "200", "with bob");
                host.pool.save().await.unwrap();
            }
            // Nobody has ended it for others, and one's own comes back as it was.
            for (host, clock) in hosts.iter().zip(&clocks) {
                host.pool.sync().await.unwrap();
                is_limited(host, clock, &format!("{off:?}, met by {meets}, later"));
            }
            assert_eq!(alice_until(&hosts[meets]), own, "{off:?}");
        }
    }
}

#[tokio::test]
async fn hosts_in_step_read_exactly_what_was_written() {
    let Some(engine) = Server::start(&[]) else { return };
    let nearly = Duration::from_millis(300);
    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    let clocks = [Clock::system(), Off::Ahead(nearly).clock(), Off::Behind(nearly).clock()];
    let hosts = hosts_with(&engine, &server, clocks).await;
    hosts[0].meet_limit();
    assert_eq!(hosts[0].ask(1).await, "200", "with bob");
    let until = alice_until(&hosts[0]);
    for host in &hosts {
        host.pool.sync().await.unwrap();
        assert_eq!(alice_until(host), until);
    }
}
