//! Renews a token now.

use tower_credentials::vault::VaultExt;
use tower_credentials::{CredentialId, Kind, Mode, PoolKey};

use crate::account::{self, Unrenewable};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::renewals::Renewals;
use crate::{ending, output};

/// Renews the token of an account, and says so.
pub(super) async fn renew(context: &Context, key: &PoolKey, id: CredentialId) -> Result<(), Failure> {
    let vault = context.vault_with_accounts().await?;
    let stored = vault.get(key, id).await?;
    let credential = &stored.metadata;
    let name = account::name(credential);
    if !matches!(credential.kind, Kind::OAuth | Kind::Mcp) {
        return Err(Failure::usage(format!("{name} is a key: there is nothing to renew")));
    }
    if let Some(why) = Unrenewable::of(context, key, &stored.secret) {
        let failure = Failure::usage(format!("the token of {name} can't be renewed: {why}"));
        return Err(match why.way_out(context, credential) {
            Some(way_out) => failure.way_out(way_out),
            None => failure,
        });
    }
    let refresher = context.oauth(key.provider())?.refresher();
    let renewals = Renewals::default();
    // Even if the mode leaves it out.
    let pool = context.pool(key, vault)?.mode(Mode::Auto).on_event(renewals.observer());
    let pool = ending::open(pool).await?;
    if pool.renew(id, refresher).await? {
        output::say(format_args!("The token of {name} is renewed"));
        return Ok(());
    }
    let why = renewals.failure(id).unwrap_or_else(|| "a renewal failed a moment ago".to_owned());
    Err(Failure::new(Exit::Unavailable, format!("the token of {name} was not renewed")).because(why))
}
