//! `tui`: the accounts on the screen of a terminal, live, with everything that the commands do.
//!
//! - `state`: what the screen is about, without widgets. Keys and news come in, jobs go out.
//! - `view`: what it looks like, a file for each part.
//! - `keys`: what each key does, as data. `input`: what comes from the terminal.
//! - `jobs`: does the work by the commands. `terminal`: the terminal and its way back.
//! - `demo`: accounts that are made up.

mod demo;
mod input;
mod jobs;
mod keys;
mod state;
mod terminal;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use ratatui::backend::TestBackend;
use ratatui::layout::{Position, Rect, Size};
use ratatui::{Frame, Terminal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::Global;
use crate::output;
use crate::time::now;
use input::Input;
use jobs::Worker;
use state::State;
use state::job::{Job, Update};
use terminal::Screen;
use view::paint::Theme;

/// Show the accounts on the screen, live, and do everything from there
///
/// `?` shows the keys. What other programs change is shown within a second. `credentials list` shows the same without a
/// terminal, and `credentials list --watch` keeps it up to date.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials tui
  credentials tui --print 80x24 --demo")]
pub(crate) struct Tui {
    /// Take the mouse, too: a click chooses an account, the wheel scrolls
    #[arg(long)]
    mouse: bool,
    /// Print the screen in this size as text, and end
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = size, conflicts_with = "mouse")]
    print: Option<(u16, u16)>,
    /// Show accounts that are made up; nothing is read or changed
    #[arg(long)]
    demo: bool,
}

/// Parses a size. A screen of more cells than these would be a mistake.
fn size(text: &str) -> Result<(u16, u16), String> {
    const MOST: u16 = 500;
    let size = text.split_once('x').and_then(|(width, height)| {
        let side = |text: &str| text.parse().ok().filter(|side| (1..=MOST).contains(side));
        Some((side(width)?, side(height)?))
    });
    size.ok_or_else(|| format!("not a size: give WIDTHxHEIGHT, such as 80x24, each at most {MOST}"))
}

impl Tui {
    pub(crate) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        if let Some((width, height)) = self.print {
            let state = self.still(global).await?;
            output::print(printed(state, width, height)?)?;
            return Ok(Exit::Done);
        }
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err(Failure::usage("the screen needs a terminal")
                .way_out("credentials list; or, to keep it up to date: credentials list --watch"));
        }
        if self.demo {
            let mut shown = Loop::open(self.still(global).await?, self.mouse)?;
            return shown.show(input::inputs(), None, None).await;
        }
        let (updates, news) = mpsc::unbounded_channel();
        // What is wrong with the settings is said before the screen is shown.
        let context = Context::new(global)?;
        let mut shown = Loop::open(State::new(now()), self.mouse)?;
        let worker = Worker::start(global, context, updates);
        shown.show(input::inputs(), Some(worker), Some(news)).await
    }

    /// What the screen shows at one moment.
    async fn still(&self, global: &Global) -> Result<State, Failure> {
        if self.demo {
            return Ok(demo::state());
        }
        let context = Context::new(global)?;
        let mut state = State::new(now());
        jobs::look_once(&context).await?.into_iter().for_each(|update| state.update(update));
        Ok(state)
    }
}

/// Returns the screen as text.
fn printed(mut state: State, width: u16, height: u16) -> Result<String, Failure> {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(_) = terminal.draw(|frame| {
        view::draw(frame, &mut state, Theme { has_colors: false });
    });
    let buffer = terminal.backend().buffer();
    let lines = (0..height).map(|y| {
        // The cell after a wide character is a part of it.
        let mut line = String::new();
        let mut x = 0;
        while x < width {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            x += u16::try_from(console::measure_text_width(symbol)).unwrap_or(1).max(1);
        }
        line.trim_end().to_owned()
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// How often time goes on: countdowns are in seconds.
const TICK: Duration = Duration::from_secs(1);

/// Where the screen is shown: a terminal, or none in tests.
trait Stage {
    fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()>;

    fn size(&self) -> io::Result<Size>;

    /// Draws the next frame whole.
    fn redraw(&mut self) -> io::Result<()>;

    /// Goes back to the shell, until that continues the program.
    async fn suspend(&mut self) -> io::Result<()>;

    /// Goes on after something else has stopped and continued the program.
    async fn go_on(&mut self) -> io::Result<()>;

    /// Hands a text to the terminal's clipboard.
    fn copy(&mut self, text: &str) -> io::Result<()>;
}

/// The screen, and what it is about.
struct Loop<S> {
    stage: S,
    state: State,
    theme: Theme,
}

impl Loop<Screen> {
    fn open(state: State, has_mouse: bool) -> Result<Self, Failure> {
        let choice = anstream::AutoStream::choice(&io::stdout());
        let theme = Theme { has_colors: choice != anstream::ColorChoice::Never };
        let stage = Screen::open(has_mouse).map_err(unshown)?;
        Ok(Self { stage, state, theme })
    }
}

impl<S: Stage> Loop<S> {
    /// Shows the screen until a person quits. A signal drops this, which restores the terminal.
    async fn show(
        &mut self,
        mut inputs: mpsc::UnboundedReceiver<Input>,
        mut worker: Option<Worker>,
        mut news: Option<mpsc::UnboundedReceiver<Update>>,
    ) -> Result<Exit, Failure> {
        let (_listening, mut said) = output::listen();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !self.state.is_over {
            self.draw()?;
            tokio::select! {
                biased;
                input = inputs.recv() => self.take(input)?,
                Some(update) = receive(&mut news) => self.state.update(update),
                Some(text) = said.recv() => self.state.update(Update::Said(text)),
                _ = ticks.tick() => {}
                error = panicked(&mut worker) => {
                    return Err(Failure::failed("a part of the screen failed").because(error));
                }
            }
            // All that came meanwhile is one frame.
            while let Ok(input) = inputs.try_recv() {
                self.take(Some(input))?;
            }
            for update in at_hand(&mut news) {
                self.state.update(update);
            }
            while let Ok(text) = said.try_recv() {
                self.state.update(Update::Said(text));
            }
            if worker.is_some() {
                self.state.tick(now());
            }
            for job in self.state.take_jobs() {
                self.do_job(job, worker.as_mut()).await?;
            }
        }
        Ok(Exit::Done)
    }

    fn draw(&mut self) -> Result<(), Failure> {
        let (state, theme) = (&mut self.state, self.theme);
        let draw = |frame: &mut Frame<'_>| {
            view::draw(frame, state, theme);
        };
        self.stage.draw(draw).map_err(unshown)
    }

    fn take(&mut self, input: Option<Input>) -> Result<(), Failure> {
        match input {
            Some(Input::Key(chord)) => self.state.key(chord),
            Some(Input::Paste(text)) => self.state.paste(&text),
            Some(Input::Click(line)) => {
                let screen = Rect::from((Position::ORIGIN, self.stage.size().map_err(unshown)?));
                let list = view::areas(screen, &self.state).list;
                // Its first line is its head.
                if let Some(row) = line.checked_sub(list.y + 1).filter(|_| line < list.bottom()) {
                    self.state.point(usize::from(row));
                }
            }
            Some(Input::Wheel { is_down }) => {
                let code = if is_down { keys::Code::Down } else { keys::Code::Up };
                self.state.key(keys::Chord::key(code));
            }
            Some(Input::Resized) => {}
            Some(Input::Stop) => self.state.key(keys::Chord::ctrl('z')),
            Some(Input::Continued) => self.state.go_on(),
            Some(Input::Gone(error)) => return Err(unshown(error)),
            None => self.state.is_over = true,
        }
        Ok(())
    }

    async fn do_job(&mut self, job: Job, worker: Option<&mut Worker>) -> Result<(), Failure> {
        match (job, worker) {
            (Job::Suspend, _) => self.stage.suspend().await.map_err(unshown)?,
            (Job::GoOn, _) => self.stage.go_on().await.map_err(unshown)?,
            (Job::Redraw, _) => self.stage.redraw().map_err(unshown)?,
            (Job::Copy(text), _) => self.stage.copy(&text).map_err(unshown)?,
            (job, Some(worker)) => worker.begin(job),
            (Job::Why(pool), None) => {
                self.state.update(Update::Explained(pool.clone(), Ok(demo::told(&pool))));
            }
            (_, None) => self.state.say(
                state::account::Level::Quiet,
                "these accounts are made up: nothing is changed".to_owned(),
            ),
        }
        Ok(())
    }
}

/// Takes what has come, and no more: the source may be faster than the screen.
fn at_hand(news: &mut Option<mpsc::UnboundedReceiver<Update>>) -> impl Iterator<Item = Update> {
    let count = news.as_ref().map_or(0, mpsc::UnboundedReceiver::len);
    (0..count).map_while(move |_| news.as_mut()?.try_recv().ok())
}

async fn receive(news: &mut Option<mpsc::UnboundedReceiver<Update>>) -> Option<Update> {
    match news {
        Some(news) => news.recv().await,
        None => std::future::pending().await,
    }
}

async fn panicked(worker: &mut Option<Worker>) -> tokio::task::JoinError {
    match worker {
        Some(worker) => worker.panicked().await,
        None => std::future::pending().await,
    }
}

fn unshown(error: io::Error) -> Failure {
    Failure::failed("could not use the terminal").because(error).way_out("credentials list")
}
