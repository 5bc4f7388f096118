//! Signing in with every vendor's flow, from the prompt to the vault, at a strict server over real sockets.

#![cfg(feature = "oauth")]

mod pasted;
mod records;
mod settings;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tower_credentials::oauth::{FlowKind, OAuthError, Progress, Prompt};
use tower_credentials::{Clock, Timestamp};

use crate::authorization_server::{AuthorizationServer, Kind, Rules, Vendor, fetch, follow, get, page};

const BROWSERS: [Vendor; 3] = [Vendor::Anthropic, Vendor::OpenAi, Vendor::Google];

/// A server whose devices may poll every second.
fn quick(vendor: Vendor) -> AuthorizationServer {
    AuthorizationServer::start(Rules { device_interval: Some(1), ..Rules::of(vendor) })
}

#[tokio::test]
async fn every_vendors_first_flow_ends_with_tokens_that_work() {
    for vendor in Vendor::ALL {
        let server = quick(vendor);
        let client = server.client();
        let flow = client.first_flow().unwrap();
        let account = server.sign_in(&client, flow).await.unwrap();
        assert_eq!(server.whose(&account.tokens).await.as_deref(), Some("alice"), "{vendor:?}");
        assert!(account.tokens.refresh.is_some(), "{vendor:?}");
        assert_eq!(account.account.is_some(), vendor != Vendor::Qwen, "Qwen tells nothing of it");
    }
}

#[tokio::test]
async fn reusing_a_code_ends_the_session_that_it_began() {
    let server = quick(Vendor::Google);
    let account = server.sign_in(&server.client(), FlowKind::Loopback).await.unwrap();
    assert!(server.whose(&account.tokens).await.is_some());
    let body = server.token_requests().remove(0);
    let again = Request::post(format!("{}/token", server.url()))
        .header("accept", "application/json")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::<Bytes>::from(body));
    assert_eq!(fetch(again.unwrap()).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(server.whose(&account.tokens).await, None);
}

#[tokio::test]
async fn a_refusal_ends_the_sign_in_with_the_vendors_words() {
    for vendor in [Vendor::Anthropic, Vendor::OpenAi, Vendor::Google, Vendor::Copilot, Vendor::Qwen] {
        let server = quick(vendor);
        server.says_yes(false);
        let client = server.client();
        let error = server.sign_in(&client, client.first_flow().unwrap()).await.unwrap_err();
        let OAuthError::Refused { code, description, provider } = &error else { panic!("{error:?}") };
        assert_eq!((code.as_str(), provider.as_str()), ("access_denied", vendor.name()));
        assert!(description.as_deref().unwrap().contains("erson said no"), "{error}");
    }
}

#[tokio::test]
async fn a_response_without_a_lifetime_means_an_hour() {
    let began: Timestamp = SystemTime::now().into();
    for (states_lifetime, expected) in [(true, 8 * 3600), (false, 3600)] {
        let server = AuthorizationServer::start(Rules { states_lifetime, ..Rules::of(Vendor::OpenAi) });
        let clock =
            Clock::from_fn(move || SystemTime::UNIX_EPOCH + Duration::from_millis(began.as_millis()));
        let client = server.client().clock(clock);
        let account = server.sign_in(&client, FlowKind::Loopback).await.unwrap();
        assert_eq!(account.tokens.expires_at, Some(began.after(Duration::from_secs(expected))));
    }
}

#[tokio::test]
async fn a_sign_in_by_link_waits_until_somebody_has_followed_it() {
    let server = quick(Vendor::Cursor);
    let mut sign_in = server.client().sign_in(FlowKind::LinkPoll).await.unwrap();
    let url = page(&sign_in);
    let (early, rest) = tokio::join!(
        async {
            // Not before one poll was in vain.
            while server.asked(Kind::LinkPoll) == 0 {
                tokio::task::yield_now().await;
            }
            get(&url).await
        },
        follow(&mut sign_in),
    );
    assert_eq!(early.status, StatusCode::OK);
    let (story, end) = rest;
    assert_eq!(story, Vec::<String>::new());
    assert_eq!(server.whose(&end.unwrap().tokens).await.as_deref(), Some("alice"));
    assert!(server.asked(Kind::LinkPoll) >= 2);
}

#[tokio::test]
async fn copilots_exchange_is_tried_again_after_a_network_error() {
    use crate::authorization_server::Fault;
    let server = quick(Vendor::Copilot);
    let mut sign_in = server.client().sign_in(FlowKind::Device).await.unwrap();
    let Prompt::Device { user_code, .. } = sign_in.prompt().clone() else { panic!("a device's code") };
    server.type_in(&user_code);
    let mut story = Vec::new();
    let account = loop {
        match sign_in.next().await.unwrap().unwrap() {
            Progress::SignedIn(account) => break account,
            Progress::Exchanging => {
                // The first response of the exchange, since the device's response is there.
                server.fail_next([Fault::Text(StatusCode::SERVICE_UNAVAILABLE, "not now")]);
            }
            other => story.push(other.to_string()),
        }
    };
    assert_eq!(story.len(), 1, "{story:?}");
    assert!(story[0].contains("503"), "{story:?}");
    assert_eq!(server.whose(&account.tokens).await.as_deref(), Some("alice"));
}
