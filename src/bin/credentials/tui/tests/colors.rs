//! What colours mean, and that they are not needed.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

use super::demo;
use crate::tui::view::draw;
use crate::tui::view::paint::Theme;

fn drawn(has_colors: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let mut state = demo::state();
    let theme = Theme { has_colors };
    terminal
        .draw(|frame| {
            draw(frame, &mut state, theme);
        })
        .unwrap();
    terminal.backend().buffer().clone()
}

/// The color of the first letter of this text.
#[track_caller]
fn color_of(buffer: &Buffer, text: &str) -> (Color, Modifier) {
    for y in 0..buffer.area.height {
        let line: Vec<_> = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        for x in 0..line.len() {
            if line[x..].concat().starts_with(text) {
                let cell = &buffer[(u16::try_from(x).unwrap(), y)];
                return (cell.fg, cell.modifier);
            }
        }
    }
    panic!("no {text:?}");
}

#[test]
fn a_state_has_the_color_of_how_good_it_is() {
    let buffer = drawn(true);
    for (text, color) in [
        ("ready  ", Color::Green),
        ("cooling  ", Color::Yellow),
        ("sign in: token", Color::Red),
        ("429", Color::Yellow),
        ("401", Color::Red),
    ] {
        assert_eq!(color_of(&buffer, text).0, color, "{text}");
    }
    assert!(color_of(&buffer, "paused by you").1.contains(Modifier::DIM));
}

#[test]
fn without_colors_there_are_none_and_what_is_bad_is_bold() {
    let buffer = drawn(false);
    let colors = |cell: &ratatui::buffer::Cell| cell.fg != Color::Reset || cell.bg != Color::Reset;
    assert!(!buffer.content.iter().any(colors));
    assert!(color_of(&buffer, "sign in: token").1.contains(Modifier::BOLD));
    assert!(color_of(&buffer, "▶").1.contains(Modifier::REVERSED));
}
