//! The state of all accounts, by pool.

use std::collections::BTreeMap;

use serde::Serialize;
use tower_credentials::{Metadata, PoolKey, Timestamp};

use crate::account::{self, Account, Identity};
use crate::context::Context;
use crate::engine::EngineReport;
use crate::failure::Exit;
use crate::output::{WayOut, plain};

/// The state of all accounts, as `--json` has it.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    /// The engine that keeps the vault, if one does. What follows is as it was there just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) engine: Option<EngineReport>,
    pub(super) accounts: usize,
    pub(super) usable: usize,
    pub(super) pools: Vec<Pool<'a>>,
    pub(super) troubles: Vec<Line<'a>>,
}

/// One pool.
#[derive(Serialize)]
pub(super) struct Pool<'a> {
    pub(super) provider: &'a str,
    pub(super) namespace: &'a str,
    pub(super) accounts: usize,
    pub(super) usable: usize,
    /// How many of the usable ones the vendor refused last time.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) refused: usize,
    /// The account that the next request takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) active: Option<String>,
    /// The account that is ready first of those that rest, and when.
    #[serde(skip)]
    pub(super) first: Option<(Timestamp, String)>,
    #[serde(skip)]
    pub(super) requests: Requests<'a>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A problem.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    #[serde(flatten)]
    pub(super) account: Option<Identity<'a>>,
    /// The account's name, or the file's.
    pub(super) what: String,
    pub(super) why: String,
    #[serde(flatten)]
    pub(super) way_out: Option<WayOut>,
    #[serde(skip)]
    pub(super) exit: Exit,
}

impl Line<'_> {
    pub(super) fn new(what: String, why: &str, way_out: Option<String>, exit: Exit) -> Self {
        let way_out = way_out.map(|way_out| WayOut::new(&way_out));
        Self { account: None, what, why: plain(why), way_out, exit }
    }
}

/// Whether requests use a pool.
#[derive(Clone, Copy)]
pub(super) enum Requests<'a> {
    Here,
    /// Only those that name its namespace.
    IfNamed,
    /// Not unless they name its namespace: by the settings they use this one.
    Elsewhere(&'a str),
}

pub(super) fn requests<'a>(context: &'a Context, pool: &PoolKey) -> Requests<'a> {
    let named = context.registry.namespace(pool.provider()).ok().flatten();
    match named {
        Some(usual) if usual != pool.namespace() => Requests::Elsewhere(usual),
        None if pool.namespace() != PoolKey::DEFAULT_NAMESPACE => Requests::IfNamed,
        _ => Requests::Here,
    }
}

pub(super) fn by_pool<'a>(
    context: &'a Context,
    accounts: &'a [Account],
    unread: &[&'a Metadata],
    now: Timestamp,
) -> Vec<Pool<'a>> {
    let mut pools: BTreeMap<_, Pool<'_>> = BTreeMap::new();
    let of = |key: &'a PoolKey| {
        move || Pool {
            provider: key.provider(),
            namespace: key.namespace(),
            accounts: 0,
            usable: 0,
            refused: 0,
            active: None,
            first: None,
            requests: requests(context, key),
        }
    };
    for account in unread {
        pools.entry(&account.pool).or_insert_with(of(&account.pool)).accounts += 1;
    }
    for account in accounts {
        let key = &account.credential.pool;
        let pool = pools.entry(key).or_insert_with(of(key));
        pool.accounts += 1;
        pool.usable += usize::from(account.is_usable(now));
        pool.refused += usize::from(account.is_doubtful(now));
        if account.is_active {
            pool.active = Some(account::name(&account.credential));
        }
        if let Some(at) =
            account.ready_at(now).filter(|_| account.is_known && account.left_out.is_none())
            && pool.first.as_ref().is_none_or(|(first, _)| at < *first)
        {
            pool.first = Some((at, account::name(&account.credential)));
        }
    }
    pools.into_values().collect()
}
