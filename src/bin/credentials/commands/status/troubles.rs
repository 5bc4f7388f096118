//! Problems that are not of one account.

use std::collections::BTreeSet;

use tower_credentials::PoolKey;
use tower_credentials::vault::file::FileVault;

use super::report::{Line, Requests, requests};
use crate::account::{self, Account};
use crate::context::Context;
use crate::engine::{EngineFinding, EngineReport};
use crate::failure::Exit;
use crate::output::{self, plain};

/// Says that nothing can be stored in the vault, if it is mounted read-only, for example. It can still be read.
pub(super) fn unwritable(context: &Context) -> Option<Line<'static>> {
    let vault = context.places.vault.directory()?;
    let error = FileVault::is_at(vault).then(|| FileVault::look_writable(vault))?.err()?;
    let text = error.to_string();
    let (what, way_out) = text.split_once("; ").unwrap_or((&text, ""));
    let why =
        format!("{what}: nothing that is learnt about the accounts is saved, and no token is renewed");
    let way_out = Some(way_out.to_owned()).filter(|way_out| !way_out.is_empty());
    Some(Line::new(output::path(vault), &why, way_out, Exit::Done))
}

/// Says how the engine may lose a secret.
pub(super) fn losing<'a>(engine: &EngineReport) -> Vec<Line<'a>> {
    let losing = engine.findings.iter().filter(|finding| finding.loses_secrets);
    let line = |finding: &EngineFinding| {
        let line = Line::new(engine.url.clone(), &finding.what, None, Exit::Done);
        Line { way_out: finding.way_out.clone(), ..line }
    };
    losing.map(line).collect()
}

/// Names the providers whose requests use a namespace without any account, although another one has some.
pub(super) fn without_accounts(context: &Context, accounts: &[Account]) -> Vec<Line<'static>> {
    let pools: BTreeSet<_> = accounts.iter().map(|account| &account.credential.pool).collect();
    let elsewhere = |pool: &&&PoolKey| match requests(context, pool) {
        Requests::Elsewhere(namespace) => pools
            .iter()
            .all(|other| other.provider() != pool.provider() || other.namespace() != namespace),
        _ => false,
    };
    let line = |pool: &PoolKey| {
        let usual = context.registry.pool_key(pool.provider()).ok()?;
        let why =
            format!("requests use this namespace, and it has no account; there are some in {pool}");
        let setting = account::setting(pool.provider(), "namespace");
        let way_out =
            format!("set {setting} = {:?} in {}", pool.namespace(), context.places.config.display());
        Some(Line::new(plain(&usual.to_string()), &why, Some(way_out), Exit::Unavailable))
    };
    pools.iter().filter(elsewhere).filter_map(|pool| line(pool)).collect()
}
