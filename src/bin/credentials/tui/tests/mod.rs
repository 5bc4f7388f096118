//! The screen without a terminal: what it shows, what keys do, and how much is drawn.

mod colors;
mod frames;
mod keys;
mod screens;
mod texts;

use tower_credentials::Kind;

use super::demo::{self, Made};
use super::keys::{Chord, Code};
use super::state::State;
use super::state::job::{Job, Update};

/// Presses these keys one after the other.
fn press(state: &mut State, keys: &str) {
    for char in keys.chars() {
        state.key(Chord::char(char));
    }
}

fn hit(state: &mut State, code: Code) {
    state.key(Chord::key(code));
}

/// Returns the only job that the screen asks for now.
#[track_caller]
fn job(state: &mut State) -> Job {
    let mut jobs = state.take_jobs();
    assert_eq!(jobs.len(), 1);
    jobs.remove(0)
}

/// The label of the account that is chosen.
fn chosen(state: &State) -> String {
    state.chosen().map(|seen| seen.label()).unwrap_or_default()
}

/// A screen with so many accounts.
fn many(count: u32) -> State {
    let mut state = demo::new();
    let of = usize::try_from(count).unwrap();
    let made = |number: u32| {
        let place = usize::try_from(number).unwrap() + 1;
        Made::new(number, "openai", &format!("account-{number:04}"), Kind::Api).place(place, of).seen()
    };
    state.update(Update::Looked(Box::new(demo::look((0..count).map(made).collect()))));
    state
}
