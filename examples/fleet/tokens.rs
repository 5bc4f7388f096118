//! A refresh token works once, so it is presented once, whatever happens to the host that presents it.

use std::time::Instant;

use tower_credentials::BoxError;

use crate::fleet::{Fleet, Presented};
use crate::host::{Heard, Served, within};
use crate::lines::{State, Told};
use crate::vault::hold_off;

/// How many requests each host gets at once.
const REQUESTS: usize = 50;

const ONE_EXCHANGE: Presented = Presented { times: 1, reuses: 0 };

/// The token of an account has expired, and all hosts need a new one.
pub async fn are_renewed_once(fleet: &mut Fleet) -> Result<(), BoxError> {
    fleet.report.heading("2. A token has expired, and all hosts need a new one");
    renew(fleet).await
}

/// The account in use needs a new token on all hosts at once.
pub async fn renew(fleet: &mut Fleet) -> Result<(), BoxError> {
    let account = fleet.active().await?;
    let before = fleet.presented();
    fleet.upstream.expire(&account);
    let began = Instant::now();
    let served = fleet.ask_all(REQUESTS).await?;
    let took = began.elapsed();
    fleet
        .report
        .line(format_args!("{REQUESTS} requests at once on each host, after {took:.0?}: {served}"));
    let presented = fleet.presented().since(before);
    fleet.report.promise("the fleet makes one exchange", presented, ONE_EXCHANGE);
    fleet.report.promise("no request fails", served.failed, vec![]);
    Ok(())
}

/// Host 3 is killed before the authorization server has processed the token.
pub async fn outlive_a_host(fleet: &mut Fleet) -> Result<(), BoxError> {
    fleet.report.heading("3a. Host 3 is killed in a refresh, before the server has processed the token");
    let account = fleet.active().await?;
    let before = fleet.presented();
    let served = kill_in_a_refresh(fleet, 2, &account, false).await?;
    let presented = fleet.presented().since(before);
    fleet.report.promise("another host renews the token", presented, ONE_EXCHANGE);
    fleet.report.promise("no request of the other hosts fails", served.failed, vec![]);
    fleet.start_again(2).await
}

/// Host 2 is killed after the server has processed the token, so the new one is lost with the host.
pub async fn are_lost_with_a_host(fleet: &mut Fleet) -> Result<(), BoxError> {
    fleet.report.heading("3b. Host 2 is killed in a refresh, before it gets the new token");
    let account = fleet.active().await?;
    let before = fleet.presented();
    let served = kill_in_a_refresh(fleet, 1, &account, true).await?;
    fleet.all_know(&[0, 2], &account, State::NeedsSignIn).await?;
    let presented = fleet.presented().since(before);
    fleet.report.line("nobody has the new token, which no vault can prevent");
    let words = "one host tries the old token, once, and all hosts know what it cost";
    fleet.report.promise(words, presented, Presented { times: 2, reuses: 1 });
    let lost: Vec<_> = fleet.stored().await?.into_iter().filter(|(_, one)| !one.is_signed_in).collect();
    let lost: Vec<_> = lost.iter().map(|(label, _)| label).collect();
    fleet.report.promise("it costs this sign-in, and no other", lost, vec![&account]);
    fleet.report.promise("no request of the other hosts fails", served.failed, vec![]);
    fleet.start_again(1).await?;
    fleet.sign_in(&account).await?;
    fleet.all_know(&[0, 1, 2], &account, State::Ready).await?;
    fleet.report.line(format_args!("{account} has signed in again, and all hosts know it"));
    Ok(())
}

/// Kills a host in the middle of a refresh, and waits until another one presents the token. Returns what became of the requests
/// of the others.
async fn kill_in_a_refresh(
    fleet: &mut Fleet,
    victim: usize,
    account: &str,
    is_processed: bool,
) -> Result<Served, BoxError> {
    let held = if is_processed { fleet.server.hold_after() } else { fleet.server.hold_before() };
    fleet.upstream.expire(account);
    let doomed = fleet.hosts[victim].ask(1);
    within("the host presents its token", held.arrived()).await?;
    let began = Instant::now();
    let next = fleet.server.hold_before();
    fleet.hosts[victim].kill().await?;
    // It has failed with its host.
    doomed.await?;
    let others = (0..fleet.hosts.len()).filter(|index| *index != victim);
    let others: Vec<_> = others.map(|index| fleet.hosts[index].ask(REQUESTS)).collect();
    within("another host presents a token", next.arrived()).await?;
    let waited = began.elapsed();
    next.let_go();
    held.let_go();
    let mut served = Served::default();
    for result in others {
        served.add(result.await?);
    }
    fleet.report.line(format_args!("another host presented the token {waited:.1?} later: {served}"));
    let words =
        format!("nobody else presents it for {:?}, as long as the killed host might", hold_off());
    fleet.report.promise(&words, waited, waited.max(hold_off()));
    Ok(served)
}

/// Host 1 is stopped before it presents a token, for longer than its lease, and then goes on.
pub async fn are_not_presented_late(fleet: &mut Fleet) -> Result<(), BoxError> {
    fleet.report.heading("4. Host 1 is stopped before it presents a token, and goes on after its lease");
    let account = fleet.active().await?;
    let before = fleet.presented();
    let failures = fleet.hosts[0].heard().refresh_failures.len();
    fleet.upstream.expire(&account);
    fleet.hosts[0].tell(&Told::Hold).await?;
    let late = fleet.hosts[0].ask(1);
    fleet.hosts[0].until("it is about to present a token", |heard| heard.holds).await?;
    fleet.hosts[0].signal("STOP").await?;
    let began = Instant::now();
    let mut served = Served::default();
    for other in [fleet.hosts[1].ask(REQUESTS), fleet.hosts[2].ask(REQUESTS)] {
        served.add(other.await?);
    }
    let waited = began.elapsed();
    fleet.report.line(format_args!("the others had a new token {waited:.1?} later: {served}"));

    fleet.hosts[0].signal("CONT").await?;
    fleet.hosts[0].tell(&Told::GoOn).await?;
    served.add(late.await?);
    let presented = fleet.presented().since(before);
    fleet.report.promise("no token is presented twice", presented, ONE_EXCHANGE);
    let gives_up = |heard: &Heard| heard.refresh_failures.len() > failures;
    let heard = fleet.hosts[0].until("it gives the refresh up", gives_up).await?;
    let why = heard.refresh_failures[failures..].join("; ");
    fleet.report.line(format_args!("host 1 went on, and presented nothing: {why}"));
    served.add(fleet.hosts[0].ask(REQUESTS).await?);
    fleet.report.promise("no request fails", served.failed, vec![]);
    Ok(())
}
