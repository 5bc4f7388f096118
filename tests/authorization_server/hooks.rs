//! Lets a test act between an exchange and its response.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use tokio::sync::Semaphore;

/// A fault of a response.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// No fault: only a later response has one.
    None,
    /// The response never comes.
    Never,
    /// The response breaks off in the middle.
    Cut,
    /// The response is longer than a client should read.
    Oversized,
    /// The response is this text.
    Text(StatusCode, &'static str),
    /// The response is this text, with `{}` replaced by the first secret of the request.
    Quoting(StatusCode, &'static str),
}

/// A point at which an exchange is held.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Sides>);

struct Sides {
    arrived: Semaphore,
    open: Semaphore,
}

impl Gate {
    fn new() -> Self {
        Self(Arc::new(Sides { arrived: Semaphore::new(0), open: Semaphore::new(0) }))
    }

    /// Waits until an exchange has arrived.
    pub(crate) async fn arrived(&self) {
        self.0.arrived.acquire().await.unwrap().forget();
    }

    /// Lets the exchange go on.
    pub(crate) fn let_go(&self) {
        self.0.open.add_permits(1);
    }

    async fn pass(&self) {
        self.0.arrived.add_permits(1);
        self.0.open.acquire().await.unwrap().forget();
    }
}

#[derive(Default)]
pub(super) struct Hooks {
    before: Mutex<VecDeque<Gate>>,
    after: Mutex<VecDeque<Gate>>,
    faults: Mutex<VecDeque<Fault>>,
}

impl Hooks {
    pub(super) fn hold_before(&self) -> Gate {
        let gate = Gate::new();
        self.before.lock().unwrap().push_back(gate.clone());
        gate
    }

    pub(super) fn hold_after(&self) -> Gate {
        let gate = Gate::new();
        self.after.lock().unwrap().push_back(gate.clone());
        gate
    }

    pub(super) fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    pub(super) async fn before(&self) {
        let gate = self.before.lock().unwrap().pop_front();
        if let Some(gate) = gate {
            gate.pass().await;
        }
    }

    pub(super) async fn after(&self) -> Option<Fault> {
        let gate = self.after.lock().unwrap().pop_front();
        if let Some(gate) = gate {
            gate.pass().await;
        }
        self.faults.lock().unwrap().pop_front()
    }
}
