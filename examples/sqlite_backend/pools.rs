//! Pools: their order, their standings, and what has changed in them.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use tower_credentials::standing::{Change, Health, Outcome, Standings};
use tower_credentials::vault::seal::Sealed;
use tower_credentials::vault::{BatchId, Changes, Listing, OrderChange, Revision, StoredPool};
use tower_credentials::{BoxError, CredentialId, PoolKey};

use super::records::{COLUMNS, get, name, note, now, number, read};

/// How many changes of a pool are kept. A reader that is further behind loads it.
const KEPT: u32 = 1000;

/// How long a batch may be sent again.
const AGAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// A change of a pool, or several one after the other.
#[derive(Default, Serialize, Deserialize)]
pub struct Step {
    pub records: Vec<CredentialId>,
    pub removed: Vec<CredentialId>,
    pub standings: Vec<CredentialId>,
    pub to_back: Vec<CredentialId>,
    pub is_reordered: bool,
}

impl Step {
    /// A new secret also voids a verdict on the old one; a reader sees to that.
    pub fn of_record(id: CredentialId) -> Self {
        Self { records: vec![id], ..Self::default() }
    }
}

/// Reads a pool's standings and revision. A pool that was never put into is empty.
pub fn pool(on: &Connection, pool: &PoolKey) -> Result<(Standings, Revision), BoxError> {
    let select = "SELECT standings, revision FROM pools WHERE pool = ?1";
    let found = on.query_row(select, [name(pool)?], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)));
    let Some((standings, revision)) = found.optional()? else { return Ok(Default::default()) };
    Ok((serde_json::from_str(&standings)?, Revision::from_bytes(revision)))
}

/// Changes a pool's standings, and makes a new revision.
pub fn change(
    on: &Connection,
    key: &PoolKey,
    change: impl FnOnce(&mut Standings) -> Step,
) -> Result<Revision, BoxError> {
    let (mut standings, before) = pool(on, key)?;
    let (step, name) = (serde_json::to_string(&change(&mut standings))?, name(key)?);
    on.execute(
        "INSERT INTO steps (pool, before, step) VALUES (?1, ?2, ?3)",
        params![name, before.as_bytes(), step],
    )?;
    on.execute(
        "DELETE FROM steps WHERE pool = ?1 AND number <=
             (SELECT number FROM steps WHERE pool = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
        params![name, KEPT],
    )?;
    let revision = on.query_row(
        "INSERT INTO pools (pool, standings, revision) VALUES (?1, ?2, randomblob(16))
         ON CONFLICT DO UPDATE SET standings = excluded.standings, revision = excluded.revision
         RETURNING revision",
        params![name, serde_json::to_string(&standings)?],
        |row| row.get(0),
    )?;
    Ok(Revision::from_bytes(revision))
}

pub fn load(on: &Connection, key: &PoolKey) -> Result<StoredPool<Sealed>, BoxError> {
    let (standings, revision) = pool(on, key)?;
    let (mut credentials, mut damaged) = (Vec::new(), Vec::new());
    let mut select = on.prepare(&format!("SELECT {COLUMNS} FROM records WHERE pool = ?1"))?;
    for record in select.query_map([name(key)?], read)? {
        match record? {
            Ok(record) => credentials.push(record),
            Err(damage) => damaged.push(damage),
        }
    }
    let place = |id| standings.order.iter().position(|other| *other == id);
    credentials.sort_by_cached_key(|record| place(record.metadata.id));
    Ok(StoredPool::new(credentials, standings, revision, damaged))
}

pub fn list(on: &Connection) -> Result<Listing, BoxError> {
    let mut names = on.prepare("SELECT pool FROM pools")?;
    let names = names.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let pools: Result<BTreeSet<PoolKey>, _> =
        names.iter().map(|name| serde_json::from_str(name)).collect();
    let mut listing = Listing::default();
    for pool in pools? {
        let stored = load(on, &pool)?;
        listing.credentials.extend(stored.credentials.into_iter().map(|record| record.metadata));
        listing.damaged.extend(stored.damaged);
    }
    Ok(listing)
}

pub fn move_to(on: &Connection, pool: &PoolKey, id: CredentialId, place: usize) -> Result<(), BoxError> {
    get(on, pool, id)?;
    change(on, pool, |standings| {
        standings.move_to(id, place);
        Step { is_reordered: true, ..Step::default() }
    })?;
    Ok(())
}

/// Merges outcomes, unless this batch, or a later one of its origin, has come already.
pub fn record(
    on: &Connection,
    key: &PoolKey,
    outcomes: &[Outcome],
    batch: BatchId,
) -> Result<Revision, BoxError> {
    let (_, before) = pool(on, key)?;
    let is_new = on.execute(
        "INSERT INTO batches (pool, origin, number, at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET number = excluded.number, at = excluded.at WHERE number < excluded.number",
        params![name(key)?, batch.origin.to_string(), number(batch.number), number(now().as_millis())],
    )?;
    if is_new == 0 {
        return Ok(before);
    }
    on.execute("DELETE FROM batches WHERE at < ?1", [number(now().before(AGAIN).as_millis())])?;
    let mut known = Vec::new();
    for outcome in outcomes {
        let select = "SELECT EXISTS (SELECT 1 FROM records WHERE id = ?1 AND pool = ?2)";
        let is_known = params![outcome.id.to_string(), name(key)?];
        if on.query_row(select, is_known, |row| row.get(0))? {
            known.push(outcome);
            // A refresh that the vendor has refused is over.
            if let Change::Health(Health::NeedsSignIn { generation, .. }) = &outcome.change {
                note(on, outcome.id, |notes| {
                    notes.begun.take_if(|(of, _)| of == generation);
                })?;
            }
        }
    }
    if known.is_empty() {
        return Ok(before);
    }
    change(on, key, |standings| {
        let mut step = Step::default();
        for outcome in known {
            let touched = standings.merge(outcome);
            step.standings.extend(touched.standings());
            if touched.is_to_back {
                step.to_back.extend(touched.standings());
            }
            step.is_reordered |= touched.is_reordered;
        }
        step
    })
}

/// Adds up the steps since a revision. `None` if it is not known, or a record that has changed can't be read.
pub fn changes(
    on: &Connection,
    key: &PoolKey,
    since: Revision,
) -> Result<Option<Changes<Sealed>>, BoxError> {
    let (standings, revision) = pool(on, key)?;
    let mut changes = Changes::none(revision);
    if since == revision {
        return Ok(Some(changes));
    }
    let mut steps = on.prepare(
        "SELECT step FROM steps WHERE pool = ?1 AND number >=
             (SELECT max(number) FROM steps WHERE pool = ?1 AND before = ?2) ORDER BY number",
    )?;
    let steps = steps.query_map(params![name(key)?, since.as_bytes()], |row| row.get(0))?;
    let steps = steps.collect::<Result<Vec<String>, _>>()?;
    if steps.is_empty() {
        return Ok(None);
    }
    let (mut records, mut removed, mut touched) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let (mut to_back, mut is_reordered) = (Vec::new(), false);
    for step in steps {
        let step: Step = serde_json::from_str(&step)?;
        for id in &step.records {
            removed.remove(id);
        }
        for id in &step.removed {
            records.remove(id);
            touched.remove(id);
        }
        touched.extend(step.records.iter().chain(&step.standings).copied());
        records.extend(step.records);
        removed.extend(step.removed);
        for id in step.to_back {
            to_back.retain(|other| *other != id);
            to_back.push(id);
        }
        is_reordered |= step.is_reordered;
    }
    for id in records {
        let Ok(record) = get(on, key, id) else { return Ok(None) };
        changes.credentials.push(record);
    }
    let standing = |id| standings.credentials.get(id).cloned().unwrap_or_default();
    changes.standings = touched.iter().map(|id| (*id, standing(id))).collect();
    to_back.retain(|id| !removed.contains(id));
    changes.removed = removed.into_iter().collect();
    changes.order = match is_reordered {
        true => OrderChange::Whole { order: standings.order, preferred: standings.preferred },
        false => OrderChange::ToBack(to_back),
    };
    Ok(Some(changes))
}
