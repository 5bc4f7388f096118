//! What happens in a sign-in.

use std::fmt;

use tokio::sync::mpsc;

use super::signed_in::SignedIn;

/// The channel through which a flow reports its progress.
pub(super) type Events = mpsc::UnboundedSender<Progress>;

/// An event of a sign-in. `Display` describes it in words.
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress {
    /// A request to the loopback address was not the vendor's response to this sign-in: another one, a forged one, or one
    /// that was too long. The sign-in goes on waiting.
    Ignored {
        /// What was wrong with it.
        reason: &'static str,
    },
    /// The person has signed in; the resulting code is being exchanged for tokens.
    Exchanging,
    /// The server wants to be polled less often (RFC 8628, section 3.5).
    SlowedDown,
    /// The server was not reached; the request will be sent again.
    NotReached {
        /// Why.
        reason: String,
    },
    /// The sign-in is complete. Nothing comes after it.
    SignedIn(Box<SignedIn>),
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignored { reason } => write!(f, "ignored a request: {reason}"),
            Self::Exchanging => f.write_str("exchanging the code for tokens"),
            Self::SlowedDown => f.write_str("the server asks for patience"),
            Self::NotReached { reason } => write!(f, "trying again: {reason}"),
            Self::SignedIn(_) => f.write_str("signed in"),
        }
    }
}
