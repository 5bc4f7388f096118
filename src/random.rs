//! Random bytes.

/// Returns random bytes of the operating system.
///
/// # Panics
/// If it cannot provide them, since nothing safe can be done without.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
    bytes
}
