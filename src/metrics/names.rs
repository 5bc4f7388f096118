//! The names of the metrics, with their units and what they count.

use metrics::{Recorder, Unit};

/// Declares the names, and describes them to a recorder in the words of their documentation.
macro_rules! names {
    ($($(#[doc = $text:literal])+ $describe:ident($name:ident = $value:literal, $unit:expr);)+) => {
        $($(#[doc = $text])+ pub const $name: &str = concat!("tower_credentials.", $value);)+

        /// Describes all of them.
        pub(super) fn describe(recorder: &dyn Recorder) {
            $(recorder.$describe($name.into(), $unit, concat!($($text),+).trim_ascii().into());)+
        }
    };
}

names! {
    /// Callers' requests that were sent. A counter of the pool.
    describe_counter(REQUESTS = "requests", Some(Unit::Count));

    /// How often requests were sent, by `outcome`: `succeeded`, `limited`, `refused`, `out_of_use`, `other` (a response
    /// that says nothing of the account), `failed` (no response) or `cancelled`. Counted when they end. A counter.
    describe_counter(ATTEMPTS = "attempts", Some(Unit::Count));

    /// How often a request went on to another account, by `reason`: `limited`, `refused`, `out_of_use`, `no_token` or
    /// `overloaded`.
    /// Counted for the account that it leaves. A counter.
    describe_counter(ROTATIONS = "rotations", Some(Unit::Count));

    /// Renewals of secrets, by `outcome`: `renewed`, `adopted` (another process was first), `rejected` or `failed`. A
    /// counter.
    describe_counter(REFRESHES = "refreshes", Some(Unit::Count));

    /// Requests to the vault that have failed by its own fault. A counter of the pool.
    describe_counter(VAULT_ERRORS = "vault.errors", Some(Unit::Count));

    /// Accounts that a request could take now. A gauge.
    describe_gauge(READY = "ready", Some(Unit::Count));

    /// Accounts that cool down for all requests. A gauge.
    describe_gauge(COOLING = "cooling", Some(Unit::Count));

    /// Accounts whose vendor has refused them, so that only a new sign-in or another key helps. Those that are paused do
    /// not count. A gauge.
    describe_gauge(NEEDS_SIGN_IN = "needs_sign_in", Some(Unit::Count));

    /// Requests that wait for an account, since none is ready or all serve as many as they may. A gauge of the pool.
    describe_gauge(WAITING = "waiting", Some(Unit::Count));

    /// Seconds until the account has cooled down, 0 if it has; of the whole pool, until the first one has. NaN for an account
    /// that stays out of use until a person acts. A gauge.
    describe_gauge(COOLDOWN_REMAINING = "cooldown.remaining", Some(Unit::Seconds));

    /// What is left of a limit, from 0 to 1, by `window`, the vendor's name for the limit; of the whole pool, the account
    /// with the most. NaN once the window was reset, or an hour after it was said if it names no reset. A gauge.
    describe_gauge(ALLOWANCE_HEADROOM = "allowance.headroom", None);

    /// Seconds since the vendor has said what is left, by `window`. A gauge.
    describe_gauge(ALLOWANCE_AGE = "allowance.age", Some(Unit::Seconds));

    /// Seconds since the pool has last known all that is in the vault. Grows while the vault fails or hangs. A gauge of
    /// the pool.
    describe_gauge(SYNC_AGE = "sync.age", Some(Unit::Seconds));
}
