//! Changes that must not be lost: after them the engine confirms that they are on its disk and at its replicas.
//!
//! `WAIT` and `WAITAOF` speak of the changes of their own connection, and block it. So each such change has a connection
//! to itself for as long as it takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, FromRedisValue, RedisError, ServerErrorKind};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::dial::Connection;
use super::engine::Engine;
use super::facts::Facts;
use super::fault::Fault;
use super::node::Live;
use super::script::Call;
use super::url::Address;

/// How long to wait for a confirmation: an engine that syncs each second takes up to that.
pub(super) const CONFIRMED_WITHIN: Duration = Duration::from_millis(1500);

/// For how long it is believed which replicas a node has.
const FACTS_FOR: Duration = Duration::from_secs(10);

/// How many such changes are under way at a time.
const AT_A_TIME: usize = 16;

/// How many connections are kept for the next changes.
const MOST_IDLE: usize = 4;

/// How often a change is sent on to another node of a cluster.
const MOST_REDIRECTIONS: usize = 3;

pub(super) struct Durable {
    engine: Arc<Engine>,
    idle: Mutex<Vec<Idle>>,
    permits: Semaphore,
    /// Whether the last change was confirmed; a change of this is logged.
    is_unconfirmed: AtomicBool,
}

/// A connection to a node, whose commands went through that one of the node's connections meanwhile.
struct Idle {
    address: Address,
    number: u64,
    connection: Connection,
}

impl Durable {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            idle: Mutex::default(),
            permits: Semaphore::new(AT_A_TIME),
            is_unconfirmed: AtomicBool::new(false),
        }
    }

    /// Runs a script that changes something, and waits for the confirmation. That none comes is logged, and no error: the
    /// change is made. Once begun it is finished, even if the future is dropped.
    pub(super) async fn run<T: FromRedisValue + Send + 'static>(
        self: &Arc<Self>,
        slot: &str,
        call: Call,
    ) -> Result<T, Fault> {
        let (this, slot) = (self.clone(), slot.to_owned());
        let task = tokio::spawn(async move { this.run_here(&slot, &call).await });
        task.await.unwrap_or_else(|_| Err(Fault::Away("the change was cut off".to_owned())))
    }

    async fn run_here<T: FromRedisValue>(&self, slot: &str, call: &Call) -> Result<T, Fault> {
        let _permit = self.permits.acquire().await;
        // Another one may have neither the replicas nor the file that confirm the change.
        let mut node = self.engine.sure_node(slot).await?;
        for _ in 0..MOST_REDIRECTIONS {
            let live = node.live_with_facts(FACTS_FOR).await?;
            let Some(confirmation) = Confirmation::of(&live.facts) else {
                return self.engine.run(slot, call).await;
            };
            let noted = |fault| node.note_fault(&live, fault);
            let connection = match self.take(&live) {
                Some(connection) => connection,
                None => self.engine.dial(&live, CONFIRMED_WITHIN * 2).await.map_err(noted)?,
            };
            match self.change(&live, &connection, call).await.map_err(noted)? {
                Ok(value) => {
                    self.confirm(&live, &connection, &confirmation).await;
                    self.keep(&live, connection);
                    return Ok(value);
                }
                Err(error) => match self.engine.redirected(slot, &error, &live.address) {
                    Some((next, false)) => node = next,
                    // The slot is being moved; this node still has it.
                    Some((_, true)) => {}
                    None => return Err(noted(Fault::of(&error, &live.address))),
                },
            }
        }
        Err(Fault::Away("the cluster moves the pool; it is tried again".to_owned()))
    }

    async fn change<T: FromRedisValue>(
        &self,
        live: &Live,
        connection: &Connection,
        call: &Call,
    ) -> Result<Result<T, RedisError>, Fault> {
        let within = self.engine.within;
        let mut commands = connection.commands.clone();
        commands.set_response_timeout(within);
        let work = async {
            match call.by_digest().query_async::<T>(&mut commands).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    call.whole().query_async(&mut commands).await
                }
                result => result,
            }
        };
        match timeout(within, work).await {
            Ok(Err(error)) if error.is_io_error() => Err(Fault::of(&error, &live.address)),
            Ok(result) => Ok(result),
            Err(_) => Err(Fault::Away(format!("{} takes more than {within:?} to answer", live.address))),
        }
    }

    /// Waits for the confirmation.
    async fn confirm(&self, live: &Live, connection: &Connection, confirmation: &Confirmation) {
        let mut commands = connection.commands.clone();
        commands.set_response_timeout(CONFIRMED_WITHIN * 2);
        let is_confirmed = confirmation.comes(&mut commands).await;
        if self.is_unconfirmed.swap(!is_confirmed, Ordering::AcqRel) == is_confirmed {
            log(live, is_confirmed);
        }
    }

    fn take(&self, live: &Live) -> Option<Connection> {
        let mut idle = self.idle();
        idle.retain(|idle| !idle.connection.is_closed());
        let is_it = |idle: &Idle| idle.address == live.address && idle.number == live.number;
        let at = idle.iter().position(is_it)?;
        Some(idle.swap_remove(at).connection)
    }

    fn keep(&self, live: &Live, connection: Connection) {
        let mut idle = self.idle();
        if idle.len() == MOST_IDLE {
            idle.remove(0);
        }
        idle.push(Idle { address: live.address.clone(), number: live.number, connection });
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        // A connection is in it or not.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an engine can confirm.
struct Confirmation {
    /// Its own disk.
    disk: bool,
    replicas: usize,
}

impl Confirmation {
    /// Returns what to wait for; `None` if the engine has neither replicas nor a way to say when its disk has a change.
    fn of(facts: &Facts) -> Option<Self> {
        let disk = facts.has_waitaof() && facts.has_log == Some(true);
        let replicas = facts.replicas.unwrap_or(0);
        (disk || replicas > 0).then_some(Self { disk, replicas })
    }

    /// Waits, and returns whether all of it was confirmed.
    async fn comes(&self, commands: &mut MultiplexedConnection) -> bool {
        let within = CONFIRMED_WITHIN.as_millis() as u64;
        if self.replicas > 0 {
            let mut wait = redis::cmd("WAIT");
            wait.arg(self.replicas).arg(within);
            let reached = wait.query_async::<usize>(commands).await;
            if !reached.is_ok_and(|reached| reached >= self.replicas) {
                return false;
            }
        }
        if self.disk {
            let mut wait = redis::cmd("WAITAOF");
            wait.arg(1).arg(0).arg(within);
            let synced = wait.query_async::<(usize, usize)>(commands).await;
            return synced.is_ok_and(|(local, _)| local == 1);
        }
        true
    }
}

fn log(live: &Live, is_confirmed: bool) {
    let engine = &live.address;
    if is_confirmed {
        tracing::warn!(target: "tower_credentials", %engine, "the vault's engine confirms new secrets again");
    } else {
        tracing::warn!(
            target: "tower_credentials",
            %engine,
            "the vault's engine does not confirm that a new secret is on its disk and at its replicas; it would be lost \
             if the engine failed now. See whether a replica lags, or the disk is slow",
        );
    }
}
