//! Standings that an engine has forgotten: limits, and what a person has set.
//!
//! A host that has seen more of the log than the engine still has gives it its own standings, with what the engine's log says
//! since, in the order of that log. That is one entry, which is only taken if the log still ends where the host has read it. So
//! nothing is given twice, and no newer word of a person's is undone.

use std::collections::HashSet;

use super::Inner;
use super::entry::{Entry, EntryId, Event, Given};
use super::pool::{Loaded, Pool, Seen};
use super::random;
use super::replica::Replica;
use super::script::GIVE_STANDINGS;
use crate::credential::CredentialId;
use crate::standing::{Standing, Standings};
use crate::vault::VaultError;

impl Inner {
    /// Gives the engine the standings that it has forgotten. Returns whether the pool must be read again.
    pub(super) async fn give_back_standings(
        &self,
        pool: &Pool,
        loaded: &Loaded,
    ) -> Result<bool, VaultError> {
        if loaded.seen != Seen::Forgotten {
            return Ok(false);
        }
        let call = {
            let copy = pool.copy();
            let (Some(epoch), Some(known)) = (&copy.epoch, copy.last_known()) else { return Ok(false) };
            let Some(given) = to_give(known, loaded)? else { return Ok(false) };
            let json = serde_json::to_string(&given).map_err(|error| VaultError::Layer(error.into()))?;
            let mut call = GIVE_STANDINGS
                .on(pool.keys.all())
                .arg(random::number())
                .arg(epoch.restores())
                .arg(loaded.last.to_say())
                .arg(json);
            for batch in known.past().batches.iter() {
                call = call.arg(batch.origin.to_string()).arg(batch.number);
            }
            call
        };
        let within = self.engine.within * 10;
        let said: String = self.engine.run_within(pool.keys.slot(), &call, within).await?;
        match said.as_str() {
            "ok" => {
                tracing::warn!(
                    target: "tower_credentials",
                    pool = %pool.key,
                    "the vault's engine had forgotten limits or settings of accounts, and was given them back"
                );
                Ok(true)
            }
            // Another host was first.
            "other" => Ok(true),
            _ => Ok(false),
        }
    }
}

/// Returns what an engine is to be given; `None` if there is nothing, or if it can't be told what has changed there since.
fn to_give(known: &Replica, loaded: &Loaded) -> Result<Option<Given>, VaultError> {
    // What is in a snapshot that was never seen is of another log, and in which order it was changed is not known.
    if loaded.snapshot != EntryId::NONE && !known.past().has(loaded.snapshot) {
        return Ok(None);
    }
    let Some(mut standings) = with_what_is_new(known, &loaded.log)? else { return Ok(None) };
    let has_record = |id: &CredentialId| loaded.records.contains_key(id);
    standings.order.retain(has_record);
    standings.preferred.retain(has_record);
    let engines = loaded.replica.standings();
    let known_here: HashSet<_> = standings.order.iter().copied().collect();
    // Accounts that this host has seen removed, or has never seen.
    for id in engines.order.iter().filter(|id| !known_here.contains(id)) {
        standings.push(*id);
        standings.credentials.remove(id);
        if let Some(standing) = engines.credentials.get(id) {
            standings.credentials.insert(*id, standing.clone());
        }
    }
    let good = Standing::default();
    let ids: HashSet<_> = standings.order.iter().copied().collect();
    let of = |standings: &Standings, id| standings.credentials.get(&id).unwrap_or(&good).clone();
    let changed = ids.into_iter().filter(|id| of(&standings, *id) != of(engines, *id));
    let credentials = changed.map(|id| (id, of(&standings, id))).collect();
    let given = Standings { order: standings.order, preferred: standings.preferred, credentials };
    let is_same_order = (&given.order, &given.preferred) == (&engines.order, &engines.preferred);
    let is_nothing = given.credentials.is_empty() && is_same_order;
    Ok((!is_nothing).then(|| Given { from: known.last().number, standings: given }))
}

/// Returns the standings that are known, with the changes of this log that were not seen; `None` if another host that has seen
/// as much was first.
fn with_what_is_new(known: &Replica, log: &[Entry]) -> Result<Option<Standings>, VaultError> {
    let mut standings = known.standings().clone();
    let mut ids: HashSet<_> = standings.order.iter().copied().collect();
    for entry in log {
        if known.past().has(entry.id()?) {
            continue;
        }
        // The host that has sent it may have had no response, and have sent it again.
        let is_known = entry.batch().is_some_and(|batch| known.past().batches.contain(batch));
        match entry.event()? {
            Event::Outcomes(_) if is_known => {}
            Event::Outcomes(outcomes) => outcomes.iter().for_each(|outcome| {
                standings.merge(outcome);
            }),
            Event::Added(id, _) => {
                if ids.insert(id) {
                    standings.push(id);
                }
            }
            Event::Changed(..) => {}
            Event::Moved(id, place) => standings.move_to(id, place),
            Event::Removed(id) => {
                ids.remove(&id);
                standings.remove(id);
            }
            Event::Given(given) if given.from >= known.last().number => return Ok(None),
            // Its host has seen less.
            Event::Given(_) => {}
        }
    }
    Ok(Some(standings))
}
