//! What a request may ask for: an affinity, a pin, a scope.

use tower_credentials::policy::{RoundRobin, Sticky};
use tower_credentials::standing::Scope;
use tower_credentials::*;

use super::by;
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn an_affinity_keeps_to_its_account_moves_when_that_is_limited_and_stays_there() {
    let rig = by(RoundRobin, ["a", "b", "c"], Upstream::new()).await;
    for key in ["one", "two", "one", "one", "two"] {
        ask(&rig.service, post_with(Affinity::new(key))).await;
    }
    assert_eq!(rig.upstream.tokens(), ["a", "b", "a", "a", "b"]);

    rig.upstream.set("a", [Canned::limited(10), Canned::ok()]);
    ask(&rig.service, post_with(Affinity::new("one"))).await;
    let fallen_to = rig.upstream.tokens().pop().unwrap();
    assert_ne!(fallen_to, "a");
    tokio::time::advance(seconds(20)).await;
    for _ in 0..3 {
        ask(&rig.service, post_with(Affinity::new("one"))).await;
        assert_eq!(rig.upstream.tokens().pop().unwrap(), fallen_to, "though a is ready again");
    }
    ask(&rig.service, post_with(Affinity::new("two"))).await;
    assert_eq!(rig.upstream.tokens().pop().unwrap(), "b", "others are not moved");
}

#[tokio::test(start_paused = true)]
async fn a_pin_uses_the_named_credential_whatever_the_policy() {
    let rig = by(RoundRobin, ["a", "b", "c"], Upstream::new()).await;
    for _ in 0..3 {
        let request = pinned("c");
        ask(&rig.service, request).await;
    }
    assert_eq!(rig.upstream.tokens(), ["c", "c", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_models_limit_cools_the_account_for_that_model_only() {
    let upstream = Upstream::new().answers("a", [Canned::limited(3000), Canned::ok()]);
    let rig = by(Sticky, ["a", "b"], upstream).await;
    ask(&rig.service, post_with(Scope::new("big"))).await;
    ask(&rig.service, post_with(Scope::new("small"))).await;
    ask(&rig.service, post()).await;
    ask(&rig.service, post_with(Scope::new("big"))).await;
    assert_eq!(rig.upstream.tokens(), ["a", "b", "a", "a", "b"]);
    assert_eq!(order(&rig.pool), ["a", "b"], "a model's limit moves nobody");
    let standing = status_of(&rig.pool, "a").standing;
    assert_eq!(standing.cooldowns.len(), 1);
    assert_eq!(
        standing.cooldowns[0].scope,
        Some(Scope::new("big")),
        "a success elsewhere does not clear it"
    );
    tokio::time::advance(seconds(3001)).await;
    ask(&rig.service, post_with(Scope::new("big"))).await;
    assert_eq!(rig.upstream.tokens()[5], "a");
}

#[tokio::test(start_paused = true)]
async fn an_accounts_limit_holds_for_every_model() {
    let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
    let rig = by(Sticky, ["a", "b"], upstream).await;
    ask(&rig.service, post()).await;
    ask(&rig.service, post_with(Scope::new("big"))).await;
    assert_eq!(rig.upstream.tokens(), ["a", "b", "b"]);
}
