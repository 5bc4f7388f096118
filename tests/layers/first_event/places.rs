//! The layer's place in a stack.

use tower::Layer;
use tower_credentials::*;

use super::*;

async fn two() -> (Pool, Upstream) {
    let pool = builder(keys(["a", "b"]).await).open().await.unwrap();
    let upstream =
        Upstream::new().answers("a", [streams(failing(LIMIT))]).answers("b", [streams(good())]);
    (pool, upstream)
}

#[tokio::test]
async fn under_any_order_of_the_layers_the_next_account_is_taken() {
    for layers in STACKS {
        let (pool, upstream) = two().await;
        assert_eq!(ask(&layers(&pool, under(&pool, &upstream)), post()).await, (200, good()));
        assert_eq!(upstream.tokens(), ["a", "b"]);
        assert!(cools(&pool, "a") >= seconds(30));
        assert_eq!(status_of(&pool, "a").standing.failures, 1);
    }
}

#[tokio::test]
async fn between_the_layers_the_next_account_is_taken() {
    for place in 1..4 {
        let (pool, upstream) = two().await;
        let (rotate, refresh, auth, persist) = four(&pool, &no_refresh());
        let looks = |inner| over(FirstEventLayer::new(pool.clone()), inner);
        let upstream_below = boxed(&upstream);
        let service = match place {
            1 => stack(rotate, looks(stack((refresh, auth, persist), upstream_below))),
            2 => stack((rotate, refresh), looks(stack((auth, persist), upstream_below))),
            _ => stack((rotate, refresh, auth), looks(stack(persist, upstream_below))),
        };
        assert_eq!(ask(&service, post()).await, (200, good()));
        assert_eq!(upstream.tokens(), ["a", "b"], "{place}");
        assert!(cools(&pool, "a") >= seconds(30), "{place}");
    }
}

#[tokio::test]
async fn above_the_layers_the_caller_gets_the_error_and_nothing_is_sent_twice() {
    let (pool, upstream) = two().await;
    let below = stack(four(&pool, &no_refresh()), boxed(&upstream));
    let service = over(FirstEventLayer::new(pool.clone()), below);
    assert_eq!(ask(&service, post()).await, (429, LIMIT.to_owned()));
    assert_eq!(upstream.tokens(), ["a"]);
}

#[tokio::test]
async fn above_and_under_the_layer_of_error_bodies_the_error_is_read() {
    let error = r#"{"error":{"code":"usage_limit_reached","resets_in_seconds":7200}}"#;
    for is_above in [false, true] {
        let pool = pool_of(provider::OpenAi::new().origin(ORIGIN).unwrap()).await;
        let upstream = Upstream::new()
            .answers("a", [streams(format!("data: {error}\n\n"))])
            .answers("b", [streams(good())]);
        let bodies = ErrorBodyLayer::new(pool.clone());
        let inner = if is_above {
            under(&pool, &upstream)
        } else {
            let reads = stack((), bodies.layer(boxed(&upstream)).and_then(gathered));
            over(FirstEventLayer::new(pool.clone()), reads)
        };
        let inner = stack((), bodies.layer(inner).and_then(gathered));
        assert_eq!(ask(&STACKS[3](&pool, inner), post()).await, (200, good()));
        assert_eq!(cools(&pool, "a"), seconds(7200));
    }
}

#[tokio::test]
async fn a_stream_is_looked_at_once_though_the_layer_is_there_twice() {
    let (pool, upstream) = two().await;
    let inner = over(FirstEventLayer::new(pool.clone()), under(&pool, &upstream));
    assert_eq!(ask(&STACKS[0](&pool, inner), post()).await, (200, good()));
    assert_eq!(upstream.tokens(), ["a", "b"]);
}
