//! Each of the caller's requests is one span, with its attempts as events, in fields of OpenTelemetry's names.

use tower::Layer;
use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::log;
use crate::support::{Asked, Canned, Stack, Upstream, ask, exact, four, no_refresh, post, stack};

/// A pool with its own name, which tells its spans from those of other tests.
async fn pool(name: &'static str) -> Pool {
    let vault = MemoryVault::new();
    for label in ["a", "b"] {
        let key = PoolKey::new(name);
        vault.put(Credential::new(key, label, Secret::api_key(label))).await.unwrap();
    }
    let provider = GenericProvider::bearer(name).origin("https://spans.test:8443").unwrap();
    let builder = Pool::builder(provider, vault).cooldowns(exact());
    builder.when_all_cooling_down(WhenAllCoolingDown::Fail).open().await.unwrap()
}

fn to(origin: &str) -> Asked {
    let mut request = post();
    *request.uri_mut() = format!("{origin}/v1/secret-path?secret-query").parse().unwrap();
    request
}

/// The lines about requests of this provider.
fn lines(provider: &str) -> Vec<String> {
    let is_of = format!("credentials.request{{provider=\"{provider}\" ");
    let text = log().text();
    text.lines().filter(|line| line.contains(&is_of)).map(str::to_owned).collect()
}

fn ends(provider: &str) -> Vec<String> {
    let is_end = |line: &String| line.contains(" tower_credentials::request: close");
    lines(provider).into_iter().filter(is_end).collect()
}

#[tokio::test]
async fn a_request_is_one_span_in_any_order_with_its_attempts_inside() {
    log();
    type Build = fn(&Pool, Upstream) -> Stack;
    let stacks: [(&str, Build); 3] = [
        ("span-of-one", |pool, to| stack(CredentialsLayer::new(pool.clone()), to)),
        ("span-of-four", |pool, to| stack(four(pool, &no_refresh()), to)),
        ("span-of-boxed", |pool, to| {
            let (rotate, refresh, auth, persist) = four(pool, &no_refresh());
            stack(persist, stack(auth, stack(refresh, stack(rotate, to))))
        }),
    ];
    for (name, build) in stacks {
        let pool = pool(name).await;
        let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
        let service = build(&pool, upstream);
        assert_eq!(ask(&service, to("https://spans.test:8443")).await.0, 200);
        let ends = ends(name);
        let [end] = &ends[..] else { panic!("{ends:#?}") };
        let id = pool.status()[0].credential.id.to_string();
        for field in [
            "namespace=\"default\"",
            "http.request.method=\"POST\"",
            "server.address=\"spans.test\"",
            "server.port=8443",
            "http.request.resend_count=1",
            "http.response.status_code=200",
            &format!("credential.id=\"{}\"", &id[..8]),
        ] {
            assert!(end.contains(field), "{field}: {end}");
        }
        assert!(!end.contains("error.type") && !end.contains("secret-"), "{end}");
        let lines = lines(name);
        let attempts: Vec<_> = lines.iter().filter(|line| line.contains("::event: attempt ")).collect();
        assert_eq!(attempts.len(), 2, "{lines:#?}");
        assert!(attempts[0].contains(" http.response.status_code=429"), "{lines:#?}");
        assert!(!attempts[0].contains(" http.request.resend_count="), "{lines:#?}");
        assert!(attempts[1].contains(" http.response.status_code=200"), "{lines:#?}");
    }
}

#[tokio::test]
async fn a_span_says_what_kind_of_error_ended_the_request() {
    log();
    let pool = pool("span-of-errors").await;
    let refuses = [Canned::limited(30), Canned::status(500)];
    let upstream = Upstream::new().answers("a", refuses).answers("b", [Canned::limited(30)]);
    let service = stack(CredentialsLayer::new(pool.clone()), upstream);
    let origin = "https://spans.test:8443";
    assert_eq!(ask(&service, to(origin)).await.0, 429);
    tower::ServiceExt::oneshot(service.clone(), to(origin)).await.unwrap_err();
    tower::ServiceExt::oneshot(service.clone(), to("https://elsewhere.test")).await.unwrap_err();
    let first = pool.status()[0].credential.id;
    pool.reset(first).await.unwrap();
    let failing = tower::service_fn(|_: Asked| async {
        Err::<http::Response<http_body_util::Full<bytes::Bytes>>, BoxError>("lost".into())
    });
    let failing = CredentialsLayer::new(pool).layer(failing);
    tower::ServiceExt::oneshot(failing, to(origin)).await.unwrap_err();
    let ends = ends("span-of-errors");
    let kinds = ["429", "all_cooling_down", "untrusted_origin", "_OTHER"];
    assert_eq!(ends.len(), kinds.len(), "{ends:#?}");
    for (end, kind) in ends.iter().zip(kinds) {
        assert!(end.contains(&format!("error.type=\"{kind}\"")), "{kind}: {end}");
    }
}
