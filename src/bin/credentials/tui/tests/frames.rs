//! How much is drawn: one frame for a key, and only the rows that are seen.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use ratatui::backend::TestBackend;
use ratatui::layout::Size;
use ratatui::{Frame, Terminal};
use tokio::sync::mpsc;

use super::many;
use crate::tui::input::Input;
use crate::tui::keys::{Chord, Code};
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

    fn copy(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_one_frame_and_a_second_is_one_frame() {
    let frames = Rc::new(Cell::new(0));
    let stage =
        Counting { terminal: Terminal::new(TestBackend::new(80, 24)).unwrap(), frames: frames.clone() };
    let mut shown = Loop { stage, state: many(1000), theme: Theme { has_colors: true } };
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
    let (done, ()) = tokio::join!(shown.run(inputs, None), pressing);
    done.unwrap();
    assert!(shown.state.is_over);
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
