//! The clients that may use the gateway, and how much.

use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_credentials::Timestamp;

use super::token::{TokenHash, presented};

/// A client, as it is stored.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientRecord {
    pub(crate) name: Arc<str>,
    pub(crate) token: TokenHash,
    pub(crate) created_at: Timestamp,
    /// Whether it may administer the gateway. Such a client sends no requests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_admin: bool,
    /// The providers whose accounts it may use; all if it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) providers: Vec<String>,
    /// How many of its requests may be under way at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_in_flight: Option<NonZeroU32>,
    /// How many requests it may send per minute. As many may come at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) per_minute: Option<NonZeroU32>,
}

/// A client that is known, with what it has used.
#[derive(Debug)]
pub(super) struct Client {
    record: ClientRecord,
    in_flight: Option<Arc<Semaphore>>,
    limiter: Option<DefaultDirectRateLimiter>,
}

/// A client's place for one request, until it is dropped.
pub(super) type Place = Option<OwnedSemaphorePermit>;

/// Why a client's request must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Busy {
    InFlight(NonZeroU32),
    PerMinute { bound: NonZeroU32, wait: Duration },
}

impl Client {
    fn new(record: ClientRecord) -> Self {
        let permits = |bound: NonZeroU32| {
            let permits = usize::try_from(bound.get()).unwrap_or(usize::MAX);
            Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
        };
        Self {
            in_flight: record.max_in_flight.map(permits),
            limiter: record.per_minute.map(|bound| RateLimiter::direct(Quota::per_minute(bound))),
            record,
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.record.name
    }

    pub(super) fn is_admin(&self) -> bool {
        self.record.is_admin
    }

    pub(super) fn may_use(&self, provider: &str) -> bool {
        let providers = &self.record.providers;
        !self.is_admin() && (providers.is_empty() || providers.iter().any(|one| one == provider))
    }

    /// Takes a place for one request.
    pub(super) fn begin(&self) -> Result<Place, Busy> {
        let record = &self.record;
        let place = match (&self.in_flight, record.max_in_flight) {
            (Some(in_flight), Some(bound)) => {
                Some(in_flight.clone().try_acquire_owned().map_err(|_| Busy::InFlight(bound))?)
            }
            _ => None,
        };
        if let (Some(limiter), Some(bound)) = (&self.limiter, record.per_minute)
            && let Err(early) = limiter.check()
        {
            return Err(Busy::PerMinute {
                bound,
                wait: early.wait_time_from(DefaultClock::default().now()),
            });
        }
        Ok(place)
    }
}

/// Sets the clients again, if others are stored by now.
type Look = Box<dyn Fn(&Clients) + Send + Sync>;

/// All clients.
#[derive(Default)]
pub(crate) struct Clients {
    /// Whether no token is needed.
    is_open: bool,
    /// Whether there is one client, which a command has.
    is_of_command: bool,
    known: RwLock<Arc<[Arc<Client>]>>,
    look: Option<Look>,
}

/// Who has sent a request.
#[derive(Clone, Debug)]
pub(super) enum Sender {
    /// Nobody in particular: no token is needed.
    Anybody,
    Client(Arc<Client>),
}

impl Sender {
    pub(super) fn client(&self) -> Option<&Arc<Client>> {
        match self {
            Self::Anybody => None,
            Self::Client(client) => Some(client),
        }
    }
}

impl Clients {
    pub(crate) fn new(records: Vec<ClientRecord>) -> Self {
        let clients = Self::default();
        clients.set(records);
        clients
    }

    /// The one client that a command has.
    pub(crate) fn of_command(record: ClientRecord) -> Self {
        Self { is_of_command: true, ..Self::new(vec![record]) }
    }

    /// What to do without a token.
    pub(super) fn advice(&self) -> &'static str {
        match self.is_of_command {
            true => {
                "this is the gateway of `credentials exec`, and this request has another key than the one in its variables; \
                 the tool may have one in a file of its own"
            }
            false => {
                "this gateway needs the token of a client where your tool has its API key; `credentials client add NAME` \
                 makes one"
            }
        }
    }

    /// What to do without a token for a tunnel.
    pub(super) fn proxy_advice(&self) -> &'static str {
        match self.is_of_command {
            true => {
                "this is the proxy of `credentials exec`, for its command alone, whose HTTPS_PROXY names it"
            }
            false => {
                "this proxy needs the token of a client: HTTPS_PROXY=http://credentials:TOKEN@HOST:PORT; `credentials client \
                 add NAME` makes one"
            }
        }
    }

    /// What to do if the client that has opened a tunnel is not there any more.
    pub(super) fn gone(&self) -> &'static str {
        "the client that has opened this tunnel was removed"
    }

    /// Whoever reaches the gateway may use it.
    pub(crate) fn open(mut self) -> Self {
        self.is_open = true;
        self
    }

    /// Takes other clients once there are some. `look` sets them, if they have changed.
    pub(crate) fn following(mut self, look: impl Fn(&Self) + Send + Sync + 'static) -> Self {
        self.look = Some(Box::new(look));
        self
    }

    /// Looks whether there are other clients by now.
    pub(crate) fn look(&self) {
        self.look.iter().for_each(|look| look(self));
    }

    /// Replaces the clients. Those that are the same keep what they have used.
    pub(crate) fn set(&self, records: Vec<ClientRecord>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let same = |record: &ClientRecord| known.iter().find(|client| client.record == *record).cloned();
        let next = records
            .into_iter()
            .map(|record| same(&record).unwrap_or_else(|| Arc::new(Client::new(record))))
            .collect();
        *known = next;
    }

    /// Returns the sender of a request by the token in it.
    pub(super) fn sender(&self, headers: &HeaderMap, query: Option<&str>) -> Option<Sender> {
        let mut found = None;
        for token in presented(headers, query) {
            found = self.client(&token).map(Sender::Client).or(found);
        }
        found.or_else(|| self.is_open.then_some(Sender::Anybody))
    }

    /// Returns the client with this token, also if it was added just now.
    pub(super) fn client(&self, token: &TokenHash) -> Option<Arc<Client>> {
        let found = self.known(token);
        if found.is_some() || self.is_open {
            return found;
        }
        self.look();
        self.known(token)
    }

    fn known(&self, token: &TokenHash) -> Option<Arc<Client>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut found = None;
        // All are compared, so that the time tells nothing.
        for client in known.iter().filter(|client| client.record.token.is(token)) {
            found = Some(client.clone());
        }
        found
    }
}
