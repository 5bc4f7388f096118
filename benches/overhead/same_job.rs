//! A user's own code for the same job, written with tower in an afternoon: several accounts, the next
//! one after a 429, `Retry-After` honoured, order and cooldowns in a file before the request is sent again.
//!
//! tower's `RetryLayer` keeps the request and sends it again; its policy does the rest. The file is written
//! under another name, renamed, and not synced, like ours for a cooldown. That happens in place: it blocks
//! the runtime's thread, which a vault must not do, and is faster than a thread for blocking work, to which a task
//! has to change and back (the bench `vault` measures both). What it does not do: inform other processes, seal the
//! tokens, renew them, check where they go, or forget a failure.

use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use tower::ServiceBuilder;
use tower::retry::{Policy, RetryLayer};

use crate::support::{Body, Stack, Upstream};

/// The accounts of a client.
#[derive(Clone)]
pub(crate) struct Accounts(Arc<Shared>);

struct Shared {
    /// The header of each account, by its number.
    headers: Vec<HeaderValue>,
    /// How long an account cools down if its response does not say.
    cooldown: Duration,
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Serialize, Deserialize)]
struct State {
    /// The accounts' numbers. The next one to use is at the front, the one limited last at the back.
    order: Vec<usize>,
    cooldowns: BTreeMap<usize, SystemTime>,
    #[serde(skip)]
    saves: u64,
}

impl Accounts {
    /// Accounts with these tokens, in the state that the file has, if it exists.
    pub(crate) fn open(path: &Path, tokens: &[String], cooldown: Duration) -> io::Result<Self> {
        let state = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let order = (0..tokens.len()).collect();
                State { order, cooldowns: BTreeMap::new(), saves: 0 }
            }
            Err(error) => return Err(error),
        };
        let header = |token| {
            let value = HeaderValue::from_maybe_shared(format!("Bearer {token}").into_bytes());
            let mut value = value.map_err(io::Error::other)?;
            value.set_sensitive(true);
            Ok(value)
        };
        let headers = tokens.iter().map(header).collect::<io::Result<_>>()?;
        Ok(Self(Arc::new(Shared { headers, cooldown, path: path.to_owned(), state: Mutex::new(state) })))
    }

    /// How often the file was written.
    pub(crate) fn saves(&self) -> u64 {
        self.state().saves
    }

    /// The accounts' numbers, with the next one to use at the front.
    pub(crate) fn order(&self) -> Vec<usize> {
        self.state().order.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a request the first account that is ready, or else the first.
    fn apply(&self, mut request: Request<Body>) -> Request<Body> {
        let state = self.state();
        if let Some(account) = state.ready().or(state.order.first().copied()) {
            request.headers_mut().insert(header::AUTHORIZATION, self.0.headers[account].clone());
        }
        drop(state);
        request
    }

    /// Moves the limited account to the back. Returns the header of the next one, if one is ready.
    fn limited(&self, header: &HeaderValue, cooldown: Duration) -> Option<&HeaderValue> {
        let limited = self.0.headers.iter().position(|other| other == header)?;
        let mut state = self.state();
        state.cooldowns.insert(limited, SystemTime::now() + cooldown);
        state.order.retain(|account| *account != limited);
        state.order.push(limited);
        // With the lock held, so that no older state replaces a newer one.
        match self.save(&state) {
            Ok(()) => state.saves += 1,
            Err(error) => tracing::warn!(%error, "could not save the accounts"),
        }
        state.ready().map(|account| &self.0.headers[account])
    }

    fn save(&self, state: &State) -> io::Result<()> {
        let temporary = self.0.path.with_extension("tmp");
        fs::write(&temporary, serde_json::to_vec(state)?)?;
        fs::rename(temporary, &self.0.path)
    }
}

impl State {
    fn ready(&self) -> Option<usize> {
        let is_ready = |account: &usize| {
            self.cooldowns.get(account).is_none_or(|until| *until <= SystemTime::now())
        };
        self.order.iter().copied().find(is_ready)
    }
}

/// How long a 429 asks to wait, in seconds or until a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Sends a limited request again with the next account.
#[derive(Clone)]
struct NextAccount {
    accounts: Accounts,
    left: usize,
}

impl<E> Policy<Request<Body>, Response<Body>, E> for NextAccount {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        request: &mut Request<Body>,
        result: &mut Result<Response<Body>, E>,
    ) -> Option<Ready<()>> {
        let Ok(response) = result else { return None };
        if response.status() != StatusCode::TOO_MANY_REQUESTS {
            return None;
        }
        let used = request.headers_mut().get_mut(header::AUTHORIZATION)?;
        let cooldown = retry_after(response.headers()).unwrap_or(self.accounts.0.cooldown);
        let next = self.accounts.limited(used, cooldown)?;
        self.left = self.left.checked_sub(1)?;
        used.clone_from(next);
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        Some(request.clone())
    }
}

/// The stack over an upstream.
pub(crate) fn stack(accounts: &Accounts, upstream: Upstream) -> impl Stack + Send + use<> {
    let policy = NextAccount { accounts: accounts.clone(), left: accounts.0.headers.len() - 1 };
    let accounts = accounts.clone();
    ServiceBuilder::new()
        .map_request(move |request| accounts.apply(request))
        .layer(RetryLayer::new(policy))
        .service(upstream)
}
