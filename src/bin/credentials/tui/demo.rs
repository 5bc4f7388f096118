//! Accounts that are made up, for pictures of the screen and for its tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tower_credentials::oauth::FlowKind;
use tower_credentials::standing::{Cooldown, Health, LastResponse, Reason, Scope, Standing};
use tower_credentials::{CredentialId, Generation, Kind, Metadata, Mode, PoolKey, Timestamp};

use super::state::State;
use super::state::account::{Level, Seen, Window};
use super::state::history::Entry;
use super::state::job::{Look, Provider, Update};
use crate::account::{Account, LeftOut, QuotaOf, Unrenewable};

/// The time on the screen: 29 November 2026, 14:02:31.
pub(super) const NOW: Timestamp = Timestamp::from_millis(1_795_960_951_000);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The screen with all that it can show.
pub(super) fn state() -> State {
    let mut state = State::new(NOW);
    state.update(Update::Looked(Box::new(look(accounts()))));
    history(&mut state);
    state
}

/// What was read of a vault with these accounts.
pub(super) fn look(accounts: Vec<Seen>) -> Look {
    let mode = |name: &str| if name == "anthropic" { Mode::Auto } else { Mode::All };
    let provider = |name: &str, flows: &[FlowKind], takes_keys: bool| Provider {
        pool: PoolKey::new(name),
        flows: flows.to_vec(),
        takes_keys,
        needs: None,
        mode: mode(name),
    };
    Look {
        accounts,
        damaged: Vec::new(),
        providers: vec![
            provider("anthropic", &[FlowKind::Loopback, FlowKind::PastedCode], true),
            provider("github-copilot", &[FlowKind::Device], false),
            provider("google", &[FlowKind::Loopback], true),
            provider("openai", &[FlowKind::Loopback, FlowKind::Device], true),
        ],
        settings: [
            ("Places", ""),
            ("settings", "/home/alice/.config/tower-credentials/config.toml"),
            ("vault", "/home/alice/.local/share/tower-credentials/vault"),
            ("key", "the file /home/alice/.config/tower-credentials/vault.key"),
            ("anthropic", ""),
            ("mode", "auto"),
            ("origin", "https://api.anthropic.com"),
            ("key in", "ANTHROPIC_API_KEY"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
    }
}

/// An account that is made up.
pub(super) struct Made {
    account: Account,
    left: Vec<Window>,
    trouble: Option<(String, Option<String>)>,
    place: (usize, usize),
}

impl Made {
    /// The account of this number.
    pub(super) fn new(number: u32, provider: &str, label: &str, kind: Kind) -> Self {
        let mut id = [0x11; 16];
        id[..4].copy_from_slice(
            &(0x4b6a_e632_u32.wrapping_add(number.wrapping_mul(0x0101_0301))).to_be_bytes(),
        );
        let added = NOW.before(seconds(26 * DAY));
        let credential = Metadata {
            id: CredentialId::from_bytes(id),
            pool: PoolKey::new(provider),
            label: Arc::from(label),
            kind,
            generation: Generation::FIRST,
            created_at: added,
            updated_at: added,
            attributes: BTreeMap::new(),
        };
        let account = Account {
            credential,
            standing: Standing::default(),
            tier: 0,
            quota: QuotaOf::default(),
            expires_at: None,
            unrenewable: None,
            left_out: None,
            is_known: true,
            is_active: false,
            is_renewable: false,
            last_renewal: None,
            has_unread_response: false,
        };
        Self { account, left: Vec::new(), trouble: None, place: (1, 1) }
    }

    pub(super) fn place(mut self, place: usize, of: usize) -> Self {
        self.place = (place, of);
        self
    }

    pub(super) fn active(mut self) -> Self {
        self.account.is_active = true;
        self
    }

    pub(super) fn paused(mut self) -> Self {
        self.account.standing.paused = true;
        self
    }

    pub(super) fn answered(mut self, status: u16, ago: u64) -> Self {
        let at = NOW.before(seconds(ago));
        self.account.standing.last_response = Some(LastResponse { at, status });
        self
    }

    pub(super) fn ends_in(mut self, left: u64) -> Self {
        self.account.expires_at = Some(NOW.after(seconds(left)));
        self
    }

    pub(super) fn cooling(mut self, left: u64, scope: Option<&str>) -> Self {
        self.account.standing.failures += 1;
        self.account.standing.cooldowns.push(Cooldown {
            until: NOW.after(seconds(left)),
            set_at: NOW.before(seconds(MINUTE)),
            reason: Reason::Limited,
            scope: scope.map(Scope::new),
            generation: None,
            cause: None,
        });
        self
    }

    pub(super) fn health(mut self, health: Health) -> Self {
        self.account.standing.health = health;
        self
    }

    pub(super) fn left_out(mut self, mode: Mode) -> Self {
        self.account.left_out = Some(LeftOut(mode));
        self
    }

    pub(super) fn without_client(mut self) -> Self {
        self.account.unrenewable = Some(Unrenewable::Missing("client_id"));
        self
    }

    pub(super) fn attribute(mut self, name: &str, value: &str) -> Self {
        self.account.credential.attributes.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn left(mut self, windows: &[(&str, u16, u64)], ago: u64) -> Self {
        let window = |(name, permille, resets): &(&str, u16, u64)| Window {
            name: (*name).to_owned(),
            permille: *permille,
            resets_at: Some(NOW.after(seconds(*resets))),
            said_at: NOW.before(seconds(ago)),
        };
        self.left = windows.iter().map(window).collect();
        self
    }

    pub(super) fn trouble(mut self, why: &str, way_out: &str) -> Self {
        self.trouble = Some((why.to_owned(), Some(way_out.to_owned())));
        self
    }

    pub(super) fn seen(self) -> Seen {
        let mut seen = Seen::new(self.account, NOW);
        (seen.place, seen.of) = self.place;
        (seen.left, seen.trouble) = (self.left, self.trouble);
        seen
    }
}

fn accounts() -> Vec<Seen> {
    let (reason, generation) = ("token revoked".to_owned(), Generation::FIRST);
    let revoked = Health::NeedsSignIn { reason, generation, cause: None };
    let windows = [("5 hours", 380, 131 * MINUTE), ("7 days", 710, 76 * HOUR), ("opus", 90, 76 * HOUR)];
    let full = [("5 hours", 0, 4 * MINUTE + 37), ("7 days", 550, 30 * HOUR)];
    let team = [("5 hours", 900, 3 * HOUR), ("7 days", 970, 4 * DAY)];
    let left_out = "not used: mode auto takes sign-ins before keys";
    let made = [
        Made::new(0, "anthropic", "work", Kind::OAuth)
            .active()
            .attribute("plan", "Max")
            .attribute("email", "alice@work.example")
            .ends_in(52 * MINUTE)
            .answered(200, 12)
            .left(&windows, 12)
            .place(1, 4),
        Made::new(1, "anthropic", "private", Kind::OAuth)
            .ends_in(3 * HOUR)
            .answered(429, 4 * MINUTE)
            .cooling(4 * MINUTE + 37, None)
            .left(&full, 4 * MINUTE)
            .place(2, 4),
        Made::new(2, "anthropic", "old", Kind::OAuth)
            .health(revoked)
            .answered(401, 3 * DAY)
            .trouble("needs sign-in: token revoked", "credentials login anthropic --label old --replace")
            .place(3, 4),
        Made::new(3, "anthropic", "key", Kind::Api)
            .left_out(Mode::Auto)
            .answered(200, 9 * DAY)
            .trouble(left_out, "set providers.anthropic.mode = \"all\"")
            .place(4, 4),
        Made::new(4, "github-copilot", "me", Kind::OAuth)
            .active()
            .ends_in(5 * HOUR)
            .without_client()
            .answered(200, HOUR)
            .trouble(
                "ends in 5h, can't be renewed: no client id",
                "set providers.github-copilot.oauth.client_id",
            ),
        Made::new(5, "google", "home", Kind::OAuth).paused().answered(200, DAY),
        Made::new(6, "openai", "team", Kind::OAuth)
            .active()
            .ends_in(41 * MINUTE)
            .answered(200, 2 * MINUTE)
            .left(&team, 2 * MINUTE),
    ];
    made.into_iter().map(Made::seen).collect()
}

/// What has happened today.
fn history(state: &mut State) {
    let entries = [
        ("work", 12, Some(200), ""),
        ("private", 4 * MINUTE, Some(429), ""),
        ("private", 4 * MINUTE, None, "cooling down, ready in 8:37"),
        ("work", 4 * MINUTE, None, "is taken next"),
        ("team", 2 * MINUTE, Some(200), ""),
        ("work", 52 * MINUTE, None, "token renewed"),
        ("home", 93 * MINUTE, None, "paused"),
    ];
    for (label, ago, status, text) in entries {
        add(state, label, ago, status, text);
    }
    // A day's work.
    for hour in 0..24 {
        for number in 0..(hour * 7 % 11) {
            add(state, "work", hour * HOUR + number * MINUTE + 2 * HOUR, Some(200), "");
        }
    }
}

fn add(state: &mut State, label: &str, ago: u64, status: Option<u16>, text: &str) {
    let Some(seen) = state.accounts.iter().find(|seen| *seen.label() == *label) else { return };
    let level = match (status, text) {
        (Some(429), _) | (_, "cooling down, ready in 8:37") => Level::Doubtful,
        (_, "paused") => Level::Quiet,
        _ => Level::Good,
    };
    let (id, name) = (seen.id(), seen.name.clone());
    let at = NOW.before(seconds(ago));
    state.history.add(Entry { at, id, name, status, text: text.to_owned(), level });
}
