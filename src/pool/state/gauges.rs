//! How the credentials stand, in numbers.

use std::time::Duration;

use super::{PoolState, Slot};
use crate::clock::Timestamp;
use crate::metrics::{AccountGauges, Stands};
use crate::pool::config::Config;
use crate::pool::pick_index::{Barred, Position, SlotIndex};
use crate::rate_limit::Window;
use crate::standing::Health;

/// How long what a vendor has said of a limit counts if it names no reset.
const UNDATED_FOR: Duration = Duration::from_secs(60 * 60);

impl PoolState {
    /// Returns how each credential stands for requests without a scope.
    pub(crate) fn gauges(&self, config: &Config, now: Timestamp) -> Vec<AccountGauges> {
        let live = (0..self.slots.len()).filter(|slot| self.slots[*slot].live);
        live.map(|slot| self.gauges_of(slot, config, now)).collect()
    }

    /// Returns how many requests wait for a credential.
    pub(crate) fn waiting(&self) -> usize {
        self.waiters.iter().filter(|waiter| !waiter.is_closed()).count()
    }

    fn gauges_of(&self, index: SlotIndex, config: &Config, now: Timestamp) -> AccountGauges {
        let slot = &self.slots[index];
        let position = self.next_position(index, None, config, now);
        AccountGauges {
            id: slot.lease.credential().id,
            stands: match position {
                Position::Ready(_) => Stands::Ready,
                Position::Cooling(_) => Stands::Cooling,
                Position::Out(Barred::OutOfUse) if slot.needs_a_person() => Stands::NeedsSignIn,
                Position::Out(_) => Stands::Other,
            },
            cooldown: match position {
                Position::Ready(_) => Some(Duration::ZERO),
                Position::Cooling(until) => Some(until.since(now)),
                Position::Out(Barred::AtCap) => Some(slot.cools_until(None).since(now)),
                Position::Out(_) => None,
            },
            windows: slot.present_windows(now).cloned().collect(),
        }
    }
}

impl Slot {
    /// Returns whether only a new sign-in or another key helps.
    fn needs_a_person(&self) -> bool {
        matches!(self.standing.health, Health::NeedsSignIn { .. } | Health::Dead { .. })
    }

    fn present_windows(&self, now: Timestamp) -> impl Iterator<Item = &Window> {
        let is_recent = move |window: &Window| now.since(window.said_at) < UNDATED_FOR;
        let windows = self.standing.allowance.iter();
        windows.filter(move |window| {
            window.is_current(now) && (window.resets_at.is_some() || is_recent(window))
        })
    }
}
