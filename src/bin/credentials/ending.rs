//! The end of the program. It waits for renewals that are under way, so that no token is lost.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tower_credentials::events::{Event, EventKind};
use tower_credentials::{CredentialId, Error, Metadata, Pool, PoolBuilder};

use crate::failure::{Exit, Failure};
use crate::naming;
use crate::output;
use crate::recorder;
use crate::signals::Interrupts;

/// How long to wait for a renewal after a signal. A token endpoint usually responds within a second.
const AFTER_SIGNAL: Duration = Duration::from_secs(60);

/// How long to wait for it after a signal if its new token could not be saved.
const AFTER_SIGNAL_UNSAVED: Duration = Duration::from_secs(2);

/// How often to check whether something is still under way.
const STEP: Duration = Duration::from_secs(1);

/// What is under way. A signal drops a command in the middle, so the command can't hold it.
struct UnderWay {
    pools: Vec<Pool>,
    /// Accounts whose new token could not be saved so far.
    unsaved: Vec<CredentialId>,
    /// Why something else that was learnt could not be saved, at the last attempt.
    save_error: Option<String>,
}

fn under_way() -> MutexGuard<'static, UnderWay> {
    static UNDER_WAY: Mutex<UnderWay> =
        Mutex::new(UnderWay { pools: Vec::new(), unsaved: Vec::new(), save_error: None });
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a pool that is closed when the program ends.
pub(crate) async fn open(pool: PoolBuilder) -> Result<Pool, Error> {
    let pool = pool.open().await?;
    recorder::follow(&pool);
    under_way().pools.push(pool.clone());
    Ok(pool)
}

/// Says that tokens can't be saved, which the program waits for.
pub(crate) fn tell(event: &Event) {
    match &event.kind {
        EventKind::SecretNotSaved { account, error } => {
            let mut under_way = under_way();
            if !under_way.unsaved.contains(&account.id) {
                under_way.unsaved.push(account.id);
                let name = naming::named(&account.pool, &account.label);
                output::warn(format_args!(
                    "the new token of {name} can't be saved, and is lost if this program ends before that: {}",
                    output::plain(error)
                ));
            }
        }
        EventKind::Refreshed { account } => {
            let unsaved = &mut under_way().unsaved;
            if unsaved.contains(&account.id) {
                unsaved.retain(|id| *id != account.id);
                output::say(format_args!(
                    "The new token of {} is saved",
                    naming::named(&account.pool, &account.label)
                ));
            }
        }
        EventKind::SaveFailed { error, .. } => under_way().save_error = Some(error.to_string()),
        _ => {}
    }
}

/// Warns that what was learnt about a pool's accounts is lost.
fn warn_not_saved(pool: &Pool) {
    let why = under_way().save_error.clone().unwrap_or_else(|| "the vault does not respond".to_owned());
    let (pool, why) = (pool.key(), output::plain(&why));
    output::warn(format_args!("what was learnt about the accounts of {pool} is not saved: {why}"));
}

/// Waits for what is under way; after a signal, for a limited time, and only until the next signal.
pub(crate) async fn close(
    done: Result<Exit, Failure>,
    interrupts: &mut Interrupts,
) -> Result<Exit, Failure> {
    let pools = std::mem::take(&mut under_way().pools);
    let is_signalled = match &done {
        Ok(exit) => matches!(exit, Exit::Ended),
        Err(failure) => failure.is_signal(),
    };
    let lost = tokio::select! {
        biased;
        lost = async {
            let lost = close_all(&pools, is_signalled).await;
            recorder::close().await;
            lost
        } => lost,
        signal = interrupts.next() => {
            report(pools.iter().flat_map(Pool::renewing));
            return Err(Failure::interrupted(signal));
        }
    };
    report(lost);
    done
}

/// Closes the pools, and returns the accounts whose renewal did not end.
async fn close_all(pools: &[Pool], is_signalled: bool) -> Vec<Metadata> {
    let began = Instant::now();
    let mut lost = Vec::new();
    for pool in pools {
        tell_waiting(&pool.renewing(), is_signalled);
        // Closing it again continues to wait.
        while let Err(unfinished) = pool.close(STEP).await {
            if unfinished.renewals.is_empty() {
                warn_not_saved(pool);
                break;
            }
            let is_unsaved = |account: &Metadata| under_way().unsaved.contains(&account.id);
            let bound = match unfinished.renewals.iter().all(is_unsaved) {
                true => AFTER_SIGNAL_UNSAVED,
                false => AFTER_SIGNAL,
            };
            if is_signalled && began.elapsed() >= bound {
                lost.extend(unfinished.renewals);
                break;
            }
        }
    }
    lost
}

fn tell_waiting(renewing: &[Metadata], is_signalled: bool) {
    if renewing.is_empty() {
        return;
    }
    let names: Vec<_> = renewing.iter().map(naming::name).collect();
    let again = match is_signalled {
        true => "another signal ends it at once, and may lose the new token",
        false => "a signal ends it at once, and may lose the new token",
    };
    output::say(format_args!("Waiting until the token of {} is renewed; {again}", names.join(", ")));
}

/// Warns of tokens that may be lost.
fn report(lost: impl IntoIterator<Item = Metadata>) {
    for account in lost {
        let name = naming::name(&account);
        output::warn(format_args!(
            "the renewal of {name} was cut off: its new token may be lost; `credentials list` names it until the next \
             renewal, which shows whether a new sign-in is needed"
        ));
    }
}
