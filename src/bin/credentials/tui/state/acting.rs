//! What keys do.

use super::State;
use super::account::{Level, Seen};
use super::front::{About, Front, Purpose, Reading, Typing};
use super::job::{Failed, Job, Provider};
use super::list::Sort;
use super::typing::Line;
use crate::tui::keys::{self, Chord, Code};

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tui) enum Action {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    NextToDo,
    Details,
    UseFirst,
    PauseOrResume,
    Reset,
    Test,
    TestAll,
    SignInAgain,
    New,
    Remove,
    Rename,
    Why,
    Renew,
    MovePlace,
    Tier,
    Quota,
    Mode,
    Settings,
    CopyName,
    Filter,
    Sort,
    HistoryOfThis,
    OnlyErrors,
    Clear,
    Choose,
    Yes,
    Enter,
    CopyAddress,
    CopyOther,
    OpenPage,
    ClearLine,
    Close,
    Help,
    Quit,
    Suspend,
    Redraw,
}

impl State {
    /// Takes a key.
    pub(in crate::tui) fn key(&mut self, chord: Chord) {
        match keys::action(self.place(), chord) {
            Some(action) => self.act(action, chord),
            None if self.place().takes_text() && !chord.ctrl => self.type_key(chord.code),
            None => {}
        }
    }

    /// The program was stopped, and goes on.
    pub(in crate::tui) fn go_on(&mut self) {
        self.jobs.push(Job::GoOn);
    }

    /// Takes a text that is pasted.
    pub(in crate::tui) fn paste(&mut self, text: &str) {
        if let Some(line) = self.line() {
            line.insert(text);
            self.typed();
        }
    }

    /// Chooses the account that is shown in this row of the list.
    pub(in crate::tui) fn point(&mut self, row: usize) {
        if self.front.is_none() {
            self.list.point(row, &self.accounts);
        }
    }

    fn type_key(&mut self, code: Code) {
        if self.line().is_some_and(|line| line.key(code)) {
            self.typed();
        }
    }

    /// Returns the line that is typed now.
    fn line(&mut self) -> Option<&mut Line> {
        match &mut self.front {
            Some(Front::Line(typing)) => Some(&mut typing.line),
            Some(Front::Text(reading)) => reading.find.as_mut(),
            Some(Front::SignIn(sign_in)) => Some(&mut sign_in.line),
            _ => None,
        }
    }

    /// What is looked for is shown while it is typed.
    fn typed(&mut self) {
        if let Some(Front::Text(reading)) = &mut self.front {
            reading.top = 0;
        }
        if let Some(Front::Line(Typing { purpose: Purpose::Filter, line, .. })) = &self.front {
            self.list.filter = line.text().to_owned();
            self.list.lay_out(&self.accounts, self.now);
        }
    }

    fn act(&mut self, action: Action, chord: Chord) {
        match action {
            Action::Up => self.go(-1),
            Action::Down => self.go(1),
            Action::PageUp | Action::PageDown => self.go_a_page(action == Action::PageDown),
            Action::First => self.go(isize::MIN),
            Action::Last => self.go(isize::MAX),
            Action::NextToDo => self.next_to_do(),
            Action::Details => self.read(About::Account),
            Action::Why => {
                self.read(About::Why);
                self.chosen().map(Seen::id).into_iter().for_each(|id| self.ask_why(id));
            }
            Action::Settings => self.open("Settings", About::Settings),
            Action::Help => {
                self.open("Keys", About::Keys(self.place()));
                if let Some(Front::Text(reading)) = &mut self.front {
                    reading.find = Some(Line::new(""));
                }
            }
            Action::UseFirst => self.ask(|seen| Job::First(seen.id())),
            Action::MovePlace => {
                let is_up = chord.code == Code::Char('[');
                self.put(|seen| match is_up {
                    true => (seen.place > 1).then(|| seen.place - 1),
                    false => (seen.place < seen.of).then(|| seen.place + 1),
                });
            }
            Action::Tier => self.set_tier(chord.code == Code::Char('<')),
            Action::Quota => self.choose_quota(),
            Action::PauseOrResume => {
                let is_paused = |seen: &Seen| seen.account.standing.paused;
                self.ask(
                    |seen| if is_paused(seen) { Job::Resume(seen.id()) } else { Job::Pause(seen.id()) },
                );
            }
            Action::Reset => self.ask(|seen| Job::Reset(seen.id())),
            Action::Test => self.ask(|seen| Job::Test(Some(seen.id()))),
            Action::TestAll => self.jobs.push(Job::Test(None)),
            Action::Renew => self.ask(|seen| Job::Renew(seen.pool().clone(), seen.id())),
            Action::CopyName => self.copy_name(),
            Action::Remove => self.remove(),
            Action::Rename => self.rename(),
            Action::SignInAgain => self.sign_in_again(),
            Action::New => self.choose_provider(),
            Action::Mode => self.choose_mode(),
            Action::Filter => self.filter(),
            Action::Sort => self.sort(chord),
            Action::HistoryOfThis => self.only_this = !self.only_this,
            Action::OnlyErrors => self.only_errors = !self.only_errors,
            Action::Clear => self.clear(),
            Action::Choose => self.choose(),
            Action::Yes => self.confirm(),
            Action::Enter => self.enter(),
            Action::ClearLine => {
                self.line().into_iter().for_each(Line::clear);
                self.typed();
            }
            Action::CopyAddress | Action::CopyOther | Action::OpenPage => self.use_address(action),
            Action::Close => self.close(),
            Action::Quit => self.is_over = true,
            Action::Suspend => self.jobs.push(Job::Suspend),
            Action::Redraw => self.jobs.push(Job::Redraw),
        }
    }

    /// Moves the choice, or scrolls the text; the least and the most mean the ends.
    fn go(&mut self, by: isize) {
        match &mut self.front {
            None => self.list.step(by, &self.accounts),
            Some(Front::Text(text)) => text.top = text.top.saturating_add_signed(by),
            Some(Front::Menu(menu)) => {
                menu.at = menu.at.saturating_add_signed(by).min(menu.items.len().saturating_sub(1));
            }
            Some(_) => {}
        }
    }

    fn go_a_page(&mut self, is_down: bool) {
        const PAGE: isize = 10;
        match self.front {
            None => self.list.page(is_down, &self.accounts),
            Some(_) => self.go(if is_down { PAGE } else { -PAGE }),
        }
    }

    /// Chooses the next account that a person must do something about.
    fn next_to_do(&mut self) {
        let mut ids: Vec<_> = self.to_do().map(Seen::id).collect();
        let here = self.chosen().and_then(|chosen| ids.iter().position(|id| *id == chosen.id()));
        if let Some(here) = here {
            let after = (here + 1) % ids.len();
            ids.rotate_left(after);
        }
        match ids.first() {
            Some(id) => self.list.choose_id(*id, &self.accounts),
            None => self.say(Level::Good, "no account needs you".to_owned()),
        }
    }

    /// Does something with the account that is chosen.
    fn ask(&mut self, job: impl FnOnce(&Seen) -> Job) {
        match self.chosen().map(job) {
            Some(job) => self.jobs.push(job),
            None => self.none_is_chosen(),
        }
    }

    pub(super) fn none_is_chosen(&mut self) {
        let (why, way_out) = match self.accounts.is_empty() {
            true => ("there are no accounts yet", "n adds one"),
            false => ("no account is chosen", "Esc takes the filter away"),
        };
        self.fail(Failed { why: why.to_owned(), way_out: Some(way_out.to_owned()) });
    }

    fn put(&mut self, place: impl FnOnce(&Seen) -> Option<usize>) {
        let Some(seen) = self.chosen() else { return self.none_is_chosen() };
        match place(seen).and_then(|place| u32::try_from(place).ok()) {
            Some(place) => self.jobs.push(Job::Move(seen.id(), place)),
            None => {
                let text = format!("{} is {} of {} already", seen.name, seen.place, seen.of);
                self.say(Level::Quiet, text);
            }
        }
    }

    fn set_tier(&mut self, is_down: bool) {
        let Some(seen) = self.chosen() else { return self.none_is_chosen() };
        let tier = seen.account.standing.tier(seen.account.credential.kind);
        match if is_down { tier.checked_sub(1) } else { tier.checked_add(1) } {
            Some(tier) => self.jobs.push(Job::Tier(seen.id(), tier)),
            None => self.say(Level::Quiet, format!("there is no tier beyond {tier}")),
        }
    }

    fn copy_name(&mut self) {
        let Some(name) = self.chosen().map(|seen| seen.name.clone()) else {
            return self.none_is_chosen();
        };
        self.copy(name, "the name");
    }

    pub(super) fn copy(&mut self, text: String, what: &str) {
        self.jobs.push(Job::Copy(text));
        self.say(Level::Quiet, format!("handed {what} to the terminal's clipboard"));
    }

    fn read(&mut self, about: impl FnOnce(tower_credentials::CredentialId) -> About) {
        let Some(seen) = self.chosen() else { return self.none_is_chosen() };
        let (title, about) = (seen.name.clone(), about(seen.id()));
        self.open(&title, about);
    }

    fn open(&mut self, title: &str, about: About) {
        self.front = Some(Front::Text(Reading { title: title.to_owned(), about, top: 0, find: None }));
    }

    fn sort(&mut self, chord: Chord) {
        let Code::Char(digit) = chord.code else { return };
        let place = digit.to_digit(10).and_then(|digit| usize::try_from(digit).ok()?.checked_sub(1));
        let Some(sort) = place.and_then(|place| Sort::ALL.get(place)) else { return };
        self.list.is_reversed = self.list.sort == *sort && !self.list.is_reversed;
        self.list.sort = *sort;
        self.list.lay_out(&self.accounts, self.now);
    }

    fn clear(&mut self) {
        if self.notice.take().is_none() {
            self.list.filter.clear();
            self.list.lay_out(&self.accounts, self.now);
        }
    }

    pub(super) fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|known| known.pool.provider() == name)
    }
}
