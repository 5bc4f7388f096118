//! What the screen looks like, in four sizes, as snapshots. To renew them: INSTA_UPDATE=always.

use tower_credentials::Kind;
use tower_credentials::oauth::FlowKind;
use zeroize::Zeroizing;

use super::{demo, hit, press};
use crate::tui::demo::{Made, NOW};
use crate::tui::keys::Code;
use crate::tui::printed;
use crate::tui::state::State;
use crate::tui::state::history::Happened;
use crate::tui::state::job::{Failed, Prompt, Step, Update};

const SIZES: [(u16, u16); 4] = [(40, 12), (80, 24), (120, 40), (200, 60)];

/// Compares the screen with what it looked like, in each size.
fn check(name: &str, state: impl Fn() -> State) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../../../tests/snapshots/tui");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for (width, height) in SIZES {
            let screen = printed(state(), width, height).unwrap();
            insta::assert_snapshot!(format!("{name}-{width}x{height}"), screen);
        }
    });
}

fn with(keys: &str) -> State {
    let mut state = demo::state();
    press(&mut state, keys);
    state
}

#[test]
fn the_list_with_every_state_of_an_account() {
    check("list", demo::state);
}

#[test]
fn an_empty_vault_leads_to_the_first_account() {
    check("empty", || {
        let mut state = demo::new();
        state.update(Update::Looked(Box::new(demo::look(Vec::new()))));
        state.update(Update::Happened(Happened { is_all: true, events: Vec::new(), note: None }));
        state
    });
}

#[test]
fn before_the_vault_is_read_that_is_said() {
    check("reading", demo::new);
}

#[test]
fn a_filter_is_shown_while_it_is_typed() {
    check("filter", || with("/pri"));
}

#[test]
fn an_error_is_shown_in_place_with_its_way_out() {
    check("error", || {
        let mut state = demo::state();
        let why = "the label \"a/b\" has a `/` in it, which separates the parts of an account's name";
        state.update(Update::Began(1, None, "renaming"));
        let failed = Failed { why: why.to_owned(), way_out: Some("choose another label".to_owned()) };
        state.update(Update::Ended(1, Err(failed)));
        state
    });
}

#[test]
fn a_vault_that_cannot_be_read_any_more_keeps_the_list_and_says_why() {
    check("trouble", || {
        let mut state = demo::state();
        state.update(Update::NotLooked(Failed {
            why: "the vault could not be read: permission denied".to_owned(),
            way_out: Some("chmod 700 /home/alice/.local/share/tower-credentials/vault".to_owned()),
        }));
        state
    });
}

#[test]
fn the_keys_of_the_list() {
    check("keys", || with("?"));
}

#[test]
fn the_keys_with_a_word_in_them() {
    check("find-key", || with("?hist"));
}

#[test]
fn a_history_that_is_switched_off_says_so_above_what_was_recorded_before() {
    let note =
        "not recorded: `vault.history` is false in /home/alice/.config/tower-credentials/config.toml";
    let off = |mut state: State, is_all| {
        let (events, note) = (Vec::new(), Some(note.to_owned()));
        state.update(Update::Happened(Happened { is_all, events, note }));
        state
    };
    check("history-off", || off(demo::state(), false));
    for (width, height) in SIZES {
        let screen = printed(off(demo::state(), true), width, height).unwrap();
        assert!(width < 60 || screen.contains("not recorded: `vault.history` is false"), "{screen}");
        assert!(!screen.contains("nothing has happened"), "{screen}");
    }
}

#[test]
fn the_question_before_an_account_is_removed() {
    check("remove", || with("jd"));
}

#[test]
fn the_providers_to_choose_from() {
    check("providers", || with("n"));
}

#[test]
fn a_key_is_not_shown_while_it_is_typed() {
    let typed = || {
        // The last way of the provider.
        let mut state = with("n");
        hit(&mut state, Code::Enter);
        hit(&mut state, Code::End);
        hit(&mut state, Code::Enter);
        hit(&mut state, Code::Enter);
        state.paste("sk-secret-of-the-screen");
        state
    };
    for (width, height) in SIZES {
        let screen = printed(typed(), width, height).unwrap();
        assert!(!screen.contains("secret-of"), "{screen}");
        assert!(screen.contains("23 characters"), "{screen}");
    }
    check("key", typed);
}

fn signing_in(prompt: Prompt) -> State {
    // The first way of the provider.
    let mut state = with("n");
    hit(&mut state, Code::Enter);
    hit(&mut state, Code::Enter);
    state.update(Update::SignIn(Step::Waits(prompt)));
    state
}

fn loopback() -> Prompt {
    Prompt {
        address: "http://127.0.0.1:41234/start".to_owned(),
        elsewhere: Some(format!(
            "https://vendor.example/authorize?client_id=1&state={}",
            "s".repeat(60)
        )),
        code: None,
        expires_at: None,
        takes_paste: true,
        can_open: true,
    }
}

#[test]
fn a_sign_in_by_a_browser_shows_both_pages_and_takes_what_is_pasted() {
    check("browser", || {
        let mut state = signing_in(loopback());
        state.paste("http://127.0.0.1:41234/callback?code=1");
        state
    });
}

#[test]
fn a_sign_in_by_a_device_shows_the_code_large_and_the_time_that_is_left() {
    check("device", || {
        let prompt = Prompt {
            address: "https://github.com/login/device".to_owned(),
            elsewhere: None,
            code: Some("WDJB-MJHT".to_owned()),
            expires_at: Some(NOW.after(std::time::Duration::from_secs(899))),
            takes_paste: false,
            can_open: true,
        };
        // The only way of the provider.
        let mut state = with("nj");
        hit(&mut state, Code::Enter);
        state.update(Update::SignIn(Step::Waits(prompt)));
        state
    });
}

#[test]
fn a_sign_in_that_failed_says_why_and_can_be_tried_again() {
    check("failed", || {
        let mut state = signing_in(loopback());
        state.update(Update::SignIn(Step::Failed(Failed {
            why: "the vendor refused: access_denied".to_owned(),
            way_out: None,
        })));
        state
    });
}

#[test]
fn all_that_is_known_of_an_account() {
    check("details", || {
        let mut state = with("j");
        hit(&mut state, Code::Enter);
        state
    });
}

#[test]
fn why_each_account_of_a_provider_is_used_or_not() {
    check("why", || {
        let mut state = with("jw");
        let pool = state.chosen().unwrap().pool().clone();
        state.update(Update::Explained(pool.clone(), Ok(demo::told(&pool))));
        state
    });
}

#[test]
fn the_modes_of_a_provider() {
    check("mode", || with("m"));
}

#[test]
fn the_settings() {
    check("settings", || with(","));
}

#[test]
fn names_of_others_do_not_move_the_cursor_and_wide_ones_stay_in_their_column() {
    check("names", || {
        let mut state = demo::new();
        let names = [
            "語語語語語語語語語語語語語",
            "a\u{1b}[2Jb\u{202e}c",
            "a-label-that-is-much-longer-than-its-column-is-wide",
        ];
        let made = |(number, label): (usize, &&str)| {
            Made::new(u32::try_from(number).unwrap(), "openai", label, Kind::Api).seen()
        };
        let accounts = names.iter().enumerate().map(made).collect();
        let mut look = demo::look(accounts);
        look.damaged.push("records/0.json: it is not JSON".to_owned());
        state.update(Update::Looked(Box::new(look)));
        state
    });
}

/// What `credentials tui --print … --demo` prints is in the documents.
#[test]
fn the_documents_have_the_screen_as_it_is_and_every_key_of_the_list() {
    let guide = include_str!("../../../../../specs/guides/tui.md");
    let readme = include_str!("../../../../../README.md");
    for (document, (width, height)) in [(readme, (80, 24)), (guide, (120, 40))] {
        let screen = printed(demo::state(), width, height).unwrap();
        assert!(document.contains(&screen), "{width}x{height}:\n{screen}");
    }
    let too_long = guide.lines().find(|line| line.chars().count() > 120);
    assert_eq!(too_long, None, "no line is wider than the screen that is shown there");
    for binding in crate::tui::keys::of(crate::tui::keys::Place::List) {
        let row = format!("| `{}` | {} |", binding.keys, binding.what);
        assert!(guide.contains(&row), "{row}");
    }
}

#[test]
fn what_is_pasted_into_a_sign_in_leaves_with_it() {
    let mut state = signing_in(loopback());
    state.paste("code#state");
    hit(&mut state, Code::Enter);
    let jobs = state.take_jobs();
    let pasted = jobs.into_iter().find_map(|job| match job {
        crate::tui::state::job::Job::Paste(text) => Some(text),
        _ => None,
    });
    assert_eq!(pasted, Some(Zeroizing::new("code#state".to_owned())));
    assert!(!printed(state, 80, 24).unwrap().contains("code#state"));
    assert_eq!(FlowKind::Loopback.to_string(), "browser");
}
