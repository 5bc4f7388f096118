//! In pools with any quotas, whatever the server says of them, no request goes to an account whose quota is known to cool
//! down while another one is free, and all readers of the vault know the same.

use std::collections::HashMap;

use proptest::prelude::*;
use tokio::time::Instant;
use tower_credentials::standing::{Change, Outcome, Quota, Scope};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use super::{open, shared};
use crate::support::*;

const LABELS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// The name of an account's quota: one of three that are shared, or its own.
type Quotas = [Option<usize>; LABELS.len()];

fn quotas() -> impl Strategy<Value = Quotas> {
    prop::array::uniform6(prop::option::weighted(0.8, 0_usize..3))
}

fn quota(name: Option<usize>) -> Quota {
    name.map_or(Quota::Own, |name| shared(&name.to_string()))
}

async fn vault(quotas: &Quotas) -> MemoryVault {
    let vault = keys(LABELS).await;
    let stored = vault.load_pool(key()).await.unwrap().credentials;
    let outcomes = stored.iter().map(|record| {
        let which = LABELS.iter().position(|label| **label == *record.metadata.label).unwrap();
        let change = Change::Quota { quota: Some(quota(quotas[which])) };
        Outcome { id: record.metadata.id, change }
    });
    vault.record(key(), outcomes.collect()).await.unwrap();
    vault
}

#[derive(Clone, Debug)]
enum Step {
    Ask,
    /// The server limits the quota of this account for so many seconds.
    Limit(usize, u64),
    Pass(u64),
    Reset(usize),
    /// The program ends, and another one begins.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = || 0..LABELS.len();
    let step = prop_oneof![
        6 => Just(Step::Ask),
        3 => (which(), 1_u64..200).prop_map(|(which, time)| Step::Limit(which, time)),
        2 => (1_u64..120).prop_map(Step::Pass),
        1 => which().prop_map(Step::Reset),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

/// A server that limits quotas, and a client's knowledge of that.
struct World {
    quotas: Quotas,
    /// Until when the server limits each quota.
    limited: HashMap<usize, Instant>,
    /// Until when it has told so.
    told: HashMap<usize, Instant>,
}

impl World {
    /// Returns the number of an account's quota. One's own is numbered after the shared ones.
    fn quota(&self, which: usize) -> usize {
        self.quotas[which].unwrap_or(100 + which)
    }

    fn is_told(&self, which: usize) -> bool {
        self.told.get(&self.quota(which)).is_some_and(|end| *end > Instant::now())
    }

    /// Sets each account's response.
    fn script(&self, upstream: &Upstream) {
        for (which, label) in LABELS.iter().enumerate() {
            let left =
                self.limited.get(&self.quota(which)).map(|end| end.duration_since(Instant::now()));
            let canned = match left.map(|left| left.as_secs()) {
                None | Some(0) => Canned::ok(),
                Some(left) => Canned::limited(left),
            };
            upstream.set(label, [canned]);
        }
    }

    /// Checks the attempts of one request, and learns from them.
    fn check(&mut self, attempts: &[String], status: u16) {
        for (place, label) in attempts.iter().enumerate() {
            let which = LABELS.iter().position(|known| known == label).unwrap();
            let all_told = (0..LABELS.len()).all(|which| self.is_told(which));
            assert!(
                !self.is_told(which) || (all_told && place == 0),
                "{label} is asked, whose quota is known to be limited: {attempts:?}"
            );
            let end = self.limited.get(&self.quota(which)).copied();
            match end.filter(|end| *end > Instant::now()) {
                Some(end) => {
                    assert!(place + 1 < attempts.len() || status == 429);
                    self.told.insert(self.quota(which), end);
                }
                None => {
                    assert_eq!((place + 1, status), (attempts.len(), 200), "{attempts:?}");
                    self.told.remove(&self.quota(which));
                }
            }
        }
        if status != 200 {
            let is_limited = |which: usize| {
                self.limited.get(&self.quota(which)).is_some_and(|end| *end > Instant::now())
            };
            let all_told = (0..LABELS.len()).all(|which| self.is_told(which));
            assert!(all_told, "there was another one: {attempts:?}");
            assert!((0..LABELS.len()).any(is_limited));
        }
    }
}

async fn waste_no_attempt(quotas: Quotas, steps: &[Step]) {
    let (vault, clock) = (vault(&quotas).await, tokio_clock());
    let upstream = Upstream::new();
    let mut world = World { quotas, limited: HashMap::new(), told: HashMap::new() };
    let mut pool = open(&vault, &clock).await;
    let mut service = stack(four(&pool, &no_refresh()), upstream.clone());
    for step in steps {
        match *step {
            Step::Ask => {
                world.script(&upstream);
                let before = upstream.tokens().len();
                let (status, _) = ask(&service, post()).await;
                world.check(&upstream.tokens()[before..], status);
            }
            Step::Limit(which, time) => {
                let end = Instant::now() + seconds(time);
                let known = world.limited.entry(world.quotas[which].unwrap_or(100 + which));
                let known = known.or_insert(end);
                *known = end.max(*known);
            }
            Step::Pass(time) => tokio::time::sleep(seconds(time)).await,
            Step::Reset(which) => {
                pool.reset(id_of(&pool, LABELS[which])).await.unwrap();
                world.told.remove(&world.quota(which));
            }
            Step::Restart => {
                pool.save().await.unwrap();
                pool = open(&vault, &clock).await;
                service = stack(four(&pool, &no_refresh()), upstream.clone());
            }
        }
    }
}

/// A step that changes standings, in one of two pools.
#[derive(Clone, Debug)]
enum Change_ {
    Limit(usize, u64, Option<&'static str>),
    Succeed(usize, Option<&'static str>),
    Refuse(usize),
    Reset(usize),
    Quota(usize, Option<usize>),
    Tier(usize, u8),
    Pass(u64),
}

fn changes() -> impl Strategy<Value = Vec<(bool, Change_)>> {
    let which = || 0..LABELS.len();
    let scope = || prop_oneof![3 => Just(None), 1 => Just(Some("m"))];
    let change = prop_oneof![
        4 => (which(), 1_u64..200, scope()).prop_map(|(which, time, scope)| Change_::Limit(which, time, scope)),
        2 => (which(), scope()).prop_map(|(which, scope)| Change_::Succeed(which, scope)),
        1 => which().prop_map(Change_::Refuse),
        1 => which().prop_map(Change_::Reset),
        2 => (which(), prop::option::of(0_usize..3)).prop_map(|(which, name)| Change_::Quota(which, name)),
        1 => (which(), 0_u8..3).prop_map(|(which, tier)| Change_::Tier(which, tier)),
        1 => (1_u64..100).prop_map(Change_::Pass),
    ];
    prop::collection::vec((any::<bool>(), change), 1..30)
}

/// What a reader of the vault knows of each account, in order.
fn known(pool: &Pool) -> Vec<(String, Vec<standing::Cooldown>, u32)> {
    let status = |status: CredentialStatus| {
        let mut cooldowns = status.standing.cooldowns;
        cooldowns.sort_by(|one, other| one.scope.cmp(&other.scope));
        (status.credential.label.to_string(), cooldowns, status.standing.failures)
    };
    pool.status().into_iter().map(status).collect()
}

async fn know_the_same(quotas: Quotas, changes: &[(bool, Change_)]) {
    let (vault, clock) = (vault(&quotas).await, tokio_clock());
    let upstream = Upstream::new();
    let pools = [open(&vault, &clock).await, open(&vault, &clock).await];
    let services = [0, 1].map(|which| stack(four(&pools[which], &no_refresh()), upstream.clone()));
    let pinned_to = |which: usize, scope: &Option<&'static str>| {
        let mut request = pinned(LABELS[which]);
        request.extensions_mut().extend(
            scope
                .map(|scope| {
                    let mut extensions = http::Extensions::new();
                    extensions.insert(Scope::new(scope));
                    extensions
                })
                .unwrap_or_default(),
        );
        request
    };
    for (first, change) in changes {
        let (pool, service) = (&pools[usize::from(!first)], &services[usize::from(!first)]);
        match change {
            Change_::Limit(which, time, scope) => {
                upstream.set(LABELS[*which], [Canned::limited(*time)]);
                ask(service, pinned_to(*which, scope)).await;
            }
            Change_::Succeed(which, scope) => {
                upstream.set(LABELS[*which], [Canned::ok()]);
                ask(service, pinned_to(*which, scope)).await;
            }
            Change_::Refuse(which) => {
                let change = Change::CooledDown {
                    cooldown: standing::Cooldown {
                        until: pool.now().after(seconds(300)),
                        set_at: pool.now(),
                        reason: standing::Reason::Refused,
                        scope: None,
                        generation: None,
                        cause: None,
                    },
                    failure: true,
                    to_back: true,
                };
                vault
                    .record(key(), vec![Outcome { id: id_of(pool, LABELS[*which]), change }])
                    .await
                    .unwrap();
            }
            Change_::Reset(which) => pool.reset(id_of(pool, LABELS[*which])).await.unwrap(),
            Change_::Quota(which, name) => {
                let quota = name.map(|name| quota(Some(name)));
                pool.set_quota(id_of(pool, LABELS[*which]), quota).await.unwrap();
            }
            Change_::Tier(which, tier) => {
                pool.set_tier(id_of(pool, LABELS[*which]), Some(*tier)).await.unwrap();
            }
            Change_::Pass(time) => tokio::time::sleep(seconds(*time)).await,
        }
        pool.save().await.unwrap();
        let new = open(&vault, &clock).await;
        for pool in &pools {
            pool.sync().await.unwrap();
            assert_eq!(known(pool), known(&new), "after {change:?}");
        }
        let seen = vault.load_pool(key()).await.unwrap().standings;
        for status in new.status() {
            let stored = seen.standing(status.credential.id, new.now());
            let cools = |standing: &standing::Standing| standing.cooldown(None).map(|known| known.until);
            assert_eq!(cools(&stored), cools(&status.standing), "without a pool");
        }
    }
}

fn run(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_attempt_is_wasted_on_a_quota_that_is_known_to_be_limited(quotas in quotas(), steps in steps()) {
        run(waste_no_attempt(quotas, &steps));
    }

    #[test]
    fn all_readers_of_a_vault_know_the_same(quotas in quotas(), changes in changes()) {
        run(know_the_same(quotas, &changes));
    }
}
