//! The pool's counters come to exactly what the upstream and the refresher have seen, in every order.

use std::sync::atomic::Ordering;

use tower_credentials::counters::{Counters, CredentialCounters};

use super::model::{Attempt, Layers};
use super::world::World;

/// Compares the pool's counters with what has happened. `sizes` has the number of attempts of each request.
pub(super) fn check(world: &World, layers: Layers, sizes: &[usize]) {
    let counters = world.pool.counters();
    let seen = world.seen.lock().unwrap();
    if !layers.auth_header && !layers.rotate && !layers.refresh {
        let credentials = counters.credentials.iter();
        assert!(credentials.map(|credential| credential.attempts).all(|attempts| attempts == 0));
        assert_eq!((counters.requests, counters.attempts), (0, 0), "no layer picks a credential");
        return;
    }
    let sent = sizes.iter().filter(|attempts| **attempts > 0).count();
    assert_eq!((counters.requests, counters.attempts), (sent as u64, seen.len() as u64));
    let statuses =
        |statuses: &[u16]| seen.iter().filter(|(_, status)| statuses.contains(status)).count() as u64;
    assert_eq!(sum(&counters, |of| of.succeeded), statuses(&[200]));
    assert_eq!(sum(&counters, |of| of.limited), statuses(&[429]));
    assert_eq!(sum(&counters, |of| of.refused), statuses(&[401, 403]));
    assert_eq!(sum(&counters, |of| of.in_flight + of.failed + of.cancelled + of.out_of_use), 0);
    for of in &counters.credentials {
        let answered = of.succeeded + of.limited + of.refused + of.other;
        assert_eq!(of.attempts, answered, "each attempt counts once");
    }
    let refreshes =
        |of: &CredentialCounters| of.refreshes.renewed + of.refreshes.rejected + of.refreshes.failed;
    assert_eq!(sum(&counters, refreshes), world.refreshes.load(Ordering::SeqCst));
    if layers.auth_header {
        for (account, id) in world.ids.iter().enumerate() {
            let of = counters.credentials.iter().find(|of| of.id == *id).unwrap();
            let of_account = |(asker, _): &&Attempt| asker.is_some_and(|(other, _)| other == account);
            assert_eq!(of.attempts, seen.iter().filter(of_account).count() as u64, "account {account}");
        }
        assert_eq!(counters.rotations, rotations(&seen, sizes));
    }
}

/// How often an attempt of the same request had another account than the one before.
fn rotations(seen: &[Attempt], sizes: &[usize]) -> u64 {
    let mut rest = seen;
    let mut rotations = 0;
    for size in sizes {
        let (request, others) = rest.split_at(*size);
        let account = |(asker, _): &Attempt| asker.map(|(account, _)| account);
        rotations += request.windows(2).filter(|pair| account(&pair[0]) != account(&pair[1])).count();
        rest = others;
    }
    rotations as u64
}

fn sum(counters: &Counters, count: impl Fn(&CredentialCounters) -> u64) -> u64 {
    counters.credentials.iter().map(count).sum()
}
