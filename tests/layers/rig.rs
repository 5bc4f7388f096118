//! The four layers over a hyper client and an upstream on a socket.

use hyper::body::Incoming;
use tower_credentials::vault::MemoryVault;
use tower_credentials::*;

use crate::support::*;

/// The four layers over a hyper client and an upstream on a socket.
pub(super) struct Rig {
    pub(super) pool: Pool,
    pub(super) server: Server,
    pub(super) upstream: Upstream,
    pub(super) service: Stack<Incoming>,
    pub(super) refreshes: Journal<String>,
    pub(super) clock: HandClock,
    pub(super) events: Journal<String>,
}

pub(super) async fn rig(vault: MemoryVault, upstream: Upstream) -> Rig {
    let server = Server::start(&upstream).await;
    let (clock, refreshes, events) = (HandClock::new(), Journal::new(), Journal::new());
    let pool =
        server.builder(vault).clock(clock.clock()).on_event(events.observer()).open().await.unwrap();
    let service = stack(four(&pool, &renewing(&refreshes)), client());
    Rig { pool, server, upstream, service, refreshes, clock, events }
}

impl Rig {
    pub(super) async fn ask(&self) -> (u16, String) {
        ask(&self.service, self.server.post()).await
    }
}
