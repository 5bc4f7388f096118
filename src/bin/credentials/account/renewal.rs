//! Whether the token of a sign-in can be renewed.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tower_credentials::vault::UnfinishedRefresh;
use tower_credentials::vault::file::Check;
use tower_credentials::{CredentialId, Metadata, OAuthTokens, PoolKey, Secret};

use super::way_out::{self, setting};
use crate::context::Context;
use crate::output;

/// A renewal that has stored no new token.
#[derive(Clone, Debug)]
pub(crate) enum LastRenewal {
    /// Nothing tells how it ended. The old token may still work, and the new one may be lost.
    CutOff,
    /// It failed for this reason.
    Failed(String),
}

/// What is said about it, after the account's name.
impl fmt::Display for LastRenewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutOff => f.write_str(
                "a renewal of its token was cut off, and the new one may be lost: the next renewal shows whether a new \
                 sign-in is needed",
            ),
            Self::Failed(reason) => write!(f, "its renewal failed: {}", output::plain(reason)),
        }
    }
}

/// Returns the last renewal of each account for which it has stored nothing. Empty if the vault can't be looked through
/// now.
pub(crate) async fn last_renewals(context: &Context) -> HashMap<CredentialId, LastRenewal> {
    let unfinished = match (context.places.vault.directory(), context.engine().await) {
        (Some(directory), _) => {
            Check::new(directory).lock_timeout(Duration::ZERO).unfinished_refreshes().await
        }
        (None, Ok(Some(engine))) => engine.unfinished_refreshes().await,
        (None, _) => return HashMap::new(),
    };
    let ended = |refresh: UnfinishedRefresh| {
        (refresh.id, refresh.failure.map_or(LastRenewal::CutOff, LastRenewal::Failed))
    };
    unfinished.unwrap_or_default().into_iter().map(ended).collect()
}

/// Why nothing renews the token of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unrenewable {
    NoRefreshToken,
    /// There is no provider of that name.
    NoProvider,
    /// The provider has no OAuth.
    NoOAuth,
    /// A field of its OAuth settings has no value.
    Missing(&'static str),
}

impl fmt::Display for Unrenewable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRefreshToken => f.write_str("no refresh token"),
            Self::NoProvider => f.write_str("no provider of that name"),
            Self::NoOAuth => f.write_str("its provider has no `oauth`"),
            Self::Missing("client_id") => f.write_str("no client id"),
            Self::Missing(setting) => write!(f, "no `{setting}`"),
        }
    }
}

impl Unrenewable {
    /// Returns why nothing can renew this secret, stored or not. `None` also if it needs no renewal.
    pub(crate) fn of(context: &Context, pool: &PoolKey, secret: &Secret) -> Option<Self> {
        let (Secret::OAuth(tokens) | Secret::Mcp(tokens)) = secret else { return None };
        match &tokens.refresh {
            Some(refresh) if !refresh.is_empty() => Self::of_settings(context, pool.provider(), tokens),
            // As far as is known, it does not expire.
            _ if tokens.expires_at.is_none() => None,
            _ => Some(Self::NoRefreshToken),
        }
    }

    /// Whether a request can renew this secret if it is refused.
    pub(crate) fn is_renewable(context: &Context, pool: &PoolKey, secret: &Secret) -> bool {
        secret.refresh_token().is_some_and(|refresh| !refresh.is_empty())
            && Self::of(context, pool, secret).is_none()
    }

    fn of_settings(context: &Context, provider: &str, tokens: &OAuthTokens) -> Option<Self> {
        let Ok(provider) = context.registry.provider(provider) else { return Some(Self::NoProvider) };
        let Some(config) = provider.oauth() else { return Some(Self::NoOAuth) };
        config.missing_for_refresh(tokens).map(Self::Missing)
    }

    /// Whether a setting is missing: another program with the same sign-in may still renew it.
    pub(crate) fn is_of_settings(self) -> bool {
        self != Self::NoRefreshToken
    }

    /// Returns how to make it renewable.
    pub(crate) fn way_out(self, context: &Context, account: &Metadata) -> Option<String> {
        let provider = account.pool.provider();
        let settings = context.places.config.display();
        Some(match self {
            Self::NoRefreshToken => return way_out::renewal(context, account),
            Self::NoProvider => format!(
                "set {} in {settings}, and {} if the type is \"generic\"",
                setting(provider, "type"),
                setting(provider, "origins")
            ),
            Self::NoOAuth => format!("set {} in {settings}", setting(provider, "oauth")),
            Self::Missing(field) => {
                let setting = setting(provider, &format!("oauth.{field}"));
                format!("set {setting} in {settings} to that of the OAuth client that signed in")
            }
        })
    }
}
