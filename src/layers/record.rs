//! Recording in the pool what a response says about its credential.

use http::Response;

use super::blame::judge_suspects;
use super::context::{HistoryCell, Recorded};
use super::history::Sent;
use super::response_class::ResponseClass;
use super::stopwatch::Stopwatch;
use crate::events::EventKind;
use crate::pool::{AllowanceRead, Pool, Said};
use crate::provider::{Assessment, LimitOf, Verdict};

/// What was read in a response.
pub(super) struct Reading<'a> {
    pub(super) class: ResponseClass,
    /// The provider's, if the response is not good.
    pub(super) assessment: Option<Assessment>,
    /// Whether a run further in has recorded it.
    pub(super) recorded: Recorded,
    pub(super) took: &'a Stopwatch,
    /// What the limit headers say, if they were read.
    pub(super) allowance: Option<AllowanceRead>,
}

/// Records in the pool what the response to this attempt says about its credential.
pub(super) fn record_outcome<R>(
    pool: &Pool,
    sent: &Sent,
    history: &mut HistoryCell,
    response: &Response<R>,
    reading: Reading<'_>,
) {
    let Reading { class, assessment, recorded, took, allowance } = reading;
    let Sent { lease, began, .. } = sent;
    let (numbers, status) = (sent.numbers(), response.status());
    if recorded == Recorded::Never
        && let Some(elapsed) = took.elapsed()
    {
        let account = lease.credential().into();
        pool.emit(numbers, EventKind::Attempt { account, status, elapsed });
    }
    let scope = history.scope();
    let scope = scope.as_ref();
    // As in `classify`.
    let permit = if class.needs_action() { None } else { history.end_use() };
    match class {
        ResponseClass::Limited => {
            let assessment = assessment.unwrap_or_default();
            let scope = scope.filter(|_| assessment.limit_of != Some(LimitOf::Account));
            let stated = assessment.retry_at.map(|at| (at, assessment.stated_by(at).cloned()));
            let said = Said { status, stated };
            if assessment.limit_of != Some(LimitOf::Concurrency) {
                pool.record_limit(lease, *began, scope, said, numbers);
            } else if pool.record_concurrency_limit(
                lease,
                (*began, sent.others_in_flight),
                scope,
                said,
                numbers,
            ) {
                history.lock(Some(sent)).record_overload(lease);
            }
        }
        ResponseClass::Stopped | ResponseClass::Spent => {
            let assessment = assessment.unwrap_or_default();
            match &assessment.verdict {
                Some(Verdict::Stopped { reason }) => pool.record_stopped(lease, reason, status, numbers),
                Some(Verdict::Dead { reason }) => pool.record_dead(lease, reason, status, numbers),
                Some(Verdict::Spent { reason, until }) => {
                    let stated = until.map(|until| (until, assessment.stated_by(until).cloned()));
                    pool.record_spent(lease, *began, reason, Said { status, stated }, numbers);
                }
                _ => {}
            }
        }
        ResponseClass::Good => {
            let answer = (status, response.headers());
            pool.record_success(lease, *began, scope, answer, allowance, numbers);
            if history.is_check() {
                pool.record_recovery(lease, numbers);
            }
        }
        ResponseClass::Refused
        | ResponseClass::Forbidden
        | ResponseClass::Insufficient
        | ResponseClass::Overloaded
        | ResponseClass::Other => {}
    }
    judge_suspects(pool, lease.slot(), history, class, status);
    drop(permit);
}
