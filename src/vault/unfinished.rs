//! A refresh that has stored no new secret.

use crate::credential::CredentialId;

/// A refresh that has begun, has stored nothing, and is not going on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnfinishedRefresh {
    /// The credential.
    pub id: CredentialId,
    /// Why it failed, in words. `None` if nothing tells how it ended: its process may have died after the token endpoint had
    /// spent the refresh token, so the new one may be lost.
    pub failure: Option<String>,
}

/// What a person can do about a refresh, if nothing tells how it ended.
pub(crate) const CUT_OFF_WAY_OUT: &str =
    "the next refresh presents the token once more; if the vendor refuses it, sign in again";

/// What a person can do about a refresh that has failed.
pub(crate) const FAILED_WAY_OUT: &str = "the next request tries it again";
