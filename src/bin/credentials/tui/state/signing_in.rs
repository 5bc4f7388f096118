//! The way to a new account, or to a new secret: the provider, the way, then the key or the sign-in.

use tower_credentials::oauth::FlowKind;
use zeroize::Zeroizing;

use super::State;
use super::account::Level;
use super::acting::Action;
use super::front::{Choice, Front, Item, Menu, Phase, Purpose, SignIn, Typing, Wanted};
use super::job::{Failed, Job, Provider, Request, Step, Way};
use super::typing::Line;
use crate::commands::login::DEFAULT_LABEL;

impl State {
    pub(super) fn choose_provider(&mut self) {
        let item = |provider: &Provider| {
            let mut ways: Vec<_> = provider.flows.iter().map(ToString::to_string).collect();
            ways.extend(provider.takes_keys.then(|| "API key".to_owned()));
            Item {
                text: provider.pool.provider().to_owned(),
                note: ways.join(", "),
                choice: Choice::Provider(provider.pool.clone()),
            }
        };
        let items: Vec<_> = self.providers.iter().map(item).collect();
        // As a rule one more account of a provider that has some.
        let here = self.chosen().map(|seen| seen.pool().provider().to_owned());
        let at = here.and_then(|here| items.iter().position(|item| item.text == here)).unwrap_or(0);
        self.front = Some(Front::Menu(Menu { title: "Add an account of".to_owned(), items, at }));
    }

    pub(super) fn choose_way(&mut self, provider: &Provider, wanted: Wanted, takes_keys: bool) {
        let name = provider.pool.provider();
        let item = |text: String, note: &str, flow| Item {
            text,
            note: note.to_owned(),
            choice: Choice::Way(wanted.clone(), flow),
        };
        let mut items: Vec<_> = match provider.needs {
            Some(_) => Vec::new(),
            None => {
                let of = |flow: &FlowKind| item(flow.to_string(), in_words(*flow), Some(*flow));
                provider.flows.iter().map(of).collect()
            }
        };
        if takes_keys {
            items.push(item("API key".to_owned(), "paste it; it is not shown", None));
        }
        match (items.as_slice(), &provider.needs) {
            ([], needs) => {
                let needs = needs.as_ref().map(|setting| format!("set {setting}; , shows where"));
                self.front = None;
                self.fail(Failed { why: format!("nobody can sign in to {name} here"), way_out: needs });
            }
            ([only], needs) => {
                let choice = only.choice.clone();
                self.take(choice);
                if let Some(setting) = needs.as_ref().filter(|_| !provider.flows.is_empty()) {
                    self.say(
                        Level::Doubtful,
                        format!("a sign-in needs {setting}; , shows where to set it"),
                    );
                }
            }
            _ => {
                let title = format!("How to sign in to {name}");
                self.front = Some(Front::Menu(Menu { title, items, at: 0 }));
            }
        }
    }

    /// Takes what is chosen in a menu.
    pub(super) fn choose(&mut self) {
        let Some(Front::Menu(mut menu)) = self.front.take() else { return };
        if menu.at < menu.items.len() {
            let choice = menu.items.swap_remove(menu.at).choice;
            self.take(choice);
        }
    }

    fn take(&mut self, choice: Choice) {
        match choice {
            Choice::Mode(provider, mode) => {
                self.front = None;
                self.jobs.push(Job::Mode(provider, mode));
            }
            Choice::QuotaName(id) => self.ask_quota_name(id),
            Choice::Quota(id, quota) => self.jobs.push(Job::Quota(id, quota)),
            Choice::Provider(pool) => {
                let Some(provider) = self.provider(pool.provider()).cloned() else { return };
                self.choose_way(&provider, Wanted { pool, replaced: None }, provider.takes_keys);
            }
            Choice::Way(wanted, Some(flow)) => self.begin_sign_in(wanted, flow),
            Choice::Way(wanted, None) => match wanted.replaced {
                Some(_) => self.ask_key(wanted),
                None => self.ask_label(wanted),
            },
        }
    }

    fn ask_label(&mut self, wanted: Wanted) {
        self.front = Some(Front::Line(Typing {
            title: format!("Add a key of {}", wanted.pool.provider()),
            note: "The label of the account".to_owned(),
            line: Line::new(DEFAULT_LABEL),
            purpose: Purpose::Label(wanted),
        }));
    }

    pub(super) fn ask_key(&mut self, wanted: Wanted) {
        let label = wanted.replaced.clone();
        self.ask_key_for(wanted, label);
    }

    fn ask_key_for(&mut self, wanted: Wanted, label: Option<String>) {
        let (name, of) = (wanted.pool.provider(), label.as_deref().unwrap_or(DEFAULT_LABEL));
        self.front = Some(Front::Line(Typing {
            title: format!("The API key of {name}/{of}"),
            note: "Paste it; it is not shown".to_owned(),
            line: Line::new(""),
            purpose: Purpose::Key(wanted, label),
        }));
    }

    fn begin_sign_in(&mut self, wanted: Wanted, flow: FlowKind) {
        let name = wanted.pool.provider();
        let title = match &wanted.replaced {
            Some(label) => format!("Sign in to {name}/{label} again: {flow}"),
            None => format!("Sign in to {name}: {flow}"),
        };
        self.jobs.push(Job::SignIn(Box::new(Request {
            pool: wanted.pool.clone(),
            label: wanted.replaced.clone(),
            replaces: wanted.replaced.is_some(),
            way: Way::Flow(flow),
        })));
        self.front = Some(Front::SignIn(SignIn {
            title,
            wanted,
            flow,
            phase: Phase::Begins { since: self.now },
            line: Line::new(""),
            notes: Vec::new(),
        }));
    }

    /// Takes the line that was typed.
    pub(super) fn enter(&mut self) {
        match self.front.take() {
            Some(Front::Line(typing)) => self.enter_line(typing),
            Some(Front::SignIn(sign_in)) => self.enter_sign_in(sign_in),
            other => self.front = other,
        }
    }

    fn enter_line(&mut self, typing: Typing) {
        let text = typing.line.text().trim();
        match typing.purpose {
            Purpose::Filter => {}
            Purpose::Rename(id) => self.jobs.push(Job::Rename(id, text.to_owned())),
            Purpose::Quota(id) => self.set_quota_name(id, text),
            Purpose::Label(wanted) => {
                let label = Some(text.to_owned()).filter(|label| !label.is_empty());
                self.ask_key_for(wanted, label);
            }
            Purpose::Key(wanted, label) if !text.is_empty() => {
                let way = Way::Key(Zeroizing::new(text.to_owned()));
                let (pool, replaces) = (wanted.pool, wanted.replaced.is_some());
                self.jobs.push(Job::SignIn(Box::new(Request { pool, label, replaces, way })));
            }
            Purpose::Key(..) => self.say(Level::Quiet, "no key was given".to_owned()),
        }
    }

    fn enter_sign_in(&mut self, mut sign_in: SignIn) {
        match &sign_in.phase {
            Phase::Failed(_) => return self.begin_sign_in(sign_in.wanted, sign_in.flow),
            Phase::Waits(prompt) if prompt.takes_paste && !sign_in.line.text().trim().is_empty() => {
                let text = Zeroizing::new(sign_in.line.text().trim().to_owned());
                sign_in.line.clear();
                self.jobs.push(Job::Paste(text));
            }
            _ => {}
        }
        self.front = Some(Front::SignIn(sign_in));
    }

    pub(super) fn use_address(&mut self, action: Action) {
        let Some(Front::SignIn(SignIn { phase: Phase::Waits(prompt), .. })) = &self.front else {
            return;
        };
        let prompt = prompt.clone();
        match action {
            Action::OpenPage if prompt.can_open => {
                self.jobs.push(Job::OpenPage(prompt.address));
                self.note(Level::Quiet, "asked for a browser on this machine");
            }
            Action::OpenPage => {
                let why = "whoever sees this address could sign in with it: copy it instead";
                self.note(Level::Doubtful, why);
            }
            Action::CopyAddress => {
                self.copy(prompt.address, "the address");
                self.note(Level::Quiet, "handed the address to the terminal's clipboard");
            }
            _ => match prompt.code.or(prompt.elsewhere) {
                Some(text) => {
                    self.copy(text, "it");
                    self.note(Level::Quiet, "handed it to the terminal's clipboard");
                }
                None => self.note(Level::Quiet, "there is no code here"),
            },
        }
    }

    /// Says something beside the sign-in.
    fn note(&mut self, level: Level, text: &str) {
        if let Some(Front::SignIn(sign_in)) = &mut self.front {
            sign_in.notes.retain(|(_, known)| known != text);
            sign_in.notes.push((level, text.to_owned()));
        }
    }

    /// A sign-in goes on. If its place was left meanwhile, only its end is said.
    pub(super) fn sign_in_goes_on(&mut self, step: Step) {
        match (step, &mut self.front) {
            (Step::Waits(prompt), Some(Front::SignIn(sign_in))) => sign_in.phase = Phase::Waits(prompt),
            (Step::Note(text), Some(Front::SignIn(_))) => self.note(Level::Doubtful, &text),
            (Step::Failed(failed), Some(Front::SignIn(sign_in))) => {
                sign_in.phase = Phase::Failed(failed);
            }
            (Step::Failed(failed), _) => self.fail(failed),
            (Step::Done, Some(Front::SignIn(_))) => self.front = None,
            _ => {}
        }
    }

    /// Goes back to the list.
    pub(super) fn close(&mut self) {
        match self.front.take() {
            Some(Front::SignIn(sign_in)) => {
                if !matches!(sign_in.phase, Phase::Failed(_)) {
                    self.say(Level::Quiet, "the sign-in is broken off; nothing was stored".to_owned());
                }
                self.jobs.push(Job::StopSignIn);
            }
            Some(Front::Line(Typing { purpose: Purpose::Filter, .. })) => {
                self.list.filter.clear();
                self.list.lay_out(&self.accounts, self.now);
            }
            _ => {}
        }
    }
}

/// Returns what a person does in a flow.
fn in_words(flow: FlowKind) -> &'static str {
    match flow {
        FlowKind::Loopback => "in a browser, here or elsewhere",
        FlowKind::PastedCode => "in a browser; paste the code that it shows",
        FlowKind::Device => "type a code into a page on any device",
        FlowKind::LinkPoll => "open a link",
        _ => "",
    }
}
