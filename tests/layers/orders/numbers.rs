//! The numbers of requests and attempts that events have are the same in every order.

use tower_credentials::events::{Event, EventKind};

use super::model::Layers;
use super::world::World;

/// Compares the numbers with what has happened. `sizes` has the number of attempts of each request.
pub(super) fn check(world: &World, layers: Layers, sizes: &[usize]) {
    let Some(events) = &world.events else { return };
    let mut events = events.lock().unwrap();
    let events: Vec<_> = std::iter::from_fn(|| events.try_next()).collect();
    let numbers = |event: &Event| (event.request.map(u64::from), event.attempt.map(u32::from));
    let attempts: Vec<_> = events
        .iter()
        .filter(|event| matches!(event.kind, EventKind::Attempt { .. }))
        .map(|event| (event.request.unwrap().get(), event.attempt.unwrap().get()))
        .collect();
    let mut expected = Vec::new();
    if layers.auth_header || layers.rotate || layers.refresh {
        for (request, size) in (1..).zip(sizes.iter().filter(|size| **size > 0)) {
            expected.extend((1..=*size as u32).map(|attempt| (request, attempt)));
        }
    }
    assert_eq!(attempts, expected, "each attempt is one event");
    for event in &events {
        match &event.kind {
            EventKind::Rotated { .. } | EventKind::CooledDown { .. } | EventKind::Suspected { .. } => {
                let (request, attempt) = numbers(event);
                let known = (request.unwrap(), attempt.unwrap());
                assert!(expected.contains(&known), "{known:?} of {event:?}");
                let begins = matches!(event.kind, EventKind::Rotated { .. });
                assert!(!begins || known.1 > 1, "{event:?}");
            }
            EventKind::Saved { .. } | EventKind::Refreshed { .. } | EventKind::RefreshFailed { .. } => {
                assert_eq!(numbers(event), (None, None), "several requests may wait for it");
            }
            _ => {}
        }
    }
}
