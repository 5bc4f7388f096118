//! Preference is not order: an explicit call says which accounts come first, and a limit changes that only for a while.

use proptest::prelude::*;
use tower_credentials::standing::{Scope, Standing};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;

/// Two subscriptions and a key, added in the opposite order.
async fn mixed() -> MemoryVault {
    let vault = keys(["paid"]).await;
    for label in ["first", "second"] {
        vault.put(account(label)).await.unwrap();
    }
    vault
}

fn of_all(vault: MemoryVault) -> PoolBuilder {
    builder(vault).mode(Mode::All).cooldowns(exact().jitter(0.0))
}

#[tokio::test(start_paused = true)]
async fn subscriptions_come_first_a_paid_key_last_and_the_first_again_when_it_is_ready() {
    for stacked in ORDERS {
        let upstream = Upstream::new()
            .answers("first-1", [Canned::limited(60), Canned::ok().body("first-1")])
            .answers("second-1", [Canned::limited(90), Canned::ok().body("second-1")]);
        let pool = of_all(mixed().await).clock(tokio_clock()).open().await.unwrap();
        let service = stacked(&pool, upstream);
        assert_eq!(order(&pool), ["first", "second", "paid"]);
        for _ in 0..3 {
            assert_eq!(ask(&service, post()).await, (200, "paid".into()));
        }
        tokio::time::sleep(seconds(60)).await;
        for _ in 0..3 {
            assert_eq!(ask(&service, post()).await, (200, "first-1".into()), "no key is paid for");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_explicit_tier_comes_before_the_kind_and_other_pools_know_it() {
    let (vault, upstream) = (mixed().await, Upstream::new());
    let pool = of_all(vault.clone()).clock(tokio_clock()).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream);
    pool.set_tier(id_of(&pool, "second"), Some(2)).await.unwrap();
    pool.set_tier(id_of(&pool, "paid"), Some(0)).await.unwrap();
    let expected = ["paid", "first", "second"];
    assert_eq!(order(&pool), expected, "in a tier the order counts");
    assert_eq!(ask(&service, post()).await.1, "paid");
    let other = of_all(vault.clone()).open().await.unwrap();
    assert_eq!(order(&other), expected);
    assert_eq!(other.active(), Some(id_of(&other, "paid")));
    other.reset(id_of(&other, "paid")).await.unwrap();
    other.pause(id_of(&other, "second")).await.unwrap();
    pool.sync().await.unwrap();
    assert_eq!(status_of(&pool, "second").standing.tier, Some(2), "a pause changes no tier");
    assert_eq!(status_of(&pool, "paid").standing.tier, Some(0), "nor does a reset");
    pool.set_tier(id_of(&pool, "paid"), None).await.unwrap();
    assert_eq!(order(&pool), ["first", "paid", "second"]);
    assert_eq!(ask(&service, post()).await.1, "first-1");
}

#[tokio::test(start_paused = true)]
async fn in_a_pool_of_one_kind_tiers_come_before_every_policy_and_affinity() {
    let policies: [fn(PoolBuilder) -> PoolBuilder; 3] = [
        |pool| pool,
        |pool| pool.policy(policy::RoundRobin),
        |pool| pool.policy(policy::LeastRecentlyUsed),
    ];
    for with_policy in policies {
        let upstream = Upstream::new().answers("b", [Canned::limited(30), Canned::ok().body("b")]);
        let built = builder(keys(["a", "b", "c"]).await).clock(tokio_clock());
        let pool = with_policy(built).open().await.unwrap();
        for label in ["a", "c"] {
            pool.set_tier(id_of(&pool, label), Some(7)).await.unwrap();
        }
        let service = stack(four(&pool, &no_refresh()), upstream);
        let chat = || post_with(Affinity::new("chat"));
        assert_ne!(ask(&service, chat()).await.1, "b");
        assert_ne!(ask(&service, post()).await.1, "b");
        tokio::time::sleep(seconds(30)).await;
        for _ in 0..3 {
            assert_eq!(ask(&service, chat()).await.1, "b", "a chat goes back, too");
            assert_eq!(ask(&service, post()).await.1, "b");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspect_goes_last_in_its_tier_but_stays_before_a_paid_key() {
    let upstream = Upstream::new().answers("first-1", [Canned::status(403), Canned::ok()]);
    let pool = of_all(mixed().await).clock(tokio_clock()).open().await.unwrap();
    let service = stack(CredentialsLayer::new(pool.clone()), upstream);
    let pinned = pinned("first");
    assert_eq!(ask(&service, pinned).await.0, 403);
    assert_eq!(ask(&service, post()).await.1, "second-1");
    pool.pause(id_of(&pool, "second")).await.unwrap();
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(learnt(&status_of(&pool, "first").standing), Standing::default());
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_one_model_leaves_the_order_for_the_others() {
    let upstream = Upstream::new().answers("first-1", [Canned::limited(60), Canned::ok().body("x")]);
    let vault = mixed().await;
    let pool = of_all(vault).clock(tokio_clock()).open().await.unwrap();
    pool.set_tier(id_of(&pool, "second"), Some(1)).await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream);
    let scoped = post_with(Scope::new("large"));
    assert_ne!(ask(&service, scoped).await.1, "x");
    assert_eq!(ask(&service, post()).await.1, "x");
}

#[tokio::test(start_paused = true)]
async fn a_limit_does_not_lose_the_explicit_order_and_a_reset_restores_it() {
    let upstream = Upstream::new();
    let vault = keys(["a", "b", "c"]).await;
    let pool = builder(vault.clone()).clock(tokio_clock()).open().await.unwrap();
    vault.move_to(&key(), id_of(&pool, "c"), 0).await.unwrap();
    pool.sync().await.unwrap();
    assert_eq!(order(&pool), ["c", "a", "b"]);
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    for label in ["c", "a"] {
        upstream.set(label, [Canned::limited(600)]);
        assert_eq!(ask(&service, post()).await.0, 200);
    }
    assert_eq!(order(&pool), ["b", "c", "a"], "two were limited, one after the other");
    // A restart in between.
    let pool = builder(vault.clone()).clock(tokio_clock()).open().await.unwrap();
    pool.reset(id_of(&pool, "a")).await.unwrap();
    assert_eq!(order(&pool), ["a", "b", "c"]);
    pool.reset(id_of(&pool, "c")).await.unwrap();
    assert_eq!(order(&pool), ["c", "a", "b"]);
    let other = builder(vault).open().await.unwrap();
    assert_eq!(order(&other), ["c", "a", "b"]);
}

/// A step that may change the order.
#[derive(Clone, Copy, Debug)]
enum Step {
    Limit(usize),
    Reset(usize),
    Move(usize, usize),
    Tier(usize, Option<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0usize..5).prop_map(Step::Limit),
        (0usize..5).prop_map(Step::Reset),
        (0usize..5, 0usize..6).prop_map(|(which, to)| Step::Move(which, to)),
        (0usize..5, proptest::option::of(0u8..3)).prop_map(|(which, tier)| Step::Tier(which, tier)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]
    #[test]
    fn the_pool_and_its_vault_agree_on_the_order(steps in prop::collection::vec(step(), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(agree(&steps));
    }
}

async fn agree(steps: &[Step]) {
    const LABELS: [&str; 5] = ["a", "b", "c", "d", "e"];
    let vault = keys(LABELS).await;
    let pool = builder(vault.clone()).clock(tokio_clock()).open().await.unwrap();
    let upstream = Upstream::new();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    for step in steps {
        match *step {
            Step::Limit(which) => {
                upstream.set(LABELS[which], [Canned::limited(1), Canned::ok()]);
                let pinned = pinned(LABELS[which]);
                assert_eq!(ask(&service, pinned).await.0, 429);
            }
            Step::Reset(which) => pool.reset(id_of(&pool, LABELS[which])).await.unwrap(),
            Step::Move(which, to) => {
                vault.move_to(&key(), id_of(&pool, LABELS[which]), to).await.unwrap();
                pool.sync().await.unwrap();
            }
            Step::Tier(which, tier) => {
                pool.set_tier(id_of(&pool, LABELS[which]), tier).await.unwrap();
            }
        }
        pool.save().await.unwrap();
        let (here, there) = (order(&pool), builder(vault.clone()).open().await.unwrap());
        assert_eq!(here, order(&there), "after {step:?}");
    }
    // After any steps, resets from the first to the last restore the explicit order.
    let preferred = vault.load_pool(key()).await.unwrap().standings.preferred;
    for id in &preferred {
        pool.reset(*id).await.unwrap();
        pool.set_tier(*id, None).await.unwrap();
    }
    let ids: Vec<_> = pool.status().iter().map(|status| status.credential.id).collect();
    assert_eq!(ids, preferred);
}
