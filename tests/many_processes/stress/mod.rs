//! Many processes write to one vault, and are killed and replaced at random moments. In the end every acknowledged
//! write must be there.

mod ledger;
mod writer;

use std::collections::HashSet;
use std::fmt::Display;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use tower_credentials::vault::VaultExt;
use tower_credentials::{Credential, CredentialId, PoolKey, Secret};

use crate::children::Child;
use crate::shared::Shared;

use ledger::{BEGUN, DONE, Ledger};
use writer::Random;
pub(super) use writer::writer;

const WRITERS: usize = 8;

fn pools() -> [PoolKey; 2] {
    [PoolKey::new("stress"), PoolKey::with_namespace("stress", "other")]
}

/// A number from the environment, for runs that are longer than usual.
fn number(variable: &str, usually: u64) -> u64 {
    std::env::var(variable).map_or(usually, |value| value.parse().expect("a number"))
}

fn join(ids: &[CredentialId]) -> String {
    ids.iter().map(CredentialId::to_string).collect::<Vec<_>>().join(",")
}

fn split(ids: &str) -> Vec<CredentialId> {
    ids.split(',').map(|id| id.parse().unwrap()).collect()
}

fn start(shared: &Shared, ids: &(String, String), random: &mut Random) -> Child {
    let seed = random.below(u64::MAX) | 1;
    let job = shared.job("writer").set("SEED", seed.to_string());
    job.set("SHARED", &ids.0).set("COUNTERS", &ids.1).start()
}

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost_while_writers_are_killed_and_replaced() {
    let Some(shared) = Shared::new() else { return };
    let seconds = Duration::from_secs(number("TOWER_CREDENTIALS_STRESS_SECONDS", 3));
    let kills = number("TOWER_CREDENTIALS_STRESS_KILLS", 40) as u32;
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).unwrap();
    let seed = number("TOWER_CREDENTIALS_STRESS_SEED", u64::from_ne_bytes(seed)) | 1;
    // Shown if the test fails.
    println!("TOWER_CREDENTIALS_STRESS_SEED={seed}");
    let mut random = Random(seed);

    let vault = shared.open().await;
    let mut ledger = Ledger::default();
    let (mut secrets, mut counters) = (Vec::new(), Vec::new());
    for number in 0..6 {
        let ids = if number < 4 { &mut secrets } else { &mut counters };
        let pool = &pools()[if number < 4 { number % 2 } else { 0 }];
        let mut account = Credential::new(pool.clone(), format!("s{number}"), Secret::api_key(""));
        let id = account.metadata.id;
        let secret = format!("{id}/1/parent/{number}");
        account.secret = Secret::api_key(secret.clone());
        vault.put(account).await.unwrap();
        ids.push(id);
        let said = [format!("begin put {id} s{number} {secret}"), format!("done put {id} s{number}")];
        ledger.take_down(&said);
    }
    drop(vault);
    ledger.writes = 0;

    let ids = (join(&secrets), join(&counters));
    let mut writers: Vec<_> = (0..WRITERS).map(|_| start(&shared, &ids, &mut random)).collect();
    let mut killed = Vec::new();
    for writer in &mut writers {
        writer.wait_for("ready");
    }
    let begin = Instant::now();
    let mut most_temporary = 0;
    for number in 1..=kills {
        let at = random.below(WRITERS as u64) as usize;
        // At any moment of any write, or of opening.
        for _ in 0..random.below(30) {
            listen(&mut writers[at]);
        }
        spin(Duration::from_micros(random.below(3000)));
        writers[at].kill();
        killed.push(std::mem::replace(&mut writers[at], start(&shared, &ids, &mut random)));
        let temporary = shared.leftovers();
        assert!(temporary <= WRITERS, "{temporary} temporary files have piled up");
        most_temporary = most_temporary.max(temporary);
        while begin.elapsed() < seconds * number / kills {
            let other = random.below(WRITERS as u64) as usize;
            listen(&mut writers[other]);
        }
    }
    for writer in &mut writers {
        writer.hang_up();
    }
    for writer in writers {
        ledger.take_down(&writer.succeed());
    }
    for writer in killed {
        let (lines, status) = writer.end();
        assert_eq!(status.signal(), Some(9), "it had failed before it was killed: {status}");
        ledger.take_down(&lines);
    }
    println!(
        "{} writes acknowledged, {} in flight at {kills} kills, at most {most_temporary} temporary files",
        ledger.writes, ledger.in_flight
    );
    assert!(ledger.writes > WRITERS, "they have written");
    everything_is_there(&shared, &ledger, &counters).await;
}

/// Waits for a writer's next line, which also shows that it has not failed.
fn listen(writer: &mut Child) {
    assert!(writer.next().is_some(), "a writer has ended by itself; see what it said on stderr");
}

/// Lets a moment pass that no event marks.
fn spin(time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        std::thread::yield_now();
    }
}

async fn everything_is_there(shared: &Shared, ledger: &Ledger, counters: &[CredentialId]) {
    // No lock stays behind: the next process gets each at once.
    let vault = shared.open_impatiently().await;
    assert_eq!(shared.leftovers(), 0);
    let mut found = HashSet::new();
    for pool in pools() {
        let loaded = vault.load_pool(pool.clone()).await.unwrap();
        assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
        for stored in &loaded.credentials {
            ledger.check(stored);
            assert!(found.insert(stored.metadata.id));
            drop(vault.lease_refresh(&stored.metadata.pool, stored.metadata.id).await.unwrap());
        }
        let unique = |all: &mut dyn Iterator<Item = String>| {
            let mut seen = HashSet::new();
            let twice: Vec<_> = all.filter(|item| !seen.insert(item.clone())).collect();
            assert!(twice.is_empty(), "twice in {pool}: {twice:?}");
        };
        let text = |item: &dyn Display| item.to_string();
        unique(&mut loaded.credentials.iter().map(|stored| text(&stored.metadata.label)));
        unique(&mut loaded.standings.order.iter().map(|id| text(id)));
        assert_eq!(loaded.standings.order.len(), loaded.credentials.len(), "each has one place");
        for id in counters.iter().filter(|_| pool == pools()[0]) {
            let (standing, known) = (&loaded.standings.credentials[id], &ledger.credentials[id]);
            let [most, least] = known.failures;
            let failures = standing.failures;
            assert!((least..=most).contains(&failures), "{failures} of {least} to {most} failures");
            let until = standing.cooldown(None).map_or(0, |cooldown| cooldown.until.as_millis());
            assert!(until >= known.untils[DONE].iter().max().copied().unwrap_or(0));
            assert!(until == 0 || known.untils[BEGUN].contains(&until));
        }
    }
    for (id, known) in &ledger.credentials {
        let must_be = known.is_put && !known.may_be_removed;
        assert!(!must_be || found.contains(id), "{id} was put, and is lost");
    }
    // The next process can write, too.
    let last = Credential::new(pools()[0].clone(), "last", Secret::api_key("k"));
    let stored = vault.put(last).await.unwrap();
    vault.remove(&stored.pool, stored.id).await.unwrap();
}
