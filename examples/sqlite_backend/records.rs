//! Credentials, their secrets, and the notes on their refreshes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use tower_credentials::vault::seal::Sealed;
use tower_credentials::vault::{
    Begun, Damage, FailedRefresh, Replaced, VaultError, check_name, free_label,
};
use tower_credentials::{BoxError, CredentialId, Generation, Metadata, PoolKey, Record, Timestamp};

use super::pools::{self, Step};

pub fn now() -> Timestamp {
    SystemTime::now().into()
}

pub fn name(pool: &PoolKey) -> Result<String, BoxError> {
    Ok(serde_json::to_string(pool)?)
}

/// SQLite's integers have a sign.
pub fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The columns that [`read`] reads.
pub const COLUMNS: &str =
    "id, pool, label, kind, generation, created_at, updated_at, attributes, secret";

/// Reads a record. One that can't be read does not keep others from being read.
pub fn read(row: &Row<'_>) -> rusqlite::Result<Result<Record<Sealed>, Damage>> {
    fn parse(row: &Row<'_>) -> Result<Record<Sealed>, BoxError> {
        let text = |column| Ok::<String, BoxError>(row.get(column)?);
        let count = |column| Ok::<_, BoxError>(u64::try_from(row.get::<_, i64>(column)?)?);
        let metadata = Metadata {
            id: text(0)?.parse()?,
            pool: serde_json::from_str(&text(1)?)?,
            label: text(2)?.into(),
            kind: serde_json::from_str(&text(3)?)?,
            generation: Generation::new(count(4)?),
            created_at: Timestamp::from_millis(count(5)?),
            updated_at: Timestamp::from_millis(count(6)?),
            attributes: serde_json::from_str(&text(7)?)?,
        };
        Ok(Record { metadata, secret: serde_json::from_str(&text(8)?)? })
    }
    let id: String = row.get(0)?;
    Ok(parse(row).map_err(|error| {
        let damage = Damage::new(&*id, error.to_string());
        let kind = row.get::<_, String>(3).ok().and_then(|kind| serde_json::from_str(&kind).ok());
        id.parse().map_or(damage.clone(), |id| damage.of(id, kind))
    }))
}

pub fn get(on: &Connection, pool: &PoolKey, id: CredentialId) -> Result<Record<Sealed>, BoxError> {
    let select = format!("SELECT {COLUMNS} FROM records WHERE id = ?1 AND pool = ?2");
    let found = on.query_row(&select, params![id.to_string(), name(pool)?], read).optional()?;
    let record = found.ok_or(VaultError::NotFound(id))?;
    Ok(record.map_err(VaultError::Damaged)?)
}

fn is_taken(
    on: &Connection,
    pool: &PoolKey,
    label: &str,
    by_other: CredentialId,
) -> Result<bool, BoxError> {
    let select = "SELECT EXISTS (SELECT 1 FROM records WHERE pool = ?1 AND label = ?2 AND id <> ?3)";
    Ok(on.query_row(select, params![name(pool)?, label, by_other.to_string()], |row| row.get(0))?)
}

pub fn put(on: &Connection, record: Record<Sealed>) -> Result<Metadata, BoxError> {
    let Record { mut metadata, secret } = record;
    check_name("provider", metadata.pool.provider())?;
    check_name("namespace", metadata.pool.namespace())?;
    check_name("label", &metadata.label)?;
    let id = metadata.id;
    let select = "SELECT EXISTS (SELECT 1 FROM records WHERE id = ?1)";
    if on.query_row(select, [id.to_string()], |row| row.get(0))? {
        return Err(VaultError::Exists(id).into());
    }
    let mut labels = on.prepare("SELECT label FROM records WHERE pool = ?1")?;
    let labels = labels.query_map([name(&metadata.pool)?], |row| row.get(0))?;
    let taken = labels.collect::<Result<HashSet<String>, _>>()?;
    metadata.label = free_label(&metadata.label, |label| taken.contains(label));
    on.execute(
        &format!("INSERT INTO records ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"),
        params![
            id.to_string(),
            name(&metadata.pool)?,
            &*metadata.label,
            serde_json::to_string(&metadata.kind)?,
            number(metadata.generation.get()),
            number(metadata.created_at.as_millis()),
            number(metadata.updated_at.as_millis()),
            serde_json::to_string(&metadata.attributes)?,
            serde_json::to_string(&secret)?,
        ],
    )?;
    pools::change(on, &metadata.pool, |standings| {
        standings.push(id);
        Step { records: vec![id], is_reordered: true, ..Step::default() }
    })?;
    Ok(metadata)
}

pub fn relabel(
    on: &Connection,
    pool: &PoolKey,
    id: CredentialId,
    label: Arc<str>,
) -> Result<Metadata, BoxError> {
    check_name("label", &label)?;
    get(on, pool, id)?;
    if is_taken(on, pool, &label, id)? {
        return Err(VaultError::LabelTaken(label).into());
    }
    on.execute("UPDATE records SET label = ?1 WHERE id = ?2", params![&*label, id.to_string()])?;
    pools::change(on, pool, |_| Step::of_record(id))?;
    Ok(get(on, pool, id)?.metadata)
}

/// Also a record that can't be read is removed.
pub fn remove(on: &Connection, pool: &PoolKey, id: CredentialId) -> Result<(), BoxError> {
    let delete = "DELETE FROM records WHERE id = ?1 AND pool = ?2";
    if on.execute(delete, params![id.to_string(), name(pool)?])? == 0 {
        return Err(VaultError::NotFound(id).into());
    }
    pools::change(on, pool, |standings| {
        standings.remove(id);
        Step { removed: vec![id], ..Step::default() }
    })?;
    Ok(())
}

/// Compares and swaps in one statement. A new secret ends the refresh of the old one.
pub fn replace(
    on: &Connection,
    pool: &PoolKey,
    id: CredentialId,
    expected: Generation,
    secret: &Sealed,
    attributes: Option<&BTreeMap<String, String>>,
) -> Result<Replaced<Sealed>, BoxError> {
    let swapped = on.execute(
        "UPDATE records SET secret = ?1, generation = ?2, updated_at = ?3, notes = '{}',
             attributes = coalesce(?4, attributes)
         WHERE id = ?5 AND pool = ?6 AND generation = ?7",
        params![
            serde_json::to_string(secret)?,
            number(expected.next().get()),
            number(now().as_millis()),
            attributes.map(serde_json::to_string).transpose()?,
            id.to_string(),
            name(pool)?,
            number(expected.get()),
        ],
    )?;
    if swapped == 0 {
        return Ok(Replaced::Conflict(get(on, pool, id)?));
    }
    pools::change(on, pool, |_| Step::of_record(id))?;
    Ok(Replaced::Swapped(expected.next()))
}

/// The same secret under another key: no new generation, and no new revision.
pub fn reseal(
    on: &Connection,
    pool: &PoolKey,
    id: CredentialId,
    expected: Generation,
    secret: &Sealed,
) -> Result<Replaced<Sealed>, BoxError> {
    let swapped = on.execute(
        "UPDATE records SET secret = ?1 WHERE id = ?2 AND pool = ?3 AND generation = ?4",
        params![serde_json::to_string(secret)?, id.to_string(), name(pool)?, number(expected.get())],
    )?;
    if swapped == 0 {
        return Ok(Replaced::Conflict(get(on, pool, id)?));
    }
    Ok(Replaced::Swapped(expected))
}

/// What is noted of a credential's refreshes, each with the generation that it exchanges.
#[derive(Default, Serialize, Deserialize)]
pub struct Notes {
    pub begun: Option<(Generation, Timestamp)>,
    /// Until when the token endpoint is left alone, how many have failed in a row, and why.
    failed: Option<(Generation, Timestamp, u32, String)>,
}

/// Changes the notes of a credential.
pub fn note(on: &Connection, id: CredentialId, change: impl FnOnce(&mut Notes)) -> Result<(), BoxError> {
    let id = id.to_string();
    let noted: String =
        on.query_row("SELECT notes FROM records WHERE id = ?1", [&id], |row| row.get(0))?;
    let mut notes = serde_json::from_str(&noted)?;
    change(&mut notes);
    on.execute(
        "UPDATE records SET notes = ?1 WHERE id = ?2",
        params![serde_json::to_string(&notes)?, id],
    )?;
    Ok(())
}

pub fn begin_refresh(
    on: &Connection,
    pool: &PoolKey,
    id: CredentialId,
    expected: Generation,
) -> Result<Begun<Sealed>, BoxError> {
    let mut begun = Begun::new(get(on, pool, id)?);
    if begun.record.metadata.generation != expected {
        return Ok(begun);
    }
    note(on, id, |notes| {
        let failed = notes.failed.as_ref().filter(|(of, ..)| *of == expected);
        begun.failed = failed.map(|(_, until, in_a_row, reason)| FailedRefresh {
            wait: until.since(now()),
            in_a_row: *in_a_row,
            reason: reason.clone(),
        });
        if begun.failed.as_ref().is_none_or(|failed| failed.wait.is_zero()) {
            let before = notes.begun.replace((expected, now()));
            begun.unfinished = before.filter(|(of, _)| *of == expected).map(|(_, at)| at);
        }
    })?;
    Ok(begun)
}

pub fn refresh_failed(
    on: &Connection,
    pool: &PoolKey,
    id: CredentialId,
    expected: Generation,
    failed: FailedRefresh,
) -> Result<(), BoxError> {
    if get(on, pool, id)?.metadata.generation != expected {
        return Ok(());
    }
    note(on, id, |notes| {
        notes.begun = None;
        notes.failed = Some((expected, now().after(failed.wait), failed.in_a_row, failed.reason));
    })
}
