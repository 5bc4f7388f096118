//! What is read: the history, why an account is taken, the keys.

use http::StatusCode;
use tower_credentials::events::{Account, Event, EventKind, RotationReason};
use tower_credentials::{CredentialId, Timestamp};

use super::{demo, hit, job, press};
use crate::tui::demo::NOW;
use crate::tui::keys::{Chord, Code, Place};
use crate::tui::printed;
use crate::tui::state::State;
use crate::tui::state::history::Happened;
use crate::tui::state::job::{Job, Update};

fn account(state: &State, at: usize) -> Account {
    (&state.accounts[at].account.credential).into()
}

fn happened(is_all: bool, kinds: impl IntoIterator<Item = (Timestamp, EventKind)>) -> Update {
    let events = kinds.into_iter().map(|(at, kind)| Event::new(at, kind)).collect();
    Update::Happened(Happened { is_all, events, note: None })
}

/// What the history shows, the latest first.
fn shown(state: &State, only: Option<CredentialId>, only_errors: bool) -> Vec<(&str, &str)> {
    let entries = state.history.shown(only, only_errors);
    entries.map(|entry| (entry.name.as_str(), entry.text.as_str())).collect()
}

#[test]
fn what_is_recorded_is_the_history_in_the_words_of_the_command() {
    let mut state = demo::state();
    let (work, private) = (account(&state, 0), account(&state, 1));
    let ids = [work.id, private.id];
    let status = StatusCode::OK;
    let (from, to, reason) = (private.clone(), work.clone(), RotationReason::Limited);
    state.update(happened(
        true,
        [
            (NOW, EventKind::Rotated { from, to, reason }),
            (NOW, EventKind::Paused { account: private.clone() }),
            (NOW, EventKind::RefreshFailed { account: private, error: "no\u{1b}[2J".into() }),
            (NOW, EventKind::Lost { events: 3 }),
        ],
    ));
    state.update(happened(false, [(NOW, EventKind::Answered { account: work, status, requests: 7 })]));
    let all = [
        ("anthropic/work", "7 requests"),
        ("", "3 entries are lost"),
        ("anthropic/private", "could not be renewed: no\u{fffd}[2J"),
        ("anthropic/private", "paused"),
        ("anthropic/private", "rotated to anthropic/work: limited"),
    ];
    assert_eq!(shown(&state, None, false), all, "all of it in place of the demo's");
    assert_eq!(shown(&state, None, true), all[1..3], "only errors");
    // A rotation is about both.
    assert_eq!(shown(&state, Some(ids[0]), false), [all[0], all[4]]);
    assert_eq!(shown(&state, Some(ids[1]), true), [all[2]]);
    // Seven requests in one line.
    assert_eq!(state.history.day(ids[0], NOW).hours[23], 7);
    // What is wrong about all accounts is shown whichever is chosen by `f`, and the keys do that.
    press(&mut state, "jfe");
    assert!(state.only_this && state.only_errors);
    let screen = printed(state, 120, 40).unwrap();
    assert!(screen.contains("HISTORY of anthropic/private, only errors"), "{screen}");
}

#[test]
fn of_a_removed_account_nothing_is_shown_but_that() {
    let mut state = demo::state();
    let Account { pool, id, .. } = account(&state, 0);
    state.update(happened(false, [(NOW, EventKind::Removed { pool, id })]));
    let gone = format!("anthropic/{}", &id.to_string()[..8]);
    assert_eq!(shown(&state, Some(id), false), [(gone.as_str(), "removed")]);
    assert!(shown(&state, None, false).len() > 1, "the others' stay");
}

#[test]
fn the_history_is_that_of_the_last_day() {
    let (mut state, mut events) = (demo::state(), Vec::new());
    let account = account(&state, 0);
    for hours in [0, 23, 25] {
        let kind = EventKind::Reset { account: account.clone() };
        events.push(Event::new(NOW.before(std::time::Duration::from_secs(hours * 3600)), kind));
    }
    let happened = Happened { is_all: true, events, note: None }.of_the_day(NOW);
    state.update(Update::Happened(happened));
    assert_eq!(shown(&state, None, false).len(), 2);
    state.tick(NOW.after(std::time::Duration::from_secs(2 * 3600)));
    assert_eq!(shown(&state, None, false).len(), 1, "time goes on");
    // A program that was slow to write comes in its place.
    let late = NOW.before(std::time::Duration::from_secs(3600));
    state.update(self::happened(false, [(late, EventKind::Paused { account })]));
    assert_eq!(shown(&state, None, false)[1].1, "paused");
}

#[test]
fn a_pool_is_asked_why_each_second_while_that_is_read() {
    let second = std::time::Duration::from_millis(1001);
    let mut state = demo::state();
    press(&mut state, "w");
    let Job::Why(pool) = job(&mut state) else { panic!("nobody asked") };
    state.tick(NOW.after(second));
    assert!(state.take_jobs().is_empty(), "it has not said anything yet");
    state.update(Update::Explained(pool.clone(), Ok(demo::told(&pool))));
    state.tick(NOW.after(second));
    assert!(matches!(job(&mut state), Job::Why(again) if again == pool));
    state.update(Update::Explained(pool.clone(), Ok(demo::told(&pool))));
    press(&mut state, "q");
    state.tick(NOW.after(second * 2));
    assert!(state.take_jobs().is_empty(), "nobody reads it any more");
    // Another pool's words are not shown meanwhile.
    press(&mut state, "Gw");
    state.update(Update::Explained(pool.clone(), Ok(demo::told(&pool))));
    let screen = printed(state, 80, 24).unwrap();
    assert!(screen.contains("asking the pool"), "{screen}");
}

#[test]
fn the_keys_are_found_by_what_is_typed() {
    let mut state = demo::state();
    press(&mut state, "?");
    assert_eq!(state.place(), Place::Keys);
    press(&mut state, "REnew");
    let screen = |state: State| printed(state, 80, 24).unwrap();
    let mut again = demo::state();
    press(&mut again, "?zz");
    assert!(screen(again).contains("nothing has \"zz\" in it"));
    state.key(Chord { code: Code::Char('u'), ctrl: true });
    press(&mut state, "token q");
    hit(&mut state, Code::Backspace);
    let shown = screen(state);
    assert!(shown.contains("renew its token now") && !shown.contains("reset it"), "{shown}");
    let mut state = demo::state();
    press(&mut state, "?q");
    assert_eq!(state.place(), Place::Keys, "letters are typed here");
    hit(&mut state, Code::Esc);
    assert_eq!(state.place(), Place::List);
}
