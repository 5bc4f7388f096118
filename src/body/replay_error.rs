//! Why a copy of a recorded body ends early.

use std::fmt;

/// The reason why a copy of a [`ReplayBody`](crate::ReplayBody) can't be sent to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// Another copy has sent more of the body than is recorded.
    PastBound {
        /// The most that is recorded, in bytes.
        bound: u64,
    },
    /// The body failed while another copy of it was being sent. That copy has the error.
    Failed,
    /// The request is being sent again with another copy of its body.
    Replaced,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PastBound { bound } => write!(
                f,
                "the body is longer than the {bound} bytes that are recorded of it, so it can be sent \
                 only once; set a higher bound to send it again"
            ),
            Self::Failed => f.write_str("the body failed while another copy of it was being sent"),
            Self::Replaced => {
                f.write_str("the request is being sent again with another copy of its body")
            }
        }
    }
}

impl std::error::Error for ReplayError {}
