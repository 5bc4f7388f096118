//! The quota that a vendor's responses name.

use http::HeaderName;
use tower_credentials::provider::{Anthropic, GenericProvider, OpenAi, Provider};
use tower_credentials::standing::{Change, Quota, QuotaName, Standing, StatedQuota};
use tower_credentials::vault::{Vault, VaultExt};
use tower_credentials::*;

use super::shared;
use crate::support::*;

/// A provider whose responses name the quota in these headers.
fn says(headers: &[&'static str]) -> GenericProvider {
    let headers = headers.iter().map(|name| HeaderName::from_static(name));
    GenericProvider::bearer("x").origin(ORIGIN).unwrap().quota_headers(headers)
}

async fn open(provider: impl Provider, vault: impl Vault, clock: &Clock) -> Pool {
    Pool::builder(provider, vault)
        .mode(Mode::All)
        .cooldowns(exact())
        .clock(clock.clone())
        .sync_every(None)
        .open()
        .await
        .unwrap()
}

fn of_team(team: &str) -> Canned {
    Canned::ok().header("x-team", team)
}

fn quota(pool: &Pool, label: &str) -> Option<String> {
    status_of(pool, label).standing.shared_quota().map(ToString::to_string)
}

#[tokio::test(start_paused = true)]
async fn keys_whose_responses_name_the_same_quota_share_it() {
    let clock = &tokio_clock();
    for stacked in ORDERS {
        let vault = keys(["a", "b", "c"]).await;
        let upstream = Upstream::new()
            .answers("a", [of_team("1"), Canned::limited(600).header("x-team", "1")])
            .answers("b", [of_team("1")])
            .answers("c", [of_team("2")]);
        let pool = open(says(&["x-team"]), vault.clone(), clock).await;
        let service = stacked(&pool, upstream.clone());
        for label in ["c", "b", "a"] {
            ask(&service, pinned(label)).await;
        }
        assert_eq!(quota(&pool, "b").as_deref(), Some("1"));
        assert_eq!(ask(&service, post()).await.0, 200);
        assert_eq!(upstream.tokens(), ["c", "b", "a", "a", "c"], "b is not asked");
        // It is saved with the limit.
        pool.save().await.unwrap();
        let other = open(says(&["x-team"]), vault, clock).await;
        assert_eq!((quota(&other, "b").as_deref(), cools(&other, "b")), (Some("1"), seconds(600)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_limits_own_response_may_be_the_first_that_names_it() {
    let clock = &tokio_clock();
    let vault = keys(["a", "b", "c"]).await;
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(600).header("x-team", "1")])
        .answers("b", [Canned::limited(600).header("x-team", "1"), of_team("1")]);
    let pool = open(says(&["x-team"]), vault, clock).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    assert_eq!(ask(&service, post()).await, (200, "c".into()));
    assert_eq!(upstream.tokens(), ["a", "b", "c"], "nobody knew that they share it");
    // The second limit was met while the quota cooled down anyway.
    assert_eq!(status_of(&pool, "a").standing.failures + status_of(&pool, "b").standing.failures, 1);
    pool.reset(id_of(&pool, "a")).await.unwrap();
    upstream.set("a", [Canned::limited(600).header("x-team", "1")]);
    assert_eq!(ask(&service, post()).await, (200, "c".into()));
    assert_eq!(upstream.tokens()[3..], ["a", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_never_takes_its_vendors_word() {
    let clock = &tokio_clock();
    let vault = accounts(["a", "b"]).await;
    vault.put(Credential::new(key(), "c", Secret::api_key("c"))).await.unwrap();
    let upstream = Upstream::new()
        .answers("a-1", [of_team("1"), Canned::limited(600).header("x-team", "1")])
        .answers("b-1", [of_team("1")])
        .answers("c", [of_team("1")]);
    let pool = open(says(&["x-team"]), vault, clock).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    for label in ["a", "b", "c"] {
        ask(&service, pinned(label)).await;
    }
    assert_eq!((quota(&pool, "a"), quota(&pool, "c")), (None, Some("1".into())));
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens()[3..], ["a-1", "b-1"], "each seat has limits of its own");
    // A person's word counts for every kind.
    for label in ["a", "b"] {
        pool.set_quota(id_of(&pool, label), Some(shared("seats"))).await.unwrap();
    }
    assert_eq!(cools(&pool, "b"), seconds(600));
}

#[tokio::test(start_paused = true)]
async fn a_persons_word_comes_before_the_vendors() {
    let clock = &tokio_clock();
    let vault = keys(["a", "b", "c"]).await;
    let upstream = Upstream::new()
        .answers("a", [of_team("1"), Canned::limited(600).header("x-team", "1")])
        .answers("b", [of_team("1")])
        .answers("c", [of_team("2")]);
    let pool = open(says(&["x-team"]), vault, clock).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    for label in ["a", "b", "c"] {
        ask(&service, pinned(label)).await;
    }
    pool.set_quota(id_of(&pool, "b"), Some(Quota::Own)).await.unwrap();
    pool.set_quota(id_of(&pool, "c"), Some(shared("1"))).await.unwrap();
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens()[3..], ["a", "b"]);
    assert_eq!((cools(&pool, "b"), cools(&pool, "c")), (seconds(0), seconds(600)));
    pool.set_quota(id_of(&pool, "b"), None).await.unwrap();
    assert_eq!(cools(&pool, "b"), seconds(600), "the vendor's word counts again");
}

#[tokio::test(start_paused = true)]
async fn all_headers_must_say_the_same_and_the_first_must_be_there() {
    let clock = &tokio_clock();
    let said = |headers: &'static [&'static str], lines: &'static [(&'static str, &'static str)]| async move {
        let upstream = Upstream::new();
        let canned = lines.iter().fold(Canned::ok(), |canned, (name, value)| canned.header(name, value));
        upstream.set("a", [canned]);
        let pool = open(says(headers), keys(["a"]).await, clock).await;
        ask(&stack(four(&pool, &no_refresh()), upstream), post()).await;
        quota(&pool, "a")
    };
    const BOTH: &[&str] = &["x-org", "x-project"];
    assert_eq!(said(BOTH, &[("x-org", "1"), ("x-project", "p")]).await.as_deref(), Some("1/p"));
    assert_eq!(said(BOTH, &[("x-org", " 1 ")]).await.as_deref(), Some("1"));
    assert_eq!(said(BOTH, &[("x-project", "p")]).await, None);
    assert_eq!(said(BOTH, &[("x-org", ""), ("x-project", "p")]).await, None);
    assert_eq!(said(&[], &[("x-org", "1")]).await, None);
    const LONG: &str = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901";
    assert_eq!(said(BOTH, &[("x-org", LONG)]).await, None, "no name is that long");
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_of_another_quota_until_a_response_names_it() {
    let clock = &tokio_clock();
    let vault = keys(["a", "b"]).await;
    let upstream = Upstream::new()
        .answers("a", [of_team("1"), Canned::limited(600).header("x-team", "1")])
        .answers("b", [of_team("1")])
        .answers("new", [of_team("2")]);
    let pool = open(says(&["x-team"]), vault.clone(), clock).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    for label in ["b", "a", "a"] {
        ask(&service, pinned(label)).await;
    }
    assert_eq!(cools(&pool, "b"), seconds(600));
    let b = id_of(&pool, "b");
    vault.replace_secret(&key(), b, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    pool.sync().await.unwrap();
    assert_eq!(cools(&pool, "b"), seconds(0));
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(quota(&pool, "b").as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_not_saved_again() {
    let clock = &tokio_clock();
    let vault = Planned::spy(&keys(["a"]).await);
    let upstream = Upstream::new().answers("a", [of_team("1")]);
    let pool = open(says(&["x-team"]), vault.clone(), clock).await;
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    ask(&service, post()).await;
    pool.save().await.unwrap();
    let calls = vault.calls.all().len();
    for _ in 0..20 {
        ask(&service, post()).await;
    }
    assert_eq!(vault.calls.all().len(), calls);
    upstream.set("a", [of_team("2")]);
    tokio::time::advance(seconds(1)).await;
    let pool = open(says(&["x-team"]), vault, clock).await;
    let service = stack(four(&pool, &no_refresh()), upstream);
    ask(&service, post()).await;
    assert_eq!(quota(&pool, "a").as_deref(), Some("2"), "the later word counts");
}

#[test]
fn of_two_words_the_later_one_counts_in_either_order() {
    let now = Timestamp::from_millis(1_764_000_000_000);
    let said = |name: &str, after: u64, generation: u64| {
        Change::QuotaStated(StatedQuota {
            name: QuotaName::new(name).unwrap(),
            said_at: now.after(seconds(after)),
            generation: Generation::new(generation),
        })
    };
    let merged = |changes: &[&Change]| {
        let mut standing = Standing::default();
        changes.iter().for_each(|change| standing.merge(change));
        standing.shared_quota().map(ToString::to_string)
    };
    let (early, late, newer) = (said("early", 0, 1), said("late", 5, 1), said("newer", 1, 2));
    assert_eq!(merged(&[&early, &late]).as_deref(), Some("late"));
    assert_eq!(merged(&[&late, &early]).as_deref(), Some("late"));
    assert_eq!(merged(&[&late, &newer]).as_deref(), Some("newer"), "of the newer secret");
    assert_eq!(merged(&[&newer, &late]).as_deref(), Some("newer"));
    let misdated = said("misdated", 200_000, 1);
    assert_eq!(merged(&[&misdated, &early]).as_deref(), Some("early"), "a wrong clock hides nothing");
}

#[test]
fn the_vendors_that_name_a_quota() {
    let names = |provider: &dyn Provider| {
        provider.quota_headers().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(names(&Anthropic::new()), ["anthropic-organization-id"]);
    assert_eq!(names(&OpenAi::new()), ["openai-organization", "openai-project"]);
}
