//! The names of the variants in the ratios and the sizes.

pub(crate) const HAND_MADE: &str = "RetryLayer + AddAuthorizationLayer";
pub(crate) const FOUR: &str = "four layers";
pub(crate) const ONE: &str = "one layer";
pub(crate) const APART: &str = "four layers, others between";
pub(crate) const NOTHING_KEPT: &str = "one layer, nothing kept";
pub(crate) const HEADER_ALONE: &str = "AuthHeaderLayer alone";
pub(crate) const SAME_JOB: &str = "the same job by hand, in a file";
pub(crate) const ONE_IN_FILES: &str = "one layer, a vault of files";
pub(crate) const ONE_IN_MEMORY: &str = "one layer, a vault in memory";
