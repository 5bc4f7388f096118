//! In pools of all kinds, whatever has happened to them, the account that is named is the one that is taken.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::timeout;
use tower::ServiceExt;
use tower_credentials::policy::{LeastRecentlyUsed, MostHeadroom, Policy, RoundRobin, Sticky, Weighted};
use tower_credentials::provider::{GenericProvider, LimitOf, ResponseRule};
use tower_credentials::standing::{Health, Quota, QuotaName, Scope};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use super::{LABELS, Learned, asked, learn};
use crate::support::*;

/// How long a request is watched. One that waits for longer than that waits for something.
const MOMENT: Duration = Duration::from_millis(1);

/// How a generated pool picks.
#[derive(Clone, Debug)]
struct Settings {
    /// Of each account, whether it is an OAuth account.
    oauth: [bool; LABELS.len()],
    mode: Mode,
    policy: usize,
    when: WhenAllCoolingDown,
    most: Option<NonZeroU32>,
}

impl Settings {
    fn policy(&self, pool: PoolBuilder) -> PoolBuilder {
        match self.policy {
            0 => pool.policy(Sticky),
            1 => pool.policy(RoundRobin),
            2 => pool.policy(LeastRecentlyUsed),
            3 => pool.policy(Weighted::by(|account| account.label.len() as u32 + 2)),
            _ => pool.policy(MostHeadroom.then(RoundRobin)),
        }
    }

    fn secret(&self, which: usize) -> String {
        let label = LABELS[which];
        if self.oauth[which] { format!("{label}-1") } else { label.to_owned() }
    }

    async fn vault(&self) -> MemoryVault {
        let vault = MemoryVault::new();
        for (which, label) in LABELS.iter().enumerate() {
            let credential = match self.oauth[which] {
                true => account(label),
                false => Credential::new(key(), *label, Secret::api_key(*label)),
            };
            vault.put(credential).await.unwrap();
        }
        vault
    }

    /// A pool of a vendor that says `x-busy` if an account has too many requests at once.
    async fn open(&self, vault: &MemoryVault) -> Result<Pool, Error> {
        let rule = ResponseRule::on([429]).header("x-busy", "*").limited().of(LimitOf::Concurrency);
        let provider = GenericProvider::bearer("x").origin(ORIGIN).unwrap().response(rule);
        let pool = Pool::builder(provider, vault.clone()).mode(self.mode).clock(tokio_clock());
        let mut pool = self.policy(pool).when_all_cooling_down(self.when).sync_every(None);
        if let Some(most) = self.most {
            pool = pool.max_in_flight(most);
        }
        pool.cooldowns(Cooldowns::default().jitter(0.0).spread(0.0)).open().await
    }
}

fn settings() -> impl Strategy<Value = Settings> {
    let when = prop_oneof![
        Just(WhenAllCoolingDown::TrySoonest),
        Just(WhenAllCoolingDown::Fail),
        (1_u64..90).prop_map(|time| WhenAllCoolingDown::WaitUpTo(seconds(time))),
    ];
    let modes = prop_oneof![
        2 => Just(Mode::All),
        1 => Just(Mode::Auto),
        1 => Just(Mode::Api),
        1 => Just(Mode::Subscription),
    ];
    let most = prop::option::of((1_u32..3).prop_map(|most| NonZeroU32::new(most).unwrap()));
    (any::<[bool; LABELS.len()]>(), modes, 0..5_usize, when, most)
        .prop_map(|(oauth, mode, policy, when, most)| Settings { oauth, mode, policy, when, most })
}

#[derive(Clone, Debug)]
enum Step {
    Ask(Option<&'static str>),
    /// A request with this account alone.
    Pinned(usize, Option<&'static str>),
    /// One that stays under way for so long.
    Hold(usize, u64),
    /// The account's next response.
    Answer(usize, Answer),
    Pass(u64),
    Pause(usize),
    Resume(usize),
    Reset(usize),
    Tier(usize, Option<u8>),
    Quota(usize, Option<&'static str>),
    /// What another process has learned.
    Learn(usize, Learned),
}

#[derive(Clone, Debug)]
enum Answer {
    Limited(u64),
    Forbidden,
    TooMany(u64),
    Left(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = || 0..LABELS.len();
    let scope = || prop_oneof![2 => Just(None), 1 => Just(Some("m")), 1 => Just(Some("n"))];
    let answer = prop_oneof![
        3 => (1_u64..60).prop_map(Answer::Limited),
        1 => Just(Answer::Forbidden),
        2 => (1_u64..60).prop_map(Answer::TooMany),
        2 => (0_u64..100).prop_map(Answer::Left),
    ];
    let learned = prop_oneof![
        6 => (scope(), 1_u64..90).prop_map(|(scope, time)| Learned::Limited(scope, time)),
        1 => Just(Learned::NeedsSignIn),
        1 => Just(Learned::Dead),
        1 => Just(Learned::Spent),
    ];
    let step = prop_oneof![
        8 => scope().prop_map(Step::Ask),
        2 => (which(), scope()).prop_map(|(which, scope)| Step::Pinned(which, scope)),
        3 => (which(), 1_u64..60).prop_map(|(which, time)| Step::Hold(which, time)),
        4 => (which(), answer).prop_map(|(which, answer)| Step::Answer(which, answer)),
        3 => (0_u64..40).prop_map(Step::Pass),
        2 => which().prop_map(Step::Pause),
        2 => which().prop_map(Step::Resume),
        1 => which().prop_map(Step::Reset),
        1 => (which(), prop::option::of(0_u8..3)).prop_map(|(which, tier)| Step::Tier(which, tier)),
        2 => (which(), prop::option::of(prop_oneof![Just("p"), Just("q")]))
            .prop_map(|(which, name)| Step::Quota(which, name)),
        3 => (which(), learned).prop_map(|(which, learned)| Step::Learn(which, learned)),
    ];
    prop::collection::vec(step, 1..40)
}

fn response(answer: &Answer) -> Canned {
    match answer {
        Answer::Limited(time) => Canned::limited(*time),
        Answer::Forbidden => Canned::status(403),
        Answer::TooMany(time) => Canned::limited(*time).header("x-busy", "1"),
        Answer::Left(left) => Canned::ok()
            .header("x-ratelimit-limit-requests", "100")
            .header("x-ratelimit-remaining-requests", &left.to_string())
            .header("x-ratelimit-reset-requests", "30s"),
    }
}

/// What became of the next request.
#[derive(Debug, PartialEq)]
enum Fate {
    Takes(String),
    Waits,
    Fails(&'static str),
}

/// What becomes of it by the explanation, if that names no account.
fn fate_without(why: &[Explanation], when: WhenAllCoolingDown, now: Timestamp) -> Fate {
    let has = |is: fn(&Availability) -> bool| why.iter().any(|one| is(&one.availability));
    let soonest = why.iter().filter_map(|one| match &one.availability {
        Availability::CoolingDown { cooldown } => Some(cooldown.until),
        _ => None,
    });
    assert!(!has(|one| matches!(one, Availability::Ready { .. })), "{why:#?}");
    if has(|one| matches!(one, Availability::AtCap { .. })) {
        // It may cool down as well; then the request does as if it were not at its cap.
        return Fate::Waits;
    }
    if let Some(soonest) = soonest.min() {
        return match when {
            WhenAllCoolingDown::WaitUpTo(bound) if soonest.since(now) <= bound => Fate::Waits,
            _ => Fate::Fails("cooling"),
        };
    }
    let health = |one: &Explanation| match &one.availability {
        Availability::OutOfUse { health } => Some(health.clone()),
        _ => None,
    };
    let mut out_of_use = why.iter().filter_map(health).peekable();
    Fate::Fails(if out_of_use.peek().is_some() {
        if out_of_use.any(|health| matches!(health, Health::Spent { .. })) { "spent" } else { "sign-in" }
    } else if has(|one| *one == Availability::Paused) {
        "paused"
    } else {
        "none"
    })
}

fn failure(error: &BoxError) -> &'static str {
    match error.downcast_ref::<Error>() {
        Some(Error::AllCoolingDown { .. }) => "cooling",
        Some(Error::Spent { .. }) => "spent",
        Some(Error::NeedsSignIn { .. }) => "sign-in",
        Some(Error::Paused { .. }) => "paused",
        Some(Error::NoCredential { .. }) => "none",
        other => panic!("{other:?}"),
    }
}

async fn agree(settings: &Settings, steps: &[Step]) {
    let vault = settings.vault().await;
    let Ok(pool) = settings.open(&vault).await else { return };
    let upstream = Upstream::new();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let metadata = |which: usize| status_of(&pool, LABELS[which]).credential;
    let secret = |label: &str| settings.secret(LABELS.iter().position(|known| *known == label).unwrap());
    let availability = |which: usize| {
        let why = pool.why(None);
        why.into_iter().find(|one| *one.credential.label == *LABELS[which]).unwrap().availability
    };
    for step in steps {
        match step {
            Step::Ask(scope) => {
                let why = pool.why(scope.map(Scope::new).as_ref());
                assert_eq!(why, pool.why(scope.map(Scope::new).as_ref()), "to ask changes nothing");
                let now = pool.now();
                let expected = match why.iter().position(|one| one.is_next) {
                    Some(0) => Fate::Takes(secret(&why[0].credential.label)),
                    Some(_) => panic!("the next one is not the first: {why:#?}"),
                    None => fate_without(&why, settings.when, now),
                };
                if scope.is_none() {
                    let next = why.iter().find(|one| one.is_next).map(|one| one.credential.id);
                    assert_eq!(pool.active(), next);
                }
                let before = upstream.tokens().len();
                let fate = match timeout(MOMENT, service.clone().oneshot(asked(*scope))).await {
                    Ok(Err(error)) => Fate::Fails(failure(&error)),
                    _ => match upstream.tokens().get(before) {
                        Some(token) => Fate::Takes(token.clone()),
                        None => Fate::Waits,
                    },
                };
                let is_cooling_at_cap = fate == Fate::Fails("cooling")
                    && why.iter().any(|one| matches!(one.availability, Availability::AtCap { .. }));
                assert!(
                    fate == expected || (expected == Fate::Waits && is_cooling_at_cap),
                    "{fate:?}, not {expected:?}: {why:#?}"
                );
            }
            Step::Pinned(which, scope) => {
                let mut request = asked(*scope);
                request.extensions_mut().insert(Pin::label(LABELS[*which]));
                let _ = timeout(MOMENT, service.clone().oneshot(request)).await;
            }
            Step::Hold(which, time) => {
                let is_free = matches!(
                    availability(*which),
                    Availability::Ready { .. } | Availability::CoolingDown { .. }
                );
                if is_free {
                    // It ends shortly before a step could ask: whoever waits at that very moment would get the account.
                    let slow = Canned::ok().after_time(seconds(*time) - MOMENT);
                    upstream.set(&secret(LABELS[*which]), [slow, Canned::ok()]);
                    let mut request = post();
                    request.extensions_mut().insert(Pin::label(LABELS[*which]));
                    let before = upstream.tokens().len();
                    tokio::spawn(service.clone().oneshot(request));
                    upstream.seen.reaches(before + 1).await;
                }
            }
            Step::Answer(which, answer) => {
                upstream.set(&secret(LABELS[*which]), [response(answer), Canned::ok()]);
            }
            Step::Pass(time) => tokio::time::sleep(seconds(*time)).await,
            Step::Pause(which) => pool.pause(metadata(*which).id).await.unwrap(),
            Step::Resume(which) => pool.resume(metadata(*which).id).await.unwrap(),
            Step::Reset(which) => pool.reset(metadata(*which).id).await.unwrap(),
            Step::Tier(which, tier) => pool.set_tier(metadata(*which).id, *tier).await.unwrap(),
            Step::Quota(which, name) => {
                let quota = name.map(|name| Quota::Shared(QuotaName::new(name).unwrap()));
                pool.set_quota(metadata(*which).id, quota).await.unwrap();
            }
            Step::Learn(which, learned) => {
                pool.save().await.unwrap();
                let change = learned.change(pool.now());
                learn(&pool, &vault, metadata(*which).id, change).await;
            }
        }
    }
    // What is under way ends, so that nothing moves meanwhile.
    tokio::time::sleep(seconds(60)).await;
    in_order(&pool).await;
}

/// Of those that are ready, each is the next one once those before it are paused.
async fn in_order(pool: &Pool) {
    let is_ready = |one: &Explanation| matches!(one.availability, Availability::Ready { .. });
    let mut ready: Vec<_> = pool.why(None).into_iter().filter(is_ready).collect();
    while !ready.is_empty() {
        let first = ready.remove(0);
        assert!(first.is_next && first.availability == Availability::Ready { behind: None });
        for other in &ready {
            let Availability::Ready { behind: Some(behind) } = &other.availability else { panic!() };
            assert_eq!(behind.id, first.credential.id);
        }
        pool.pause(first.credential.id).await.unwrap();
        let left: Vec<_> = pool.why(None).into_iter().filter(is_ready).collect();
        let ids = |of: &[Explanation]| of.iter().map(|one| one.credential.id).collect::<Vec<_>>();
        assert_eq!(ids(&left), ids(&ready));
        ready = left;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 768, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_next_request_takes_the_account_that_is_named_or_waits_or_fails_as_explained(
        settings in settings(),
        steps in steps(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(agree(&settings, &steps));
    }
}
