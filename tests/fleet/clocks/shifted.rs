//! Each moment that a host has written is the same moment for another host, whatever their clocks say.

use std::time::SystemTime;

use serde_json::json;
use tower_credentials::rate_limit::Window;
use tower_credentials::standing::{
    Cause, Change, Cooldown, Health, LastResponse, Outcome, QuotaName, Reason, Standing, StatedQuota,
};
use tower_credentials::vault::{Replaced, VaultExt};
use tower_credentials::{CredentialId, Generation, Metadata, Secret};

use super::*;
use crate::vault_contract::{account, pool, put_all};

/// Offsets, in milliseconds: some of them less than a second, and a few that nobody has chosen.
fn offsets() -> Vec<i64> {
    let mut offsets = vec![0, 400, -400, 1_500, -1_500, 59_000, -61_000, 3_600_000, -86_400_000];
    offsets.extend((1..5).map(|number: i64| number * 7_919_923 - 20_000_000));
    offsets
}

fn clock(offset: i64) -> Clock {
    Clock::from_fn(move || {
        let by = Duration::from_millis(offset.unsigned_abs());
        if offset < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
    })
}

/// A standing that has every moment, and the outcomes that lead to it.
fn outcomes(id: CredentialId, now: Timestamp) -> (Standing, Vec<Outcome>) {
    let (later, generation) = (now.after(HOUR), Generation::FIRST);
    let cause = Cause { at: now, status: 429, stated_by: None };
    let (set_at, cause_of) = (now.before(HALF_A_MINUTE), Some(cause.clone()));
    let scope = None;
    let cooldown = Cooldown {
        until: later,
        set_at,
        reason: Reason::Limited,
        scope,
        generation: None,
        cause: cause_of,
    };
    let stated_quota = StatedQuota { name: QuotaName::new("acme").unwrap(), said_at: now, generation };
    let health = Health::Dead { reason: "revoked".to_owned(), generation, cause: Some(cause) };
    let window = json!({ "name": "5h", "left": 10, "resets_at": later, "said_at": now });
    let window: Window = serde_json::from_value(window).unwrap();
    let response = LastResponse { at: now, status: 429 };
    let changes = vec![
        Change::CooledDown { cooldown: cooldown.clone(), failure: true, to_back: false },
        Change::QuotaStated(stated_quota.clone()),
        Change::Health(health.clone()),
        Change::Answered(response),
        Change::Allowance { windows: vec![window.clone()] },
    ];
    let standing = Standing {
        cooldowns: vec![cooldown],
        failures: 1,
        health,
        stated_quota: Some(stated_quota),
        last_response: Some(response),
        allowance: vec![window],
        ..Standing::default()
    };
    (standing, changes.into_iter().map(|change| Outcome { id, change }).collect())
}

/// Returns the moments of such a standing, by how much they are after `now`.
fn moments(standing: &Standing, now: Timestamp) -> Vec<i64> {
    let cooldown = standing.cooldown(None).unwrap();
    let of_window = &standing.allowance[0];
    let moments = [
        cooldown.until,
        cooldown.set_at,
        cooldown.cause.as_ref().unwrap().at,
        standing.stated_quota.as_ref().unwrap().said_at,
        standing.health.cause().unwrap().at,
        standing.last_response.unwrap().at,
        of_window.said_at,
        of_window.resets_at.unwrap(),
    ];
    moments.iter().map(|at| at.as_millis() as i64 - now.as_millis() as i64).collect()
}

#[tokio::test]
async fn when_a_secret_was_stored_is_the_same_moment_for_hosts_whose_clocks_differ() {
    let key = VaultKey::generate();
    let (ahead, behind) = (clock(3_600_000), clock(-86_400_000));
    let clocks = [ahead, behind, Clock::system()];
    let is_now = |metadata: &Metadata, clock: &Clock| {
        let is_near = |at: Timestamp| at.as_millis().abs_diff(clock.now().as_millis()) < 60_000;
        assert!(is_near(metadata.created_at) && is_near(metadata.updated_at), "{metadata:?}");
    };
    for (writer, clock) in clocks.iter().enumerate() {
        let Some(engine) = Server::start(&[]) else { return };
        let hosts = clocks.clone().map(|clock| vault(&engine, &key, clock));
        let writer = &hosts[writer];
        let mut account = account("a");
        account.metadata.created_at = clock.now();
        account.metadata.updated_at = clock.now();
        let put = account.metadata.clone();
        assert_eq!(writer.put(account).await.unwrap(), put, "what it has put itself");
        let known = writer.load_pool(pool()).await.unwrap().revision;
        let generation = put.generation;
        writer.replace_secret(&pool(), put.id, generation, Secret::api_key("new")).await.unwrap();
        let changes = writer.changes(pool(), known).await.unwrap().expect("they are known");
        is_now(&changes.credentials[0].metadata, clock);
        for (reader, clock) in hosts.iter().zip(&clocks) {
            is_now(&reader.load_pool(pool()).await.unwrap().credentials[0].metadata, clock);
            is_now(&reader.get(&pool(), put.id).await.unwrap().metadata, clock);
            is_now(&reader.list().await.unwrap().credentials[0], clock);
            is_now(&reader.relabel(&pool(), put.id, "b").await.unwrap(), clock);
            let old = reader.replace_secret(&pool(), put.id, generation, Secret::api_key("old")).await;
            let Replaced::Conflict(stored) = old.unwrap() else { panic!("it is newer") };
            is_now(&stored.metadata, clock);
            // The first of them notes a refresh, and nobody says how it has ended.
            let lease = reader.lease_refresh(&pool(), put.id).await.unwrap();
            let begun = reader.begin_refresh(&pool(), put.id, generation.next()).await.unwrap();
            is_now(&begun.record.metadata, clock);
            if let Some(at) = begun.unfinished {
                assert!(at.as_millis().abs_diff(clock.now().as_millis()) < 60_000, "{at}");
            }
            drop(lease);
        }
    }
}

#[tokio::test]
async fn every_moment_is_the_same_for_hosts_whose_clocks_differ() {
    let Some(engine) = Server::start(&[]) else { return };
    let key = VaultKey::generate();
    let hosts: Vec<_> =
        offsets().into_iter().map(|offset| (offset, vault(&engine, &key, clock(offset)))).collect();
    for (of_writer, writer) in &hosts {
        engine.tell::<()>(&["FLUSHALL"]);
        let [id] = put_all(writer, ["a"]).await;
        let now = clock(*of_writer).now();
        let (expected, outcomes) = outcomes(id, now);
        let known = writer.load_pool(pool()).await.unwrap().revision;
        writer.record(pool(), outcomes).await.unwrap();
        let changes = writer.changes(pool(), known).await.unwrap().expect("they are known");
        assert_eq!(changes.standings, [(id, expected.clone())], "what it has written itself");
        let written = moments(&expected, now);
        for (of_reader, reader) in &hosts {
            let loaded = reader.load_pool(pool()).await.unwrap();
            let by = of_reader - of_writer;
            let now_there = Timestamp::from_millis(now.as_millis().saturating_add_signed(by));
            let read = moments(&loaded.standings.credentials[&id], now_there);
            let is_near = |(one, other): (&i64, &i64)| (one - other).abs() < 2_000;
            let is_same = written.iter().zip(&read).all(is_near);
            assert!(is_same, "{of_writer} ms wrote {written:?}, {of_reader} ms read {read:?}");
            if of_reader == of_writer {
                assert_eq!(loaded.standings.credentials[&id], expected);
            }
        }
    }
}
