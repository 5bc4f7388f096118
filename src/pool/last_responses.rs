//! Each credential's last response, recorded without a lock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

use super::pick_index::SlotIndex;
use crate::clock::Timestamp;
use crate::standing::LastResponse;

/// The last response of each slot, each in one number that is written without a lock. The numbers are in chunks, each
/// twice as long as the one before, so that none moves while the pool grows.
///
/// To read the clock would cost a successful request more than all else here. So it records the status alone, and the
/// next reader adds the time: the task that syncs the pool does so each second.
#[derive(Debug)]
pub(super) struct LastResponses {
    chunks: [OnceLock<Box<[AtomicU64]>>; CHUNKS],
    /// Whether that task adds the times.
    dated_later: bool,
}

const FIRST_CHUNK: usize = 64;

/// Enough for four billion credentials.
const CHUNKS: usize = 26;

/// How many low bits of a number hold the status. The others hold the time, which fits until the year 10889.
const STATUS_BITS: u32 = 16;

impl LastResponses {
    pub(super) fn new(dated_later: bool) -> Self {
        Self { chunks: Default::default(), dated_later }
    }

    /// Records a response. Calls `now` unless its time is added later.
    #[inline]
    pub(super) fn record(&self, slot: SlotIndex, status: StatusCode, now: impl FnOnce() -> Timestamp) {
        // The epoch means that there is no time yet.
        self.set(slot, if self.dated_later { Timestamp::default() } else { now() }, status);
    }

    #[inline]
    fn set(&self, slot: SlotIndex, at: Timestamp, status: StatusCode) {
        let (chunk, index) = position(slot);
        let Some(cells) = self.chunks.get(chunk) else { return };
        let cells = cells.get_or_init(|| (0..FIRST_CHUNK << chunk).map(|_| AtomicU64::new(0)).collect());
        let packed = at.as_millis() << STATUS_BITS | u64::from(status.as_u16());
        // Threads that record the same status do not contend for the cache line.
        if cells[index].load(Ordering::Relaxed) != packed {
            cells[index].store(packed, Ordering::Relaxed);
        }
    }

    /// Returns the last response that this pool has seen. One that has no time yet has arrived now.
    pub(super) fn get(&self, slot: SlotIndex, now: Timestamp) -> Option<LastResponse> {
        let (chunk, index) = position(slot);
        read(&self.chunks.get(chunk)?.get()?[index], now)
    }

    /// Adds the time to the responses that have none yet.
    pub(super) fn date(&self, now: Timestamp) {
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
    // Nothing is lost: these are the bits below the time.
    let status = (packed & ((1 << STATUS_BITS) - 1)) as u16;
    (packed != 0).then_some(LastResponse { at, status })
}

/// Returns the chunk of a slot's number, and the index in it.
#[inline]
fn position(slot: SlotIndex) -> (usize, usize) {
    let number = slot + FIRST_CHUNK;
    let log = number.ilog2();
    ((log - FIRST_CHUNK.ilog2()) as usize, number - (1 << log))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn status(status: u16) -> StatusCode {
        StatusCode::from_u16(status).unwrap()
    }

    /// A test of the public API would need thousands of credentials.
    #[test]
    fn each_slot_has_a_number_of_its_own() {
        let responses = LastResponses::new(true);
        let slots = || (0..1000).chain([10_000, 100_000, 1_000_000]);
        let at = |slot: usize| NOW.after(Duration::from_millis(slot as u64));
        let code = |slot: usize| (slot % 500 + 100) as u16;
        assert!(slots().all(|slot| responses.get(slot, NOW).is_none()));
        slots().for_each(|slot| responses.set(slot, at(slot), status(code(slot))));
        for slot in slots() {
            let expected = LastResponse { at: at(slot), status: code(slot) };
            assert_eq!(responses.get(slot, NOW), Some(expected));
        }
        assert_eq!(responses.get(1001, NOW), None);
    }

    /// A test of the public API would have to wait for the system's clock.
    #[test]
    fn the_first_read_adds_the_time_of_a_response() {
        let responses = LastResponses::new(true);
        let later = |millis| NOW.after(Duration::from_millis(millis));
        responses.set(0, Timestamp::default(), status(200));
        responses.date(NOW);
        assert_eq!(responses.get(0, later(1)), Some(LastResponse { at: NOW, status: 200 }));
        for code in [200, 429] {
            responses.set(0, Timestamp::default(), status(code));
            let expected = LastResponse { at: later(u64::from(code)), status: code };
            assert_eq!(responses.get(0, expected.at), Some(expected));
            assert_eq!(responses.get(0, later(5000)), Some(expected));
        }
        assert_eq!(responses.get(1, NOW), None);
    }
}
