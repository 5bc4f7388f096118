//! A sign-in: the page, the code large, what may be pasted, and how long there is time.

use tower_credentials::Timestamp;

use super::front::{room, shown};
use super::paint::{Canvas, Theme, wrapped};
use super::window;
use crate::tui::state::account::{Level, countdown};
use crate::tui::state::front::{Phase, SignIn};
use crate::tui::state::job::Prompt;

/// Draws it, and returns where the cursor is to be.
pub(super) fn draw(canvas: &mut Canvas<'_>, now: Timestamp, sign_in: &SignIn) -> Option<(u16, u16)> {
    let room = room(canvas);
    let most = canvas.height();
    let parts = match &sign_in.phase {
        Phase::Begins { since } => {
            let text = format!("asking the vendor … {}", countdown(now.since(*since)));
            vec![Part::Text(text, Theme::plain())]
        }
        Phase::Waits(prompt) => {
            let parts = waits(prompt, room, now, most);
            let height: usize = parts.iter().map(|part| part.height(room)).sum();
            if height + 2 > most { waits_in_short(prompt, now) } else { parts }
        }
        Phase::Failed(failed) => {
            let bad = canvas.theme.of(Level::Bad);
            let mut parts = vec![Part::Text(failed.why.clone(), bad)];
            parts.extend(
                failed
                    .way_out
                    .as_ref()
                    .map(|way_out| Part::Text(format!("try: {way_out}"), Theme::plain())),
            );
            parts.push(Part::Gap);
            parts.push(Part::Text("⏎ tries it again, Esc goes back".to_owned(), Theme::strong()));
            parts
        }
    };
    let notes = sign_in.notes.iter().rev().take(2).rev();
    let notes = notes.map(|(level, text)| Part::Text(text.clone(), canvas.theme.of(*level)));
    let parts: Vec<_> = parts.into_iter().chain(notes).collect();
    let height = parts.iter().map(|part| part.height(room)).sum();
    let mut inside = window::open(canvas, &sign_in.title, room, height);
    let (mut line, mut cursor) = (0, None);
    for part in parts {
        let height = part.height(room);
        match part {
            Part::Text(text, style) => {
                inside.lines(0, line, wrapped(&text, room), style);
            }
            Part::Whole(text) => {
                for (at, piece) in pieces(&text, room).enumerate() {
                    inside.put(0, line + at, &piece, Theme::strong());
                }
            }
            Part::Large(rows) => {
                for (at, row) in rows.iter().enumerate() {
                    inside.put(2, line + at, row, Theme::strong());
                }
            }
            Part::Field => {
                cursor = shown(&mut inside, line, sign_in.line.text(), sign_in.line.before());
            }
            Part::Gap => {}
        }
        line += height;
    }
    cursor
}

/// A part of the window.
enum Part {
    Text(String, ratatui::style::Style),
    /// An address: it is broken only at the end of a line, so that it can be copied.
    Whole(String),
    Large(Vec<String>),
    Field,
    Gap,
}

impl Part {
    fn height(&self, room: usize) -> usize {
        match self {
            Self::Text(text, _) => wrapped(text, room.saturating_sub(1)).len(),
            Self::Whole(text) => pieces(text, room).count(),
            Self::Large(rows) => rows.len(),
            Self::Field | Self::Gap => 1,
        }
    }
}

fn pieces(text: &str, room: usize) -> impl Iterator<Item = String> {
    let chars: Vec<_> = crate::output::plain(text).chars().collect();
    let pieces: Vec<String> = chars.chunks(room.max(1)).map(|piece| piece.iter().collect()).collect();
    pieces.into_iter()
}

fn waits(prompt: &Prompt, room: usize, now: Timestamp, most: usize) -> Vec<Part> {
    let text = |text: &str| Part::Text(text.to_owned(), Theme::plain());
    let mut parts = Vec::new();
    if let Some(code) = &prompt.code {
        parts.push(text("Open this page on any device, and type the code:"));
        parts.push(Part::Whole(prompt.address.clone()));
        parts.push(Part::Gap);
        let rows = large(code);
        let fits = rows.first().is_some_and(|row| row.chars().count() + 2 <= room) && most >= 18;
        match fits {
            true => {
                parts.push(Part::Large(rows));
                parts.push(Part::Gap);
                parts.push(Part::Large(vec![crate::output::plain(code)]));
            }
            false => parts.push(Part::Large(vec![crate::output::plain(code)])),
        }
    } else {
        parts.push(text("Sign in on this page:"));
        parts.push(Part::Whole(prompt.address.clone()));
        if let Some(elsewhere) = &prompt.elsewhere {
            parts.push(text("Is your browser on another machine? Then open this page there:"));
            parts.push(Part::Whole(elsewhere.clone()));
        }
    }
    parts.push(Part::Gap);
    if prompt.takes_paste {
        parts.push(text(match prompt.elsewhere {
            Some(_) => "It ends at an address that does not open there. Paste that address here:",
            None => "Then paste the code, or the address at which the browser ends:",
        }));
        parts.push(Part::Field);
    }
    if let Some(end) = prompt.expires_at {
        parts.push(Part::Text(format!("{} left", countdown(end.since(now))), Theme::strong()));
    }
    parts
}

/// The same where there is no room for it: what must be seen, and how to copy the rest.
fn waits_in_short(prompt: &Prompt, now: Timestamp) -> Vec<Part> {
    let text = |text: &str| Part::Text(text.to_owned(), Theme::plain());
    let mut parts = vec![text("Ctrl-Y copies the page's address.")];
    if prompt.elsewhere.is_some() {
        parts.push(text("Ctrl-X copies that for another machine."));
    }
    if let Some(code) = &prompt.code {
        parts.push(Part::Large(vec![crate::output::plain(code)]));
    }
    if prompt.takes_paste {
        parts.push(text("Paste where the browser ends:"));
        parts.push(Part::Field);
    }
    if let Some(end) = prompt.expires_at {
        parts.push(Part::Text(format!("{} left", countdown(end.since(now))), Theme::strong()));
    }
    parts
}

/// Returns a code in large letters, five rows high, or nothing if it has others than these.
fn large(code: &str) -> Vec<String> {
    let letters: Option<Vec<_>> = code.chars().map(letter).collect();
    let Some(letters) = letters else { return Vec::new() };
    let row = |row: usize| {
        let dots = letters.iter().map(|letter| {
            let bits = letter[row];
            (0..5).map(|bit| if bits >> (4 - bit) & 1 == 1 { '█' } else { ' ' }).collect::<String>()
        });
        dots.collect::<Vec<_>>().join(" ")
    };
    (0..5).map(row).collect()
}

/// The dots of a letter, five rows of five.
fn letter(char: char) -> Option<[u8; 5]> {
    Some(match char.to_ascii_uppercase() {
        'A' => [0b01110, 0b10001, 0b11111, 0b10001, 0b10001],
        'B' => [0b11110, 0b10001, 0b11110, 0b10001, 0b11110],
        'C' => [0b01111, 0b10000, 0b10000, 0b10000, 0b01111],
        'D' => [0b11110, 0b10001, 0b10001, 0b10001, 0b11110],
        'E' => [0b11111, 0b10000, 0b11110, 0b10000, 0b11111],
        'F' => [0b11111, 0b10000, 0b11110, 0b10000, 0b10000],
        'G' => [0b01111, 0b10000, 0b10011, 0b10001, 0b01111],
        'H' => [0b10001, 0b10001, 0b11111, 0b10001, 0b10001],
        'I' => [0b01110, 0b00100, 0b00100, 0b00100, 0b01110],
        'J' => [0b00111, 0b00010, 0b00010, 0b10010, 0b01100],
        'K' => [0b10010, 0b10100, 0b11000, 0b10100, 0b10010],
        'L' => [0b10000, 0b10000, 0b10000, 0b10000, 0b11111],
        'M' => [0b10001, 0b11011, 0b10101, 0b10001, 0b10001],
        'N' => [0b10001, 0b11001, 0b10101, 0b10011, 0b10001],
        'O' => [0b01110, 0b10001, 0b10001, 0b10001, 0b01110],
        'P' => [0b11110, 0b10001, 0b11110, 0b10000, 0b10000],
        'Q' => [0b01110, 0b10001, 0b10101, 0b10010, 0b01101],
        'R' => [0b11110, 0b10001, 0b11110, 0b10010, 0b10001],
        'S' => [0b01111, 0b10000, 0b01110, 0b00001, 0b11110],
        'T' => [0b11111, 0b00100, 0b00100, 0b00100, 0b00100],
        'U' => [0b10001, 0b10001, 0b10001, 0b10001, 0b01110],
        'V' => [0b10001, 0b10001, 0b10001, 0b01010, 0b00100],
        'W' => [0b10001, 0b10001, 0b10101, 0b11011, 0b10001],
        'X' => [0b10001, 0b01010, 0b00100, 0b01010, 0b10001],
        'Y' => [0b10001, 0b01010, 0b00100, 0b00100, 0b00100],
        'Z' => [0b11111, 0b00010, 0b00100, 0b01000, 0b11111],
        '0' => [0b01110, 0b10011, 0b10101, 0b11001, 0b01110],
        '1' => [0b00100, 0b01100, 0b00100, 0b00100, 0b01110],
        '2' => [0b11110, 0b00001, 0b01110, 0b10000, 0b11111],
        '3' => [0b11110, 0b00001, 0b00110, 0b00001, 0b11110],
        '4' => [0b10010, 0b10010, 0b11111, 0b00010, 0b00010],
        '5' => [0b11111, 0b10000, 0b11110, 0b00001, 0b11110],
        '6' => [0b01110, 0b10000, 0b11110, 0b10001, 0b01110],
        '7' => [0b11111, 0b00010, 0b00100, 0b01000, 0b01000],
        '8' => [0b01110, 0b10001, 0b01110, 0b10001, 0b01110],
        '9' => [0b01110, 0b10001, 0b01111, 0b00001, 0b01110],
        '-' => [0b00000, 0b00000, 0b01110, 0b00000, 0b00000],
        ' ' => [0; 5],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::large;

    #[test]
    fn a_code_is_large_if_all_of_its_letters_are_known() {
        assert_eq!(
            large("T1"),
            ["█████   █  ", "  █    ██  ", "  █     █  ", "  █     █  ", "  █    ███ "]
        );
        assert!(large("ä").is_empty());
    }

    #[test]
    fn no_two_letters_look_the_same() {
        let letters: Vec<char> = ('A'..='Z').chain('0'..='9').chain(['-']).collect();
        for (at, one) in letters.iter().enumerate() {
            for other in &letters[at + 1..] {
                assert_ne!(super::letter(*one), super::letter(*other), "{one} and {other}");
            }
        }
    }
}
