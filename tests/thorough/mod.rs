//! How many cases the slow tests try.

use std::env::VarError;

const VARIABLE: &str = "TOWER_CREDENTIALS_TESTS";

/// Returns whether they try all cases: `.ci/run` sets `TOWER_CREDENTIALS_TESTS=thorough`. Otherwise they try some of
/// each kind.
pub(crate) fn is_thorough() -> bool {
    match std::env::var(VARIABLE).as_deref() {
        Ok("thorough") => true,
        Err(VarError::NotPresent) => false,
        other => panic!("{VARIABLE} is thorough or not set, but it is {other:?}"),
    }
}
