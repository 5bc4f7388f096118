//! Accounts that are made up, for pictures of the screen and for its tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tower_credentials::events::{Event, EventKind, RotationReason};
use tower_credentials::oauth::FlowKind;
use tower_credentials::standing::{Cooldown, Health, LastResponse, Reason, Scope, Standing};
use tower_credentials::{
    CredentialId, Generation, Kind, Metadata, Mode, PoolKey, Timestamp, rate_limit,
};

use super::state::State;
use super::state::account::Seen;
use super::state::history::Happened;
use super::state::job::{Look, Provider, Update};
use super::state::why::{Line, Told};
use crate::account::{Account, LeftOut, QuotaOf, Unrenewable};
use crate::time::{Zone, rfc3339};

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
    let mut state = new();
    state.update(Update::Looked(Box::new(look(accounts()))));
    let events = history(&state);
    state.update(Update::Happened(Happened { is_all: true, events, note: None }));
    state
}

/// The screen before anything was read. It looks the same everywhere.
pub(super) fn new() -> State {
    let mut state = State::new(NOW);
    state.zone = Zone::Utc;
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
        Self { account, trouble: None, place: (1, 1) }
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

    /// What its vendor has said: the limit's name, the used part, and when it resets.
    pub(super) fn left(mut self, windows: &[(&str, &'static str, u64)], ago: u64) -> Self {
        let mut headers = HeaderMap::new();
        let mut insert = |name: &str, what: &str, value| {
            let name = HeaderName::try_from(format!("anthropic-ratelimit-unified-{name}-{what}"));
            headers.extend(name.ok().zip(Some(value)));
        };
        for (name, used, resets) in windows {
            insert(name, "utilization", HeaderValue::from_static(used));
            let at = NOW.after(seconds(*resets)).as_millis() / 1000;
            insert(name, "reset", HeaderValue::from(at));
        }
        self.account.standing.allowance = rate_limit::windows(&headers, NOW.before(seconds(ago)));
        self
    }

    pub(super) fn trouble(mut self, why: &str, way_out: &str) -> Self {
        self.trouble = Some((why.to_owned(), Some(way_out.to_owned())));
        self
    }

    pub(super) fn seen(self) -> Seen {
        let mut seen = Seen::new(self.account, NOW);
        (seen.place, seen.of) = self.place;
        seen.trouble = self.trouble;
        seen
    }
}

fn accounts() -> Vec<Seen> {
    let (reason, generation) = ("token revoked".to_owned(), Generation::FIRST);
    let revoked = Health::NeedsSignIn { reason, generation, cause: None };
    let windows =
        [("5h", "0.62", 131 * MINUTE), ("7d", "0.29", 76 * HOUR), ("7d_opus", "0.91", 76 * HOUR)];
    let full = [("5h", "1.0", 4 * MINUTE + 37), ("7d", "0.45", 30 * HOUR)];
    let team = [("5h", "0.10", 3 * HOUR), ("7d", "0.03", 4 * DAY)];
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

/// What has happened today, the oldest first.
fn history(state: &State) -> Vec<Event> {
    let of = |label: &str| state.accounts.iter().find(|seen| *seen.label() == *label);
    let answered = |label: &str, status: StatusCode, requests: u64| {
        let account = (&of(label)?.account.credential).into();
        Some(EventKind::Answered { account, status, requests })
    };
    let about = |label: &str, kind: fn(tower_credentials::events::Account) -> EventKind| {
        Some(kind((&of(label)?.account.credential).into()))
    };
    let cooled_down = |account| {
        let (wait, reason) = (seconds(8 * MINUTE + 37), Reason::Limited);
        let until = NOW.before(seconds(4 * MINUTE)).after(wait);
        EventKind::CooledDown { account, until, wait, reason, scope: None }
    };
    let rotated = || {
        let from = (&of("private")?.account.credential).into();
        let to = (&of("work")?.account.credential).into();
        Some(EventKind::Rotated { from, to, reason: RotationReason::Limited })
    };
    let mut events = vec![
        (93 * MINUTE, about("home", |account| EventKind::Paused { account })),
        (52 * MINUTE, about("work", |account| EventKind::Refreshed { account })),
        (4 * MINUTE, answered("private", StatusCode::TOO_MANY_REQUESTS, 1)),
        (4 * MINUTE, about("private", cooled_down)),
        (4 * MINUTE, rotated()),
        (2 * MINUTE, answered("team", StatusCode::OK, 1)),
        (12, answered("work", StatusCode::OK, 3)),
    ];
    // A day's work.
    for hour in 0..22 {
        for number in 0..(hour * 7 % 11) {
            let ago = hour * HOUR + number * MINUTE + 2 * HOUR;
            events.push((ago, answered("work", StatusCode::OK, number % 4 + 1)));
        }
    }
    events.sort_by_key(|(ago, _)| std::cmp::Reverse(*ago));
    let event = |(ago, kind): (u64, Option<_>)| Some(Event::new(NOW.before(seconds(ago)), kind?));
    events.into_iter().filter_map(event).collect()
}

/// What a pool says of its accounts, in the words of `credentials why`.
pub(super) fn told(pool: &PoolKey) -> Told {
    let until = rfc3339(NOW.after(seconds(4 * MINUTE + 37)));
    let at = rfc3339(NOW.before(seconds(4 * MINUTE)));
    let limited = format!(
        "cooling down, 4m 37s left, until {until}: it has reached a limit (response 429 at {at}, the time is from the \
         header retry-after)"
    );
    let says = |label: &str| match label {
        "private" => (limited.as_str(), ["try: credentials reset anthropic/private", "to use it now"]),
        "old" => (
            "needs sign-in: token revoked",
            ["try: credentials login anthropic --label old --replace", ""],
        ),
        "key" => (
            "not used: mode auto takes sign-ins before keys",
            ["try: set providers.anthropic.mode = \"all\"", ""],
        ),
        "home" => ("paused", ["try: credentials resume google/home", ""]),
        _ => ("ready", ["", ""]),
    };
    let accounts: Vec<_> = accounts().into_iter().filter(|seen| seen.pool() == pool).collect();
    let line = |seen: &Seen| {
        let (why, way_out) = says(&seen.label());
        let way_out = way_out.into_iter().filter(|text| !text.is_empty()).map(str::to_owned);
        Line { id: seen.id(), name: seen.name.clone(), why: why.to_owned(), way_out: way_out.collect() }
    };
    let next = accounts.iter().find(|seen| seen.account.is_active).map(|seen| &seen.name);
    Told {
        next: format!("the next request takes {}", next.map_or("none", String::as_str)),
        gateway: None,
        lines: accounts.iter().map(line).collect(),
    }
}
