//! Redirects below the layers: no credential gets to another origin, whether reqwest follows them or
//! tower-http does.

#![cfg(all(feature = "follow-redirect", feature = "reqwest-middleware"))]

use http::{HeaderName, Method, Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use reqwest::redirect::Policy;
use tower_credentials::provider::GenericProvider;
use tower_credentials::redirect::FilterCredentials;
use tower_credentials::reqwest_client::redirect_policy;
use tower_credentials::standing::Standing;
use tower_credentials::{BoxError, CredentialsLayer, Error, Pool};
use tower_http::follow_redirect::FollowRedirectLayer;

use crate::reqwest_rig::*;
use crate::support::{Journal, keys, learnt};

const NAMES: [&str; 4] = ["authorization", "x-api-key", "x-goog-api-key", "x-own-name"];

/// A request that reached a server: method, path, whether it had a planted key, and the body.
type Arrived = Journal<(Method, String, bool, String)>;

async fn note(arrived: Arrived, request: Request<Incoming>) -> String {
    let (head, body) = request.into_parts();
    let mut values = head.headers.values().map(|value| value.to_str().unwrap());
    let has_key = values.any(|value| value.contains("planted"));
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let path = head.uri.path().to_owned();
    arrived.push((head.method, path.clone(), has_key, body));
    path
}

/// A server that answers every request with 200.
async fn elsewhere(arrived: &Arrived) -> Site {
    let arrived = arrived.clone();
    Site::start(move |request| {
        let noted = note(arrived.clone(), request);
        async move {
            noted.await;
            Response::new(text("from elsewhere"))
        }
    })
    .await
}

/// A server that redirects `/v1/messages` to `to`, `/twice` to itself first, and answers all others with 200.
async fn redirecting(status: u16, to: String, arrived: &Arrived) -> Site {
    let arrived = arrived.clone();
    Site::start(move |request| {
        let (noted, to) = (note(arrived.clone(), request), to.clone());
        async move {
            let to = match &*noted.await {
                "/v1/messages" => to,
                "/twice" => "/v1/messages".to_owned(),
                _ => return Response::new(text("from home")),
            };
            let response = Response::builder().status(status).header(header::LOCATION, to);
            response.body(text("over there")).unwrap()
        }
    })
    .await
}

async fn pool(site: &Site, name: &'static str) -> Pool {
    let provider = match name {
        "authorization" => GenericProvider::bearer("x"),
        name => GenericProvider::header("x", HeaderName::from_static(name)),
    };
    let provider = provider.origin(&site.origin()).unwrap();
    Pool::builder(provider, keys(["planted-a", "planted-b"]).await).open().await.unwrap()
}

fn twice(site: &Site) -> reqwest::Request {
    let mut request = site.post("hi");
    request.url_mut().set_path("/twice");
    request
}

#[tokio::test]
async fn with_the_policy_a_redirect_to_another_origin_is_a_response() {
    for name in NAMES {
        for status in [301, 302, 303, 307, 308] {
            for way in 0..CLIENTS {
                let (home, away) = (Journal::new(), Journal::new());
                let other = elsewhere(&away).await;
                let site = redirecting(status, other.url().into(), &home).await;
                let pool = pool(&site, name).await;
                let client =
                    &clients!(CredentialsLayer::new(pool.clone()), client().build().unwrap())[way];
                for request in [site.post("hi"), twice(&site)] {
                    let response = client.execute(request).await.unwrap();
                    assert_eq!(response.status(), status);
                    assert_eq!(response.headers()[header::LOCATION], other.url().as_str());
                    assert_eq!(*response.url(), site.url());
                }
                assert!(away.all().is_empty());
                assert_eq!(home.all().len(), 3);
                assert_eq!(learnt(&pool.status()[0].standing), Standing::default());
            }
        }
    }
}

#[tokio::test]
async fn with_the_policy_a_redirect_within_the_origin_is_followed_with_the_credential() {
    for name in NAMES {
        for (status, method, body) in
            [(302, Method::GET, ""), (307, Method::POST, "hi"), (308, Method::POST, "hi")]
        {
            for way in 0..CLIENTS {
                let home = Journal::new();
                let site = redirecting(status, "/there".into(), &home).await;
                let pool = pool(&site, name).await;
                let client =
                    &clients!(CredentialsLayer::new(pool.clone()), client().build().unwrap())[way];

                let response = client.execute(site.post("hi")).await.unwrap();

                assert_eq!(response.url().path(), "/there");
                assert_eq!(response.text().await.unwrap(), "from home");
                let (first, there) = ("/v1/messages".to_owned(), "/there".to_owned());
                assert_eq!(
                    home.all(),
                    [
                        (Method::POST, first, true, "hi".to_owned()),
                        (method.clone(), there, true, body.to_owned())
                    ]
                );
            }
        }
    }
}

#[tokio::test]
async fn within_the_origin_the_inner_policy_decides() {
    let home = Journal::new();
    let site = redirecting(302, "/v1/messages".into(), &home).await;
    let pool = pool(&site, "x-api-key").await;
    let with = |policy| reqwest::Client::builder().redirect(redirect_policy(policy)).build().unwrap();
    for client in clients!(CredentialsLayer::new(pool.clone()), with(Policy::none())) {
        assert_eq!(client.ask(site.post("hi")).await.0, 302);
    }
    assert_eq!(home.all().len(), CLIENTS);
    for client in clients!(CredentialsLayer::new(pool.clone()), with(Policy::limited(3))) {
        let error = client.execute(site.post("hi")).await.unwrap_err();
        assert!(format!("{error:?}").contains("TooManyRedirects"), "{error:?}");
    }
    assert_eq!(home.all().len(), CLIENTS + CLIENTS * 4);
}

fn own(error: &BoxError) -> Option<&Error> {
    match error.downcast_ref() {
        Some(reqwest_middleware::Error::Middleware(error)) => error.downcast_ref(),
        _ => error.downcast_ref(),
    }
}

#[tokio::test]
async fn a_client_without_the_policy_that_moved_a_key_is_caught() {
    for name in ["x-api-key", "x-goog-api-key", "x-own-name"] {
        for way in 0..CLIENTS {
            let (home, away) = (Journal::new(), Journal::new());
            let other = elsewhere(&away).await;
            let site = redirecting(302, other.url().into(), &home).await;
            let pool = pool(&site, name).await;
            let careless = reqwest::Client::new();
            let client = &clients!(CredentialsLayer::new(pool.clone()), careless)[way];

            let error = client.execute(site.post("hi")).await.unwrap_err();

            let Some(Error::Redirected { origin }) = own(&error) else { panic!("{error:?}") };
            assert_eq!(*origin, other.origin());
            assert!(!format!("{error} {error:?}").contains("planted"));
            assert_eq!(home.all().len(), 1, "nothing is sent again");
            assert!(away.all()[0].2, "reqwest has taken it along");
        }
    }
}

#[tokio::test]
async fn reqwest_itself_removes_authorization() {
    for way in 0..CLIENTS {
        let (home, away) = (Journal::new(), Journal::new());
        let other = elsewhere(&away).await;
        let site = redirecting(302, other.url().into(), &home).await;
        let pool = pool(&site, "authorization").await;
        let client = &clients!(CredentialsLayer::new(pool.clone()), reqwest::Client::new())[way];
        assert_eq!(client.ask(site.post("hi")).await, (200, "from elsewhere".into()));
        assert!(!away.all()[0].2);
    }
}

#[tokio::test]
#[cfg(feature = "discovery")]
async fn a_list_of_models_from_another_origin_is_refused() {
    use tower::Layer;
    use tower_credentials::discovery::{Discovery, DiscoveryErrorKind};
    use tower_credentials::provider::{ModelsEndpoint, ModelsShape};
    use tower_credentials::reqwest_client::HttpService;
    let (home, away) = (Journal::new(), Journal::new());
    let other = elsewhere(&away).await;
    let site = redirecting(302, other.url().into(), &home).await;
    let pool = pool(&site, "authorization").await;
    let service = CredentialsLayer::new(pool.clone()).layer(HttpService::new(reqwest::Client::new()));
    let endpoint = ModelsEndpoint::new(ModelsShape::OpenAi, "/v1/messages").unwrap();
    let discovery =
        Discovery::builder::<_, tower_credentials::reqwest_client::RequestBody, _>(&pool, service);
    let discovery = discovery.endpoint(endpoint).build().unwrap();
    let error = discovery.models().await.unwrap_err();
    let DiscoveryErrorKind::Failed(reason) = error.kind() else { panic!("{error:?}") };
    assert!(matches!(reason.downcast_ref(), Some(Error::Redirected { .. })), "{reason:?}");
}

#[tokio::test]
async fn a_tower_http_redirect_below_the_layers_goes_on_without_the_credential() {
    for name in NAMES {
        let (home, away) = (Journal::new(), Journal::new());
        // The second hop is within the other origin: what was removed must not come back.
        let other = redirecting(302, "/there".into(), &away).await;
        let site = redirecting(302, other.url().into(), &home).await;
        let pool = pool(&site, name).await;
        let layers = (
            CredentialsLayer::new(pool.clone()),
            FollowRedirectLayer::with_policy(FilterCredentials::new(&pool)),
        );
        let silent = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
        let [service, middleware, _] = clients!(layers, silent);
        let mut request = twice(&site);
        for (name, value) in [("cookie", "session=planted"), ("x-mark", "mine")] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }

        let response = service.execute(request).await.unwrap();

        assert_eq!(response.text().await.unwrap(), "from home");
        let keys = |arrived: &Arrived| arrived.all().iter().map(|seen| seen.2).collect::<Vec<_>>();
        assert_eq!(keys(&home), [true, true]);
        assert_eq!(keys(&away), [false, false]);

        // Over a middleware, a request that has lost its extensions can't be sent at all.
        let error = middleware.execute(twice(&site)).await.unwrap_err();
        assert!(error.to_string().contains("dropped the request's extensions"), "{error:?}");
        assert_eq!(keys(&away), [false, false]);
    }
}

#[tokio::test]
async fn a_redirect_above_the_layers_to_an_untrusted_origin_is_refused() {
    for way in 0..CLIENTS {
        let (home, away) = (Journal::new(), Journal::new());
        let other = elsewhere(&away).await;
        let site = redirecting(302, other.url().into(), &home).await;
        let pool = pool(&site, "x-api-key").await;
        let layers = (FollowRedirectLayer::new(), CredentialsLayer::new(pool.clone()));
        let client = &clients!(layers, client().build().unwrap())[way];
        let error = client.execute(site.post("hi")).await.unwrap_err();
        assert!(away.all().is_empty());
        // tower-http drops the extensions at such a hop, and the middleware's chain with them, but the layers look
        // at the origin before that.
        assert!(matches!(own(&error), Some(Error::UntrustedOrigin { .. })), "{error:?}");
    }
}
