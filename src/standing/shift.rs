//! Moments by another clock: a vault of many hosts keeps them by its engine's clock, and each host reads them by its own.
//!
//! Each type is taken apart whole, so that a field that is added can't be forgotten.

use super::{Cause, Change, Cooldown, Health, LastResponse, Outcome, Standing, Standings, StatedQuota};
use crate::clock::Timestamp;
use crate::credential::{Metadata, Record};
use crate::rate_limit::Window;
use crate::vault::{Begun, Replaced};

/// Moves all moments of a value.
pub(crate) trait Shift {
    /// Moves them by this many milliseconds: by how much the other clock is ahead.
    fn shift(&mut self, by: i64);
}

impl Shift for Timestamp {
    fn shift(&mut self, by: i64) {
        *self = Timestamp::from_millis(self.as_millis().saturating_add_signed(by));
    }
}

impl<T: Shift> Shift for Option<T> {
    fn shift(&mut self, by: i64) {
        self.iter_mut().for_each(|value| value.shift(by));
    }
}

impl<T: Shift> Shift for [T] {
    fn shift(&mut self, by: i64) {
        self.iter_mut().for_each(|value| value.shift(by));
    }
}

impl Shift for Standings {
    fn shift(&mut self, by: i64) {
        let Self { order: _, preferred: _, credentials } = self;
        credentials.values_mut().for_each(|standing| standing.shift(by));
    }
}

impl Shift for Standing {
    fn shift(&mut self, by: i64) {
        let Self {
            cooldowns,
            failures: _,
            health,
            paused: _,
            tier: _,
            quota: _,
            stated_quota,
            last_response,
            allowance,
        } = self;
        cooldowns.shift(by);
        health.shift(by);
        stated_quota.shift(by);
        last_response.shift(by);
        allowance.shift(by);
    }
}

impl Shift for Outcome {
    fn shift(&mut self, by: i64) {
        let Self { id: _, change } = self;
        change.shift(by);
    }
}

impl Shift for Change {
    fn shift(&mut self, by: i64) {
        match self {
            Self::CooledDown { cooldown, failure: _, to_back: _ } => cooldown.shift(by),
            Self::Succeeded { set_until, scope: _ } => set_until.shift(by),
            Self::Health(health) => health.shift(by),
            Self::Reset | Self::Paused | Self::Resumed => {}
            Self::Tier { tier: _ } | Self::Quota { quota: _ } => {}
            Self::QuotaStated(stated) => stated.shift(by),
            Self::Misdated { set_at, scope: _ } => set_at.shift(by),
            Self::Answered(response) => response.shift(by),
            Self::Allowance { windows } => windows.shift(by),
        }
    }
}

impl Shift for Cooldown {
    fn shift(&mut self, by: i64) {
        let Self { until, set_at, reason: _, scope: _, generation: _, cause } = self;
        until.shift(by);
        set_at.shift(by);
        cause.shift(by);
    }
}

impl Shift for Cause {
    fn shift(&mut self, by: i64) {
        let Self { at, status: _, stated_by: _ } = self;
        at.shift(by);
    }
}

impl Shift for Health {
    fn shift(&mut self, by: i64) {
        match self {
            Self::Good => {}
            Self::NeedsSignIn { reason: _, generation: _, cause }
            | Self::Dead { reason: _, generation: _, cause }
            | Self::Spent { reason: _, generation: _, cause } => cause.shift(by),
        }
    }
}

impl Shift for StatedQuota {
    fn shift(&mut self, by: i64) {
        let Self { name: _, said_at, generation: _ } = self;
        said_at.shift(by);
    }
}

impl Shift for LastResponse {
    fn shift(&mut self, by: i64) {
        let Self { at, status: _ } = self;
        at.shift(by);
    }
}

impl Shift for Window {
    fn shift(&mut self, by: i64) {
        let Self { name: _, left: _, remaining: _, limit: _, resets_at, said_at } = self;
        resets_at.shift(by);
        said_at.shift(by);
    }
}

/// The moments in the secret are by the clock of the host that has stored it.
impl<T> Shift for Record<T> {
    fn shift(&mut self, by: i64) {
        let Self { metadata, secret: _ } = self;
        metadata.shift(by);
    }
}

impl Shift for Metadata {
    fn shift(&mut self, by: i64) {
        let Self {
            id: _,
            pool: _,
            label: _,
            kind: _,
            generation: _,
            created_at,
            updated_at,
            attributes: _,
        } = self;
        created_at.shift(by);
        updated_at.shift(by);
    }
}

impl<T> Shift for Replaced<T> {
    fn shift(&mut self, by: i64) {
        match self {
            Self::Swapped(_) => {}
            Self::Conflict(record) => record.shift(by),
        }
    }
}

impl<T> Shift for Begun<T> {
    fn shift(&mut self, by: i64) {
        let Self { record, unfinished, failed: _, present_within: _ } = self;
        record.shift(by);
        unfinished.shift(by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{CredentialId, Generation};
    use crate::standing::{QuotaName, Reason};

    const AT: u64 = 1_800_000_000_000;

    /// All changes that hold a moment.
    fn changes() -> Vec<Change> {
        let mut next = AT;
        let mut at = || {
            next += 1;
            Timestamp::from_millis(next)
        };
        let cause = Cause { at: at(), status: 429, stated_by: None };
        let cooldown = Cooldown {
            until: at(),
            set_at: at(),
            reason: Reason::Limited,
            scope: None,
            generation: None,
            cause: Some(cause.clone()),
        };
        let window = Window {
            name: "5h".into(),
            left: Some(10),
            remaining: None,
            limit: None,
            resets_at: Some(at()),
            said_at: at(),
        };
        let of_health = |state: fn(String, Generation, Option<Cause>) -> Health| {
            Change::Health(state("gone".to_owned(), Generation::FIRST, Some(cause.clone())))
        };
        let name = QuotaName::new("acme").unwrap();
        let stated = StatedQuota { name, said_at: at(), generation: Generation::FIRST };
        vec![
            Change::Health(Health::Good),
            of_health(|reason, generation, cause| Health::Dead { reason, generation, cause }),
            of_health(|reason, generation, cause| Health::Spent { reason, generation, cause }),
            of_health(|reason, generation, cause| Health::NeedsSignIn { reason, generation, cause }),
            Change::CooledDown { cooldown, failure: true, to_back: true },
            Change::Succeeded { set_until: at(), scope: None },
            Change::QuotaStated(stated),
            Change::Misdated { set_at: at(), scope: None },
            Change::Answered(LastResponse { at: at(), status: 429 }),
            Change::Allowance { windows: vec![window] },
        ]
    }

    /// Returns the value with all its moments moved, which are the only large numbers in it.
    fn moved(value: &serde_json::Value, by: i64) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::Number(number) => match number.as_u64() {
                Some(at) if at >= AT => at.saturating_add_signed(by).into(),
                _ => value.clone(),
            },
            Value::Array(values) => values.iter().map(|value| moved(value, by)).collect(),
            Value::Object(fields) => Value::Object(
                fields.iter().map(|(name, value)| (name.clone(), moved(value, by))).collect(),
            ),
            _ => value.clone(),
        }
    }

    /// The public API shows this only over an engine, whose clock a test can't set.
    #[test]
    fn each_moment_of_an_outcome_and_of_a_standing_is_shifted_and_back() {
        for by in [3_600_000, -86_400_000] {
            let mut standings = Standings::default();
            for change in changes() {
                let outcome = Outcome { id: CredentialId::random(), change };
                standings.merge(&outcome);
                let mut shifted = outcome.clone();
                shifted.shift(by);
                let [before, after] = [&outcome, &shifted].map(|one| serde_json::to_value(one).unwrap());
                assert_eq!(after, moved(&before, by));
                shifted.shift(-by);
                assert_eq!(shifted, outcome);
            }
            let mut shifted = standings.clone();
            shifted.shift(by);
            let [before, after] = [&standings, &shifted].map(|one| serde_json::to_value(one).unwrap());
            assert_eq!(after, moved(&before, by));
            shifted.shift(-by);
            assert_eq!(shifted, standings);
        }
    }
}
