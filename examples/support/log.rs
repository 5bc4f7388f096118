//! The attempts of the story, collected from a pool's events.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tower_credentials::BoxError;
use tower_credentials::events::{Event, EventKind};

/// One attempt, and the reaction to its response.
struct Attempt {
    request: u32,
    account: String,
    status: StatusCode,
    elapsed: Duration,
    done: String,
}

impl Attempt {
    fn line(&self) -> String {
        let Self { request, account, status, elapsed, done } = self;
        let elapsed = elapsed.as_secs_f64() * 1000.0;
        let done = if done.is_empty() { "answered" } else { done };
        format!("{request:>7}  {account:<7}  {:>6}  {elapsed:>6.1} ms  {done}", status.as_u16())
    }
}

/// The attempts of all requests, in order. Cheap to clone; a clone is the same log.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<(u32, Vec<Attempt>)>>);

impl Log {
    fn lock(&self) -> MutexGuard<'_, (u32, Vec<Attempt>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next attempts belong to the request of this number.
    pub fn begin(&self, request: u32) {
        self.lock().0 = request;
    }

    /// Records an event: a new attempt, or the reaction to the latest one.
    pub fn note(&self, event: &Event) {
        let (request, attempts) = &mut *self.lock();
        let done = match &event.kind {
            EventKind::Attempt { account, status, elapsed } => {
                let account = account.label.to_string();
                let (status, elapsed) = (*status, *elapsed);
                attempts.push(Attempt {
                    request: *request,
                    account,
                    status,
                    elapsed,
                    done: String::new(),
                });
                return;
            }
            EventKind::CooledDown { wait, .. } => format!("cools down for {:.0} s", wait.as_secs_f64()),
            EventKind::Rotated { to, .. } => format!("rotated to {}", to.label),
            EventKind::Refreshed { account } => {
                format!("refreshed (generation {}), sent again", account.generation)
            }
            EventKind::RefreshFailed { error, .. } => format!("refresh failed: {error}"),
            EventKind::NeedsSignIn { .. } => "needs a new sign-in".into(),
            EventKind::Repeated { .. } => "network error, sent again".into(),
            EventKind::SaveFailed { error, .. } => format!("not saved: {error}"),
            _ => return,
        };
        if let Some(latest) = attempts.last_mut() {
            let separator = if latest.done.is_empty() { "" } else { ", " };
            let _ = write!(latest.done, "{separator}{done}");
        }
    }

    pub fn print_heading() {
        println!("request  account  status    elapsed  what was done");
    }

    /// Prints the attempts of one request.
    pub fn print(&self, request: u32) {
        for attempt in self.lock().1.iter().filter(|attempt| attempt.request == request) {
            println!("{}", attempt.line());
        }
    }

    /// Checks that the attempts were these.
    pub fn check(&self, expected: &[(u32, &str, u16)]) -> Result<(), BoxError> {
        let log = self.lock();
        let made = log.1.iter().map(|made| (made.request, &*made.account, made.status.as_u16()));
        if made.clone().eq(expected.iter().copied()) {
            return Ok(());
        }
        Err(format!("the attempts were {:?}, not {expected:?}", made.collect::<Vec<_>>()).into())
    }
}
