//! Random numbers.

use std::time::Duration;

/// Returns a random number.
///
/// # Panics
/// If the operating system cannot provide random numbers.
pub(super) fn number() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
    u64::from_be_bytes(bytes)
}

/// Returns a token that nobody else has: 32 hexadecimal digits.
pub(super) fn token() -> String {
    format!("{:016x}{:016x}", number(), number())
}

/// Returns a duration between zero and this one, so that not all hosts come back at the same instant.
pub(super) fn jitter(most: Duration) -> Duration {
    most.mul_f64((number() >> 11) as f64 / (1u64 << 53) as f64)
}
