//! Which account a request would use now, under every policy. Asking changes nothing.

use std::num::NonZeroU32;

use proptest::prelude::*;
use tower::ServiceExt;
use tower_credentials::policy::{
    LeastRecentlyUsed, MostHeadroom, Policy, RoundRobin, SoonestReset, Sticky, Weighted,
};
use tower_credentials::standing::Scope;
use tower_credentials::*;

use crate::support::*;

const LABELS: [&str; 4] = ["a", "b", "c", "d"];

type Open = fn(PoolBuilder) -> PoolBuilder;

/// Pools that pick in different ways.
const WAYS: [(&str, Open); 8] = [
    ("sticky", |open| open.policy(Sticky)),
    ("round robin", |open| open.policy(RoundRobin)),
    ("least recently used", |open| open.policy(LeastRecentlyUsed)),
    ("weighted", |open| open.policy(Weighted::by(|account| account.label.len() as u32 + 2))),
    ("soonest reset", |open| open.policy(SoonestReset)),
    ("most headroom", |open| open.policy(MostHeadroom.then(RoundRobin))),
    ("fails", |open| open.policy(RoundRobin).when_all_cooling_down(WhenAllCoolingDown::Fail)),
    ("counted", |open| open.policy(RoundRobin).max_in_flight(NonZeroU32::MIN)),
];

/// The label of the active account.
fn active(pool: &Pool) -> Option<String> {
    let id = pool.active()?;
    let is_it = |status: &CredentialStatus| status.credential.id == id;
    Some(pool.status().into_iter().find(is_it)?.credential.label.to_string())
}

#[derive(Clone, Debug)]
enum Step {
    Ask,
    Pinned(usize),
    Kept,
    Scoped,
    Limit(usize, u64),
    Allow(usize, u64, u64),
    Pass(u64),
    Pause(usize),
    Resume(usize),
    Reset(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..LABELS.len();
    let step = prop_oneof![
        6 => Just(Step::Ask),
        2 => which.clone().prop_map(Step::Pinned),
        1 => Just(Step::Kept),
        1 => Just(Step::Scoped),
        3 => (which.clone(), 1_u64..60).prop_map(|(which, time)| Step::Limit(which, time)),
        2 => (which.clone(), 0_u64..100, 1_u64..60)
            .prop_map(|(which, left, reset)| Step::Allow(which, left, reset)),
        3 => (0_u64..40).prop_map(Step::Pass),
        1 => which.clone().prop_map(Step::Pause),
        2 => which.clone().prop_map(Step::Resume),
        1 => which.prop_map(Step::Reset),
    ];
    prop::collection::vec(step, 1..40)
}

/// Returns the tokens that the upstream sees. If `looks`, asks the pool before each request which account is
/// active, and checks that the request uses it.
async fn run(steps: &[Step], open: Open, looks: bool) -> Vec<String> {
    let upstream = Upstream::new();
    let cooldowns = exact().jitter(0.0);
    let open = open(builder(keys(LABELS).await)).cooldowns(cooldowns).clock(tokio_clock());
    let pool = open.sync_every(None).open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let id = |which: usize| status_of(&pool, LABELS[which]).credential.id;
    for step in steps {
        let mut request = post();
        match step {
            Step::Ask => {}
            Step::Pinned(which) => drop(request.extensions_mut().insert(Pin::label(LABELS[*which]))),
            Step::Kept => drop(request.extensions_mut().insert(Affinity::new("chat"))),
            Step::Scoped => drop(request.extensions_mut().insert(Scope::new("model"))),
            Step::Limit(which, time) => {
                upstream.set(LABELS[*which], [Canned::limited(*time), Canned::ok()])
            }
            Step::Allow(which, left, reset) => {
                let allowance = Canned::ok()
                    .header("x-ratelimit-limit-requests", "100")
                    .header("x-ratelimit-remaining-requests", &left.to_string())
                    .header("x-ratelimit-reset-requests", &format!("{reset}s"));
                upstream.set(LABELS[*which], [allowance]);
            }
            Step::Pass(time) => tokio::time::advance(seconds(*time)).await,
            Step::Pause(which) => pool.pause(id(*which)).await.unwrap(),
            Step::Resume(which) => pool.resume(id(*which)).await.unwrap(),
            Step::Reset(which) => pool.reset(id(*which)).await.unwrap(),
        }
        let expected = looks.then(|| active(&pool));
        if looks {
            assert_eq!(expected, Some(active(&pool)), "asking changes nothing");
        }
        if matches!(step, Step::Ask | Step::Pinned(_) | Step::Kept | Step::Scoped) {
            let before = upstream.tokens().len();
            let response = service.clone().oneshot(request).await;
            if let (Some(expected), Step::Ask) = (expected, step) {
                let first = upstream.tokens().get(before).cloned();
                assert_eq!(expected, first, "{:?}", pool.status());
                assert_eq!(response.is_err(), expected.is_none());
            }
        }
    }
    upstream.tokens()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_next_request_uses_the_active_account_and_asking_which_changes_nothing(
        steps in steps(),
        way in 0..WAYS.len(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (name, open) = WAYS[way];
        let [looked, blind] = [true, false].map(|looks| runtime.block_on(run(&steps, open, looks)));
        prop_assert_eq!(looked, blind, "{}", name);
    }
}

#[tokio::test(start_paused = true)]
async fn no_account_is_active_if_a_request_would_wait_or_fail() {
    let empty = builder(keys([]).await).open().await.unwrap();
    assert_eq!(active(&empty), None);

    let upstream = Upstream::new().answers("a", [Canned::limited(100).after_time(seconds(1))]);
    let open = builder(keys(["a"]).await).clock(tokio_clock()).max_in_flight(NonZeroU32::MIN);
    let open = open.when_all_cooling_down(WhenAllCoolingDown::WaitUpTo(seconds(500)));
    let pool = open.open().await.unwrap();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    assert_eq!(active(&pool).as_deref(), Some("a"));
    let under_way = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(1).await;
    assert_eq!(active(&pool), None, "it is at its cap");
    under_way.await.unwrap();
    assert_eq!(active(&pool), None, "it cools down");
    tokio::time::advance(seconds(100)).await;
    assert_eq!(active(&pool).as_deref(), Some("a"));
    pool.pause(id_of(&pool, "a")).await.unwrap();
    assert_eq!(active(&pool), None);
}
