//! A request's history, held by one run or shared by several.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::history::{History, Sent};
use super::jobs::Jobs;
use super::spares::{self, Spares};
use crate::pool::{Permit, Pin};
use crate::standing::Scope;

/// What the runs of one stack share about one request. The outermost run opens it. It travels to the others
/// in the request's extensions.
#[derive(Default)]
pub(super) struct Context {
    /// Identifies the pool.
    pool: AtomicUsize,
    /// The jobs of the runs that have joined.
    jobs: AtomicU8,
    /// The attempt whose response was recorded last, and its class.
    recorded: AtomicU32,
    /// The last attempt of which it was counted what became of it.
    counted: AtomicU32,
    history: Mutex<History>,
}

thread_local! {
    static CONTEXTS: Spares<Arc<Context>> = const { Spares::new(Vec::new()) };
    static HISTORIES: Spares<Box<History>> = const { Spares::new(Vec::new()) };
}

/// Whether a response was recorded before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// It was not.
    Never,
    /// A run further in has recorded another class: a service in between has replaced the response.
    Differently,
    /// A run further in has recorded the same.
    Already,
}

impl Context {
    pub(super) fn is_of(&self, pool: usize) -> bool {
        self.pool.load(Ordering::Relaxed) == pool
    }

    /// Adds a run with these jobs.
    pub(super) fn join(&self, jobs: Jobs) {
        self.jobs.fetch_or(jobs.bits(), Ordering::AcqRel);
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, attempt: u32, class: u8) -> Recorded {
        let mark = attempt << 2 | u32::from(class);
        let before = self.recorded.load(Ordering::Acquire);
        // A run further in has sent the request again since, and has recorded the outcome.
        if before == mark || before >> 2 > attempt {
            return Recorded::Already;
        }
        self.recorded.store(mark, Ordering::Release);
        if before >> 2 == attempt { Recorded::Differently } else { Recorded::Never }
    }

    /// Keeps the memory for another request, unless something still holds it.
    fn recycle(mut context: Arc<Self>) {
        let Some(Context { recorded, counted, history, .. }) = Arc::get_mut(&mut context) else {
            return;
        };
        *recorded.get_mut() = 0;
        *counted.get_mut() = 0;
        history.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        spares::keep(&CONTEXTS, context);
    }
}

/// A request's history.
pub(super) enum HistoryCell {
    /// Used by one run alone. Created when it is first needed.
    Own(Option<Box<History>>),
    Shared(Arc<Context>),
}

impl HistoryCell {
    /// Opens a history that other runs of this pool may join.
    pub(super) fn open(pool: usize, jobs: Jobs) -> Self {
        let context: Arc<Context> = spares::take(&CONTEXTS);
        context.pool.store(pool, Ordering::Relaxed);
        context.jobs.store(jobs.bits(), Ordering::Release);
        Self::Shared(context)
    }

    /// Locks the history, and creates it if there is none. The request is being sent as this attempt.
    pub(super) fn lock(&mut self, sent: Option<&Sent>) -> HistoryGuard<'_> {
        match self {
            Self::Shared(context) => HistoryGuard::Shared(context.lock()),
            Self::Own(own) => HistoryGuard::Own(own.get_or_insert_with(|| {
                let mut history: Box<History> = spares::take(&HISTORIES);
                sent.into_iter().for_each(|sent| history.record_try(&sent.lease));
                history
            })),
        }
    }

    /// Locks the history, if there is one.
    #[inline]
    pub(super) fn lock_if_any(&mut self) -> Option<HistoryGuard<'_>> {
        match self {
            Self::Shared(context) => Some(HistoryGuard::Shared(context.lock())),
            Self::Own(own) => own.as_deref_mut().map(HistoryGuard::Own),
        }
    }

    /// Returns the scope of the request's limits.
    pub(super) fn scope(&mut self) -> Option<Scope> {
        self.lock_if_any()?.options.scope.clone()
    }

    /// Whether the request is sent to check if a credential that is out of use works again.
    pub(super) fn is_check(&mut self) -> bool {
        let history = self.lock_if_any();
        history.is_some_and(|history| history.options.pin.as_ref().is_some_and(Pin::is_check))
    }

    /// Ends the request's use of a credential. Dropping the permit gives it back.
    pub(super) fn end_use(&mut self) -> Option<Permit> {
        self.lock_if_any()?.permit.take()
    }

    /// Records that an attempt begins.
    #[inline]
    pub(super) fn begin(&mut self, sent: &mut Sent) {
        if let Some(mut history) = self.lock_if_any() {
            history.begin(sent);
        }
    }

    /// Records the class of this attempt's response. Returns whether the response was recorded before.
    #[inline]
    pub(super) fn record(&self, attempt: u32, class: u8) -> Recorded {
        match self {
            Self::Own(_) => Recorded::Never,
            Self::Shared(context) => context.record(attempt, class),
        }
    }

    /// Returns whether no other run has counted what became of this attempt.
    #[inline]
    pub(super) fn is_first_to_count(&self, attempt: u32) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Shared(context) => context.counted.fetch_max(attempt, Ordering::Relaxed) < attempt,
        }
    }

    /// Returns how many attempts had a response, at least. 1 if there is no history.
    #[inline]
    pub(super) fn attempts(&self) -> u32 {
        match self {
            Self::Own(own) => {
                own.as_ref().and_then(|history| history.latest.as_ref()).map_or(1, |sent| sent.number)
            }
            Self::Shared(context) => context.recorded.load(Ordering::Acquire) >> 2,
        }
    }

    /// Returns the jobs of all runs that have joined, or `None` if none can.
    #[inline]
    pub(super) fn joined(&self) -> Option<Jobs> {
        match self {
            Self::Own(_) => None,
            Self::Shared(context) => Some(Jobs::from_bits(context.jobs.load(Ordering::Acquire))),
        }
    }

    /// Ends the request, and keeps the memory for another one.
    #[inline]
    pub(super) fn recycle(&mut self) {
        match std::mem::replace(self, Self::Own(None)) {
            Self::Own(None) => {}
            Self::Own(Some(mut history)) => {
                history.clear();
                spares::keep(&HISTORIES, history);
            }
            Self::Shared(context) => Context::recycle(context),
        }
    }
}

/// A locked history.
pub(super) enum HistoryGuard<'a> {
    Own(&'a mut History),
    Shared(MutexGuard<'a, History>),
}

impl Deref for HistoryGuard<'_> {
    type Target = History;

    fn deref(&self) -> &History {
        match self {
            Self::Own(history) => history,
            Self::Shared(history) => history,
        }
    }
}

impl DerefMut for HistoryGuard<'_> {
    fn deref_mut(&mut self) -> &mut History {
        match self {
            Self::Own(history) => history,
            Self::Shared(history) => history,
        }
    }
}
