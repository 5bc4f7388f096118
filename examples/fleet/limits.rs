//! What one host learns of an account's limit, the others know.

use tower_credentials::BoxError;

use crate::fleet::Fleet;
use crate::lines::State;

const REQUESTS: usize = 100;

/// An account is limited on host 1.
pub async fn are_known_to_all(fleet: &mut Fleet) -> Result<(), BoxError> {
    fleet.report.heading("1. An account is limited on host 1");
    let account = fleet.active().await?;
    fleet.upstream.limit(&account);
    let mut served = fleet.hosts[0].ask(1).await?;
    fleet.report.line(format_args!("{account} got a 429 on host 1; its request: {served}"));
    let others = fleet.all_know(&[1, 2], &account, State::CoolingDown).await?;
    let limited = fleet.hosts[0].heard().limited.get(&account).copied().unwrap_or_default();
    for (host, heard) in [2, 3].iter().zip(&others) {
        let since = heard.since(&account, State::CoolingDown).unwrap_or_default();
        let milliseconds = (since as f64 - limited as f64) / 1e3;
        fleet.report.line(format_args!("host {host} knew of it {milliseconds:.1} ms after the 429"));
    }
    let before = fleet.upstream.seen().len();
    let later = fleet.ask_all(REQUESTS).await?;
    fleet.report.line(format_args!("then {REQUESTS} requests on each host: {later}"));
    served.add(later);
    let words = "once they know, no host sends a request to the limited account";
    let to_it = fleet.seen_since(before).iter().filter(|seen| seen.account == account).count();
    fleet.report.promise(words, to_it, 0);
    fleet.report.promise("no request fails", served.failed, vec![]);
    Ok(())
}

/// Host 1 ends, and is started again.
pub async fn are_known_after_a_restart(fleet: &mut Fleet) -> Result<(), BoxError> {
    fleet.report.heading("5. Host 1 is restarted");
    let before = fleet.upstream.seen().len();
    fleet.hosts[0].end().await?;
    fleet.start_again(0).await?;
    let [one, other] = [&fleet.hosts[0], &fleet.hosts[1]].map(|host| host.heard().accounts());
    let known = one.iter().map(|account| format!("{} {:?}", account.label, account.state));
    let known = known.collect::<Vec<_>>().join(", ");
    fleet.report.line(format_args!("before its first request it knew: {known}"));
    let served = fleet.hosts[0].ask(REQUESTS).await?;
    fleet.report.line(format_args!("then {REQUESTS} requests on it: {served}"));
    let words = "a restarted host knows order, cooldowns and tokens like the others";
    fleet.report.promise(words, one, other);
    let seen = fleet.seen_since(before);
    let refused = seen.iter().filter(|seen| seen.host == 1 && !seen.status.is_success()).count();
    fleet.report.promise("it meets no limit again", refused, 0);
    fleet.report.promise("no request fails", served.failed, vec![]);
    Ok(())
}
