//! Why an account is taken or not: the explanation and the next request never disagree.

mod generated;

use std::num::NonZeroU32;

use tower_credentials::policy::Weighted;
use tower_credentials::standing::{
    Cause, Change, Cooldown, Health, Outcome, Reason, Scope, Standing, StatedBy,
};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;

const LABELS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What another process has learned.
#[derive(Clone, Debug)]
enum Learned {
    Limited(Option<&'static str>, u64),
    NeedsSignIn,
    Dead,
    Spent,
}

impl Learned {
    fn change(&self, now: Timestamp) -> Change {
        let (reason, generation, cause) = ("so it says".to_owned(), Generation::FIRST, None);
        Change::Health(match self {
            Self::Limited(scope, time) => {
                let until = now.after(seconds(*time));
                let (set_at, reason, scope) = (now, Reason::Limited, scope.map(Scope::new));
                let cooldown = Cooldown { until, set_at, reason, scope, generation: None, cause };
                return Change::CooledDown { cooldown, failure: true, to_back: false };
            }
            Self::NeedsSignIn => Health::NeedsSignIn { reason, generation, cause },
            Self::Dead => Health::Dead { reason, generation, cause },
            Self::Spent => Health::Spent { reason, generation, cause },
        })
    }
}

/// As if another process had learned it.
async fn learn(pool: &Pool, vault: &MemoryVault, id: CredentialId, change: Change) {
    vault.record(key(), vec![Outcome { id, change }]).await.unwrap();
    pool.sync().await.unwrap();
}

fn asked(scope: Option<&'static str>) -> Asked {
    let mut request = post();
    if let Some(scope) = scope {
        request.extensions_mut().insert(Scope::new(scope));
    }
    request
}

/// Each account with what is said of it.
fn told(pool: &Pool, scope: Option<&str>) -> Vec<(String, String)> {
    let why = pool.why(scope.map(Scope::new).as_ref());
    let label = |id: CredentialId| {
        let of = why.iter().find(|one| one.credential.id == id);
        of.unwrap().credential.label.to_string()
    };
    let tell = |one: &Explanation| {
        let text = match &one.availability {
            Availability::Ready { behind: None } => "ready".to_owned(),
            Availability::Ready { behind: Some(Behind { id, by, .. }) } => {
                format!("behind {} by {by:?}", label(*id))
            }
            Availability::AtCap { in_flight, most, until } => {
                let until = until.map(|until| until.since(pool.now()).as_secs());
                format!("{in_flight} of {most} until {until:?}")
            }
            Availability::CoolingDown { cooldown } => {
                let left = cooldown.until.since(pool.now()).as_secs();
                let scope = cooldown.scope.as_ref().map(Scope::as_str);
                format!("{left} s of {scope:?} for {:?}", cooldown.reason)
            }
            other => format!("{other:?}"),
        };
        let next = if one.is_next { "next, " } else { "" };
        (one.credential.label.to_string(), format!("{next}{text}"))
    };
    why.iter().map(tell).collect()
}

/// Asserts what is said of each account, in this order.
#[track_caller]
fn assert_told<const N: usize>(pool: &Pool, scope: Option<&str>, expected: [(&str, &str); N]) {
    let told = told(pool, scope);
    let told: Vec<_> = told.iter().map(|(label, text)| (label.as_str(), text.as_str())).collect();
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn a_ready_account_is_behind_the_next_one_by_tier_suspicion_policy_or_order() {
    let pool = builder(keys(LABELS).await).clock(tokio_clock());
    let weighted = Weighted::by(|account| if &*account.label == "d" { 1 } else { 1000 });
    let pool = pool.policy(weighted).open().await.unwrap();
    let upstream = Upstream::new().answers("b", [Canned::status(403), Canned::ok()]);
    let service = stack(four(&pool, &no_refresh()), upstream);
    for label in ["b", "d"] {
        let mut pinned = post();
        pinned.extensions_mut().insert(Pin::label(label));
        ask(&service, pinned).await;
    }
    pool.set_tier(status_of(&pool, "a").credential.id, Some(3)).await.unwrap();
    assert_told(
        &pool,
        None,
        [
            ("c", "next, ready"),
            ("e", "behind c by Order"),
            ("d", "behind c by Policy"),
            ("b", "behind c by Suspicion"),
            ("a", "behind c by Tier"),
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn a_models_limit_is_told_to_requests_for_that_model_alone() {
    let vault = keys(["a", "b"]).await;
    let pool = builder(vault.clone()).clock(tokio_clock()).open().await.unwrap();
    let id = status_of(&pool, "a").credential.id;
    let limited = |scope, time| Learned::Limited(scope, time).change(pool.now());
    learn(&pool, &vault, id, limited(Some("m"), 60)).await;
    let as_others = [("a", "next, ready"), ("b", "behind a by Order")];
    assert_told(&pool, None, as_others);
    assert_told(&pool, Some("n"), as_others);
    let of_m = [("b", "next, ready"), ("a", "60 s of Some(\"m\") for Limited")];
    assert_told(&pool, Some("m"), of_m);
    // Of two that apply, the one that ends last.
    learn(&pool, &vault, id, limited(None, 90)).await;
    assert_told(&pool, Some("m"), [of_m[0], ("a", "90 s of None for Limited")]);
    tokio::time::sleep(seconds(90)).await;
    assert_told(&pool, Some("m"), as_others);
}

#[tokio::test(start_paused = true)]
async fn a_pause_does_not_lose_the_limit_of_a_model_if_another_model_is_limited_meanwhile() {
    let pool = builder(keys(["a", "b"]).await).clock(tokio_clock()).open().await.unwrap();
    let upstream = Upstream::new();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let id = status_of(&pool, "a").credential.id;
    let limit = async |label: &'static str, scope: &'static str| {
        upstream.set(label, [Canned::limited(60), Canned::ok()]);
        let mut pinned = asked(Some(scope));
        pinned.extensions_mut().insert(Pin::label(label));
        assert_eq!(ask(&service, pinned).await.0, 429);
    };
    limit("a", "m").await;
    pool.pause(id).await.unwrap();
    limit("b", "n").await;
    pool.resume(id).await.unwrap();
    let of_m = [("b", "next, ready"), ("a", "60 s of Some(\"m\") for Limited")];
    assert_told(&pool, Some("m"), of_m);
    let before = upstream.tokens().len();
    ask(&service, asked(Some("m"))).await;
    assert_eq!(upstream.tokens()[before..], ["b"]);
}

#[tokio::test(start_paused = true)]
async fn an_account_at_its_cap_is_told_with_its_requests_and_the_cap() {
    let pool = builder(keys(["a", "b"]).await).clock(tokio_clock());
    let pool = pool.max_in_flight(NonZeroU32::MIN).open().await.unwrap();
    let upstream = Upstream::new().answers("a", [Canned::ok().after_time(seconds(9))]);
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    let under_way = tokio::spawn(ask(&service, post()));
    upstream.seen.reaches(1).await;
    assert_told(&pool, None, [("b", "next, ready"), ("a", "1 of 1 until None")]);
    under_way.await.unwrap();
    assert_told(&pool, None, [("a", "next, ready"), ("b", "behind a by Order")]);
}

#[tokio::test(start_paused = true)]
async fn of_accounts_that_all_cool_down_the_one_that_is_tried_is_the_next() {
    let (vault, trying) = (keys(["a", "b"]).await, WhenAllCoolingDown::TrySoonest);
    for (when, next) in [(trying, "next, "), (WhenAllCoolingDown::Fail, "")] {
        let pool = builder(vault.clone()).clock(tokio_clock()).when_all_cooling_down(when);
        let pool = pool.open().await.unwrap();
        for (label, time) in [("a", 60), ("b", 40)] {
            let change = Learned::Limited(None, time).change(pool.now());
            learn(&pool, &vault, status_of(&pool, label).credential.id, change).await;
        }
        let first = format!("{next}40 s of None for Limited");
        assert_told(&pool, None, [("b", &first), ("a", "60 s of None for Limited")]);
        if next.is_empty() {
            continue;
        }
        // While one is being tried, another request tries the other.
        let upstream = Upstream::new().answers("b", [Canned::ok().after_time(seconds(9))]);
        let service = stack(four(&pool, &no_refresh()), upstream.clone());
        let under_way = tokio::spawn(ask(&service, post()));
        upstream.seen.reaches(1).await;
        let others = [("a", "next, 60 s of None for Limited"), ("b", "40 s of None for Limited")];
        assert_told(&pool, None, others);
        under_way.abort();
    }
}

#[tokio::test]
async fn what_no_request_can_take_is_told_last_with_its_reason() {
    let vault = keys(["key"]).await;
    for label in ["a", "b", "c"] {
        vault.put(account(label)).await.unwrap();
    }
    let pool = builder(vault.clone()).open().await.unwrap();
    let id = |label: &str| status_of(&pool, label).credential.id;
    pool.pause(id("a")).await.unwrap();
    let spent = Learned::Spent.change(pool.now());
    learn(&pool, &vault, id("b"), spent.clone()).await;
    let Change::Health(health) = spent else { panic!() };
    let why = pool.why(None);
    let told: Vec<_> = why.iter().map(|one| (&*one.credential.label, &one.availability)).collect();
    let expected = [
        ("c", &Availability::Ready { behind: None }),
        ("a", &Availability::Paused),
        ("b", &Availability::OutOfUse { health }),
        ("key", &Availability::LeftOut { mode: Mode::Auto }),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn an_explanation_is_the_same_after_it_was_json() {
    let vault = keys(["a", "b", "c"]).await;
    let pool = builder(vault.clone()).open().await.unwrap();
    let id = |label: &str| status_of(&pool, label).credential.id;
    let (at, status) = (pool.now(), 429);
    let cause = Cause { at, status, stated_by: Some(StatedBy::Header("retry-after".into())) };
    let Change::CooledDown { mut cooldown, .. } = Learned::Limited(Some("m"), 60).change(at) else {
        panic!()
    };
    cooldown.cause = Some(cause);
    let change = Change::CooledDown { cooldown, failure: true, to_back: false };
    learn(&pool, &vault, id("b"), change).await;
    learn(&pool, &vault, id("c"), Learned::NeedsSignIn.change(at)).await;
    let why = pool.why(Some(&Scope::new("m")));
    let json = serde_json::to_value(&why).unwrap();
    let told = [&json[0]["state"], &json[1]["state"], &json[1]["cooldown"]["cause"], &json[2]["state"]];
    let cause = serde_json::json!({
        "at": at.as_millis(), "status": 429, "stated_by": {"header": "retry-after"}
    });
    assert_eq!(told, [&"ready".into(), &"cooling_down".into(), &cause, &"out_of_use".into()]);
    assert_eq!(serde_json::from_value::<Vec<Explanation>>(json).unwrap(), why);
}

#[test]
fn the_cause_that_is_kept_is_that_of_the_deadline_that_is_kept() {
    let cooldown = |until: u64, status: u16| {
        let [until, at] = [until, 1].map(Timestamp::from_millis);
        let cause = Some(Cause { at, status, stated_by: None });
        let reason = Reason::Limited;
        let cooldown = Cooldown { until, set_at: at, reason, scope: None, generation: None, cause };
        Change::CooledDown { cooldown, failure: true, to_back: false }
    };
    for changes in [[(50, 429), (40, 402)], [(40, 402), (50, 429)]] {
        let mut standing = Standing::default();
        changes.iter().for_each(|(until, status)| standing.merge(&cooldown(*until, *status)));
        let kept = standing.cooldown(None).unwrap();
        assert_eq!((kept.until.as_millis(), kept.cause.as_ref().unwrap().status), (50, 429));
    }
}
