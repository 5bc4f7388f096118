//! The engine fails, and the hosts go on.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use tokio::task::block_in_place;
use tower_credentials::BoxError;

use crate::fleet::{Fleet, Stored};
use crate::host::{Served, within};
use crate::lines::State;
use crate::tokens;

const REQUESTS: usize = 50;
const ROUNDS: usize = 10;

/// The engine is killed, and started again with its append-only file.
pub async fn fail_no_request(fleet: &mut Fleet) -> Result<(), BoxError> {
    fleet.report.heading("6. The engine is killed, and started again with its append-only file");
    let account = fleet.active().await?;
    let before = fleet.stored().await?;
    fleet.engine.kill();
    let began = Instant::now();
    let mut served = Served::default();
    for _ in 0..ROUNDS {
        served.add(fleet.ask_all(REQUESTS).await?);
    }
    fleet.upstream.limit(&account);
    served.add(fleet.hosts[0].ask(REQUESTS).await?);
    let outage = began.elapsed();
    fleet.report.line(format_args!("an outage of {outage:.1?}: {served}"));
    fleet.report.line(format_args!("at its end {account} got a 429 on host 1"));
    block_in_place(|| fleet.engine.start_again());
    fleet.all_know(&[1, 2], &account, State::CoolingDown).await?;
    let seen = fleet.upstream.seen().len();
    let later = fleet.ask_all(REQUESTS).await?;
    fleet.report.line(format_args!("after it: {later}"));
    served.add(later);

    let to_it = fleet.seen_since(seen).iter().filter(|seen| seen.account == account).count();
    fleet.report.promise("a limit that one host met in the outage is known to all after it", to_it, 0);
    let mut stored = fleet.stored().await?;
    // All that is new.
    if let Some(stored) = stored.get_mut(&account) {
        stored.is_cooling_down = false;
    }
    fleet.report.promise("nothing that was stored is lost", stored, before);
    fleet.report.promise("no request fails", served.failed, vec![]);
    Ok(())
}

/// The engine is killed, and started again without its files.
pub async fn lose_no_account(fleet: &mut Fleet) -> Result<(), BoxError> {
    fleet.report.heading("7. The engine is killed, and started again without its files");
    let before = generations(&fleet.stored().await?);
    fleet.engine.kill();
    fs::remove_dir_all(fleet.engine.files().join("appendonlydir"))?;
    let mut served = fleet.ask_all(REQUESTS).await?;
    let began = Instant::now();
    block_in_place(|| fleet.engine.start_again());
    let is_complete = |stored: &BTreeMap<_, _>| stored.len() == before.len();
    let stored = within("the hosts give the accounts back", fleet.until_stored(is_complete)).await??;
    fleet.report.line(format_args!("{} accounts were back {:.1?} later", stored.len(), began.elapsed()));
    served.add(fleet.ask_all(REQUESTS).await?);
    fleet.report.line(format_args!("requests meanwhile and after: {served}"));
    let now = generations(&fleet.stored().await?);
    fleet.report.promise("the hosts give back every account and its token", now, before);
    fleet.report.promise("no request fails", served.failed, vec![]);
    tokens::renew(fleet).await?;
    let is_signed_in = fleet.stored().await?.values().all(|stored| stored.is_signed_in);
    fleet.report.promise("nobody is signed out", is_signed_in, true);
    Ok(())
}

/// Returns the generation of each account's secret.
fn generations(stored: &BTreeMap<String, Stored>) -> Vec<(String, u64)> {
    stored.iter().map(|(label, stored)| (label.clone(), stored.generation)).collect()
}
