//! A way to sign in while it runs: what it shows at its beginning, and how it ends.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use super::loopback::Farewell;
use super::paste::Paste;
use crate::oauth::error::OAuthError;
use crate::oauth::signed_in::SignedIn;

pub(super) type Flow = Pin<Box<dyn Future<Output = End> + Send>>;

/// A flow that has begun: its prompt, its future, and the place for a pasted code, if it takes one.
pub(super) type Begun = (Prompt, Flow, Option<Paste>);

/// How a flow has ended.
pub(super) struct End {
    pub(super) result: Result<SignedIn, OAuthError>,
    /// The server that still answers the browser.
    pub(super) farewell: Option<Farewell>,
}

/// Makes a flow without a loopback server.
pub(super) fn flow(
    running: impl Future<Output = Result<SignedIn, OAuthError>> + Send + 'static,
) -> Flow {
    Box::pin(async { End { result: running.await, farewell: None } })
}

/// What to show to the person who signs in. `Debug` doesn't show it: whoever has it may sign in instead.
#[derive(Clone)]
#[non_exhaustive]
pub enum Prompt {
    /// A page to open in a browser on this machine. The person needs to do nothing else.
    Browser {
        /// The page. In a loopback sign-in it is a page of this machine that leads on to the vendor's: the first browser
        /// that opens it is the one that signs in, and a second one ends the sign-in. Whoever sees its address in the
        /// browser's arguments can't use it to sign in instead, unless they open it first.
        url: String,
        /// The vendor's page, for a browser on another machine. [Paste](super::SignIn::paste) the address at which that
        /// one ends. Keep it out of every program's arguments. `None` if `url` works there as well.
        elsewhere: Option<String>,
    },
    /// A page to open in any browser. At its end it shows a code, or the browser ends at an address that
    /// has one: [paste](super::SignIn::paste) either.
    Paste {
        /// The page.
        url: String,
    },
    /// A code to type into a page on any device (RFC 8628, section 3.3).
    Device {
        /// The code.
        user_code: String,
        /// The page.
        verification_url: String,
        /// The page with the code already filled in, for a QR code, for example.
        verification_url_complete: Option<String>,
        /// How long the code works, from now on.
        expires_in: Duration,
    },
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Browser { .. } => "Browser(…)",
            Self::Paste { .. } => "Paste(…)",
            Self::Device { .. } => "Device(…)",
        })
    }
}
