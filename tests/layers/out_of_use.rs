//! Accounts that are out of money or whose keys are dead are out of use. An explicit call, a check or the time that the
//! vendor names brings them back.

use http::StatusCode;
use tower_credentials::provider::{
    Assessment, GenericProvider, Provider, ResponseView as Said, Verdict,
};
use tower_credentials::standing::{Health, Reason};
use tower_credentials::vault::{Vault, VaultExt};
use tower_credentials::*;

use crate::support::*;

/// A vendor that gives its verdict on an account as `x-says: VERDICT` on a 400.
struct Frank(GenericProvider);

impl Provider for Frank {
    as_the_generic_one!();

    fn read(&self, response: &Said<'_>) -> Assessment {
        let finding = Assessment::in_headers(response);
        let says = response.headers.get("x-says").map(|says| says.to_str().unwrap());
        let reason = String::from("so it is with a-1");
        let after = |time| Some(response.now.after(seconds(time)));
        match says {
            _ if response.status != StatusCode::BAD_REQUEST => finding,
            Some("spent") => finding.verdict(Verdict::Spent { reason, until: None }),
            Some("spent for 20 days") => {
                finding.verdict(Verdict::Spent { reason, until: after(20 * 86_400) })
            }
            Some("dead") => finding.verdict(Verdict::Dead { reason }),
            Some("limited") => finding.verdict(Verdict::Limited).or_retry_at(after(60)),
            Some("refused") => finding.verdict(Verdict::Refused),
            Some("request") => finding.verdict(Verdict::ThisRequest),
            Some("foreign") => finding.verdict(Verdict::NotTheAccount),
            _ => finding,
        }
    }
}

fn frank() -> Frank {
    Frank(GenericProvider::bearer("x").origin(ORIGIN).unwrap())
}

fn says(verdict: &str) -> Canned {
    Canned::status(400).header("x-says", verdict)
}

struct Rig {
    pool: Pool,
    clock: HandClock,
    upstream: Upstream,
    calls: Journal<String>,
    service: Stack,
}

async fn rig(vault: impl Vault + Sync, events: &Journal<String>) -> Rig {
    let clock = HandClock::new();
    let pool = Pool::builder(frank(), vault)
        .cooldowns(exact())
        .clock(clock.clock())
        .on_event(events.observer());
    let pool = pool.open().await.unwrap();
    let (upstream, calls) = (Upstream::new(), Journal::new());
    let layer = CredentialsLayer::new(pool.clone()).refresher(renewing(&calls));
    let service = stack(layer, upstream.clone());
    Rig { pool, clock, upstream, calls, service }
}

#[tokio::test]
async fn the_next_account_serves_this_request_and_later_ones_and_nothing_is_renewed() {
    for verdict in ["spent", "spent for 20 days", "dead"] {
        let events = Journal::new();
        let rig = rig(accounts(["a", "b"]).await, &events).await;
        rig.upstream.set("a-1", [says(verdict)]);
        for _ in 0..3 {
            assert_eq!(ask(&rig.service, post()).await.0, 200);
        }
        assert_eq!(rig.upstream.tokens(), ["a-1", "b-1", "b-1", "b-1"], "{verdict}");
        assert!(rig.calls.all().is_empty());
        let expected = match verdict {
            "dead" => "NeedsSignIn",
            "spent" => "Spent",
            _ => "CooledDown",
        };
        assert_eq!(events.count(expected), 1, "{verdict}: {:?}", events.all());
    }
}

#[tokio::test]
async fn the_reason_is_saved_without_the_token_and_read_by_the_next_process() {
    let vault = accounts(["a", "b"]).await;
    let rig = rig(vault.clone(), &Journal::new()).await;
    rig.upstream.set("a-1", [says("spent")]);
    rig.upstream.set("b-1", [says("dead")]);
    assert_eq!(ask(&rig.service, post()).await.0, 400);
    let next = Pool::builder(frank(), vault).open().await.unwrap();
    match status_of(&next, "a").standing.health {
        Health::Spent { reason, .. } => assert_eq!(reason, "so it is with …"),
        health => panic!("{health:?}"),
    }
    assert!(matches!(status_of(&next, "b").standing.health, Health::Dead { .. }));
}

#[tokio::test]
async fn an_account_with_a_stated_time_is_back_at_that_time() {
    let rig = rig(accounts(["a", "b"]).await, &Journal::new()).await;
    rig.upstream.set("a-1", [says("spent for 20 days"), Canned::ok()]);
    rig.upstream.set("b-1", [Canned::ok(), Canned::limited(60)]);
    ask(&rig.service, post()).await;
    let cooldown = status_of(&rig.pool, "a").standing.cooldowns[0].clone();
    assert_eq!((cooldown.reason, cools(&rig.pool, "a")), (Reason::Spent, seconds(20 * 86_400)));
    rig.clock.advance(seconds(20 * 86_400));
    assert_eq!(ask(&rig.service, post()).await.0, 200);
    assert_eq!(rig.upstream.tokens(), ["a-1", "b-1", "b-1", "a-1"]);
}

#[tokio::test]
async fn if_all_are_out_of_use_the_error_says_what_to_do_and_nothing_is_sent() {
    for (first, second, expected) in [
        ("spent", "spent", "is spent"),
        ("spent", "dead", "is spent"),
        ("dead", "dead", "needs a new sign-in"),
    ] {
        let rig = rig(accounts(["a", "b"]).await, &Journal::new()).await;
        rig.upstream.set("a-1", [says(first)]);
        rig.upstream.set("b-1", [says(second)]);
        assert_eq!(ask(&rig.service, post()).await.0, 400, "the last response, as it came");
        let error = tower::ServiceExt::oneshot(rig.service.clone(), post()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(rig.upstream.tokens().len(), 2);
    }
}

#[tokio::test]
async fn a_check_is_sent_with_the_account_and_a_good_response_puts_it_back_to_use() {
    for verdict in ["spent", "dead"] {
        let events = Journal::new();
        let rig = rig(accounts(["a", "b"]).await, &events).await;
        rig.upstream.set("a-1", [says(verdict), says(verdict), Canned::ok()]);
        ask(&rig.service, post()).await;
        let pinned = |pin: Pin| {
            let mut request = post();
            request.extensions_mut().insert(pin);
            request
        };
        let plain = tower::ServiceExt::oneshot(rig.service.clone(), pinned(Pin::label("a"))).await;
        assert!(matches!(
            plain.unwrap_err().downcast_ref(),
            Some(Error::Spent { pin: Some(_), .. } | Error::NeedsSignIn { pin: Some(_), .. })
        ));
        for (status, is_well) in [(400, false), (200, true)] {
            assert_eq!(ask(&rig.service, pinned(Pin::label("a").check())).await.0, status);
            assert_eq!(status_of(&rig.pool, "a").standing.health == Health::Good, is_well);
        }
        assert_eq!(events.count("Recovered"), 1);
    }
}

#[tokio::test]
async fn a_reset_or_another_secret_puts_the_account_back_to_use() {
    for by_secret in [false, true] {
        let vault = accounts(["a", "b"]).await;
        let rig = rig(vault.clone(), &Journal::new()).await;
        rig.upstream.set("a-1", [says("spent"), Canned::ok()]);
        ask(&rig.service, post()).await;
        let id = id_of(&rig.pool, "a");
        if by_secret {
            let generation = vault.get(&key(), id).await.unwrap().metadata.generation;
            vault.replace_secret(&key(), id, generation, OAuthTokens::new("a-new")).await.unwrap();
            let next = Pool::builder(frank(), vault).open().await.unwrap();
            assert_eq!(status_of(&next, "a").standing.health, Health::Good);
        } else {
            rig.pool.reset(id).await.unwrap();
            assert_eq!(status_of(&rig.pool, "a").standing.health, Health::Good);
        }
    }
}

#[tokio::test]
async fn other_verdicts_count_whatever_the_status() {
    for (verdict, tokens, cooling) in [
        ("limited", &["a-1", "b-1"][..], 60),
        ("request", &["a-1", "b-1"], 0),
        ("refused", &["a-1", "a-2"], 0),
        ("foreign", &["a-1"], 0),
        ("nothing", &["a-1"], 0),
    ] {
        let rig = rig(accounts(["a", "b"]).await, &Journal::new()).await;
        rig.upstream.set("a-1", [says(verdict)]);
        ask(&rig.service, post()).await;
        assert_eq!(rig.upstream.tokens(), tokens, "{verdict}");
        assert_eq!(cools(&rig.pool, "a"), seconds(cooling), "{verdict}");
    }
}

#[tokio::test]
async fn an_upstreams_own_trouble_records_nothing_whatever_times_it_names() {
    for status in [500, 502, 503, 504, 529] {
        let rig = rig(accounts(["a", "b"]).await, &Journal::new()).await;
        rig.upstream.set("a-1", [Canned::status(status).header("retry-after", "60")]);
        let response = tower::ServiceExt::oneshot(rig.service.clone(), post()).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["retry-after"], "60");
        assert!(response.extensions().get::<NextReady>().is_none());
        assert_eq!(learnt(&status_of(&rig.pool, "a").standing), standing::Standing::default());
        assert_eq!(rig.upstream.tokens(), ["a-1"]);
    }
}
