//! How much is drawn: one frame for a key, and only the rows that are seen.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use ratatui::backend::TestBackend;
use ratatui::layout::Size;
use ratatui::{Frame, Terminal};
use tokio::sync::mpsc;
use tower_credentials::events::{Account, Event, EventKind};

use super::many;
use crate::tui::demo::NOW;
use crate::tui::input::Input;
use crate::tui::keys::{Chord, Code};
use crate::tui::state::State;
use crate::tui::state::history::Happened;
use crate::tui::state::job::Update;
use crate::tui::view::paint::Theme;
use crate::tui::{Loop, Stage, view};

/// A stage that counts its frames.
struct Counting {
    terminal: Terminal<TestBackend>,
    frames: Rc<Cell<usize>>,
}

impl Stage for Counting {
    fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.frames.set(self.frames.get() + 1);
        let Ok(_) = self.terminal.draw(draw);
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        let Ok(size) = self.terminal.size();
        Ok(size)
    }

    fn redraw(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn suspend(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn go_on(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn copy(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_one_frame_and_a_second_is_one_frame() {
    let (mut shown, frames) = counting(many(1000));
    let (keys, inputs) = mpsc::unbounded_channel();
    let pressing = async {
        let key = |code| keys.send(Input::Key(Chord::key(code))).ok().unwrap();
        // The first frame, and the tick that comes at once.
        while frames.get() < 2 {
            tokio::task::yield_now().await;
        }
        for count in 3..503 {
            key(if count % 100 == 0 { Code::PageDown } else { Code::Down });
            while frames.get() < count {
                tokio::task::yield_now().await;
            }
            assert_eq!(frames.get(), count);
        }
        // Those that come together are one frame.
        for _ in 0..100 {
            key(Code::Up);
        }
        while frames.get() < 503 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
        assert_eq!(frames.get(), 505);
        key(Code::Char('q'));
    };
    let (done, ()) = tokio::join!(shown.show(inputs, None, None), pressing);
    done.unwrap();
    assert!(shown.state.is_over);
}

/// A screen of so many accounts in a stage that counts its frames.
fn counting(state: State) -> (Loop<Counting>, Rc<Cell<usize>>) {
    let frames = Rc::new(Cell::new(0));
    let terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
    let stage = Counting { terminal, frames: frames.clone() };
    (Loop { stage, state, theme: Theme { has_colors: true } }, frames)
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_events_is_a_frame_for_each_time_that_the_screen_looks() {
    let (mut shown, frames) = counting(many(1000));
    let account: Account = (&shown.state.accounts[500].account.credential).into();
    let (keys, inputs) = mpsc::unbounded_channel();
    let (news, updates) = mpsc::unbounded_channel();
    let flood = async {
        while frames.get() < 2 {
            tokio::task::yield_now().await;
        }
        for number in 0..20_000 {
            let at = NOW.after(Duration::from_millis(number));
            let events = vec![Event::new(at, EventKind::Reset { account: account.clone() })];
            let happened = Happened { is_all: false, events, note: None };
            news.send(Update::Happened(happened)).ok().unwrap();
        }
        while frames.get() < 3 {
            tokio::task::yield_now().await;
        }
        // All of them are one frame, and a key is heard at once.
        assert_eq!(frames.get(), 3);
        keys.send(Input::Key(Chord::key(Code::Char('q')))).ok().unwrap();
    };
    let (done, ()) = tokio::join!(shown.show(inputs, None, Some(updates)), flood);
    done.unwrap();
    assert_eq!(shown.state.history.shown(None, false).count(), 20_000);
}

/// From the first account to the last and back, one at a time.
#[test]
fn a_thousand_accounts_are_scrolled_by_a_frame_for_each_key_and_no_row_more_than_is_seen() {
    let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
    let (mut state, mut rows, mut cells) = (many(1000), 0, 0);
    let keys = [Code::Down; 999].into_iter().chain([Code::Up; 999]);
    let mut frames = 0;
    for code in keys {
        state.key(Chord::key(code));
        let drawn = terminal.draw(|frame| {
            rows += view::draw(frame, &mut state, Theme { has_colors: true });
        });
        cells += drawn.unwrap().buffer.content.len();
        frames += 1;
    }
    let height = 40 - 1;
    assert!(rows <= frames * height, "{rows} rows in {frames} frames");
    assert_eq!(cells, frames * 120 * 40);
    assert_eq!(super::chosen(&state), "account-0000");
}

#[test]
fn only_the_rows_that_are_seen_are_drawn() {
    for count in [10, 1000] {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        let mut state = many(count);
        let mut rows = 0;
        for code in [Code::Down, Code::End, Code::PageUp, Code::Home] {
            state.key(Chord::key(code));
            terminal
                .draw(|frame| rows = view::draw(frame, &mut state, Theme { has_colors: false }))
                .unwrap();
            assert!((1..=24).contains(&rows), "{rows}");
        }
    }
}
