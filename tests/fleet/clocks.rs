//! Hosts whose clocks differ. Cooldowns are moments of the clock of the host that has met the limit.

use std::time::{Duration, SystemTime};

use tower_credentials::vault::key::VaultKey;
use tower_credentials::{Clock, Timestamp};

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

const HOUR: Duration = Duration::from_secs(3_600);
const HALF_A_MINUTE: Duration = Duration::from_secs(30);

/// A host whose clock is off, and another one. Nothing is synced but by the test.
async fn hosts(engine: &Server, server: &AuthorizationServer, off: Off) -> [Host; 2] {
    let key = VaultKey::generate();
    let vault = || sealed(engine.builder().build().unwrap(), &key);
    for person in ["alice", "bob"] {
        sign_in(server, &vault(), person).await;
    }
    let open = async |clock| {
        let refresher = oauth(server.url()).refresher().into();
        Host::with(vault(), server.url(), refresher, |builder| builder.clock(clock).sync_every(None))
            .await
    };
    [open(off.clock()).await, open(Clock::system()).await]
}

/// Returns until when alice's account cools down, as this host sees it.
fn alice_until(host: &Host) -> Option<Timestamp> {
    let status = host.pool.status();
    let alice = status.iter().find(|one| &*one.credential.label == "alice").unwrap();
    alice.standing.cooldown(None).map(|cooldown| cooldown.until)
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
