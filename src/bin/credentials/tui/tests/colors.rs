//! What colours mean, and that they are not needed.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use tower_credentials::Kind;

use super::{demo, hit, press};
use crate::tui::demo::Made;
use crate::tui::keys::Code;
use crate::tui::state::State;
use crate::tui::state::job::{Failed, Update};
use crate::tui::view::draw;
use crate::tui::view::paint::Theme;

fn drawn(mut state: State, has_colors: bool, (width, height): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let theme = Theme { has_colors };
    terminal
        .draw(|frame| {
            draw(frame, &mut state, theme);
        })
        .unwrap();
    terminal.backend().buffer().clone()
}

/// The cells from where these texts follow each other in a line: the first letter of the last one, and those after it.
#[track_caller]
fn cells<'a>(buffer: &'a Buffer, texts: &[&str]) -> &'a [Cell] {
    let width = usize::from(buffer.area.width);
    for line in buffer.content.chunks(width) {
        let mut at = 0;
        let found = texts.iter().all(|text| {
            let starts = |at: &usize| {
                let rest: String = line[*at..].iter().map(Cell::symbol).collect();
                rest.starts_with(text)
            };
            let found = (at..width).find(starts);
            at = found.unwrap_or(at);
            found.is_some()
        });
        if found {
            return &line[at..];
        }
    }
    panic!("no {texts:?}");
}

/// The colour of the last one's first letter, and how it is set off.
#[track_caller]
fn style_of(buffer: &Buffer, texts: &[&str]) -> (Color, Modifier) {
    let cell = &cells(buffer, texts)[0];
    (cell.fg, cell.modifier)
}

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (120, 40);

#[test]
fn a_state_has_the_color_of_how_good_it_is() {
    let buffer = drawn(demo::state(), true, SMALL);
    for (texts, color) in [
        (["* work", "ready"], Color::Green),
        (["private", "cooling"], Color::Yellow),
        (["private", "429"], Color::Yellow),
        (["! old", "sign in: token"], Color::Red),
        (["! old", "401"], Color::Red),
        (["* me", "ready, ends in 5h"], Color::Yellow),
        (["* team", "200"], Color::Green),
    ] {
        assert_eq!(style_of(&buffer, &texts).0, color, "{texts:?}");
    }
    // The sign has the colour of its state, and what is bad is bold, too.
    assert_eq!(style_of(&buffer, &["! old"]), (Color::Red, Modifier::BOLD));
    for quiet in [["home", "paused by you"], ["- key", "not used"]] {
        assert_eq!(style_of(&buffer, &quiet), (Color::Reset, Modifier::DIM), "{quiet:?}");
    }
}

#[test]
fn a_bar_has_the_color_of_how_much_is_left() {
    let buffer = drawn(demo::state(), true, LARGE);
    for (name, color) in [("7d  ", Color::Green), ("5h  ", Color::Green), ("7d_opus", Color::Red)] {
        assert_eq!(style_of(&buffer, &["│", name, "█"]).0, color, "{name}");
    }
    // Each side of each bound.
    for (used, color) in [
        ("1.0", Color::Red),
        ("0.901", Color::Red),
        ("0.90", Color::Yellow),
        ("0.701", Color::Yellow),
        ("0.70", Color::Green),
        ("0.0", Color::Green),
    ] {
        let account = Made::new(0, "openai", "one", Kind::Api).left(&[("5h", used, 600)], 1).seen();
        let mut state = demo::new();
        state.update(Update::Looked(Box::new(demo::look(vec![account]))));
        let buffer = drawn(state, true, LARGE);
        let bar = &cells(&buffer, &["│ 5h"])[12..26];
        assert!(bar.iter().all(|cell| ["█", "░"].contains(&cell.symbol())), "{bar:?}");
        assert!(bar.iter().all(|cell| cell.fg == color), "{used}: {bar:?}");
    }
}

#[test]
fn the_row_that_is_chosen_is_reversed_to_its_end_and_no_other_is() {
    let mut state = demo::state();
    press(&mut state, "j");
    let buffer = drawn(state, true, SMALL);
    let is_reversed = |cell: &Cell| cell.modifier.contains(Modifier::REVERSED);
    let rows: Vec<_> = buffer.content.chunks(80).filter(|line| line.iter().any(is_reversed)).collect();
    assert_eq!(rows.len(), 1);
    assert!(rows[0].iter().all(is_reversed));
    let row: String = rows[0].iter().map(Cell::symbol).collect();
    assert!(row.contains("▶   private"), "{row}");
    // In a menu, too.
    let mut state = demo::state();
    press(&mut state, "n");
    hit(&mut state, Code::Down);
    let buffer = drawn(state, true, SMALL);
    assert!(style_of(&buffer, &["▶ github-copilot", "device"]).1.contains(Modifier::REVERSED));
}

#[test]
fn what_happened_and_what_is_to_do_has_the_color_of_how_good_it_is() {
    let mut state = demo::state();
    let failed = Failed { why: "it went wrong".to_owned(), way_out: None };
    state.update(Update::Began(1, None, "testing"));
    state.update(Update::Ended(1, Err(failed)));
    let buffer = drawn(state, true, LARGE);
    for (texts, color) in [
        (&["14:02:19", "200"][..], Color::Green),
        (&["13:58:31", "429"], Color::Yellow),
        (&["13:58:31", "cooling down"], Color::Yellow),
        (&["13:10:31", "renewed"], Color::Green),
        (&["12:29:31", "paused"], Color::Reset),
        (&["TO DO", "anthropic/old"], Color::Yellow),
        (&["it went wrong"], Color::Red),
    ] {
        assert_eq!(style_of(&buffer, texts).0, color, "{texts:?}");
    }
}

#[test]
fn without_colors_there_are_none_and_what_is_bad_is_bold() {
    let has_color = |cell: &Cell| cell.fg != Color::Reset || cell.bg != Color::Reset;
    for size in [SMALL, LARGE] {
        assert!(!drawn(demo::state(), false, size).content.iter().any(has_color));
        assert!(drawn(demo::state(), true, size).content.iter().any(has_color));
        for keys in ["?", "n", "d", "m", "w", ",", "R"] {
            let mut state = demo::state();
            press(&mut state, keys);
            assert!(!drawn(state, false, size).content.iter().any(has_color), "{keys}");
        }
    }
    let buffer = drawn(demo::state(), false, SMALL);
    assert_eq!(style_of(&buffer, &["! old", "sign in: token"]).1, Modifier::BOLD);
    assert!(style_of(&buffer, &["▶"]).1.contains(Modifier::REVERSED));
}
