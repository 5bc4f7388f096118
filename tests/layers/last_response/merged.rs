//! The latest response wins, whichever pool, process or clock it came from.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use tower_credentials::standing::{LastResponse, Outcome, Standing};
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::*;

use super::*;
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn of_two_pools_responses_the_later_one_wins_whichever_is_saved_first() {
    for later_saves_first in [false, true] {
        let vault = keys(["a"]).await;
        let clock = tokio_clock();
        let open = async |status| {
            let open = builder(vault.clone()).clock(clock.clone()).sync_every(None);
            let pool = open.open().await.unwrap();
            let upstream = Upstream::new().answers("a", [Canned::status(status)]);
            (pool.clone(), stack(four(&pool, &no_refresh()), upstream))
        };
        let (early, early_service) = open(201).await;
        let (late, late_service) = open(202).await;
        ask(&early_service, post()).await;
        tokio::time::sleep(seconds(1)).await;
        ask(&late_service, post()).await;
        let order = if later_saves_first { [&late, &early] } else { [&early, &late] };
        for pool in order {
            pool.save().await.unwrap();
        }
        assert_eq!(saved(&vault, "a").await, Some(202));
        for pool in [&early, &late] {
            pool.sync().await.unwrap();
            assert_eq!(last(pool, "a"), Some((202, Duration::ZERO)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_from_the_future_hides_no_other() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    // The vault keeps a time that may yet come; the pool ignores both.
    for (ahead, kept) in [(MINUTE * 5, 418), (DAY - MINUTE, 418), (DAY * 3650, 200)] {
        let vault = keys(["a"]).await;
        let spy = Planned::spy(&vault);
        let pool = builder(spy.clone()).clock(tokio_clock()).open().await.unwrap();
        let id = id_of(&pool, "a");
        let misdated = answered(id, pool.now().after(ahead).as_millis(), 418);
        vault.record(key(), vec![misdated]).await.unwrap();
        pool.sync().await.unwrap();
        assert_eq!(last(&pool, "a"), None);
        ask(&stack(four(&pool, &no_refresh()), Upstream::new()), post()).await;
        assert_eq!(last(&pool, "a"), Some((200, Duration::ZERO)));
        tokio::time::sleep(MINUTE * 3).await;
        pool.sync().await.unwrap();
        assert_eq!(last(&pool, "a"), Some((200, MINUTE * 3)));
        assert_eq!(saved(&vault, "a").await, Some(kept));
        assert_eq!(spy.count("record"), 1, "it is saved once, whatever becomes of it");
    }
}

#[tokio::test]
async fn a_pool_whose_clock_was_corrected_records_later_responses() {
    let vault = keys(["a"]).await;
    let spy = Planned::spy(&vault);
    let ahead = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_ahead = ahead.clone();
    let clock = Clock::from_fn(move || {
        let years = u64::from(is_ahead.load(Ordering::SeqCst)) * 10;
        std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000 + years * 365 * 24 * 60 * 60)
    });
    let pool = builder(spy.clone()).clock(clock).sync_every(None).open().await.unwrap();
    let upstream = Upstream::new().answers("a", [Canned::status(418), Canned::ok()]);
    let service = stack(four(&pool, &no_refresh()), upstream);
    ask(&service, post()).await;
    pool.save().await.unwrap();
    assert_eq!(saved(&vault, "a").await, Some(418));
    ahead.store(false, Ordering::SeqCst);
    pool.save().await.unwrap();
    assert_eq!(spy.count("record"), 1, "one from the future is not saved again");
    ask(&service, post()).await;
    assert_eq!(last(&pool, "a"), Some((200, Duration::ZERO)));
    pool.save().await.unwrap();
    assert_eq!((saved(&vault, "a").await, spy.count("record")), (Some(200), 2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_024, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_number_of_responses_merge_to_the_latest_in_any_order(
        responses in prop::collection::vec((0_u64..20, 100_u16..600), 1..20),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let id = CredentialId::random();
        let outcomes: Vec<_> =
            responses.iter().map(|(at, status)| answered(id, *at, *status)).collect();
        let merged = |outcomes: &mut dyn Iterator<Item = &Outcome>| {
            let mut standing = Standing::default();
            outcomes.for_each(|outcome| standing.merge(&outcome.change));
            standing
        };
        let expected = merged(&mut outcomes.iter());
        let latest = responses.iter().map(|(at, _)| *at).max().unwrap();
        prop_assert_eq!(expected.last_response.unwrap().at.as_millis(), latest);
        prop_assert_eq!(learnt(&expected), Standing::default());
        prop_assert_eq!(&merged(&mut outcomes.iter().rev()), &expected);
        let repeated = again.iter().map(|index| index.get(&outcomes));
        prop_assert_eq!(&merged(&mut repeated.chain(&outcomes)), &expected);
    }
}

#[tokio::test]
async fn a_directory_keeps_only_the_last_response_and_does_not_grow() {
    let directory = tempfile::tempdir().unwrap();
    let key_ = VaultKey::generate();
    let open = async || FileVault::open(directory.path(), &key_).await.unwrap();
    let vault = open().await;
    let credential = Credential::new(key(), "a", Secret::api_key("a"));
    let id = vault.put(credential).await.unwrap().id;
    let other = open().await;
    let length = || {
        let files = std::fs::read_dir(directory.path().join("pools")).unwrap();
        let lengths = files.map(|file| file.unwrap().metadata().unwrap().len());
        lengths.sum::<u64>()
    };
    let mut longest = 0;
    for at in 1..=2_000 {
        let vault = if at % 2 == 0 { &vault } else { &other };
        vault.record(key(), vec![answered(id, at, 200)]).await.unwrap();
        longest = longest.max(length());
    }
    // A log is compacted once it has 64 KiB.
    assert!((60_000..70_000).contains(&longest), "{longest}");
    vault.record(key(), vec![answered(id, 1_500, 500)]).await.unwrap();
    for vault in [vault, other, open().await] {
        let standing = vault.load_pool(key()).await.unwrap().standings.credentials[&id].clone();
        let last_response = LastResponse { at: Timestamp::from_millis(2_000), status: 200 };
        assert_eq!(standing, Standing { last_response: Some(last_response), ..Standing::default() });
    }
}

#[tokio::test]
async fn two_vaults_over_one_directory_see_each_others_responses() {
    let directory = tempfile::tempdir().unwrap();
    let key_ = VaultKey::generate();
    let clock = HandClock::new();
    let open = async || {
        let vault = FileVault::open(directory.path(), &key_).await.unwrap();
        let open = builder(vault.clone()).clock(clock.clock()).sync_every(None);
        (vault, open.open().await.unwrap())
    };
    let (vault, first) = open().await;
    for label in ["a", "b"] {
        vault.put(Credential::new(key(), label, Secret::api_key(label))).await.unwrap();
    }
    first.sync().await.unwrap();
    let (_, second) = open().await;
    ask(&stack(four(&first, &no_refresh()), Upstream::new()), post()).await;
    first.save().await.unwrap();
    clock.advance(seconds(3));
    second.sync().await.unwrap();
    assert_eq!(last(&second, "a"), Some((200, seconds(3))));
    let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
    ask(&stack(four(&second, &no_refresh()), upstream), post()).await;
    second.save().await.unwrap();
    clock.advance(seconds(4));
    let (_, reopened) = open().await;
    first.sync().await.unwrap();
    for pool in [&first, &second, &reopened] {
        assert_eq!(last(pool, "a"), Some((429, seconds(4))));
        assert_eq!(last(pool, "b"), Some((200, seconds(4))));
    }
}
