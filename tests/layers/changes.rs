//! What others change in the vault is applied without reading the whole pool again, as soon as the vault tells of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use proptest::prelude::*;
use tower::Service;
use tower_credentials::standing::{Change, Outcome};
use tower_credentials::vault::{
    MemoryVault, Replaced, VaultError, VaultExt, VaultRequest, VaultResponse,
};
use tower_credentials::*;

use crate::support::*;

/// A vault that knows no changes, so that a pool loads it.
#[derive(Clone)]
struct Whole(MemoryVault);

impl Service<VaultRequest> for Whole {
    type Response = VaultResponse;
    type Error = VaultError;
    type Future = <MemoryVault as Service<VaultRequest>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        Service::<VaultRequest>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: VaultRequest) -> Self::Future {
        self.0.call(match request {
            VaultRequest::Changes { pool, told, .. } => {
                let since = vault::Revision::from_bytes([0xff; 16]);
                VaultRequest::Changes { pool, since, told }
            }
            request => request,
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_one_account_does_not_load_the_pool() {
    let vault = keys(["a", "b", "c"]).await;
    let spy = Planned::spy(&vault);
    let pool = builder(spy.clone()).clock(tokio_clock()).sync_every(None).open().await.unwrap();
    let other = builder(vault.clone()).clock(tokio_clock()).sync_every(None).open().await.unwrap();
    let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
    ask(&stack(four(&other, &no_refresh()), upstream), post()).await;
    let b = id_of(&pool, "b");
    let replaced =
        vault.replace_secret(&key(), b, Generation::FIRST, Secret::api_key("b-2")).await.unwrap();
    assert!(matches!(replaced, Replaced::Swapped(_)));
    pool.sync().await.unwrap();
    assert_eq!(order(&pool), ["b", "c", "a"]);
    assert!(cools(&pool, "a") > seconds(2990));
    let upstream = Upstream::new();
    ask(&stack(four(&pool, &no_refresh()), upstream.clone()), post()).await;
    assert_eq!(upstream.tokens(), ["b-2"]);
    assert_eq!(spy.calls.all(), ["load", "revision", "changes"]);
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_tells_of_changes_is_heeded_at_once() {
    let vault = keys(["a", "b"]).await;
    let first = builder(vault.clone()).clock(tokio_clock()).open().await.unwrap();
    let second = builder(vault.clone()).clock(tokio_clock()).open().await.unwrap();
    settle().await;
    let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
    ask(&stack(four(&first, &no_refresh()), upstream), post()).await;
    settle().await;
    assert_eq!(order(&second), ["b", "a"]);
    assert!(cools(&second, "a") > seconds(2990));
}

/// A vault whose response to each first save is lost.
#[derive(Clone)]
struct Lossy(MemoryVault, Arc<AtomicUsize>);

impl Service<VaultRequest> for Lossy {
    type Response = VaultResponse;
    type Error = VaultError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<VaultResponse, VaultError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        Service::<VaultRequest>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: VaultRequest) -> Self::Future {
        let is_save = matches!(request, VaultRequest::Record { .. });
        let is_lost = is_save && self.1.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        let response = self.0.call(request);
        Box::pin(async move {
            let response = response.await;
            if is_lost { Err(VaultError::Unreachable("cut off".into())) } else { response }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_counts_once_even_if_the_response_to_its_save_is_lost() {
    let vault = keys(["a", "b"]).await;
    let lossy = Lossy(vault.clone(), Arc::default());
    let pool = builder(lossy).clock(tokio_clock()).cooldowns(exact()).open().await.unwrap();
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(10), Canned::limited(10), Canned::limited(10)])
        .answers("b", [Canned::ok(), Canned::limited(10), Canned::limited(10)]);
    let client = stack(four(&pool, &no_refresh()), upstream);
    for number in 1..=3 {
        ask(&client, post()).await;
        pool.save().await.unwrap_err();
        pool.save().await.unwrap();
        let stored = vault.load_pool(key()).await.unwrap().standings;
        assert_eq!(stored.credentials[&id_of(&pool, "a")].failures, number);
        pool.sync().await.unwrap();
        assert_eq!(status_of(&pool, "a").standing.failures, number);
        tokio::time::sleep(seconds(11)).await;
    }
}

/// A step that somebody makes.
#[derive(Clone, Debug)]
enum Step {
    /// A request through one of the pools, with the response's status.
    Request {
        of: usize,
        limited: bool,
    },
    Put,
    Remove {
        which: usize,
    },
    Move {
        which: usize,
        place: usize,
    },
    Renew {
        which: usize,
    },
    Relabel {
        which: usize,
    },
    Outcome {
        which: usize,
        change: Change,
    },
    Sync {
        of: usize,
    },
    Save {
        of: usize,
    },
    Wait {
        seconds: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..6_usize;
    let change = prop_oneof![
        Just(Change::Paused),
        Just(Change::Resumed),
        Just(Change::Reset),
        (0..3_u8).prop_map(|tier| Change::Tier { tier: Some(tier) }),
    ];
    let step = prop_oneof![
        6 => (0..3_usize, any::<bool>()).prop_map(|(of, limited)| Step::Request { of, limited }),
        1 => Just(Step::Put),
        1 => which.clone().prop_map(|which| Step::Remove { which }),
        2 => (which.clone(), which.clone()).prop_map(|(which, place)| Step::Move { which, place }),
        1 => which.clone().prop_map(|which| Step::Renew { which }),
        1 => which.clone().prop_map(|which| Step::Relabel { which }),
        2 => (which, change).prop_map(|(which, change)| Step::Outcome { which, change }),
        4 => (0..3_usize).prop_map(|of| Step::Sync { of }),
        2 => (0..3_usize).prop_map(|of| Step::Save { of }),
        2 => (1..90_u64).prop_map(|seconds| Step::Wait { seconds }),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Makes the steps. At the end a pool that has applied each change is what a pool shows that loads the vault.
async fn run(steps: Vec<Step>) {
    let vault = keys(["a", "b", "c", "d"]).await;
    let clock = tokio_clock();
    let open = async || {
        let pool = builder(vault.clone()).clock(clock.clone()).cooldowns(exact()).sync_every(None);
        pool.open().await.unwrap()
    };
    let pools = [open().await, open().await];
    let whole = builder(Whole(vault.clone())).clock(clock.clone()).cooldowns(exact()).sync_every(None);
    let whole = whole.open().await.unwrap();
    let pools = [&pools[0], &pools[1], &whole];
    let mut labels = 0;
    for step in steps {
        let stored = vault.load_pool(key()).await.unwrap();
        let at = |which: usize| stored.credentials.get(which % stored.credentials.len().max(1));
        match step {
            Step::Request { of, limited } => {
                let Some(id) = pools[of].active() else { continue };
                let status = pools[of].status();
                let active = status.iter().find(|status| status.credential.id == id).unwrap();
                let label = active.credential.label.to_string();
                let response = if limited { Canned::limited(60) } else { Canned::ok() };
                let upstream = Upstream::new().answers(&label, [response]);
                // Without the layer that saves.
                let layers =
                    (RotateOn429Layer::new(pools[of].clone()), AuthHeaderLayer::new(pools[of].clone()));
                ask(&stack(layers, upstream), post()).await;
            }
            Step::Put => {
                labels += 1;
                vault.put(account(&format!("new-{labels}"))).await.unwrap();
            }
            Step::Remove { which } => {
                if let Some(credential) = at(which).filter(|_| stored.credentials.len() > 1) {
                    vault.remove(&key(), credential.metadata.id).await.unwrap();
                }
            }
            Step::Move { which, place } => {
                let Some(credential) = at(which) else { continue };
                vault.move_to(&key(), credential.metadata.id, place).await.unwrap();
            }
            Step::Renew { which } => {
                let Some(Credential { metadata, secret }) = at(which).cloned() else { continue };
                vault.replace_secret(&key(), metadata.id, metadata.generation, secret).await.unwrap();
            }
            Step::Relabel { which } => {
                let Some(credential) = at(which) else { continue };
                labels += 1;
                vault.relabel(&key(), credential.metadata.id, format!("other-{labels}")).await.unwrap();
            }
            Step::Outcome { which, change } => {
                let Some(credential) = at(which) else { continue };
                let id = credential.metadata.id;
                vault.record(key(), vec![Outcome { id, change }]).await.unwrap();
            }
            Step::Sync { of } => pools[of].sync().await.unwrap(),
            Step::Save { of } => pools[of].save().await.unwrap(),
            Step::Wait { seconds: time } => tokio::time::advance(seconds(time)).await,
        }
    }
    for pool in pools {
        pool.save().await.unwrap();
    }
    for pool in pools {
        pool.sync().await.unwrap();
    }
    let fresh = open().await;
    let seen = |pool: &Pool| -> Vec<_> {
        let status = pool.status().into_iter();
        status.map(|status| (status.credential.label.to_string(), learnt(&status.standing))).collect()
    };
    for (number, pool) in pools.into_iter().enumerate() {
        assert_eq!(seen(pool), seen(&fresh), "pool {number}");
        assert_eq!(pool.active().is_some(), fresh.active().is_some(), "pool {number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn applied_changes_lead_to_what_a_load_shows(steps in steps()) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(run(steps));
    }
}
