//! Trouble on the way of a sign-in or a refresh: the errors say what happened, and show no secret.

#![cfg(feature = "oauth")]

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tower_credentials::RefreshError;
use tower_credentials::oauth::{OAuthClient, OAuthError, OAuthHttp};

use crate::authorization_server::{
    AuthorizationServer, CLIENT_SECRET, Fault, Rules, Vendor, client, refresh,
};

fn failure(error: &RefreshError) -> &OAuthError {
    match error {
        RefreshError::Failed(error) | RefreshError::Unread { error, .. } => {
            error.downcast_ref().expect("an OAuthError")
        }
        other => panic!("{other:?}"),
    }
}

/// What may go wrong on the way, and the expected error.
type Trouble = (Fault, fn(&OAuthError) -> bool);

fn troubles() -> Vec<Trouble> {
    use OAuthError::{Malformed, TimedOut, TooLong, Unavailable, Unreachable};
    vec![
        (Fault::Never, |error| matches!(error, TimedOut { .. })),
        (Fault::Cut, |error| matches!(error, Unreachable { .. })),
        (Fault::Oversized, |error| matches!(error, TooLong { .. })),
        (Fault::Text(StatusCode::OK, ""), |error| matches!(error, Malformed { .. })),
        (Fault::Text(StatusCode::OK, "null"), |error| matches!(error, Malformed { .. })),
        (Fault::Text(StatusCode::OK, "{}"), |error| matches!(error, Malformed { .. })),
        (Fault::Text(StatusCode::OK, "[1]"), |error| matches!(error, Malformed { .. })),
        (Fault::Text(StatusCode::OK, "{\"access_token\""), |error| matches!(error, Malformed { .. })),
        (Fault::Text(StatusCode::OK, r#"{"access_token": ""}"#), |error| {
            matches!(error, Malformed { .. })
        }),
        (Fault::Text(StatusCode::NOT_FOUND, "<html>"), |error| match error {
            // Copilot's own verdict.
            OAuthError::Refused { .. } => true,
            error => matches!(error, Malformed { .. }),
        }),
        (Fault::Text(StatusCode::FOUND, ""), |error| matches!(error, Malformed { .. })),
        (Fault::Text(StatusCode::FORBIDDEN, "<html>"), |error| matches!(error, Malformed { .. })),
        (Fault::Text(StatusCode::INTERNAL_SERVER_ERROR, "{}"), |error| {
            matches!(error, Unavailable { .. })
        }),
        (Fault::Text(StatusCode::TOO_MANY_REQUESTS, r#"{"error": "invalid_grant"}"#), |error| {
            matches!(error, Unavailable { .. })
        }),
        (Fault::Quoting(StatusCode::OK, r#"{"access_token": ["{}"]}"#), |error| {
            matches!(error, Malformed { .. })
        }),
        (Fault::Quoting(StatusCode::OK, r#"{"access_token": {"{}": "{}"}, "token": 5}"#), |error| {
            matches!(error, Malformed { .. })
        }),
    ]
}

/// Returns every text in which an error may be shown.
fn shown(error: &(dyn Error + 'static)) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(" {cause} {cause:?}"));
        source = cause.source();
    }
    text
}

#[tokio::test]
async fn trouble_on_the_way_is_not_a_verdict_and_no_error_shows_a_secret() {
    for vendor in Vendor::ALL {
        let server = AuthorizationServer::start(Rules::of(vendor));
        let account = server.account().await;
        let http = OAuthHttp::new(client()).timeout(Duration::from_millis(250));
        let client = OAuthClient::new(vendor.name(), server.config(), http);
        let mut all = String::new();
        for (fault, is_expected) in troubles() {
            server.fail_next([fault.clone()]);
            let error = refresh(&client, &account.tokens).await.unwrap_err();
            assert!(is_expected(failure(&error)), "{vendor:?} {fault:?}: {error:?}");
            all.push_str(&shown(&error));
        }
        for status in [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED, StatusCode::OK] {
            for response in [
                r#"{"error": "invalid_grant", "error_description": "no {} here"}"#,
                r#"{"error": "{}", "error_description": "{}{}"}"#,
                r#"{"error": {"code": "{}", "message": "({})"}}"#,
                r#"{"error": {"type": "{}"}, "message": "{}"}"#,
                r#"{"shouldLogout": true, "error": "{}"}"#,
            ] {
                server.fail_next([Fault::Quoting(status, response)]);
                all.push_str(&shown(&refresh(&client, &account.tokens).await.unwrap_err()));
            }
        }
        let mut secrets = server.issued();
        secrets.push(CLIENT_SECRET.to_owned());
        assert!(secrets.len() > 1 && all.contains(server.url()), "there is something to find");
        for secret in secrets {
            assert!(!all.contains(&secret), "{vendor:?}: {secret} in {all}");
        }
    }
}

#[tokio::test]
async fn the_http_clients_own_error_contains_no_secret() {
    for vendor in Vendor::ALL {
        let server = AuthorizationServer::start(Rules::of(vendor));
        let account = server.account().await;
        let talkative = tower::service_fn(async |request: Request<Full<Bytes>>| {
            use http_body_util::BodyExt;
            let headers = format!("{:?}", request.headers());
            let authorization = request.headers().get("authorization").cloned();
            let uri = request.uri().clone();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let told = authorization.map(|value| value.to_str().unwrap().to_owned());
            let error = format!("could not send {uri} {headers} {told:?} {body:?}");
            Err::<http::Response<Full<Bytes>>, tower_credentials::BoxError>(error.into())
        });
        let client = OAuthClient::new(vendor.name(), server.config(), OAuthHttp::new(talkative));
        let error = refresh(&client, &account.tokens).await.unwrap_err();
        assert!(matches!(failure(&error), OAuthError::Unreachable { .. }), "{error:?}");
        let shown = shown(&error);
        assert!(shown.contains("could not send"), "{shown}");
        for secret in server.issued() {
            assert!(!shown.contains(&secret), "{vendor:?}: {secret} in {shown}");
        }
        assert!(!shown.contains(CLIENT_SECRET), "{shown}");
    }
}

#[tokio::test]
async fn a_sign_ins_errors_contain_no_secret() {
    // All at once, since some may poll only every second.
    let vendors = Vendor::ALL.map(|vendor| tokio::spawn(sign_in_with_errors(vendor)));
    for vendor in vendors {
        vendor.await.unwrap();
    }
}

async fn sign_in_with_errors(vendor: Vendor) {
    let server = AuthorizationServer::start(Rules { device_interval: Some(1), ..Rules::of(vendor) });
    let client = OAuthClient::new(vendor.name(), server.config(), OAuthHttp::new(client()));
    let mut all = format!("{client:?}");
    for (status, response) in [
        (StatusCode::BAD_REQUEST, r#"{"error": "invalid_grant", "error_description": "no {}"}"#),
        (StatusCode::FORBIDDEN, r#"{"error": {"code": "{}", "message": "{}"}}"#),
        (StatusCode::OK, r#"{"access_token": {"{}": "{}"}}"#),
    ] {
        server.fail_next([if vendor == Vendor::Cursor {
            // Its secrets are in the URL.
            Fault::Text(status, response)
        } else {
            Fault::Quoting(status, response)
        }]);
        let error = server.sign_in(&client, client.first_flow().unwrap()).await.unwrap_err();
        all.push_str(&shown(&error));
    }
    let mut secrets = server.issued();
    secrets.push(CLIENT_SECRET.to_owned());
    for secret in secrets {
        assert!(!all.contains(&secret), "{vendor:?}: {secret} in {all}");
    }
}
