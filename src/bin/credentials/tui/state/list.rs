//! The list of the accounts: grouped by pool, sorted, filtered, with one chosen. Its lines are laid out when something
//! changes, not for each frame.

use tower_credentials::{CredentialId, Timestamp};

use super::account::Seen;
use crate::account::State;

/// A line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tui) enum Row {
    /// The name of a pool, which is that of this account.
    Pool(usize),
    /// An account, by its place among those that were read.
    Account(usize),
}

/// What the accounts of a pool are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tui) enum Sort {
    /// The order in which requests take them.
    #[default]
    Place,
    Name,
    State,
    Left,
    Used,
}

impl Sort {
    /// In the order of their keys, from 1.
    pub(in crate::tui) const ALL: [Self; 5] =
        [Self::Place, Self::Name, Self::State, Self::Left, Self::Used];
}

/// The list.
#[derive(Default)]
pub(in crate::tui) struct List {
    pub(in crate::tui) rows: Vec<Row>,
    pub(in crate::tui) sort: Sort,
    pub(in crate::tui) is_reversed: bool,
    /// What an account must have in it to be shown.
    pub(in crate::tui) filter: String,
    /// It stays chosen wherever it moves.
    chosen: Option<CredentialId>,
    /// The row of the one that is chosen.
    at: usize,
    /// The first row that is shown.
    pub(in crate::tui) top: usize,
    /// How many rows are shown.
    height: usize,
}

impl List {
    /// Lays the rows out anew.
    pub(in crate::tui) fn lay_out(&mut self, accounts: &[Seen], now: Timestamp) {
        let wanted = self.filter.to_lowercase();
        let has_it = |seen: &Seen| {
            let has = |text: &str| text.to_lowercase().contains(&wanted);
            wanted.is_empty()
                || has(&seen.name)
                || has(&seen.in_full)
                || has(seen.account.credential.kind.as_str())
        };
        let mut shown: Vec<_> = (0..accounts.len()).filter(|at| has_it(&accounts[*at])).collect();
        // Stable: equal ones stay in the order in which requests take them.
        shown.sort_by(|one, other| {
            let (one, other) = (&accounts[*one], &accounts[*other]);
            let order = match self.sort {
                Sort::Place => (one.account.tier, one.place).cmp(&(other.account.tier, other.place)),
                Sort::Name => one.name.cmp(&other.name),
                Sort::State => rank(one, now).cmp(&rank(other, now)),
                Sort::Left => least(one, now).cmp(&least(other, now)),
                Sort::Used => used(other).cmp(&used(one)),
            };
            let order = if self.is_reversed { order.reverse() } else { order };
            one.pool().cmp(other.pool()).then(order)
        });
        self.rows.clear();
        let mut pool = None;
        for at in shown {
            if pool != Some(accounts[at].pool()) {
                pool = Some(accounts[at].pool());
                self.rows.push(Row::Pool(at));
            }
            self.rows.push(Row::Account(at));
        }
        let chosen = self.chosen;
        let is_it = |row: &Row| matches!(row, Row::Account(at) if Some(accounts[*at].id()) == chosen);
        // If it is gone, the one in its place.
        let at = self.rows.iter().position(is_it).unwrap_or(self.at);
        self.choose(at, accounts);
    }

    /// Chooses the account of this row, or the nearest one.
    fn choose(&mut self, row: usize, accounts: &[Seen]) {
        let row = row.min(self.rows.len().saturating_sub(1));
        let is_account = |row: &usize| matches!(self.rows[*row], Row::Account(_));
        let below = (row..self.rows.len()).find(is_account);
        let nearest = below.or_else(|| (0..row).rev().find(is_account));
        self.at = nearest.unwrap_or(0);
        self.chosen = self.chosen_in(accounts).map(Seen::id);
        self.scroll();
    }

    /// Moves the choice by so many accounts.
    pub(in crate::tui) fn step(&mut self, by: isize, accounts: &[Seen]) {
        let is_account = |row: &usize| matches!(self.rows[*row], Row::Account(_));
        let to = match by.is_negative() {
            true => (0..self.at).rev().filter(is_account).take(by.unsigned_abs()).last(),
            false => (self.at + 1..self.rows.len()).filter(is_account).take(by.unsigned_abs()).last(),
        };
        self.choose(to.unwrap_or(self.at), accounts);
    }

    /// Moves the choice by a page.
    pub(in crate::tui) fn page(&mut self, is_down: bool, accounts: &[Seen]) {
        let page = isize::try_from(self.height.max(2) - 1).unwrap_or(1);
        self.step(if is_down { page } else { -page }, accounts);
    }

    /// Chooses the account of the row that is shown in this place.
    pub(in crate::tui) fn point(&mut self, at: usize, accounts: &[Seen]) {
        if let Some(Row::Account(_)) = self.rows.get(self.top + at) {
            self.choose(self.top + at, accounts);
        }
    }

    /// Chooses an account.
    pub(in crate::tui) fn choose_id(&mut self, id: CredentialId, accounts: &[Seen]) {
        let is_it = |row: &Row| matches!(row, Row::Account(at) if accounts[*at].id() == id);
        if let Some(row) = self.rows.iter().position(is_it) {
            self.choose(row, accounts);
        }
    }

    /// Returns the account that is chosen.
    pub(in crate::tui) fn chosen_in<'a>(&self, accounts: &'a [Seen]) -> Option<&'a Seen> {
        match self.rows.get(self.at)? {
            Row::Account(at) => accounts.get(*at),
            Row::Pool(_) => None,
        }
    }

    /// Whether this row is the one that is chosen.
    pub(in crate::tui) fn is_chosen(&self, row: usize) -> bool {
        row == self.at
    }

    /// Sets how many rows are shown.
    pub(in crate::tui) fn set_height(&mut self, height: usize) {
        self.height = height;
        self.scroll();
    }

    /// Keeps the row that is chosen, and the name of its pool, on the screen.
    fn scroll(&mut self) {
        let height = self.height.max(1);
        let is_first = matches!(self.at.checked_sub(1).map(|row| self.rows[row]), Some(Row::Pool(_)));
        let first = if is_first && height > 1 { self.at - 1 } else { self.at };
        let most = self.rows.len().saturating_sub(height);
        self.top = self.top.clamp((self.at + 1).saturating_sub(height), first).min(most);
    }
}

/// The states that need a person come first.
fn rank(seen: &Seen, now: Timestamp) -> u8 {
    match seen.account.state(now) {
        State::NeedsSignIn { .. } | State::Dead { .. } | State::Expired => 0,
        State::Spent { .. } | State::Refused(_) | State::UnknownProvider => 1,
        State::Cooling { .. } => 2,
        State::Ready if seen.account.left_out.is_none() => 3,
        State::Ready => 4,
        State::Paused => 5,
    }
}

/// What is left of its scarcest limit. Those of which nothing is known come last.
fn least(seen: &Seen, now: Timestamp) -> u16 {
    seen.account.windows(now).filter_map(|window| window.left).min().unwrap_or(u16::MAX)
}

fn used(seen: &Seen) -> Option<Timestamp> {
    seen.account.standing.last_response.map(|response| response.at)
}
