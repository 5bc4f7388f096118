//! What the layers of one stack know together about one request of the caller's.
//!
//! The outermost layer opens a [`Context`]; the others join it. It comes to them in one of two ways.
//! A layer whose inner service is, by its type, another of our layers hands it over directly, or does
//! the inner one's job as well (see [`chain`](super::chain)): nothing can stand between. Otherwise it
//! travels in the request's extensions, as an [`Attempt`], by value, so
//! that whatever a user's own layers do with the request (clone it, delay it, send it from another
//! task) it comes along.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use super::apply::Home;
use super::chain::Survey;
use crate::pool::{Lease, Permit, SlotIndex, Wish};

/// A set of the jobs that our layers do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    pub(crate) const NONE: Roles = Roles(0);
    pub(crate) const AUTH_HEADER: Roles = Roles(1);
    pub(crate) const ROTATE: Roles = Roles(2);
    pub(crate) const REFRESH: Roles = Roles(4);
    pub(crate) const PERSIST: Roles = Roles(8);
    pub(crate) const ALL: Roles = Roles(15);

    pub(crate) const fn with(self, other: Roles) -> Roles {
        Roles(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Roles) -> Roles {
        Roles(self.0 & !other.0)
    }

    pub(crate) const fn has(self, other: Roles) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) const fn intersects(self, other: Roles) -> bool {
        self.0 & other.0 != 0
    }
}

/// What an answer taught, as the innermost layer that saw it recorded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taught {
    Nothing,
    Good,
    Limited,
    Stopped,
}

/// One request of the caller's.
#[derive(Default)]
pub(crate) struct Context {
    /// Which pool's layers share it, by address: it does not outlive them.
    owner: AtomicUsize,
    /// The jobs of the layers that have joined.
    roles: AtomicU8,
    /// Whether an answer to it has cost a credential its standing.
    taught: AtomicBool,
    /// Whether the credential of the first attempt has a token that has expired.
    expired: AtomicBool,
    /// The attempt whose answer was recorded last, and as what.
    observed: AtomicU32,
    state: Mutex<State>,
}

/// What changes while a request is under way.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) wish: Wish,
    pub(crate) tried: Vec<SlotIndex>,
    pub(crate) refreshed: Vec<SlotIndex>,
    /// Credentials that were refused, and that no refresh helped.
    pub(crate) failed: Vec<SlotIndex>,
    /// The latest lease.
    pub(crate) lease: Option<Lease>,
    pub(crate) permit: Option<Permit>,
    /// The number of the latest attempt, from 1.
    pub(crate) attempt: u32,
    /// The pool's tick when it began.
    pub(crate) began: u64,
    /// When it began, where somebody looks at events.
    pub(crate) started: Option<Instant>,
    /// How many credentials a request may be tried with, where a rotate layer says so.
    pub(crate) budget: Option<u32>,
    /// Where the caller has sent it, once it was sent elsewhere.
    pub(crate) home: Option<Home>,
    pub(crate) copy: PartsCopy,
    pub(crate) copy_taken: bool,
}

impl State {
    /// Makes this lease the one of a new attempt.
    pub(crate) fn begin_attempt(&mut self, lease: Lease, tick: u64, timed: bool) {
        if !self.tried.contains(&lease.slot()) {
            self.tried.push(lease.slot());
        }
        self.lease = Some(lease);
        self.attempt += 1;
        self.began = tick;
        self.started = timed.then(Instant::now);
    }

    fn reset(&mut self) {
        let Self { wish, tried, refreshed, failed, lease, permit, copy, .. } = self;
        wish.clear();
        tried.clear();
        refreshed.clear();
        failed.clear();
        *lease = None;
        *permit = None;
        copy.clear();
        self.attempt = 0;
        self.began = 0;
        self.started = None;
        self.budget = None;
        self.home = None;
        self.copy_taken = false;
    }
}

/// How many spare contexts a thread keeps for requests to come.
const SPARE: usize = 64;

thread_local! {
    /// The way down from one of our layers to the next, while the one calls the other.
    static HANDOVER: Cell<Option<Handover>> = const { Cell::new(None) };
    /// Contexts of ended requests, emptied: a request that goes well allocates none.
    static SPARES: RefCell<Vec<Arc<Context>>> = const { RefCell::new(Vec::new()) };
}

impl Context {
    /// An empty context for the layers of a pool.
    fn open(owner: usize) -> Arc<Self> {
        // A thread that is being shut down has no spares left.
        let spare = SPARES.try_with(|spares| spares.borrow_mut().pop()).ok().flatten();
        let context = spare.unwrap_or_default();
        context.owner.store(owner, Ordering::Relaxed);
        context
    }

    fn is_of(&self, owner: usize) -> bool {
        self.owner.load(Ordering::Relaxed) == owner
    }

    /// Empties a context that nobody else holds, and keeps it for another request.
    fn recycle(mut context: Arc<Self>) {
        let Some(ended) = Arc::get_mut(&mut context) else { return };
        *ended.roles.get_mut() = 0;
        *ended.taught.get_mut() = false;
        *ended.expired.get_mut() = false;
        *ended.observed.get_mut() = 0;
        ended.state.get_mut().unwrap_or_else(PoisonError::into_inner).reset();
        let _ = SPARES.try_with(|spares| {
            let mut spares = spares.borrow_mut();
            if spares.len() < SPARE {
                spares.push(context);
            }
        });
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The jobs of the layers that have joined until now.
    pub(crate) fn roles(&self) -> Roles {
        Roles(self.roles.load(Ordering::Acquire))
    }

    /// Whether an answer to this request has cost a credential its standing.
    pub(crate) fn has_taught(&self) -> bool {
        self.taught.load(Ordering::Acquire)
    }

    pub(crate) fn set_taught(&self) {
        self.taught.store(true, Ordering::Release);
    }

    pub(crate) fn set_expired(&self) {
        self.expired.store(true, Ordering::Release);
    }

    /// Whether the token has expired, asked by the one who renews it.
    #[inline]
    pub(crate) fn take_expired(&self) -> bool {
        self.expired.load(Ordering::Acquire) && self.expired.swap(false, Ordering::AcqRel)
    }

    /// Whether this attempt's answer is yet to be recorded as this; from now on it is. A layer further
    /// in that has sent again since has recorded all that came of it.
    pub(crate) fn observe(&self, attempt: u32, taught: Taught) -> Observed {
        let mark = attempt << 2 | taught as u32;
        let before = self.observed.load(Ordering::Acquire);
        if before == mark || before >> 2 > attempt {
            return Observed::Known;
        }
        self.observed.store(mark, Ordering::Release);
        if before >> 2 == attempt { Observed::Differently } else { Observed::First }
    }
}

/// A layer's hold of a context, until the outermost layer keeps it for another request.
pub(crate) struct Held(Option<Arc<Context>>);

impl Held {
    fn new(context: Arc<Context>) -> Self {
        Self(Some(context))
    }

    fn share(&self) -> Arc<Context> {
        self.arc().clone()
    }

    /// The request is over: keeps the context for another one, unless something still holds it.
    pub(crate) fn recycle(&mut self) {
        if let Some(context) = self.0.take() {
            Context::recycle(context);
        }
    }

    fn arc(&self) -> &Arc<Context> {
        self.0.as_ref().expect("a context is held until it is dropped")
    }
}

impl std::ops::Deref for Held {
    type Target = Context;

    fn deref(&self) -> &Context {
        self.arc()
    }
}

/// Whether an answer was recorded before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    /// By a layer further in.
    Known,
    /// As something else: a service in between has turned the answer into another.
    Differently,
    /// Not yet.
    First,
}

/// What one layer passes to the next one directly inside.
pub(crate) enum Handover {
    /// The context, to be joined.
    Join(Joint),
    /// That the layer outside does this one's job as well, for the pool of this address.
    Driven(usize),
}

/// A context on its way from one layer to the next.
pub(crate) struct Joint {
    context: Arc<Context>,
    carried: Option<Lease>,
    attempt: u32,
    slot: Option<SlotIndex>,
    outside: Roles,
    written: bool,
    copied: bool,
    /// Where the layers of the chain put what they do, when the outermost of them asks.
    pub(crate) survey: Option<Survey>,
}

impl Handover {
    /// Takes what the layer directly outside has passed, where it is of the same pool.
    #[inline]
    pub(crate) fn take(owner: usize) -> Option<Self> {
        HANDOVER.take().filter(|handover| match handover {
            Handover::Join(joint) => joint.context.is_of(owner),
            Handover::Driven(by) => *by == owner,
        })
    }

    /// Passes this to the layer directly inside, which is called next.
    #[inline]
    pub(crate) fn pass(self) {
        HANDOVER.set(Some(self));
    }

    /// After that call: what is still there was for a layer of another pool. Nobody else's it may
    /// become.
    #[inline]
    pub(crate) fn end() {
        drop(HANDOVER.take());
    }
}

/// An attempt of one of the layers, as it travels in the request's extensions: what service of yours
/// stands under the layers can read there which credential the attempt uses.
///
/// It is always there between two layers that are not directly one on the other. Under a complete
/// stack it is there if [`expose_attempts`](crate::PoolBuilder::expose_attempts) is set.
#[derive(Clone)]
pub struct Attempt {
    context: Arc<Context>,
    lease: Option<Lease>,
    number: u32,
    outside: Roles,
    written: bool,
}

impl Attempt {
    /// The credential that the attempt uses, once a layer has picked one.
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// Which attempt of the caller's request this is, from 1; 0 before a credential is picked.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What is to be told of it once the request is over: no layer joins it.
    #[cfg(feature = "reqwest-middleware")]
    pub(crate) fn ended(&self) -> Self {
        Self { context: Arc::default(), ..self.clone() }
    }
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt").field("number", &self.number).field("lease", &self.lease).finish()
    }
}

/// One layer's part in a request's context.
pub(crate) struct Part {
    pub(crate) context: Held,
    /// The jobs of the layers outside of this one.
    pub(crate) outside: Roles,
    /// The lease that came with the request, where it came by its extensions: a request that was cloned
    /// in between keeps its own. Elsewhere the context's lease is the one.
    pub(crate) carried: Option<Lease>,
    /// The attempt that this layer's call is part of.
    pub(crate) attempt: u32,
    /// Whose credential that uses, so that the state need not be locked for an answer that teaches nothing.
    pub(crate) slot: Option<SlotIndex>,
    /// Whether the request carries the headers of its lease.
    pub(crate) written: bool,
    /// Whether the copy in the context is one of this very request.
    pub(crate) copied: bool,
    /// Whether the context came in the extensions, so that they must be kept up to date.
    pub(crate) by_extensions: bool,
    /// Whether this layer opened the context.
    pub(crate) is_outermost: bool,
}

impl Part {
    /// Joins the request's context, or opens it.
    pub(crate) fn join(
        joint: Option<Joint>,
        owner: usize,
        roles: Roles,
        extensions: &Extensions,
    ) -> Self {
        if let Some(joint) = joint {
            let Joint { context, carried, attempt, slot, outside, written, copied, .. } = joint;
            match carried {
                // Nothing stands between this layer and the outermost one, so it is alone here.
                None => context.roles.store(context.roles().with(roles).0, Ordering::Release),
                Some(_) => drop(context.roles.fetch_or(roles.0, Ordering::AcqRel)),
            }
            return Self {
                context: Held::new(context),
                outside,
                carried,
                attempt,
                slot,
                written,
                copied,
                by_extensions: false,
                is_outermost: false,
            };
        }
        let travelling =
            extensions.get::<Attempt>().filter(|attempt| attempt.context.is_of(owner)).cloned();
        if let Some(Attempt { context, lease, number, outside, written }) = travelling {
            context.roles.fetch_or(roles.0, Ordering::AcqRel);
            return Self {
                context: Held::new(context),
                outside,
                slot: lease.as_ref().map(Lease::slot),
                carried: lease,
                attempt: number,
                written,
                copied: false,
                by_extensions: true,
                is_outermost: false,
            };
        }
        let context = Context::open(owner);
        context.roles.store(roles.0, Ordering::Release);
        Self {
            context: Held::new(context),
            outside: Roles::NONE,
            carried: None,
            attempt: 0,
            slot: None,
            written: false,
            copied: false,
            by_extensions: false,
            is_outermost: true,
        }
    }

    /// What the layer directly inside must know to join.
    pub(crate) fn joint(&self, roles: Roles, survey: Option<Survey>) -> Joint {
        Joint {
            context: self.context.share(),
            carried: self.carried.clone(),
            attempt: self.attempt,
            slot: self.slot,
            outside: self.outside.with(roles),
            written: self.written,
            copied: self.copied,
            survey,
        }
    }

    /// Puts what inner layers need into the request's extensions.
    pub(crate) fn travel(&self, roles: Roles, lease: Option<Lease>, extensions: &mut Extensions) {
        extensions.insert(Attempt {
            context: self.context.share(),
            lease,
            number: self.attempt,
            outside: self.outside.with(roles),
            written: self.written,
        });
    }
}

/// A request but for its body, kept for another attempt. Its memory is used again by the next one.
#[derive(Default)]
pub(crate) struct PartsCopy {
    method: Method,
    uri: Uri,
    version: Version,
    /// As a list, since a map costs two allocations and a hash for each name.
    headers: Vec<(HeaderName, HeaderValue)>,
    extensions: Extensions,
}

impl PartsCopy {
    /// Copies a request's parts. What is ours in the extensions is left out.
    pub(crate) fn take<B>(&mut self, request: &mut Request<B>) {
        self.method.clone_from(request.method());
        self.uri.clone_from(request.uri());
        self.version = request.version();
        self.headers.clear();
        let headers = request.headers().iter();
        self.headers.extend(headers.map(|(name, value)| (name.clone(), value.clone())));
        let extensions = request.extensions_mut();
        let ours = extensions.remove::<Attempt>();
        if !extensions.is_empty() {
            self.extensions = extensions.clone();
        }
        if let Some(ours) = ours {
            extensions.insert(ours);
        }
    }

    /// Another request of the same parts.
    pub(crate) fn restore<B>(&self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        // Room for what a credential adds.
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 2);
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
        *request.headers_mut() = headers;
        if !self.extensions.is_empty() {
            *request.extensions_mut() = self.extensions.clone();
        }
        request
    }

    fn clear(&mut self) {
        self.method = Method::GET;
        self.uri = Uri::default();
        self.headers.clear();
        if !self.extensions.is_empty() {
            self.extensions = Extensions::new();
        }
    }
}
