//! Why the next request takes one account of a pool and not another: the pool's explanation, asked again each second while
//! it is read.

use std::time::Duration;

use tower_credentials::{CredentialId, PoolKey, Timestamp};

use super::State;
use super::front::{About, Front};
use super::job::{Failed, Job};

/// After how long the pool is asked again: its words have countdowns.
const AGAIN: Duration = Duration::from_secs(1);

/// What the pool has said, in the words of `credentials why`.
#[derive(Clone)]
pub(in crate::tui) struct Told {
    /// Which account the next request takes.
    pub(in crate::tui) next: String,
    /// What the gateway answers, if it takes none.
    pub(in crate::tui) gateway: Option<String>,
    pub(in crate::tui) lines: Vec<Line>,
}

/// What is said of one account.
#[derive(Clone)]
pub(in crate::tui) struct Line {
    pub(in crate::tui) id: CredentialId,
    pub(in crate::tui) name: String,
    pub(in crate::tui) why: String,
    /// What to try, a line each.
    pub(in crate::tui) way_out: Vec<String>,
}

/// The pool that is asked.
pub(in crate::tui) struct Why {
    pool: PoolKey,
    asked: Timestamp,
    is_asked: bool,
    pub(in crate::tui) told: Option<Result<Told, Failed>>,
}

impl State {
    /// Asks the pool of this account.
    pub(super) fn ask_why(&mut self, id: CredentialId) {
        let Some(pool) = self.account(id).map(|seen| seen.pool().clone()) else { return };
        let told = self.why.take().filter(|why| why.pool == pool).and_then(|why| why.told);
        self.jobs.push(Job::Why(pool.clone()));
        self.why = Some(Why { pool, asked: self.now, is_asked: true, told });
    }

    /// Asks again, if it is still read and enough time has passed.
    pub(super) fn ask_why_again(&mut self) {
        let Some(Front::Text(reading)) = &self.front else { return };
        let About::Why(id) = reading.about else { return };
        let is_due = |why: &super::why::Why| !why.is_asked && self.now.since(why.asked) >= AGAIN;
        if self.why.as_ref().is_none_or(is_due) {
            self.ask_why(id);
        }
    }

    /// Takes what the pool has said.
    pub(super) fn hear_why(&mut self, pool: &PoolKey, told: Result<Told, Failed>) {
        if let Some(why) = self.why.as_mut().filter(|why| why.pool == *pool) {
            (why.is_asked, why.told) = (false, Some(told));
        }
    }
}
