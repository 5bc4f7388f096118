//! What every vault promises, whatever its backend: a test for each promise, over `VaultExt`.
#![allow(dead_code, reason = "each file of tests uses a part")]

mod changes;
mod credentials;
mod leases;
mod new_secrets;
mod other_pools;
mod standings;

use std::future::Future;
use std::task::{Context, Poll, Waker};

use tower_credentials::standing::{Change, Cooldown, Outcome, Reason};
use tower_credentials::vault::{Vault, VaultExt};
use tower_credentials::{Credential, CredentialId, PoolKey, Secret, Timestamp};

pub(crate) use changes::*;
pub(crate) use credentials::*;
pub(crate) use leases::*;
pub(crate) use new_secrets::*;
pub(crate) use other_pools::*;
pub(crate) use standings::*;

pub(crate) const PLANTED: &str = "sk-planted-0123456789-abcdefghijklmnop";

/// Makes a test of each promise for the vaults that `$new` makes. `$new` returns a vault, and something that must live
/// as long, or nothing if this system has no such vault.
macro_rules! every_promise {
    ($new:expr) => {
        $crate::vault_contract::every_promise!($new;
            a_credential_comes_back_as_it_was_put,
            every_kind_of_secret_comes_back_whole,
            credentials_come_back_in_the_order_they_were_put,
            a_taken_label_gets_the_next_free_number,
            a_taken_label_of_full_length_still_gets_a_number,
            a_label_is_free_in_another_pool_and_namespace,
            a_taken_id_is_refused_and_nothing_changes,
            a_secret_of_another_kind_is_refused,
            a_key_that_no_header_can_carry_is_refused,
            names_that_cannot_be_stored_are_refused,
            relabel_refuses_a_taken_label,
            keys_of_a_configuration_are_put_once_and_exchanged_where_they_are,
            move_changes_the_order_and_past_the_end_is_the_back,
            a_reset_restores_the_place_that_was_set_explicitly,
            remove_forgets_the_credential_and_its_standing,
            what_is_missing_is_not_found,
            a_credential_of_another_pool_is_not_found_and_stays_as_it_is,
            a_new_secret_is_on_the_right_record_of_several,
            attributes_change_with_a_secret_alone,
            a_lost_race_for_a_new_secret_returns_what_is_stored,
            of_many_who_replace_one_generation_one_wins,
            a_later_shorter_deadline_never_shortens_a_longer_one,
            outcomes_at_once_are_all_kept,
            an_outcome_of_a_credential_that_is_gone_is_dropped,
            an_outcome_sent_to_another_pool_is_dropped,
            a_saved_standing_never_rolls_back_a_newer_secret,
            to_the_back_and_health_are_kept,
            a_verdict_on_an_older_secret_is_void_and_one_on_the_newest_is_not,
            a_pause_and_the_last_response_are_kept_through_a_reset_and_a_new_secret,
            every_change_makes_a_new_revision_and_reading_makes_none,
            a_resealed_secret_makes_no_new_revision,
            a_lease_waits_until_the_other_is_dropped,
            a_lease_of_another_credential_does_not_wait,
            a_dropped_wait_for_a_lease_does_not_keep_it_from_others,
            a_clients_lease_is_held_by_one_and_is_not_anothers,
            a_refresh_that_begins_again_learns_that_an_earlier_one_did_not_finish,
            a_refresh_that_is_known_to_have_failed_is_not_unfinished,
            a_refresh_of_an_old_secret_does_not_begin,
            debug_shows_no_secret,
            a_batch_that_is_sent_again_counts_once,
            changes_lead_to_what_a_load_shows,
            changes_of_another_pool_are_none,
            changes_since_an_unknown_revision_are_not_known,
            a_watch_tells_of_each_change_if_there_is_one,
        );
    };
    ($new:expr; $($promise:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $promise() {
                let made = $crate::vault_contract::Made::or_none($new().await);
                let Some((vault, _alive)) = made else { return };
                $crate::vault_contract::$promise(vault).await;
            }
        )*
    };
}

pub(crate) use every_promise;

/// A vault to try, and something that must live as long.
pub(crate) trait Made<V, A> {
    fn or_none(self) -> Option<(V, A)>;
}

impl<V, A> Made<V, A> for (V, A) {
    fn or_none(self) -> Option<(V, A)> {
        Some(self)
    }
}

impl<V, A> Made<V, A> for Option<(V, A)> {
    fn or_none(self) -> Option<(V, A)> {
        self
    }
}

pub(crate) fn pool() -> PoolKey {
    PoolKey::new("example")
}

pub(crate) fn account(label: &str) -> Credential {
    Credential::new(pool(), label, Secret::api_key(format!("{PLANTED}-{label}")))
}

/// Puts accounts with these labels and returns their ids.
pub(crate) async fn put_all<const N: usize>(vault: &impl Vault, labels: [&str; N]) -> [CredentialId; N] {
    let mut ids = [CredentialId::from_bytes([0; 16]); N];
    for (id, label) in ids.iter_mut().zip(labels) {
        *id = vault.put(account(label)).await.unwrap().id;
    }
    ids
}

pub(crate) async fn order(vault: &impl Vault) -> Vec<String> {
    let pool = vault.load_pool(pool()).await.unwrap();
    pool.credentials.iter().map(|credential| credential.metadata.label.to_string()).collect()
}

pub(crate) fn cooled(id: CredentialId, until: u64, set_at: u64, to_back: bool) -> Outcome {
    let cooldown = Cooldown {
        until: Timestamp::from_millis(until),
        set_at: Timestamp::from_millis(set_at),
        reason: Reason::Limited,
        scope: None,
        generation: None,
        cause: None,
    };
    Outcome { id, change: Change::CooledDown { cooldown, failure: true, to_back } }
}

pub(crate) async fn until(vault: &impl Vault, id: CredentialId) -> Option<u64> {
    let pool = vault.load_pool(pool()).await.unwrap();
    Some(pool.standings.credentials.get(&id)?.cooldown(None)?.until.as_millis())
}

pub(crate) async fn token(vault: &impl Vault, id: CredentialId) -> String {
    vault.get(&pool(), id).await.unwrap().secret.token().expose().to_owned()
}

pub(crate) fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
