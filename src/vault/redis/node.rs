//! One node of the engine: a connection for commands, a bound for each, and a pause after a failure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisError};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::clocks::EngineTime;
use super::dial::Connection;
use super::facts::Facts;
use super::fault::Fault;
use super::find::Finder;
use super::random::jitter;
use super::url::Address;

/// How long to leave a node alone after a failure: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// One node, or the primary that Sentinels name.
pub(super) struct Node {
    finder: Finder,
    state: Arc<Mutex<State>>,
    /// How long to wait for a connection.
    within: Duration,
}

struct State {
    stage: Stage,
    /// How many connections there were.
    number: u64,
    failures: u32,
    leave_alone_until: Option<Instant>,
    /// What was wrong the last time.
    fault: Option<Fault>,
    /// Whether it has become a replica, which takes no change. Then it is only used once it is the primary again: that it can be
    /// read in between does not mean that it is back.
    was_replica: bool,
    /// What its clock has said last, and on which connection.
    time: Option<(u64, EngineTime)>,
}

enum Stage {
    Idle,
    Connecting(watch::Receiver<Option<Result<Live, Fault>>>),
    Ready(Live),
}

/// A node that is connected.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) connection: Connection,
    pub(super) address: Address,
    pub(super) facts: Facts,
    asked_at: Instant,
    /// Which connection of the node's it is.
    pub(super) number: u64,
}

/// A command.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) command: &'a Cmd,
    /// Whether another node of the cluster has sent it on for now, while it moves the slot.
    pub(super) is_sent_on: bool,
}

impl Ask<'_> {
    async fn send<T: FromRedisValue>(
        self,
        connection: &mut MultiplexedConnection,
    ) -> Result<T, RedisError> {
        if !self.is_sent_on {
            return self.command.query_async(connection).await;
        }
        // In one piece, since the first one is about the next command of the connection.
        let mut both = redis::pipe();
        both.cmd("ASKING").ignore().add_command(self.command.clone());
        let (value,): (T,) = both.query_async(connection).await?;
        Ok(value)
    }
}

/// The result of a command: the value, or the node's own error, which the caller may know how to take.
pub(super) type Answer<T> = Result<Result<T, RedisError>, Fault>;

impl Node {
    pub(super) fn new(finder: Finder, within: Duration) -> Self {
        let state = State {
            stage: Stage::Idle,
            number: 0,
            failures: 0,
            leave_alone_until: None,
            fault: None,
            was_replica: false,
            time: None,
        };
        Self { finder, state: Arc::new(Mutex::new(state)), within }
    }

    /// Returns its address; `None` if Sentinels know it.
    pub(super) fn address(&self) -> Option<&Address> {
        self.finder.address()
    }

    /// Returns whether neither a command nor a connection has failed since the last success.
    pub(super) fn is_well(&self) -> bool {
        lock(&self.state).fault.is_none()
    }

    /// Returns whether a command would be sent: no failure was just now.
    pub(super) fn is_open(&self) -> bool {
        lock(&self.state).leave_alone_until.is_none_or(|until| until <= Instant::now())
    }

    /// Returns the node's connection, and connects if there is none. Fails at once shortly after a failure.
    pub(super) async fn live(&self) -> Result<Live, Fault> {
        let mut connecting = {
            let mut state = lock(&self.state);
            match &state.stage {
                Stage::Ready(live) if !live.connection.is_closed() => return Ok(live.clone()),
                // Unless the task's runtime has ended it.
                Stage::Connecting(receiver) if receiver.has_changed().is_ok() => receiver.clone(),
                Stage::Ready(_) | Stage::Connecting(_) | Stage::Idle => {
                    if let (Some(until), Some(fault)) = (state.leave_alone_until, &state.fault)
                        && Instant::now() < until
                    {
                        return Err(fault.clone());
                    }
                    self.connect(&mut state)
                }
            }
        };
        let done = connecting.wait_for(Option::is_some).await;
        match done.ok().and_then(|done| done.clone()) {
            Some(result) => result,
            None => Err(Fault::Away("the connection's task has ended".to_owned())),
        }
    }

    /// Like [`live`](Self::live), with facts that are not older than this, if the node says them.
    pub(super) async fn live_with_facts(&self, not_older: Duration) -> Result<Live, Fault> {
        let mut live = self.live().await?;
        if live.asked_at.elapsed() < not_older {
            return Ok(live);
        }
        if let Ok(Ok(facts)) = timeout(self.within, Facts::of(&live.connection)).await {
            (live.facts, live.asked_at) = (facts, Instant::now());
            let mut state = lock(&self.state);
            if state.number == live.number && matches!(state.stage, Stage::Ready(_)) {
                state.stage = Stage::Ready(live.clone());
            }
        }
        Ok(live)
    }

    /// Returns what its clock says, or has said on this connection no longer ago than this.
    pub(super) async fn time(&self, not_older: Duration) -> Result<EngineTime, Fault> {
        let live = self.live().await?;
        let known = lock(&self.state).time;
        if let Some((number, time)) = known
            && number == live.number
            && time.is_from_within(not_older)
        {
            return Ok(time);
        }
        let (command, asked_at) = (redis::cmd("TIME"), std::time::Instant::now());
        let said = self.ask(self.within, Ask { command: &command, is_sent_on: false }).await?;
        let said = said.map_err(|error| Fault::of(&error, &live.address))?;
        let time = EngineTime::said(said, asked_at);
        lock(&self.state).time = Some((live.number, time));
        Ok(time)
    }

    /// Connects in a task of its own, so that no caller that is left alone keeps others waiting.
    fn connect(&self, state: &mut State) -> watch::Receiver<Option<Result<Live, Fault>>> {
        let (sender, receiver) = watch::channel(None);
        state.stage = Stage::Connecting(receiver.clone());
        state.number += 1;
        let (finder, shared) = (self.finder.clone(), self.state.clone());
        let (number, within) = (state.number, self.within);
        let needs_primary = state.was_replica;
        tokio::spawn(async move {
            let found = match timeout(within, finder.connect(needs_primary, within)).await {
                Ok(found) => found,
                Err(_) => Err(Fault::Away(format!("{finder} takes more than {within:?} to connect"))),
            };
            let result = found.map(|(connection, address, facts)| Live {
                connection,
                address,
                facts,
                asked_at: Instant::now(),
                number,
            });
            {
                let mut state = lock(&shared);
                match &result {
                    Ok(live) => state.stage = Stage::Ready(live.clone()),
                    Err(fault) => state.failed(fault.clone()),
                }
            }
            sender.send_replace(Some(result));
        });
        receiver
    }

    /// Sends a command, which must be answered within this time.
    pub(super) async fn ask<T: FromRedisValue>(&self, within: Duration, ask: Ask<'_>) -> Answer<T> {
        let live = self.live().await?;
        let mut connection = live.connection.commands.clone();
        connection.set_response_timeout(within);
        let result = timeout(within, ask.send::<T>(&mut connection)).await;
        let fault = match result {
            Ok(Ok(value)) => {
                self.succeeded(&live);
                return Ok(Ok(value));
            }
            Ok(Err(error)) => match Fault::of(&error, &live.address) {
                // The node has answered, so the connection works.
                _ if !error.is_io_error() && !is_of_the_node(&error) => return Ok(Err(error)),
                fault => fault,
            },
            Err(_) => Fault::Away(format!("{} takes more than {within:?} to answer", live.address)),
        };
        self.broke(&live, &fault);
        Err(fault)
    }

    fn succeeded(&self, live: &Live) {
        let mut state = lock(&self.state);
        if state.fault.is_some() && state.number == live.number {
            (state.failures, state.leave_alone_until, state.fault) = (0, None, None);
            state.was_replica = false;
            tracing::warn!(target: "tower_credentials::engine", engine = %live.address, "the vault's engine is back");
        }
    }

    /// Gives the connection up if the fault is that the node is away, so that another one is asked next. Returns the fault.
    pub(super) fn note_fault(&self, live: &Live, fault: Fault) -> Fault {
        if fault.is_away() {
            self.broke(live, &fault);
        }
        fault
    }

    /// Gives the connection up, if it still is the node's.
    pub(super) fn broke(&self, live: &Live, fault: &Fault) {
        let mut state = lock(&self.state);
        if state.number == live.number && matches!(state.stage, Stage::Ready(_)) {
            state.failed(fault.clone());
        }
    }
}

impl State {
    fn failed(&mut self, fault: Fault) {
        self.stage = Stage::Idle;
        self.was_replica |= matches!(fault, Fault::Replica(_));
        let most = PAUSE.0.saturating_mul(1 << self.failures.min(10)).min(PAUSE.1);
        self.failures = self.failures.saturating_add(1);
        self.leave_alone_until = Some(Instant::now() + jitter(most));
        // Once for each outage, however many requests fail in it.
        if self.fault.is_none() {
            tracing::warn!(target: "tower_credentials::engine", reason = fault.words(), "the vault's engine is away");
        }
        self.fault = Some(fault);
    }
}

/// Whether the node is not, or not yet, what is needed: another connection may lead to another node.
fn is_of_the_node(error: &RedisError) -> bool {
    use redis::{ErrorKind, ServerErrorKind as Kind};
    matches!(
        error.kind(),
        ErrorKind::Parse | ErrorKind::Server(Kind::ReadOnly | Kind::BusyLoading | Kind::MasterDown)
    )
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Each change is a few assignments.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
