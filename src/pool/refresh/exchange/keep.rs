//! Keeps a token response that could not be read, since the refresh token may be spent.

use super::{BACKOFF, Exchange, TRIES};
use crate::BoxError;
use crate::credential::{Credential, Metadata, OAuthTokens, Record, Secret};
use crate::pool::refresh::RefreshError;
use crate::secret::SecretString;
use crate::vault::Replaced;

impl Exchange {
    /// Stores the received text beside the tokens, sealed as they are. Returns the error to report.
    pub(super) async fn keep(
        &self,
        old: Credential,
        received: SecretString,
        error: BoxError,
    ) -> RefreshError {
        let Metadata { id, generation, .. } = old.metadata;
        let mut secret = old.secret;
        let (Secret::OAuth(tokens) | Secret::Mcp(tokens)) = &mut secret else {
            return RefreshError::Failed(error);
        };
        tokens.extra.insert(OAuthTokens::UNREAD_RESPONSE.to_owned(), received);
        let mut backoff = BACKOFF.0;
        for tries in 1..=TRIES {
            match self.replace(id, generation, secret.clone()).await {
                Ok(Replaced::Swapped(generation)) => {
                    let metadata = Metadata { generation, updated_at: self.pool.now(), ..old.metadata };
                    // The tokens stay, since they may still work.
                    let _ = self.adopt(&Record { metadata, secret });
                    break;
                }
                Ok(Replaced::Conflict(theirs)) => {
                    // Somebody has newer tokens, and the response was for older ones.
                    let _ = self.adopt(&theirs);
                    return RefreshError::Failed(error);
                }
                Err(failure) if tries == TRIES => {
                    let words = format!("{error}; what was received could not be kept: {failure}");
                    return RefreshError::Failed(words.into());
                }
                Err(_) => {
                    tokio::time::sleep(backoff).await;
                    backoff *= 2;
                }
            }
        }
        RefreshError::Failed(
            format!("{error}; what was received is kept with the account, sealed").into(),
        )
    }
}
