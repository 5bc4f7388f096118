//! Random numbers.

use std::time::Duration;

use crate::random;

/// Returns a random number.
///
/// # Panics
/// If the operating system cannot provide random numbers.
pub(super) fn number() -> u64 {
    u64::from_be_bytes(random::bytes())
}

/// Returns a token that nobody else has: 32 hexadecimal digits.
pub(super) fn token() -> String {
    format!("{:016x}{:016x}", number(), number())
}

/// Returns a duration between zero and this one, so that not all hosts come back at the same instant.
pub(super) fn jitter(most: Duration) -> Duration {
    most.mul_f64((number() >> 11) as f64 / (1u64 << 53) as f64)
}
