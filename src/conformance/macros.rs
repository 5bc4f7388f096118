//! The macros that make a test of each promise.

/// Makes a test of each [promise](crate::conformance::promises) for the vaults that `$new` makes.
///
/// `$new` is an async function without arguments. It returns an empty vault, and something that must live as long, such as
/// a temporary directory; or `None` in place of both if this system has no such vault, and then the tests pass without
/// having tested anything. The vault must be [`Debug`](std::fmt::Debug), which must show no secret.
///
/// The tests have the names of the promises, so two uses need two modules. A use that names promises after a semicolon makes
/// tests of these only, for a backend that does not support all requests:
///
/// ```
/// # mod tests {
/// use tower_credentials::vault::MemoryVault;
///
/// async fn new() -> (MemoryVault, ()) {
///     (MemoryVault::new(), ())
/// }
///
/// mod all {
///     tower_credentials::conformance::every_promise!(super::new);
/// }
///
/// mod some {
///     tower_credentials::conformance::every_promise!(super::new;
///         a_credential_comes_back_as_it_was_put,
///         what_is_missing_is_not_found,
///     );
/// }
/// # }
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __every_promise {
    ($new:expr) => {
        $crate::__every_promise!($new;
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
            changes_of_a_shared_quota_lead_to_what_a_load_shows,
            changes_of_another_pool_are_none,
            changes_since_an_unknown_revision_are_not_known,
            a_watch_tells_of_each_change_if_there_is_one,
        );
    };
    ($new:expr; $($promise:ident),* $(,)?) => {
        $crate::__tests_of_promises!(promises, $new; $($promise),*);
    };
}

/// Like [`every_promise!`](crate::conformance::every_promise), for a backend of sealed secrets, in a
/// [`SealLayer`](crate::vault::seal::SealLayer) with a random key. `$new` returns a
/// `Service<VaultRequest<Sealed>, Response = VaultResponse<Sealed>>`.
///
/// ```
/// # mod tests {
/// use tower_credentials::vault::MemoryVault;
/// use tower_credentials::vault::seal::Sealed;
///
/// async fn new() -> (MemoryVault<Sealed>, ()) {
///     (MemoryVault::new(), ())
/// }
///
/// tower_credentials::conformance::every_promise_sealed!(new);
/// # }
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __every_promise_sealed {
    ($new:expr $(; $($promise:ident),* $(,)?)?) => {
        async fn __new_sealed() -> Option<(impl $crate::vault::Vault + ::std::fmt::Debug, impl Sized)> {
            let made = $crate::conformance::run::Made::or_none($new().await);
            made.map(|(backend, alive)| ($crate::conformance::run::sealed(backend), alive))
        }

        $crate::__every_promise!(__new_sealed $(; $($promise),*)?);
    };
}

/// Makes a test of each [promise of several hosts](crate::conformance::hosts) for the stored vaults that `$new` makes.
///
/// `$new` is as for [`every_promise!`](crate::conformance::every_promise), with the [`Hosts`](crate::conformance::Hosts) of an
/// empty vault in place of the vault.
#[doc(hidden)]
#[macro_export]
macro_rules! __every_promise_of_hosts {
    ($new:expr) => {
        $crate::__every_promise_of_hosts!($new;
            what_one_host_writes_another_reads,
            of_two_hosts_that_put_one_label_each_gets_its_own,
            a_batch_that_another_host_sends_again_counts_once,
            outcomes_of_two_hosts_are_all_kept,
            of_two_hosts_that_replace_one_generation_one_wins,
            a_lease_of_one_host_keeps_another_out_until_it_is_dropped,
            a_host_that_crashes_with_a_lease_lets_another_in,
            changes_by_one_host_lead_another_to_what_a_load_shows,
            a_watch_tells_of_what_another_host_changes_if_there_is_one,
            what_a_watch_has_told_of_is_in_the_changes_if_there_is_one,
        );
    };
    ($new:expr; $($promise:ident),* $(,)?) => {
        $crate::__tests_of_promises!(hosts, $new; $($promise),*);
    };
}

/// Makes a test of each promise of a module of [`conformance`](crate::conformance).
#[doc(hidden)]
#[macro_export]
macro_rules! __tests_of_promises {
    ($module:ident, $new:expr; $($promise:ident),*) => {
        $(
            #[test]
            fn $promise() {
                $crate::conformance::run::block_on(async {
                    let made = $crate::conformance::run::Made::or_none($new().await);
                    let Some((made, _alive)) = made else { return };
                    $crate::conformance::$module::$promise(made).await;
                });
            }
        )*
    };
}
