//! What keys do, by the state alone.

use tower_credentials::Mode;
use tower_credentials::oauth::FlowKind;

use super::{chosen, demo, hit, job, many, press};
use crate::tui::demo::NOW;
use crate::tui::keys::{Chord, Code, Place};
use crate::tui::state::State;
use crate::tui::state::job::{Failed, Job, Prompt, Step, Update, Way};

fn labels(state: &State) -> Vec<String> {
    use crate::tui::state::list::Row;
    let label = |row: &Row| match row {
        Row::Account(at) => Some(state.accounts[*at].label()),
        Row::Pool(_) => None,
    };
    state.list.rows.iter().filter_map(label).collect()
}

#[test]
fn the_choice_goes_up_and_down_over_the_names_of_the_providers() {
    let mut state = demo::state();
    assert_eq!(chosen(&state), "work");
    press(&mut state, "jjjj");
    assert_eq!(chosen(&state), "me");
    press(&mut state, "k");
    assert_eq!(chosen(&state), "key");
    press(&mut state, "G");
    assert_eq!(chosen(&state), "team");
    press(&mut state, "jjj");
    assert_eq!(chosen(&state), "team");
    press(&mut state, "g");
    assert_eq!(chosen(&state), "work");
}

#[test]
fn the_account_that_is_chosen_stays_so_when_others_come_and_go() {
    let mut state = many(10);
    press(&mut state, "jjj");
    let third = chosen(&state);
    let mut accounts = std::mem::take(&mut many(20).accounts);
    accounts.remove(0);
    state.update(Update::Looked(Box::new(demo::look(accounts))));
    assert_eq!(chosen(&state), third);
    // If it goes, its neighbour is chosen.
    let accounts = many(20).accounts.into_iter().filter(|seen| seen.label() != third).collect();
    state.update(Update::Looked(Box::new(demo::look(accounts))));
    assert!(["account-0004", "account-0002"].contains(&chosen(&state).as_str()), "{}", chosen(&state));
}

#[test]
fn each_key_asks_for_its_job_with_the_account_that_is_chosen() {
    let mut state = demo::state();
    let seen = state.chosen().unwrap();
    let (pool, id) = (seen.pool().clone(), seen.id());
    press(&mut state, "p");
    assert!(matches!(job(&mut state), Job::Pause(it) if it == id));
    press(&mut state, "r");
    assert!(matches!(job(&mut state), Job::Reset(it) if it == id));
    press(&mut state, "a");
    assert!(matches!(job(&mut state), Job::First(it) if it == id));
    press(&mut state, "t");
    assert!(matches!(job(&mut state), Job::Test(Some(it)) if it == id));
    press(&mut state, "T");
    assert!(matches!(job(&mut state), Job::Test(None)));
    press(&mut state, "u");
    assert!(matches!(job(&mut state), Job::Renew(of, it) if (&of, it) == (&pool, id)));
    press(&mut state, "]");
    assert!(matches!(job(&mut state), Job::Move(it, 2) if it == id));
    press(&mut state, ">");
    assert!(matches!(job(&mut state), Job::Tier(it, 1) if it == id));
    press(&mut state, "y");
    assert!(matches!(job(&mut state), Job::Copy(name) if name == "anthropic/work"));
    // It is the first already, and in the first tier.
    press(&mut state, "[<");
    assert!(state.take_jobs().is_empty());
    press(&mut state, "jjjjjp");
    assert_eq!(chosen(&state), "home");
    assert!(matches!(job(&mut state), Job::Resume(_)));
}

#[test]
fn an_account_is_removed_only_after_a_yes() {
    let mut state = demo::state();
    for no in ["n", "q", "dn"] {
        press(&mut state, "d");
        assert_eq!(state.place(), Place::Question);
        press(&mut state, no);
        hit(&mut state, Code::Esc);
        assert!(state.take_jobs().is_empty());
        hit(&mut state, Code::Esc);
    }
    press(&mut state, "dy");
    assert!(matches!(job(&mut state), Job::Remove(_)));
    assert_eq!(state.place(), Place::List);
}

#[test]
fn a_label_is_typed_over_the_old_one() {
    let mut state = demo::state();
    press(&mut state, "R");
    state.key(Chord { code: Code::Char('u'), ctrl: true });
    press(&mut state, "qj 2");
    hit(&mut state, Code::Enter);
    assert!(matches!(job(&mut state), Job::Rename(_, label) if label == "qj 2"));
}

#[test]
fn a_quota_is_chosen_and_named() {
    use tower_credentials::standing::Quota;
    let mut state = demo::state();
    let id = state.chosen().unwrap().id();
    // It begins at what was set: nothing.
    press(&mut state, "Q");
    assert_eq!(state.place(), Place::Menu);
    hit(&mut state, Code::Enter);
    assert!(matches!(job(&mut state), Job::Quota(it, None) if it == id));
    press(&mut state, "Qk");
    hit(&mut state, Code::Enter);
    assert!(matches!(job(&mut state), Job::Quota(it, Some(Quota::Own)) if it == id));
    press(&mut state, "Qkk");
    hit(&mut state, Code::Enter);
    assert_eq!(state.place(), Place::Line);
    press(&mut state, "acme");
    hit(&mut state, Code::Enter);
    let shared = |quota: &Quota| matches!(quota, Quota::Shared(name) if name.as_str() == "acme");
    assert!(matches!(job(&mut state), Job::Quota(it, Some(quota)) if it == id && shared(&quota)));
    assert_eq!(state.place(), Place::List);
    // An empty name sets no quota.
    press(&mut state, "Qkk");
    hit(&mut state, Code::Enter);
    hit(&mut state, Code::Enter);
    assert!(state.take_jobs().is_empty());
}

#[test]
fn a_filter_shows_what_has_the_text_and_esc_takes_it_away() {
    let mut state = demo::state();
    press(&mut state, "/OPEN");
    assert_eq!(labels(&state), ["team"]);
    hit(&mut state, Code::Enter);
    assert_eq!(state.place(), Place::List);
    assert_eq!(chosen(&state), "team");
    hit(&mut state, Code::Esc);
    assert_eq!(labels(&state).len(), 7);
    press(&mut state, "/sign-in");
    assert_eq!(labels(&state), ["old", "key"]);
    press(&mut state, "zzz");
    assert!(labels(&state).is_empty());
    hit(&mut state, Code::Enter);
    // Without an account there is nothing to do, and that is said.
    press(&mut state, "p");
    assert!(state.take_jobs().is_empty());
    assert!(state.notice.is_some());
    hit(&mut state, Code::Esc);
    hit(&mut state, Code::Esc);
    assert_eq!(labels(&state).len(), 7);
}

#[test]
fn a_digit_sorts_within_each_provider_and_again_the_other_way() {
    let mut state = demo::state();
    press(&mut state, "2");
    assert_eq!(labels(&state)[..4], ["key", "old", "private", "work"]);
    press(&mut state, "2");
    assert_eq!(labels(&state)[..4], ["work", "private", "old", "key"]);
    press(&mut state, "3");
    assert_eq!(labels(&state)[..4], ["old", "private", "work", "key"]);
    press(&mut state, "4");
    assert_eq!(labels(&state)[..2], ["private", "work"]);
    press(&mut state, "5");
    assert_eq!(labels(&state)[..4], ["work", "private", "old", "key"]);
    press(&mut state, "1");
    assert_eq!(labels(&state)[..4], ["work", "private", "old", "key"]);
}

#[test]
fn tab_goes_to_each_account_that_needs_a_person() {
    let mut state = demo::state();
    for expected in ["old", "key", "me", "old"] {
        hit(&mut state, Code::Tab);
        assert_eq!(chosen(&state), expected);
    }
}

#[test]
fn a_sign_in_goes_from_the_provider_to_the_way_to_the_page() {
    let mut state = demo::state();
    press(&mut state, "n");
    hit(&mut state, Code::Enter);
    press(&mut state, "j");
    hit(&mut state, Code::Enter);
    let Job::SignIn(request) = job(&mut state) else { panic!("no sign-in") };
    assert!(matches!(request.way, Way::Flow(FlowKind::PastedCode)));
    assert_eq!((request.pool.provider(), request.label, request.replaces), ("anthropic", None, false));
    assert_eq!(state.place(), Place::SignIn);
    let prompt = Prompt {
        address: "https://vendor.example/".to_owned(),
        elsewhere: None,
        code: None,
        expires_at: None,
        takes_paste: true,
        can_open: true,
    };
    state.update(Update::SignIn(Step::Waits(prompt)));
    // Letters are typed here.
    press(&mut state, "qp?");
    hit(&mut state, Code::Enter);
    assert!(matches!(job(&mut state), Job::Paste(text) if *text == "qp?"));
    state.update(Update::SignIn(Step::Done));
    assert_eq!(state.place(), Place::List);
}

#[test]
fn an_old_account_is_signed_in_to_again_under_its_label() {
    let mut state = demo::state();
    press(&mut state, "jjs");
    hit(&mut state, Code::Enter);
    let Job::SignIn(request) = job(&mut state) else { panic!("no sign-in") };
    assert_eq!((request.label.as_deref(), request.replaces), (Some("old"), true));
    // It fails, and is tried again.
    let failed = Failed { why: "no".to_owned(), way_out: None };
    state.update(Update::SignIn(Step::Failed(failed)));
    hit(&mut state, Code::Enter);
    assert!(matches!(job(&mut state), Job::SignIn(_)));
    hit(&mut state, Code::Esc);
    assert!(matches!(job(&mut state), Job::StopSignIn));
}

#[test]
fn a_key_is_asked_for_with_its_label() {
    let mut state = demo::state();
    press(&mut state, "n");
    hit(&mut state, Code::Enter);
    hit(&mut state, Code::End);
    hit(&mut state, Code::Enter);
    press(&mut state, "-2");
    hit(&mut state, Code::Enter);
    state.paste("sk-1\n");
    hit(&mut state, Code::Enter);
    let Job::SignIn(request) = job(&mut state) else { panic!("no key") };
    assert!(matches!(&request.way, Way::Key(key) if **key == "sk-1"));
    assert_eq!(request.label.as_deref(), Some("default-2"));
}

#[test]
fn a_mode_is_chosen_from_a_menu_that_begins_with_the_present_one() {
    let mut state = demo::state();
    press(&mut state, "mG");
    hit(&mut state, Code::Enter);
    assert!(matches!(job(&mut state), Job::Mode(provider, Mode::All) if provider == "anthropic"));
}

#[test]
fn what_is_about_an_account_closes_when_that_is_removed_elsewhere() {
    let mut state = demo::state();
    press(&mut state, "R");
    let accounts = demo::state().accounts.into_iter().skip(1).collect();
    state.update(Update::Looked(Box::new(demo::look(accounts))));
    assert_eq!(state.place(), Place::List);
    assert!(state.notice.is_some());
}

#[test]
fn that_something_went_well_is_said_for_a_while_and_an_error_until_it_is_taken_away() {
    let later = NOW.after(std::time::Duration::from_secs(60));
    let mut state = demo::state();
    state.update(Update::Said("anthropic/work is paused".to_owned()));
    state.tick(later);
    assert!(state.notice.is_none());
    state.update(Update::Said("warning: the disk is full\n  try: another".to_owned()));
    state.tick(later.after(std::time::Duration::from_secs(60)));
    assert_eq!(state.notice.as_ref().unwrap().lines, ["warning: the disk is full", "try: another"]);
    hit(&mut state, Code::Esc);
    assert!(state.notice.is_none());
}

#[test]
fn quit_and_ctrl_c_end_the_screen_from_anywhere() {
    let mut state = demo::state();
    press(&mut state, "q");
    assert!(state.is_over);
    for keys in ["", "n", "d", "/", "?", "m"] {
        let mut state = demo::state();
        press(&mut state, keys);
        state.key(Chord { code: Code::Char('c'), ctrl: true });
        assert!(state.is_over, "{keys}");
    }
}
