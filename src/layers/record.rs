//! Recording in the pool what a response says about its credential.

use http::Response;

use super::blame::judge_suspects;
use super::context::{HistoryCell, Recorded};
use super::history::Sent;
use super::response_class::ResponseClass;
use crate::events::EventKind;
use crate::pool::Pool;
use crate::provider::{Assessment, LimitOf, Verdict};

/// Records in the pool what the response to this attempt says about its credential.
pub(super) fn record_outcome<R>(
    pool: &Pool,
    sent: &Sent,
    history: &mut HistoryCell,
    response: &Response<R>,
    (class, assessment): (ResponseClass, Option<Assessment>),
    recorded: Recorded,
) {
    let Sent { lease, began, started, .. } = sent;
    let numbers = sent.numbers();
    if recorded == Recorded::Never
        && let Some(started) = started
    {
        let (account, status) = (lease.credential().into(), response.status());
        pool.emit(numbers, EventKind::Attempt { account, status, elapsed: started.elapsed() });
    }
    let scope = history.scope();
    let scope = scope.as_ref();
    // As in `classify`.
    let permit = if class.needs_action() { None } else { history.end_use() };
    match class {
        ResponseClass::Limited => {
            let assessment = assessment.unwrap_or_default();
            let scope = scope.filter(|_| assessment.limit_of != Some(LimitOf::Account));
            let retry_at = assessment.retry_at;
            if assessment.limit_of != Some(LimitOf::Concurrency) {
                pool.record_limit(lease, *began, scope, retry_at, numbers);
            } else if pool.record_concurrency_limit(
                lease,
                (*began, sent.others_in_flight),
                scope,
                retry_at,
                numbers,
            ) {
                history.lock(Some(sent)).record_overload(lease);
            }
        }
        ResponseClass::Stopped => {
            if let Some(Verdict::Stopped { reason }) =
                assessment.and_then(|assessment| assessment.verdict)
            {
                pool.record_stopped(lease, &reason, numbers);
            }
        }
        ResponseClass::Spent => match assessment.and_then(|assessment| assessment.verdict) {
            Some(Verdict::Spent { reason, until }) => {
                pool.record_spent(lease, *began, &reason, until, numbers);
            }
            Some(Verdict::Dead { reason }) => pool.record_dead(lease, &reason, numbers),
            _ => {}
        },
        ResponseClass::Good => {
            pool.record_success(lease, *began, scope, response.headers(), numbers);
            if history.is_check() {
                pool.record_recovery(lease, numbers);
            }
        }
        ResponseClass::Refused
        | ResponseClass::Forbidden
        | ResponseClass::Insufficient
        | ResponseClass::Other => {}
    }
    judge_suspects(pool, lease.slot(), history, class, response.status());
    drop(permit);
}
