//! What the screen is about. Nothing here knows of widgets: keys and news come in, jobs go out.

pub(super) mod account;
mod acting;
mod asking;
pub(super) mod front;
pub(super) mod history;
pub(super) mod job;
pub(super) mod list;
mod quota;
mod signing_in;
pub(super) mod typing;
pub(super) mod why;

use std::time::Duration;

use tower_credentials::{CredentialId, Timestamp};

pub(super) use acting::Action;

use super::keys::Place;
use account::{Level, Seen};
use front::Front;
use history::History;
use job::{Failed, Job, Look, Provider, Update};
use list::List;
use why::Why;

use crate::time::Zone;

/// How long it is shown that something went well. What did not is shown until it is taken away.
const WELL: Duration = Duration::from_secs(8);

/// The most lines that are shown at once of what was said.
const LINES: usize = 4;

/// All that the screen is about.
pub(super) struct State {
    pub(super) now: Timestamp,
    /// Whose times of day are shown.
    pub(super) zone: Zone,
    /// Whether the vault was read once.
    pub(super) has_looked: bool,
    pub(super) accounts: Vec<Seen>,
    pub(super) damaged: Vec<String>,
    pub(super) providers: Vec<Provider>,
    pub(super) settings: Vec<(String, String)>,
    pub(super) list: List,
    pub(super) history: History,
    pub(super) only_this: bool,
    pub(super) only_errors: bool,
    pub(super) front: Option<Front>,
    /// What was asked of a pool last.
    pub(super) why: Option<Why>,
    /// Why the vault can't be read now.
    pub(super) trouble: Option<Failed>,
    pub(super) notice: Option<Notice>,
    /// What is under way: its number, the account, and what is done.
    pub(super) under_way: Vec<(u64, Option<CredentialId>, &'static str)>,
    jobs: Vec<Job>,
    pub(super) is_over: bool,
}

/// What was said last.
pub(super) struct Notice {
    pub(super) level: Level,
    pub(super) lines: Vec<String>,
    since: Timestamp,
}

impl State {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            now,
            zone: Zone::Local,
            has_looked: false,
            accounts: Vec::new(),
            damaged: Vec::new(),
            providers: Vec::new(),
            settings: Vec::new(),
            list: List::default(),
            history: History::default(),
            only_this: false,
            only_errors: false,
            front: None,
            why: None,
            trouble: None,
            notice: None,
            under_way: Vec::new(),
            jobs: Vec::new(),
            is_over: false,
        }
    }

    /// Where one is.
    pub(super) fn place(&self) -> Place {
        self.front.as_ref().map_or(Place::List, Front::place)
    }

    /// Returns the account that is chosen.
    pub(super) fn chosen(&self) -> Option<&Seen> {
        self.list.chosen_in(&self.accounts)
    }

    pub(super) fn account(&self, id: CredentialId) -> Option<&Seen> {
        self.accounts.iter().find(|seen| seen.id() == id)
    }

    /// Returns the accounts that a person must do something about.
    pub(super) fn to_do(&self) -> impl Iterator<Item = &Seen> {
        self.accounts.iter().filter(|seen| seen.needs_a_person(self.now))
    }

    /// Returns what is done with an account now.
    pub(super) fn busy(&self, id: CredentialId) -> Option<&'static str> {
        let mut its = self.under_way.iter().filter(|(_, whose, _)| *whose == Some(id));
        its.next().map(|(.., what)| *what)
    }

    /// Returns what the loop is to do.
    pub(super) fn take_jobs(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.jobs)
    }

    /// Time goes on.
    pub(super) fn tick(&mut self, now: Timestamp) {
        self.now = now;
        self.history.tick(now);
        self.ask_why_again();
        let is_old = |notice: &Notice| {
            matches!(notice.level, Level::Good | Level::Quiet) && now.since(notice.since) > WELL
        };
        if self.notice.as_ref().is_some_and(is_old) {
            self.notice = None;
        }
    }

    /// Takes what is new.
    pub(super) fn update(&mut self, update: Update) {
        match update {
            Update::Looked(look) => self.look(*look),
            Update::Happened(happened) => self.history.take(happened),
            Update::Explained(pool, told) => self.hear_why(&pool, told),
            Update::NotLooked(failed) => self.trouble = Some(failed),
            Update::Began(number, id, what) => self.under_way.push((number, id, what)),
            Update::Ended(number, done) => {
                self.under_way.retain(|(known, ..)| *known != number);
                if let Err(failed) = done {
                    self.fail(failed);
                }
            }
            Update::Tested(id, level, text) => {
                if let Some(seen) = self.account(id) {
                    let name = seen.name.clone();
                    self.say(level, format!("{name} {text}"));
                }
            }
            Update::SignIn(step) => self.sign_in_goes_on(step),
            Update::Said(text) => self.hear(&text),
        }
    }

    fn look(&mut self, look: Look) {
        let Look { accounts, damaged, providers, settings } = look;
        self.trouble = None;
        self.has_looked = true;
        (self.accounts, self.damaged) = (accounts, damaged);
        (self.providers, self.settings) = (providers, settings);
        self.list.lay_out(&self.accounts, self.now);
        self.leave_what_is_gone();
    }

    /// Closes what is about an account that is gone.
    fn leave_what_is_gone(&mut self) {
        use front::{About, Purpose};
        let id = match &self.front {
            Some(Front::Text(text)) => match text.about {
                About::Account(id) | About::Why(id) => id,
                _ => return,
            },
            Some(Front::Line(typing)) => match typing.purpose {
                Purpose::Rename(id) | Purpose::Quota(id) => id,
                _ => return,
            },
            _ => return,
        };
        if self.account(id).is_none() {
            self.front = None;
            self.say(Level::Doubtful, "another program has removed the account".to_owned());
        }
    }

    /// Shows what a command would print. Its first word says how bad it is, and what to try comes on the next line.
    fn hear(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let is = |lead: &str| line.starts_with(lead);
            let level = match () {
                () if is("error:") => Level::Bad,
                () if is("warning:") => Level::Doubtful,
                () => Level::Good,
            };
            // One line goes on with the other.
            match (&mut self.notice, line.starts_with("  ")) {
                (Some(notice), true) => notice.add(line.trim().to_owned()),
                _ => self.say(level, line.trim().to_owned()),
            }
        }
    }

    /// Says something. What was said just before stays above it.
    pub(super) fn say(&mut self, level: Level, text: String) {
        match &mut self.notice {
            Some(notice) if self.now.since(notice.since) < Duration::from_millis(500) => {
                notice.add(text);
                notice.since = self.now;
                if severity(level) > severity(notice.level) {
                    notice.level = level;
                }
            }
            _ => self.notice = Some(Notice { level, lines: vec![text], since: self.now }),
        }
    }

    /// Says why something failed, and the way out.
    pub(super) fn fail(&mut self, failed: Failed) {
        let Failed { why, way_out } = failed;
        let mut lines = vec![why];
        lines.extend(way_out.map(|way_out| format!("try: {way_out}")));
        self.notice = Some(Notice { level: Level::Bad, lines, since: self.now });
    }
}

impl Notice {
    fn add(&mut self, line: String) {
        self.lines.retain(|known| *known != line);
        self.lines.push(line);
        if self.lines.len() > LINES {
            self.lines.remove(0);
        }
    }
}

fn severity(level: Level) -> u8 {
    match level {
        Level::Quiet => 0,
        Level::Good => 1,
        Level::Doubtful => 2,
        Level::Bad => 3,
    }
}
