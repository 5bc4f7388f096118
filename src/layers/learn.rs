//! What a response teaches the pool.

use http::Response;

use super::blame::compare;
use super::context::{HistoryCell, Recorded};
use super::history::Sent;
use super::response_class::ResponseClass;
use crate::events::Event;
use crate::pool::Pool;
use crate::provider::{Finding, Verdict};

/// Tells the pool what a response to this attempt says of its credential.
pub(super) fn learn<R>(
    pool: &Pool,
    sent: &Sent,
    history: &mut HistoryCell,
    response: &Response<R>,
    (class, finding): (ResponseClass, Option<Finding>),
    recorded: Recorded,
) {
    let Sent { lease, began, started, .. } = sent;
    if recorded == Recorded::Never
        && let Some(started) = started
    {
        let (credential, status) = (lease.credential(), response.status());
        pool.emit(&Event::Attempt { credential, status, elapsed: started.elapsed() });
    }
    let scope = history.scope();
    let scope = scope.as_ref();
    // The use ends with the head of the response, unless the credential may be used again.
    let permit = if class.needs_action() { None } else { history.end_use() };
    match class {
        ResponseClass::Limited => {
            let stated = finding.and_then(|finding| finding.retry_at);
            pool.limited(lease, *began, scope, stated);
        }
        ResponseClass::Stopped => {
            if let Some(Verdict::Stopped { reason }) = finding.and_then(|finding| finding.verdict) {
                pool.stopped(lease, &reason);
            }
        }
        ResponseClass::Good => pool.succeeded(lease, *began, scope, response.headers()),
        ResponseClass::Refused
        | ResponseClass::Forbidden
        | ResponseClass::Insufficient
        | ResponseClass::Other => {}
    }
    compare(pool, lease.slot(), history, class, response.status());
    drop(permit);
}
