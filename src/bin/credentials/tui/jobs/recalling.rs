//! Reads the history again and again, so that what any program has recorded is shown within a second.

use std::sync::Arc;
use std::time::Duration;

use tower_credentials::history::Follower;

use super::{Shared, failed};
use crate::context::Context;
use crate::output;
use crate::time::now;
use crate::tui::state::history::Happened;
use crate::tui::state::job::Update;

/// How often to look. A look reads the names of a few files.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Tells the screen what is recorded, from the last day's entries on.
pub(super) async fn recall(shared: Arc<Shared>) {
    let mut contexts = shared.context.subscribe();
    loop {
        // Other settings may mean another vault, or that nothing is recorded any more.
        let context = contexts.borrow_and_update().clone();
        tokio::select! {
            () = follow(&shared, &context) => {}
            // They come from `shared`, which is here.
            _ = contexts.changed() => {}
        }
    }
}

async fn follow(shared: &Shared, context: &Context) {
    let mut follower = context.history().follow();
    let mut told = None;
    loop {
        let mut happened = read(context, &mut follower).await;
        happened.is_all = told.is_none();
        let note = Some(happened.note.clone());
        if !happened.events.is_empty() || told != note {
            told = note;
            shared.tell(Update::Happened(happened));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Reads what is new in the history, and says why nothing more is to be expected.
pub(super) async fn read(context: &Context, follower: &mut Follower) -> Happened {
    let (entries, trouble) = match follower.read().await {
        Ok(entries) => (entries, None),
        Err(error) => (Vec::new(), Some(failed(&error.into()).why)),
    };
    let is_off = !context.keeps_history();
    let off = is_off.then(|| {
        format!("not recorded: `vault.history` is false in {}", output::path(&context.places.config))
    });
    let events = entries.into_iter().map(|entry| entry.event).collect();
    Happened { is_all: true, events, note: trouble.or(off) }.of_the_day(now())
}
