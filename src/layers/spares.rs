//! Memory that requests reuse. Each thread keeps some of the cleared state of ended requests, so that a request
//! that goes well allocates none.

use std::cell::RefCell;
use std::thread::LocalKey;

/// How many of a kind a thread keeps.
const KEPT: usize = 64;

/// A thread's spares of one kind.
pub(super) type Spares<T> = RefCell<Vec<T>>;

/// Takes a spare, or creates a new value.
#[inline]
pub(super) fn take<T: Default>(spares: &'static LocalKey<Spares<T>>) -> T {
    // A thread that is being shut down has none left.
    spares.try_with(|spares| spares.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

/// Keeps a cleared value.
#[inline]
pub(super) fn keep<T>(spares: &'static LocalKey<Spares<T>>, spare: T) {
    let _ = spares.try_with(|spares| {
        let mut spares = spares.borrow_mut();
        if spares.len() < KEPT {
            spares.push(spare);
        }
    });
}
