//! How much the slow tests try.

use std::env::VarError;

const VARIABLE: &str = "TOWER_CREDENTIALS_TESTS";

/// Whether they try all that they can, as `.ci/run` has it with `TOWER_CREDENTIALS_TESTS=thorough`. Without it,
/// they try a part of each sort.
pub(crate) fn is_thorough() -> bool {
    match std::env::var(VARIABLE).as_deref() {
        Ok("thorough") => true,
        Err(VarError::NotPresent) => false,
        other => panic!("{VARIABLE} is thorough or not set, but it is {other:?}"),
    }
}
