//! The task that writes a pool's events.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::digest::Digest;
use super::files::{self, Files};
use super::line;
use crate::clock::Clock;
use crate::events::{Event, EventKind, EventStream};
use crate::pool::Pool;
use crate::vault::disk;

/// How many lines are written at once at most.
const AT_ONCE: u64 = 64;

/// A pool's events are being recorded. If it is dropped, that goes on until the pool and its clones are dropped.
#[derive(Debug)]
pub struct Recording {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Recording {
    pub(super) fn begin(files: Arc<Files>, pool: &Pool) -> Self {
        let (stop, stopped) = oneshot::channel();
        let digest = Arc::new(Mutex::new(Digest::default()));
        let digested = digest.clone();
        let events = pool.sieved_events(move |event| lock(&digested).take(event));
        let task = tokio::spawn(run(Writer::new(files), events, digest, stopped));
        Self { stop, task }
    }

    /// Writes what has happened so far, and ends. A program that ends without it may lose the last events.
    pub async fn close(self) {
        let Self { stop, task } = self;
        let _ = stop.send(());
        // It fails only if the runtime is shut down.
        let _ = task.await;
    }
}

fn lock(digest: &Mutex<Digest>) -> MutexGuard<'_, Digest> {
    digest.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(
    mut writer: Writer,
    mut events: EventStream,
    digest: Arc<Mutex<Digest>>,
    stop: oneshot::Receiver<()>,
) {
    let mut stop = Some(stop);
    while let Some(event) = next(&mut events, &mut stop).await {
        writer.push(event);
        while writer.count < AT_ONCE
            && let Some(event) = events.try_next()
        {
            writer.push(event);
        }
        writer.write().await;
    }
    let digest = std::mem::take(&mut *lock(&digest));
    digest.rest(Clock::system().now()).for_each(|event| writer.push(event));
    writer.write().await;
}

/// Returns the next event; `None` at the end of the pool, or after everything that happened before the stop.
async fn next(events: &mut EventStream, stop: &mut Option<oneshot::Receiver<()>>) -> Option<Event> {
    let mut next = pin!(events.next());
    poll_fn(|cx| {
        if let Poll::Ready(event) = next.as_mut().poll(cx) {
            return Poll::Ready(event);
        }
        let Some(stopped) = stop else { return Poll::Pending };
        match Pin::new(stopped).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(None),
            // Nobody can stop it any more.
            Poll::Ready(Err(_)) => {
                *stop = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Lines that are to be written.
struct Writer {
    files: Arc<Files>,
    lines: Vec<u8>,
    count: u64,
    /// Lines that could not be written, and that no line tells of yet.
    lost: u64,
    is_reported: bool,
}

impl Writer {
    fn new(files: Arc<Files>) -> Self {
        Self { files, lines: Vec::new(), count: 0, lost: 0, is_reported: false }
    }

    fn push(&mut self, event: Event) {
        match line::of(event) {
            Some(line) => {
                self.lines.extend_from_slice(&line);
                self.count += 1;
            }
            None => self.lost += 1,
        }
    }

    async fn write(&mut self) {
        if self.count == 0 {
            return;
        }
        let mut bytes = Vec::new();
        if self.lost > 0 {
            let lost = EventKind::Lost { events: self.lost };
            bytes.extend(line::of(Event::new(Clock::system().now(), lost)).unwrap_or_default());
        }
        bytes.append(&mut self.lines);
        let count = std::mem::take(&mut self.count);
        match files::append(&self.files, bytes).await {
            Ok(()) => self.lost = 0,
            Err(error) => {
                self.lost += count;
                // Once, and not if nothing can be written there at all.
                if !std::mem::replace(&mut self.is_reported, true) && !disk::is_unwritable(&error) {
                    tracing::warn!(target: "tower_credentials", %error, "could not write the history");
                }
            }
        }
    }
}
