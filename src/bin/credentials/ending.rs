//! The end of the program, which loses no token: a renewal that is under way is waited for, whatever ends the program.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tower_credentials::events::Event;
use tower_credentials::{CredentialId, Error, Metadata, Pool, PoolBuilder};

use crate::failure::{Exit, Failure};
use crate::naming;
use crate::output;
use crate::signals::Interrupts;

/// How long a renewal is waited for after a signal. A token endpoint mostly answers within a second.
const AFTER_SIGNAL: Duration = Duration::from_secs(60);

/// How long it is waited for after a signal where its new token could not be saved.
const UNSAVABLE: Duration = Duration::from_secs(2);

/// How often it is looked whether there is still something to wait for.
const STEP: Duration = Duration::from_secs(1);

/// What has been begun. Commands are dropped where they are when a signal comes, so they don't have it.
struct Begun {
    pools: Vec<Pool>,
    /// Accounts whose new token could not be saved so far.
    unsaved: Vec<CredentialId>,
    /// Why something else that was learnt could not be saved, when it was last tried.
    not_kept: Option<String>,
}

fn begun() -> MutexGuard<'static, Begun> {
    static BEGUN: Mutex<Begun> =
        Mutex::new(Begun { pools: Vec::new(), unsaved: Vec::new(), not_kept: None });
    BEGUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a pool that is closed when the program ends.
pub(crate) async fn open(pool: PoolBuilder) -> Result<Pool, Error> {
    let pool = pool.open().await?;
    begun().pools.push(pool.clone());
    Ok(pool)
}

/// Tells a person what is waited for without end.
pub(crate) fn tell(event: &Event<'_>) {
    match event {
        Event::SecretNotSaved { credential, error } => {
            let mut begun = begun();
            if !begun.unsaved.contains(&credential.id) {
                begun.unsaved.push(credential.id);
                let name = naming::name(credential);
                output::warn(format_args!(
                    "the new token of {name} can't be saved, and is lost if this program ends before that: {}",
                    output::plain(error)
                ));
            }
        }
        Event::Refreshed { credential } => {
            let unsaved = &mut begun().unsaved;
            if unsaved.contains(&credential.id) {
                unsaved.retain(|id| *id != credential.id);
                output::say(format_args!("The new token of {} is saved", naming::name(credential)));
            }
        }
        Event::SaveFailed { error } => begun().not_kept = Some((*error).to_owned()),
        _ => {}
    }
}

/// Says that what was learnt of a pool's accounts is lost with the program.
fn tell_not_kept(pool: &Pool) {
    let why = begun().not_kept.clone().unwrap_or_else(|| "the vault does not respond".to_owned());
    let (pool, why) = (pool.key(), output::plain(&why));
    output::warn(format_args!("what was learnt about the accounts of {pool} is not saved: {why}"));
}

/// Waits for what was begun; after a signal with a bound, and to no more than the second one.
pub(crate) async fn close(
    done: Result<Exit, Failure>,
    interrupts: &mut Interrupts,
) -> Result<Exit, Failure> {
    let pools = std::mem::take(&mut begun().pools);
    let is_signalled = matches!(&done, Err(failure) if failure.is_signal());
    let lost = tokio::select! {
        biased;
        lost = close_all(&pools, is_signalled) => lost,
        signal = interrupts.next() => {
            report(pools.iter().flat_map(Pool::renewing));
            return Err(Failure::interrupted(signal));
        }
    };
    report(lost);
    done
}

/// The accounts whose renewal has not ended.
async fn close_all(pools: &[Pool], is_signalled: bool) -> Vec<Metadata> {
    let began = Instant::now();
    let mut lost = Vec::new();
    for pool in pools {
        tell_waiting(&pool.renewing(), is_signalled);
        // To close it again goes on waiting.
        while let Err(unfinished) = pool.close(STEP).await {
            if unfinished.renewals.is_empty() {
                tell_not_kept(pool);
                break;
            }
            let is_unsavable = |account: &Metadata| begun().unsaved.contains(&account.id);
            let bound = match unfinished.renewals.iter().all(is_unsavable) {
                true => UNSAVABLE,
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

/// Says what may be lost.
fn report(lost: impl IntoIterator<Item = Metadata>) {
    for account in lost {
        let name = naming::name(&account);
        output::warn(format_args!(
            "the renewal of {name} was cut off: its new token may be lost; `credentials list` names it until the next \
             renewal, which shows whether a new sign-in is needed"
        ));
    }
}
