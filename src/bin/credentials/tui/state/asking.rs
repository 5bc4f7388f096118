//! What is asked of a person before something is done: a question, a line, a choice.

use super::State;
use super::front::{Choice, Front, Item, Menu, Purpose, Question, Typing, Wanted};
use super::job::{Failed, Job};
use super::typing::Line;
use crate::tui::keys::Place;

impl State {
    pub(super) fn remove(&mut self) {
        let Some(seen) = self.chosen() else { return self.none_is_chosen() };
        self.front = Some(Front::Question(Question {
            text: format!("Remove {} from the vault?", seen.name),
            note: "The vendor is not told: its page ends the session there.".to_owned(),
            job: Some(Job::Remove(seen.id())),
        }));
    }

    pub(super) fn confirm(&mut self) {
        if let Some(Front::Question(question)) = self.front.take() {
            self.jobs.extend(question.job);
        }
    }

    pub(super) fn rename(&mut self) {
        let Some(seen) = self.chosen() else { return self.none_is_chosen() };
        self.front = Some(Front::Line(Typing {
            title: format!("Rename {}", seen.name),
            note: "The new label, which no other account of the provider may have".to_owned(),
            line: Line::new(&seen.label()),
            purpose: Purpose::Rename(seen.id()),
        }));
    }

    pub(super) fn filter(&mut self) {
        self.front = Some(Front::Line(Typing {
            title: "Find".to_owned(),
            note: "A part of the name, the state or the kind".to_owned(),
            line: Line::new(&self.list.filter),
            purpose: Purpose::Filter,
        }));
    }

    pub(super) fn choose_mode(&mut self) {
        let Some(seen) = self.chosen() else { return self.none_is_chosen() };
        let name = seen.pool().provider().to_owned();
        let Some(provider) = self.providers.iter().find(|known| known.pool.provider() == name) else {
            return self.fail(Failed {
                why: format!("the settings have no provider {name}"),
                way_out: Some(", shows the settings".to_owned()),
            });
        };
        let items = tower_credentials::Mode::VALUES.map(|mode| Item {
            text: mode.as_str().to_owned(),
            note: takes(mode).to_owned(),
            choice: Choice::Mode(name.clone(), mode),
        });
        let at = items.iter().position(|item| item.text == provider.mode.as_str()).unwrap_or(0);
        let title = format!("Which accounts do requests to {name} take?");
        self.front = Some(Front::Menu(Menu { title, items: items.into(), at }));
    }

    pub(super) fn sign_in_again(&mut self) {
        let Some(seen) = self.chosen() else { return self.none_is_chosen() };
        let credential = &seen.account.credential;
        let wanted =
            Wanted { pool: credential.pool.clone(), replaced: Some(credential.label.to_string()) };
        if let Some(variable) = credential.label.strip_prefix('$') {
            return self.fail(Failed {
                why: format!("{} is a key of the environment", seen.name),
                way_out: Some(format!("set {variable} to another key")),
            });
        }
        let is_key = credential.kind == tower_credentials::Kind::Api;
        match self.provider(credential.pool.provider()).cloned() {
            _ if is_key => self.ask_key(wanted),
            Some(provider) => self.choose_way(&provider, wanted, false),
            None => self.fail(Failed {
                why: format!("the settings have no provider {}", wanted.pool.provider()),
                way_out: Some(", shows the settings".to_owned()),
            }),
        }
    }
}

/// Returns what a mode takes, in words.
fn takes(mode: tower_credentials::Mode) -> &'static str {
    use tower_credentials::Mode;
    match mode {
        Mode::Auto => "sign-ins if there are any, else keys",
        Mode::Api => "only keys",
        Mode::Subscription => "only sign-ins",
        _ => "sign-ins first, then keys",
    }
}

impl Place {
    /// The name of the place, over its keys.
    pub(in crate::tui) fn name(self) -> &'static str {
        match self {
            Self::List => "the list",
            Self::Text => "a text",
            Self::Keys => "the keys",
            Self::Menu => "a menu",
            Self::Question => "a question",
            Self::Line => "a line to type",
            Self::SignIn => "a sign-in",
        }
    }
}
