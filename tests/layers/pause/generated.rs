//! Whatever happens, no request uses a paused account: generated steps against a model of the pauses.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tower::ServiceExt;
use tower_credentials::policy::RoundRobin;
use tower_credentials::standing::Scope;
use tower_credentials::vault::VaultExt;
use tower_credentials::*;

use super::{is_paused, refused};
use crate::support::*;

/// A step of a person, a caller or an upstream.
#[derive(Clone, Debug)]
enum Step {
    Pause(usize),
    Resume(usize),
    Reset(usize),
    /// Pauses or resumes in another pool of the same vault.
    Elsewhere(usize, bool),
    Sync,
    Pass(u64),
    /// Sets a credential's responses from now on.
    Respond(usize, u16),
    Ask,
    Pinned(usize),
    Kept(u8),
    Scoped(u8),
}

const LABELS: [&str; 4] = ["a", "b", "c", "d"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..LABELS.len();
    let step = prop_oneof![
        3 => which.clone().prop_map(Step::Pause),
        2 => which.clone().prop_map(Step::Resume),
        1 => which.clone().prop_map(Step::Reset),
        1 => (which.clone(), any::<bool>()).prop_map(|(which, paused)| Step::Elsewhere(which, paused)),
        1 => Just(Step::Sync),
        1 => (0_u64..60).prop_map(Step::Pass),
        2 => (which.clone(), prop::sample::select(vec![200, 429, 401, 500]))
            .prop_map(|(which, status)| Step::Respond(which, status)),
        4 => Just(Step::Ask),
        1 => which.prop_map(Step::Pinned),
        2 => (0_u8..3).prop_map(Step::Kept),
        2 => (0_u8..2).prop_map(Step::Scoped),
    ];
    prop::collection::vec(step, 1..40)
}

/// After every step, no request may have been sent with a credential that the pool knows to be paused. A request
/// is sent or refused as the pauses say.
async fn run(steps: Vec<Step>, order: usize, moves: bool) {
    let vault = keys(LABELS).await;
    let upstream = Upstream::new();
    // Only the steps sync it.
    let open = builder(vault.clone()).clock(tokio_clock()).sync_every(None);
    let open = if moves { open.policy(RoundRobin) } else { open };
    let pool = open.open().await.unwrap();
    let elsewhere = builder(vault.clone()).sync_every(None).open().await.unwrap();
    let service = ORDERS[order](&pool, upstream.clone());
    let ids = LABELS.map(|label| id_of(&pool, label));
    let (mut known, mut stored) = (BTreeSet::new(), BTreeSet::new());
    for step in steps {
        let mut asked = None;
        match step {
            Step::Pause(which) => {
                pool.pause(ids[which]).await.unwrap();
                known.insert(which);
                stored.insert(which);
            }
            Step::Resume(which) => {
                pool.resume(ids[which]).await.unwrap();
                known.remove(&which);
                stored.remove(&which);
            }
            Step::Reset(which) => pool.reset(ids[which]).await.unwrap(),
            Step::Elsewhere(which, true) => {
                elsewhere.pause(ids[which]).await.unwrap();
                stored.insert(which);
            }
            Step::Elsewhere(which, false) => {
                elsewhere.resume(ids[which]).await.unwrap();
                stored.remove(&which);
            }
            Step::Sync => {
                pool.sync().await.unwrap();
                known = stored.clone();
            }
            Step::Pass(time) => tokio::time::advance(seconds(time)).await,
            Step::Respond(which, status) => upstream.set(LABELS[which], [Canned::status(status)]),
            Step::Ask => asked = Some((post(), None)),
            Step::Pinned(which) => asked = Some((post_with(Pin::id(ids[which])), Some(which))),
            Step::Kept(chat) => asked = Some((post_with(Affinity::new(chat.to_string())), None)),
            Step::Scoped(model) => asked = Some((post_with(Scope::new(model.to_string())), None)),
        }
        if let Some((request, pin)) = asked {
            let before = upstream.tokens().len();
            match pin {
                Some(which) if known.contains(&which) => {
                    assert_eq!(refused(&service, request).await, Some(ids[which].to_string()));
                }
                None if known.len() == LABELS.len() => {
                    assert_eq!(refused(&service, request).await, None);
                }
                _ => drop(service.clone().oneshot(request).await.unwrap()),
            }
            for token in upstream.tokens().split_off(before) {
                let which = LABELS.iter().position(|label| *label == token).unwrap();
                assert!(!known.contains(&which), "{token} is paused");
                assert!(pin.is_none_or(|pin| pin == which), "{token} is not what it is pinned to");
            }
        }
        let paused: BTreeSet<_> = (0..4).filter(|which| is_paused(&pool, LABELS[*which])).collect();
        assert_eq!(paused, known);
        let saved = vault.load_pool(key()).await.unwrap().standings.credentials;
        let is_saved = |which: &usize| saved.get(&ids[*which]).is_some_and(|known| known.paused);
        assert_eq!((0..4).filter(is_saved).collect::<BTreeSet<_>>(), stored);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_sequence_of_steps_makes_a_request_use_a_paused_credential(
        steps in steps(),
        order in 0..ORDERS.len(),
        moves in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(steps, order, moves));
    }
}
