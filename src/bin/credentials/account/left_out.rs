//! The accounts that a pool's mode leaves out: they are there, but no request uses them.

use std::fmt;

use tower_credentials::vault::{Damage, StoredPool, Vault, VaultExt};
use tower_credentials::{Kind, Metadata, Mode, PoolKey};

use super::way_out::setting;
use crate::context::Context;
use crate::naming::names;
use crate::output;

/// Why requests don't use an account that is ready: the mode of its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut(pub(crate) Mode);

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let takes = match self.0 {
            Mode::Auto => "takes sign-ins before keys",
            Mode::Api => "takes only keys",
            _ => "takes only sign-ins",
        };
        write!(f, "mode {} {takes}", self.0.as_str())
    }
}

/// Whether accounts of this kind are sign-ins.
fn is_sign_in(kind: Kind) -> bool {
    matches!(kind, Kind::OAuth | Kind::Mcp)
}

/// Which accounts a pool's mode allows.
#[derive(Clone, Copy)]
pub(crate) struct Choice {
    mode: Mode,
    has_sign_in: bool,
}

impl Choice {
    /// Returns the choice for a pool of accounts of these kinds, some of which may be damaged. `None` if there is no provider of
    /// that name.
    pub(crate) fn of<'a>(
        context: &Context,
        pool: &PoolKey,
        kinds: impl IntoIterator<Item = Kind>,
        damaged: impl IntoIterator<Item = &'a Damage>,
    ) -> Option<Self> {
        let mode = context.registry.mode(pool.provider()).ok()?;
        let may_be = |damage: &Damage| damage.id.is_some() && damage.kind.is_none_or(is_sign_in);
        let has_sign_in = kinds.into_iter().any(is_sign_in) || damaged.into_iter().any(may_be);
        Some(Self { mode, has_sign_in })
    }

    /// Returns why an account of this kind is not used.
    pub(crate) fn leaves_out(self, kind: Kind) -> Option<LeftOut> {
        (!self.mode.allows(kind, self.has_sign_in)).then_some(LeftOut(self.mode))
    }
}

/// Returns the setting that uses all accounts: sign-ins first, which cost nothing more.
pub(crate) fn way_out(context: &Context, pool: &PoolKey) -> String {
    let provider = pool.provider();
    let variable: String = format!("tower_credentials_{provider}_mode")
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_uppercase() } else { '_' })
        .collect();
    format!(
        "set {} = \"{mode}\" in {}, or {variable}={mode}: sign-ins are used first, then keys",
        setting(provider, "mode"),
        output::path(&context.places.config),
        mode = Mode::All.as_str(),
    )
}

/// Says which accounts of a pool the mode leaves out, and how to change that.
pub(crate) async fn tell(context: &Context, vault: &impl Vault, pool: &PoolKey) {
    // A pool that does not open is reported elsewhere.
    let Ok(stored) = vault.load_pool(pool.clone()).await else { return };
    tell_of_stored(context, pool, &stored);
}

/// The same of a pool that was read.
pub(crate) fn tell_of_stored(context: &Context, pool: &PoolKey, stored: &StoredPool) {
    let accounts: Vec<_> = stored.credentials.iter().map(|record| record.metadata.clone()).collect();
    tell_of(context, pool, &accounts, &stored.damaged);
}

/// The same of a pool that has, or will have, these accounts.
pub(crate) fn tell_of(context: &Context, pool: &PoolKey, accounts: &[Metadata], damaged: &[Damage]) {
    let kinds = accounts.iter().map(|account| account.kind);
    let Some(choice) = Choice::of(context, pool, kinds, damaged) else { return };
    let is_left_out = |account: &&Metadata| choice.leaves_out(account.kind).is_some();
    let left_out: Vec<Metadata> = accounts.iter().filter(is_left_out).cloned().collect();
    let Some(first) = left_out.first() else { return };
    let Some(why) = choice.leaves_out(first.kind) else { return };
    let are = if left_out.len() == 1 { "is" } else { "are" };
    output::say(format_args!("{} {are} not used: {why}", names(&left_out)));
    output::way_out(way_out(context, pool));
}
