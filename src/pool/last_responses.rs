//! How each credential's latest request was answered: told to whoever asks, and saved now and then.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

use super::Pool;
use super::pick_index::SlotIndex;
use super::state::{PoolState, Slot};
use crate::clock::Timestamp;
use crate::standing::{Change, LastResponse, Outcome};

/// The latest answer to each slot's requests, each in one number that is written without a lock. In chunks,
/// each twice as long as the one before, so that none moves while the pool grows.
///
/// To read the clock would cost a request that goes well more than all else here. So it notes the status
/// alone, and whoever looks next adds the time: the task that syncs the pool does each second.
#[derive(Debug)]
pub(super) struct Answers {
    chunks: [OnceLock<Box<[AtomicU64]>>; CHUNKS],
    /// Whether an answer has its time from that task.
    dated_later: bool,
}

const FIRST_CHUNK: usize = 64;

/// Enough for four billion credentials.
const CHUNKS: usize = 26;

/// The low bits of a number hold the status, and the others the time, which they do until the year 10889.
const STATUS_BITS: u32 = 16;

impl Answers {
    pub(super) fn new(dated_later: bool) -> Self {
        Self { chunks: Default::default(), dated_later }
    }

    /// Notes an answer in place of the one before; as one that has no time yet where that is the epoch.
    #[inline]
    fn set(&self, slot: SlotIndex, at: Timestamp, status: StatusCode) {
        let (chunk, index) = place(slot);
        let Some(cells) = self.chunks.get(chunk) else { return };
        let cells = cells.get_or_init(|| (0..FIRST_CHUNK << chunk).map(|_| AtomicU64::new(0)).collect());
        let packed = at.as_millis() << STATUS_BITS | u64::from(status.as_u16());
        // Threads that note the same do not take the number from each other.
        if cells[index].load(Ordering::Relaxed) != packed {
            cells[index].store(packed, Ordering::Relaxed);
        }
    }

    /// The latest answer that this pool has seen. One that has no time yet has come just now.
    pub(super) fn get(&self, slot: SlotIndex, now: Timestamp) -> Option<LastResponse> {
        let (chunk, index) = place(slot);
        read(&self.chunks.get(chunk)?.get()?[index], now)
    }

    /// Gives those a time that have none yet.
    fn date(&self, now: Timestamp) {
        let cells = self.chunks.iter().filter_map(OnceLock::get).flatten();
        cells.for_each(|cell| {
            read(cell, now);
        });
    }
}

fn read(cell: &AtomicU64, now: Timestamp) -> Option<LastResponse> {
    let timed = |packed| packed | now.as_millis() << STATUS_BITS;
    let has_none = |packed: &u64| *packed != 0 && *packed >> STATUS_BITS == 0;
    let update = |packed| Some(packed).filter(has_none).map(timed);
    let packed = match cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update) {
        Ok(before) => timed(before),
        Err(known) => known,
    };
    let at = Timestamp::from_millis(packed >> STATUS_BITS);
    // Nothing is lost: these are the bits below those of the time.
    let status = (packed & ((1 << STATUS_BITS) - 1)) as u16;
    (packed != 0).then_some(LastResponse { at, status })
}

/// In which chunk a slot's number is, and where in that.
#[inline]
fn place(slot: SlotIndex) -> (usize, usize) {
    let number = slot + FIRST_CHUNK;
    let log = number.ilog2();
    ((log - FIRST_CHUNK.ilog2()) as usize, number - (1 << log))
}

impl PoolState {
    /// Takes what no vault has, to be saved now.
    pub(super) fn start_saving(&mut self, answers: &Answers, now: Timestamp) -> Vec<Outcome> {
        self.journal.start(unsaved(&self.slots, answers, now))
    }

    /// What was on its way into the vault is there.
    pub(super) fn saved(&mut self) {
        let Self { journal, slots, by_id, .. } = self;
        for Outcome { id, change } in journal.arrived() {
            if let (Change::Answered(answer), Some(slot)) = (change, by_id.get(&id)) {
                slots[*slot].standing.last_response = Some(answer);
            }
        }
    }
}

/// The answers that are later than what the vault is known to have.
fn unsaved(slots: &[Slot], answers: &Answers, now: Timestamp) -> impl Iterator<Item = Outcome> {
    // Those that no request has used are passed over without a look at the slot.
    (0..slots.len()).filter_map(move |index| {
        let answer = answers.get(index, now).filter(|answer| answer.is_believable(now))?;
        let Slot { lease, standing, live, .. } = &slots[index];
        let known = standing.last_response.filter(|answer| answer.is_believable(now));
        let is_news = *live && known.is_none_or(|known| answer > known);
        let id = lease.credential().id;
        is_news.then_some(Outcome { id, change: Change::Answered(answer) })
    })
}

impl Pool {
    /// An attempt with this slot's credential was answered.
    #[inline]
    pub(crate) fn answered(&self, slot: SlotIndex, status: StatusCode) {
        let answers = &self.0.answers;
        let at = if answers.dated_later { Timestamp::default() } else { self.now() };
        answers.set(slot, at, status);
    }

    /// From now on the pool is one that saves.
    pub(crate) fn set_saves(&self) {
        self.0.saves.store(true, Ordering::Relaxed);
    }

    /// Gives the answers that have come since the last look their time.
    pub(super) fn date_answers(&self) {
        self.0.answers.date(self.now());
    }

    /// Whether answers have come that the vault has not got.
    pub(super) fn has_unsaved_responses(&self) -> bool {
        let now = self.now();
        self.with_state(|state, _| unsaved(&state.slots, &self.0.answers, now).next().is_some())
    }

    /// Saves the latest answers, where some layer saves what the pool learns. Nobody waits for it: a vault that
    /// hangs is the saving task's matter.
    pub(super) fn save_last_responses(&self) {
        if self.0.saves.load(Ordering::Relaxed) && self.has_unsaved_responses() {
            drop(self.run_saver());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn status(status: u16) -> StatusCode {
        StatusCode::from_u16(status).unwrap()
    }

    /// A public test would need thousands of credentials.
    #[test]
    fn each_slot_has_a_place_of_its_own() {
        let answers = Answers::new(true);
        let slots = || (0..1000).chain([10_000, 100_000, 1_000_000]);
        let at = |slot: usize| NOW.after(Duration::from_millis(slot as u64));
        let code = |slot: usize| (slot % 500 + 100) as u16;
        assert!(slots().all(|slot| answers.get(slot, NOW).is_none()));
        slots().for_each(|slot| answers.set(slot, at(slot), status(code(slot))));
        for slot in slots() {
            let expected = LastResponse { at: at(slot), status: code(slot) };
            assert_eq!(answers.get(slot, NOW), Some(expected));
        }
        assert_eq!(answers.get(1001, NOW), None);
    }

    /// A public test would have to wait for the system's clock.
    #[test]
    fn the_first_look_gives_an_answer_its_time() {
        let answers = Answers::new(true);
        let later = |millis| NOW.after(Duration::from_millis(millis));
        answers.set(0, Timestamp::default(), status(200));
        answers.date(NOW);
        assert_eq!(answers.get(0, later(1)), Some(LastResponse { at: NOW, status: 200 }));
        for code in [200, 429] {
            answers.set(0, Timestamp::default(), status(code));
            let expected = LastResponse { at: later(u64::from(code)), status: code };
            assert_eq!(answers.get(0, expected.at), Some(expected));
            assert_eq!(answers.get(0, later(5000)), Some(expected));
        }
        assert_eq!(answers.get(1, NOW), None);
    }
}
