//! Events can be read at any pace: no request waits for a reader, and what a slow one has lost is counted.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tower_credentials::events::{Event, EventKind, EventStream};
use tower_credentials::{CredentialsLayer, NetworkRetry, Pool};

use crate::support::{Canned, ORDERS, Upstream, ask, builder, keys, post, seconds, stack, tokio_clock};

fn unread(events: &mut EventStream) -> Vec<Event> {
    std::iter::from_fn(|| events.try_next()).collect()
}

/// The numbers of the request and the attempt, and the name of what has happened.
fn told(event: &Event) -> (u64, u32, String) {
    let name = event.kind.name().to_owned();
    let (request, attempt) = (event.request, event.attempt);
    (request.map_or(0, Into::into), attempt.map_or(0, Into::into), name)
}

async fn send_all(pool: &Pool, requests: usize) {
    let service = stack(CredentialsLayer::new(pool.clone()), Upstream::new());
    for _ in 0..requests {
        assert_eq!(ask(&service, post()).await.0, 200);
    }
}

#[tokio::test]
async fn a_stuck_reader_loses_the_oldest_events_and_is_told_exactly_how_many() {
    const KEPT: usize = 16;
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let pool = builder(keys(["a"]).await).keep_events(NonZeroU32::new(KEPT as u32).unwrap()).on_event(
        move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        },
    );
    let pool = pool.open().await.unwrap();
    let (mut stuck, mut quick) = (pool.events(), pool.events());
    let mut read = Vec::new();
    for _ in 0..100 {
        send_all(&pool, 10).await;
        read.extend(unread(&mut quick));
    }
    let happened = count.load(Ordering::SeqCst);
    assert!(happened >= 1000, "each attempt is an event");
    assert_eq!(read.len(), happened, "a reader that keeps up gets all");
    assert!(read.iter().all(|event| !matches!(event.kind, EventKind::Lost { .. })));

    let late = unread(&mut stuck);
    let EventKind::Lost { events } = late[0].kind else { panic!("{:?}", late[0]) };
    assert_eq!(late.len(), 1 + KEPT, "no more are kept");
    assert_eq!(events as usize + KEPT, happened, "none is lost without a word");
    assert_eq!(late[1..], read[happened - KEPT..], "the newest are kept");

    send_all(&pool, 1).await;
    assert_eq!(unread(&mut stuck).len(), 1, "it goes on as if nothing had been lost");
}

#[tokio::test]
async fn a_stream_ends_with_its_pool_and_does_not_keep_it() {
    let pool = builder(keys(["a"]).await).sync_every(None).open().await.unwrap();
    let mut events = pool.events();
    send_all(&pool, 1).await;
    drop(pool);
    assert!(matches!(events.next().await.unwrap().kind, EventKind::Attempt { .. }));
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn requests_that_nobody_observes_are_not_numbered() {
    let pool = builder(keys(["a"]).await).open().await.unwrap();
    send_all(&pool, 5).await;
    let mut events = pool.events();
    send_all(&pool, 2).await;
    let numbers: Vec<_> = unread(&mut events).iter().map(|event| told(event).0).collect();
    assert_eq!(numbers, [1, 2]);
    drop(events);
    send_all(&pool, 5).await;
    let mut events = pool.events();
    send_all(&pool, 1).await;
    assert_eq!(unread(&mut events)[0].request.unwrap().get(), 3);
}

#[tokio::test]
async fn each_event_of_a_request_names_the_request_and_the_attempt() {
    for (number, order) in ORDERS.into_iter().enumerate() {
        let pool = builder(keys(["a", "b", "c"]).await).sync_every(None).open().await.unwrap();
        let mut events = pool.events();
        let upstream = Upstream::new()
            .answers("a", [Canned::limited(3000)])
            .answers("b", [Canned::status(401)])
            .answers("c", [Canned::ok()]);
        let service = order(&pool, upstream);
        assert_eq!(ask(&service, post()).await.0, 200);
        assert_eq!(ask(&service, post()).await.0, 200);
        let told: Vec<_> = unread(&mut events).iter().map(told).collect();
        let expected = [
            (1, 1, "attempt"),
            (1, 1, "cooled_down"),
            (1, 2, "rotated"),
            (1, 2, "attempt"),
            (1, 3, "rotated"),
            (1, 3, "attempt"),
            (1, 2, "cooled_down"),
            (2, 1, "attempt"),
        ];
        let told = told.iter().filter(|(_, _, name)| name != "saved");
        let told: Vec<_> = told.map(|(request, attempt, name)| (*request, *attempt, &**name)).collect();
        assert_eq!(told, expected, "order {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_again_with_the_same_account_names_the_attempt_that_begins() {
    let clock = tokio_clock();
    let pool = builder(keys(["a"]).await).clock(clock).sync_every(None).open().await.unwrap();
    let mut events = pool.events();
    let layer = CredentialsLayer::new(pool.clone())
        .rotate(|rotate| rotate.wait_up_to(seconds(5)).network(NetworkRetry::default().when(|_| true)));
    let broken = Canned::fails(std::io::ErrorKind::ConnectionReset);
    let upstream = Upstream::new().answers("a", [Canned::limited(3), broken, Canned::ok()]);
    assert_eq!(ask(&stack(layer, upstream), post()).await.0, 200);
    let told: Vec<_> = unread(&mut events).iter().map(told).collect();
    for expected in [(1, 2, "waiting"), (1, 3, "repeated"), (1, 3, "attempt"), (1, 3, "recovered")] {
        let (request, attempt, name) = expected;
        assert!(told.contains(&(request, attempt, name.to_owned())), "{expected:?} in {told:?}");
    }
}

/// Every event, as a line of JSON.
const LINES: &[&str] = &[
    r#""event":"attempt","account":A,"status":200,"elapsed":0.123456789"#,
    r#""event":"cooled_down","account":A,"until":1795905225500,"wait":1.5,"reason":"limited","scope":"opus""#,
    r#""event":"cooled_down","account":A,"until":1795905225500,"wait":1.5,"reason":"used_up""#,
    r#""event":"cap_lowered","account":A,"most":3,"wait":60.0"#,
    r#""event":"suspected","account":A"#,
    r#""event":"suspected","account":A,"pinned":true"#,
    r#""event":"recovered","account":A"#,
    r#""event":"allowance","account":A,"windows":[{"name":"5h","left":380,"said_at":1795905224000}]"#,
    r#""event":"rotated","from":A,"to":A,"reason":"out_of_use""#,
    r#""event":"sent_once","account":A"#,
    r#""event":"waiting","account":A,"wait":2.25"#,
    r#""event":"repeated","account":A"#,
    r#""event":"repeated""#,
    r#""event":"refreshed","account":A"#,
    r#""event":"refresh_failed","account":A,"error":"no \"network\"""#,
    r#""event":"secret_not_saved","account":A,"error":"the disk is full""#,
    r#""event":"older_vault","account":A"#,
    r#""event":"needs_sign_in","account":A,"reason":"invalid_grant""#,
    r#""event":"spent","account":A,"reason":"no credit""#,
    r#""event":"paused","account":A"#,
    r#""event":"resumed","account":A"#,
    r#""event":"reset","account":A"#,
    r#""event":"moved","account":A,"tier":2"#,
    r#""event":"moved","account":A,"place":1"#,
    r#""event":"renamed","account":A,"before":"default""#,
    r#""event":"signed_in","account":A"#,
    r#""event":"removed","provider":"x","namespace":"default","id":"000102030405060708090a0b0c0d0e0f""#,
    r#""event":"answered","account":A,"status":200,"requests":12"#,
    r#""event":"saved","outcomes":7"#,
    r#""event":"save_failed","error":"the disk is full""#,
    r#""event":"save_failed","error":"the engine is away","unreachable":true"#,
    r#""event":"damaged","damage":{"record":"a.json","reason":"not a record","id":"000102030405060708090a0b0c0d0e0f","kind":"oauth"}"#,
    r#""event":"damaged","damage":{"record":"b.json","reason":"unread","may_pass":true}"#,
    r#""event":"lost","events":12"#,
];

#[test]
fn every_event_is_one_short_line_of_json_that_can_be_read_back() {
    let account = r#"{"provider":"x","namespace":"default","label":"work","id":"000102030405060708090a0b0c0d0e0f","generation":3}"#;
    for numbers in [r#","request":17,"attempt":2"#, ""] {
        for line in LINES {
            let line = line.replace(":A", &format!(":{account}"));
            let line = format!(r#"{{"at":1795905224000{numbers},{line}}}"#);
            let event: Event =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(serde_json::to_string(&event).unwrap(), line);
            assert_eq!(event.request.is_some(), !numbers.is_empty());
            assert!(line.contains(&format!(r#""event":"{}""#, event.kind.name())), "{line}");
        }
    }
}
