//! Three hosts over one Redis, on this machine: what they know of each other's accounts, and what happens if one of them or the
//! engine fails.
//!
//! ```text
//! cargo run --example fleet --features hyper,oauth,redis
//! ```
//!
//! Needs Redis 7.0 or Valkey 7.2, or a later one, as `redis-server` or `valkey-server`; `TOWER_CREDENTIALS_REDIS_SERVER` names
//! another program. The example starts it on a free port of 127.0.0.1, and starts itself again for each host. Takes about half a
//! minute, on a Unix system. Prints what has held, and exits with 1 if anything has not. `RUST_LOG=info` shows the hosts' logs.
//!
//! To copy: `gateway.rs`, the program of a host, and `vault.rs`, what all hosts share, with your own Redis. [The
//! vault of many hosts](../../specs/fleet.md) says what is promised. The authorization server and the engine are the tests'.

#[path = "../../tests/authorization_server/mod.rs"]
mod authorization_server;
#[path = "../../tests/engine/mod.rs"]
mod engine;
mod fleet;
mod gateway;
mod host;
mod limits;
mod lines;
mod outages;
mod report;
mod tokens;
mod upstream;
mod vault;

use std::process::ExitCode;
use std::time::Instant;

use engine::Server;
use fleet::Fleet;
use tower_credentials::BoxError;
use vault::{GRACE, LEASE, PRESENT_WITHIN};

const NO_ENGINE: &str = "no Redis and no Valkey is installed. Install one, or set TOWER_CREDENTIALS_REDIS_SERVER to its program:
  Debian, Ubuntu   apt-get install redis-server
  Fedora           dnf install valkey
  macOS            brew install redis
  a container      of the image rust:bookworm, with apt-get update and the first line";

#[tokio::main]
async fn main() -> ExitCode {
    let result = if std::env::var_os(gateway::ENGINE).is_some() {
        gateway::run().await.map(|()| true)
    } else {
        tokio::select! {
            done = show() => done,
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fleet: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether all promises have held.
async fn show() -> Result<bool, BoxError> {
    let began = Instant::now();
    if !engine::is_installed(&engine::program()) {
        return Err(NO_ENGINE.into());
    }
    let engine = Server::start(&[]).ok_or(NO_ENGINE)?;
    println!("{} on {}", engine::program(), engine.url());
    println!(
        "short times, to end soon: leases of {LEASE:?}, tokens presented within {PRESENT_WITHIN:?}, {GRACE:?} of grace"
    );
    let mut fleet = Fleet::start(engine).await?;
    if let Err(error) = acts(&mut fleet).await {
        // What follows would start from another state.
        fleet.report.broken("it comes to its end", error);
    }
    let has_held = fleet.report.finish();
    if !has_held {
        fleet.print_logs();
    }
    println!("it took {:.0?}", began.elapsed());
    Ok(has_held)
}

async fn acts(fleet: &mut Fleet) -> Result<(), BoxError> {
    limits::are_known_to_all(fleet).await?;
    tokens::are_renewed_once(fleet).await?;
    tokens::outlive_a_host(fleet).await?;
    tokens::are_lost_with_a_host(fleet).await?;
    tokens::are_not_presented_late(fleet).await?;
    limits::are_known_after_a_restart(fleet).await?;
    outages::fail_no_request(fleet).await?;
    outages::lose_no_account(fleet).await?;
    fleet.end().await
}
