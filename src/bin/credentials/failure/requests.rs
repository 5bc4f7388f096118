//! The failures of requests, and of the sign-ins for them.

use tower_credentials::discovery::{DiscoveryError, DiscoveryErrorKind};
use tower_credentials::oauth::OAuthError;
use tower_credentials::{BoxError, Error};

use super::{Exit, Failure};
use crate::naming;
use crate::time::brief;

impl From<OAuthError> for Failure {
    fn from(error: OAuthError) -> Self {
        let exit = match &error {
            error if error.is_transient() => Exit::Unavailable,
            OAuthError::MissingSetting { .. }
            | OAuthError::InvalidSetting { .. }
            | OAuthError::UnsupportedFlow { .. } => Exit::Usage,
            OAuthError::Refused { .. } | OAuthError::Expired => Exit::Refused,
            _ => Exit::Failed,
        };
        Self::of(exit, &error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Vault(error) => error.into(),
            error => in_words(&error).unwrap_or_else(|| Self::of(exit_of(&error), &error)),
        }
    }
}

/// Rewords an error that tells a programmer what to call, for a person.
fn in_words(error: &Error) -> Option<Failure> {
    Some(match error {
        Error::AllCoolingDown { pool, retry_after, .. } => Failure::new(
            Exit::Unavailable,
            format!(
                "every account of {pool} is cooling down; the first is ready in {}",
                brief(*retry_after)
            ),
        ),
        Error::Paused { pool, pin: None } => {
            Failure::failed(format!("every account of {pool} that requests may take is paused"))
                .way_out("credentials resume ACCOUNT")
        }
        Error::Spent { pool, pin: None } => {
            let message = format!(
                "every account of {pool} that is not paused is spent, or needs a new sign-in: check their billing"
            );
            Failure::new(Exit::Unavailable, message)
                .way_out(format!("{}, which uses again what works", naming::test(pool)))
        }
        Error::NoToken { pool, label } => {
            let message = format!("{label} of {pool} has no access token, and none could be obtained");
            Failure::new(Exit::Refused, message).way_out(naming::test(pool))
        }
        _ => return None,
    })
}

fn exit_of(error: &Error) -> Exit {
    match error {
        Error::Vault(_) => Exit::Vault,
        Error::NoCredential { .. } | Error::UnknownPin { .. } => Exit::NotFound,
        Error::NeedsSignIn { .. } | Error::NoToken { .. } => Exit::Refused,
        Error::Spent { .. } => Exit::Unavailable,
        Error::AllCoolingDown { .. } => Exit::Unavailable,
        _ => Exit::Failed,
    }
}

impl From<DiscoveryError> for Failure {
    fn from(error: DiscoveryError) -> Self {
        let exit = match error.kind() {
            DiscoveryErrorKind::Failed(cause) => {
                if let Some(failure) = cause.downcast_ref().and_then(in_words) {
                    return failure;
                }
                // Any other error is the HTTP client's: nothing was reached.
                cause.downcast_ref().map_or(Exit::Unavailable, exit_of)
            }
            DiscoveryErrorKind::TimedOut(_) => Exit::Unavailable,
            DiscoveryErrorKind::Status { status, .. } => match status.as_u16() {
                401 | 403 => Exit::Refused,
                429 | 500.. => Exit::Unavailable,
                _ => Exit::Failed,
            },
            _ => Exit::Failed,
        };
        Self::of(exit, &error)
    }
}

/// The error of a stack of layers over the HTTP client.
impl From<BoxError> for Failure {
    fn from(error: BoxError) -> Self {
        match error.downcast::<Error>() {
            Ok(error) => (*error).into(),
            // Any other error is the HTTP client's: nothing was reached.
            Err(error) => Self::of(Exit::Unavailable, &*error),
        }
    }
}
