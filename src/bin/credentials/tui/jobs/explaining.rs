//! Asks a pool which account its next request takes, as `credentials why` does.

use std::sync::Arc;

use tower_credentials::PoolKey;

use super::{Shared, failed};
use crate::account::Explained;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::plain;
use crate::tui::state::job::Update;
use crate::tui::state::why::{Line, Told};

/// Tells the screen what the pool says.
pub(super) async fn explain(shared: Arc<Shared>, pool: PoolKey) {
    let told = told(&shared.context(), &pool).await.map_err(|failure| failed(&failure));
    shared.tell(Update::Explained(pool, told));
}

async fn told(context: &Context, pool: &PoolKey) -> Result<Told, Failure> {
    let vault = context.vault_or_empty().await?;
    // What could not be read is among what is to do.
    let explained = Explained::of(context, &vault, pool.clone(), None).await.1?;
    let report = explained.report(context, None, None);
    let lines = report.accounts.iter().map(|line| Line {
        id: line.id,
        name: plain(&line.name),
        why: line.why.clone(),
        way_out: line.way_out.iter().flat_map(|way_out| way_out.lines()).collect(),
    });
    let gateway = report.gateway.as_ref().map(ToString::to_string);
    Ok(Told { next: report.next_in_words(), gateway, lines: lines.collect() })
}
