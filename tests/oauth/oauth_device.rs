//! Sign-ins by device code, on tokio's paused time, at the strict server without its sockets.

#![cfg(feature = "oauth")]

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;
use tokio::time::Instant;
use tower_credentials::BoxError;
use tower_credentials::oauth::{
    FlowKind, OAuthClient, OAuthConfig, OAuthError, OAuthHttp, Prompt, SignIn,
};

use crate::authorization_server::{AuthorizationServer, Fault, Kind, Rules, Vendor, follow};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn begin(server: &AuthorizationServer) -> SignIn {
    let http = server.without_sockets();
    OAuthClient::new("test", server.config(), http).sign_in(FlowKind::Device).await.unwrap()
}

fn user_code(sign_in: &SignIn) -> String {
    match sign_in.prompt() {
        Prompt::Device { user_code, .. } => user_code.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_prompt_has_what_a_person_needs() {
    let server = AuthorizationServer::start(Rules::of(Vendor::Qwen));
    let sign_in = begin(&server).await;
    let Prompt::Device { user_code, verification_url, verification_url_complete, expires_in, .. } =
        sign_in.prompt()
    else {
        panic!("a device's code")
    };
    assert_eq!(user_code, "USER-0000");
    assert_eq!(*verification_url, format!("{}/activate", server.url()));
    assert_eq!(
        *verification_url_complete,
        Some(format!("{}/activate?user_code=USER-0000", server.url()))
    );
    assert_eq!(*expires_in, seconds(900));
}

/// A sign-in at a server that responds like this to the request for a device's code, and like this to polls for tokens.
async fn begin_at(device: serde_json::Value, tokens: &'static str) -> Result<SignIn, OAuthError> {
    let mut codes = json!({
        "device_code": "device", "user_code": "USER-0000", "expires_in": 900,
        "verification_uri": "https://example.com/activate",
    });
    codes.as_object_mut().unwrap().extend(device.as_object().unwrap().clone());
    let http = OAuthHttp::new(tower::service_fn(move |request: Request<Full<Bytes>>| {
        let is_token = request.uri().path().ends_with("/token");
        let text = if is_token { tokens.to_owned() } else { codes.to_string() };
        async move { Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(text))) }
    }));
    let config = OAuthConfig::qwen().client_id("id");
    OAuthClient::new("test", config, http).sign_in(FlowKind::Device).await
}

#[tokio::test(start_paused = true)]
async fn a_prompt_contains_no_control_characters_and_only_web_urls() {
    for bad in [
        json!({ "user_code": "\u{1b}]0;title\u{7}" }),
        json!({ "user_code": "" }),
        json!({ "user_code": "U".repeat(10_000) }),
        json!({ "verification_uri": "file:///etc/passwd" }),
        json!({ "verification_uri": "javascript:alert(1)" }),
    ] {
        let error = begin_at(bad.clone(), "{}").await.unwrap_err();
        assert!(matches!(error, OAuthError::Malformed { .. }), "{bad}: {error}");
    }
    // Optional members are left out.
    for bad in ["search-ms:query=x", "not a URL"] {
        let sign_in = begin_at(json!({ "verification_uri_complete": bad }), "{}").await.unwrap();
        let Prompt::Device { verification_url_complete, .. } = sign_in.prompt() else { panic!() };
        assert_eq!(*verification_url_complete, None);
    }
    let broken = json!({ "verification_uri_complete": "https://example.com/\u{1b}[2J\n" });
    let sign_in = begin_at(broken, "{}").await.unwrap();
    let Prompt::Device { verification_url_complete, .. } = sign_in.prompt() else { panic!() };
    assert_eq!(verification_url_complete.as_deref(), Some("https://example.com/%1B[2J"));
}

#[tokio::test(start_paused = true)]
async fn a_code_that_never_expires_is_waited_for() {
    let sign_in = begin_at(json!({ "expires_in": u64::MAX }), r#"{"access_token": "token"}"#);
    let account = sign_in.await.unwrap().finish().await.unwrap();
    assert_eq!(account.tokens.access.expose(), "token");
}

#[tokio::test(start_paused = true)]
async fn an_error_does_not_contain_the_typed_code() {
    let no = r#"{"error": "access_denied", "error_description": "USER-0000 was denied"}"#;
    let error = begin_at(json!({}), no).await.unwrap().finish().await.unwrap_err();
    assert_eq!(error.to_string(), "test refuses: access_denied: … was denied");
}

#[tokio::test(start_paused = true)]
async fn the_server_is_polled_at_its_interval_or_every_five_seconds() {
    for vendor in [Vendor::Qwen, Vendor::Copilot] {
        for (device_interval, expected) in [(Some(7), 7), (None, 5), (Some(5), 5)] {
            let server = AuthorizationServer::start(Rules { device_interval, ..Rules::of(vendor) });
            let mut sign_in = begin(&server).await;
            let began = Instant::now();
            let code = user_code(&sign_in);
            let (story, end) = tokio::join!(follow(&mut sign_in), async {
                // Between the third poll and the fourth.
                tokio::time::sleep(seconds(3 * expected + 1)).await;
                server.type_in(&code);
            })
            .0;
            end.unwrap();
            let story: Vec<_> = story.iter().filter(|line| !line.starts_with("exchanging")).collect();
            assert_eq!(story, Vec::<&String>::new(), "it never asked too soon");
            assert_eq!(server.asked(Kind::DevicePoll), 4);
            assert_eq!(began.elapsed().as_secs(), 4 * expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_with_an_interval_of_zero_is_polled_every_second() {
    let server =
        AuthorizationServer::start(Rules { device_interval: Some(0), ..Rules::of(Vendor::Qwen) });
    let mut sign_in = begin(&server).await;
    assert!(tokio::time::timeout(Duration::from_millis(60_500), sign_in.next()).await.is_err());
    assert!((59..=60).contains(&server.asked(Kind::DevicePoll)), "{}", server.asked(Kind::DevicePoll));
}

#[tokio::test(start_paused = true)]
async fn slow_down_adds_five_seconds_for_good() {
    let server = AuthorizationServer::start(Rules::of(Vendor::Qwen));
    let mut sign_in = begin(&server).await;
    let code = user_code(&sign_in);
    let slow = Fault::Text(StatusCode::BAD_REQUEST, r#"{"error": "slow_down"}"#);
    server.fail_next([slow.clone(), slow]);
    let began = Instant::now();
    let (story, end) = tokio::join!(follow(&mut sign_in), async {
        // 5, then 10 and 15 later: at 30. After that every 15.
        tokio::time::sleep(seconds(31)).await;
        assert_eq!(server.asked(Kind::DevicePoll), 3);
        server.type_in(&code);
    })
    .0;
    end.unwrap();
    assert_eq!(story, ["the server asks for patience"; 2]);
    assert_eq!(began.elapsed().as_secs(), 45);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_server_is_polled_less_often() {
    let server = AuthorizationServer::start(Rules::of(Vendor::Copilot));
    let mut sign_in = begin(&server).await;
    server.type_in(&user_code(&sign_in));
    server.fail_next([
        Fault::Text(StatusCode::SERVICE_UNAVAILABLE, "no"),
        Fault::Text(StatusCode::TOO_MANY_REQUESTS, "{}"),
        Fault::Text(StatusCode::BAD_GATEWAY, ""),
    ]);
    let began = Instant::now();
    // The grant was lost on the way, and with it the code.
    let (story, end) = follow(&mut sign_in).await;
    let error = end.unwrap_err();
    assert!(matches!(&error, OAuthError::Refused { code, .. } if code == "invalid_grant"), "{error}");
    assert_eq!(story.len(), 3, "{story:?}");
    assert!(story.iter().all(|line| line.starts_with("trying again: ")), "{story:?}");
    assert_eq!(began.elapsed().as_secs(), 5 + 10 + 20 + 40);
}

#[tokio::test(start_paused = true)]
async fn a_network_that_comes_back_in_time_is_enough() {
    let server = AuthorizationServer::start(Rules::of(Vendor::Qwen));
    let mut sign_in = begin(&server).await;
    let code = user_code(&sign_in);
    server.fail_next([Fault::Cut, Fault::Never, Fault::Oversized]);
    let (story, end) = tokio::join!(follow(&mut sign_in), async {
        tokio::time::sleep(seconds(150)).await;
        server.type_in(&code);
    })
    .0;
    end.unwrap();
    let causes = ["no response from", "no complete response from", "is longer than 65536 bytes"];
    for (line, cause) in story.iter().zip(causes) {
        assert!(line.contains(cause), "{line}");
    }
    assert_eq!(story.len(), 3, "{story:?}");
}

#[tokio::test(start_paused = true)]
async fn a_code_that_nobody_types_in_expires() {
    let device_lifetime = seconds(600);
    let server = AuthorizationServer::start(Rules { device_lifetime, ..Rules::of(Vendor::Copilot) });
    let sign_in = begin(&server).await;
    let began = Instant::now();
    let error = sign_in.finish().await.unwrap_err();
    assert!(matches!(error, OAuthError::Expired), "{error}");
    assert_eq!(began.elapsed(), device_lifetime);
}

#[tokio::test(start_paused = true)]
async fn a_code_that_the_server_calls_expired_has_expired() {
    let server = AuthorizationServer::start(Rules::of(Vendor::Qwen));
    let sign_in = begin(&server).await;
    server.advance(seconds(1000));
    assert!(matches!(sign_in.finish().await, Err(OAuthError::Expired)));
    assert_eq!(server.asked(Kind::DevicePoll), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_ends_the_sign_in_at_once() {
    for vendor in [Vendor::Qwen, Vendor::Copilot] {
        let server = AuthorizationServer::start(Rules::of(vendor));
        let sign_in = begin(&server).await;
        server.says_yes(false);
        server.type_in(&user_code(&sign_in));
        let error = sign_in.finish().await.unwrap_err();
        assert_eq!(error.to_string(), "test refuses: access_denied: the person said no");
        assert_eq!(server.asked(Kind::DevicePoll), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_response_ends_the_sign_in() {
    let server = AuthorizationServer::start(Rules::of(Vendor::Qwen));
    for (status, text) in [
        (StatusCode::NOT_FOUND, "<html>"),
        (StatusCode::OK, "{}"),
        (StatusCode::OK, "[{\"access_token\": \"token\"}]"),
        (StatusCode::OK, r#"{"access_token": "one", "access_token": "another"}"#),
        (StatusCode::OK, r#"{"access_token": 5}"#),
        (StatusCode::BAD_REQUEST, "{}"),
        (StatusCode::FOUND, ""),
    ] {
        let sign_in = begin(&server).await;
        server.fail_next([Fault::Text(status, text)]);
        let error = sign_in.finish().await.unwrap_err();
        assert!(
            matches!(&error, OAuthError::Malformed { status: of, .. } if *of == status),
            "{status} {text}: {error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_from_something_in_between_does_not_end_the_sign_in() {
    for (status, text) in [
        (StatusCode::OK, "<html>Sign in to this network</html>"),
        (StatusCode::FORBIDDEN, "\u{feff}<!DOCTYPE html><title>Just a moment...</title>"),
        (StatusCode::NETWORK_AUTHENTICATION_REQUIRED, "<html>"),
        (StatusCode::BAD_REQUEST, r#"{"error": "temporarily_unavailable"}"#),
        (StatusCode::OK, r#"{"error": "server_error"}"#),
        (StatusCode::TOO_MANY_REQUESTS, r#"{"error": "slow_down"}"#),
        (StatusCode::TOO_MANY_REQUESTS, r#"{"error": "authorization_pending"}"#),
        (StatusCode::BAD_REQUEST, "error=authorization_pending&interval=5"),
        (StatusCode::OK, "error=slow_down"),
    ] {
        let server = AuthorizationServer::start(Rules::of(Vendor::Qwen));
        let mut sign_in = begin(&server).await;
        let code = user_code(&sign_in);
        server.fail_next([Fault::Text(status, text)]);
        let (_, end) = tokio::join!(follow(&mut sign_in), async {
            tokio::time::sleep(seconds(6)).await;
            server.type_in(&code);
        })
        .0;
        end.unwrap_or_else(|error| panic!("{status} {text}: {error}"));
    }
}

#[tokio::test(start_paused = true)]
async fn polling_a_link_goes_on_after_a_foreign_page() {
    let server = AuthorizationServer::start(Rules::of(Vendor::Cursor));
    let client = OAuthClient::new("cursor", server.config(), server.without_sockets());
    let mut sign_in = client.sign_in(FlowKind::LinkPoll).await.unwrap();
    let Prompt::Browser { url, .. } = sign_in.prompt().clone() else { panic!() };
    server.fail_next([
        Fault::Text(StatusCode::OK, "<html>Sign in to this network</html>"),
        Fault::Text(StatusCode::OK, r#"{"error": "temporarily_unavailable"}"#),
    ]);
    let ((story, end), ()) = tokio::join!(follow(&mut sign_in), async {
        tokio::time::sleep(seconds(4)).await;
        server.follow_link(&url);
    });
    end.unwrap();
    assert_eq!(story.len(), 2, "{story:?}");
    assert!(story[0].contains("is a web page"), "{story:?}");
}

#[tokio::test(start_paused = true)]
async fn times_are_read_in_every_notation() {
    // The stated values, the code's lifetime, and the time of the first poll.
    for (times, lifetime, pause) in [
        (json!({ "interval": "5", "expires_in": "900" }), 900, 5),
        (json!({ "interval": 7.0, "expires_in": 900.0 }), 900, 7),
        (json!({ "interval": 4.2, "expires_in": 899.9 }), 899, 5),
        (json!({ "interval": "4.2", "expires_in": "899.9" }), 899, 5),
        (json!({ "interval": null, "expires_in": null }), 900, 5),
        (json!({ "interval": -1, "expires_in": -1 }), 900, 5),
        (json!({ "interval": 1e30, "expires_in": 0 }), 900, 5),
        (json!({ "interval": "soon", "expires_in": "later" }), 900, 5),
        (json!({ "interval": {}, "expires_in": [] }), 900, 5),
        // Longer than the code is valid.
        (json!({ "interval": 5000, "expires_in": 600 }), 600, 5),
        (json!({ "interval": 0, "expires_in": 600 }), 600, 1),
        (json!({ "interval": 0.5, "expires_in": 600 }), 600, 1),
    ] {
        let sign_in = begin_at(times.clone(), r#"{"access_token": "token"}"#).await;
        let sign_in = sign_in.unwrap_or_else(|error| panic!("{times}: {error}"));
        let Prompt::Device { expires_in, .. } = sign_in.prompt() else { panic!() };
        assert_eq!(*expires_in, seconds(lifetime), "{times}");
        let began = Instant::now();
        sign_in.finish().await.unwrap();
        assert_eq!(began.elapsed(), seconds(pause), "{times}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_devices_code_may_come_in_a_form() {
    let response = "device_code=device&expires_in=900&interval=7&user_code=ABCD-1234&\
                  verification_uri=https%3A%2F%2Fgithub.com%2Flogin%2Fdevice";
    let http = OAuthHttp::new(tower::service_fn(move |request: Request<Full<Bytes>>| {
        let is_token = request.uri().path().ends_with("/token");
        let text = if is_token { "access_token=token&scope=&token_type=bearer" } else { response };
        async move { Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(text))) }
    }));
    let config = OAuthConfig::qwen().client_id("id");
    let sign_in = OAuthClient::new("test", config, http).sign_in(FlowKind::Device).await.unwrap();
    assert_eq!(user_code(&sign_in), "ABCD-1234");
    let began = Instant::now();
    assert_eq!(sign_in.finish().await.unwrap().tokens.access.expose(), "token");
    assert_eq!(began.elapsed(), seconds(7));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_of_next_loses_nothing() {
    let server = AuthorizationServer::start(Rules::of(Vendor::Copilot));
    let mut sign_in = begin(&server).await;
    server.type_in(&user_code(&sign_in));
    // In the middle of a wait, and in the middle of a request.
    let gate = server.hold_after();
    let impatient = tokio::time::timeout(seconds(3), sign_in.next()).await;
    assert!(impatient.is_err());
    tokio::select! {
        next = sign_in.next() => panic!("{next:?}"),
        () = gate.arrived() => {}
    }
    gate.let_go();
    let (_, end) = follow(&mut sign_in).await;
    end.unwrap();
    assert_eq!((server.asked(Kind::DevicePoll), server.granted(Kind::DevicePoll)), (1, 1));
    assert!(sign_in.next().await.is_none(), "nothing comes after the end");
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_that_is_not_awaited_sends_no_request() {
    let server = AuthorizationServer::start(Rules::of(Vendor::Qwen));
    let sign_in = begin(&server).await;
    tokio::time::sleep(seconds(100)).await;
    drop(sign_in);
    tokio::time::sleep(seconds(100)).await;
    assert_eq!(server.asked(Kind::DevicePoll), 0);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_nobody_follows_expires() {
    let server = AuthorizationServer::start(Rules::of(Vendor::Cursor));
    let client = OAuthClient::new("cursor", server.config(), server.without_sockets());
    let sign_in = client.sign_in(FlowKind::LinkPoll).await.unwrap();
    // Not a reason to stop.
    server.fail_next([Fault::Text(StatusCode::UNAUTHORIZED, ""), Fault::Cut]);
    let began = Instant::now();
    assert!(matches!(sign_in.finish().await, Err(OAuthError::Expired)));
    assert_eq!(began.elapsed(), seconds(600));
    assert_eq!(server.asked(Kind::LinkPoll), 400, "each second and a half");
}

#[tokio::test(start_paused = true)]
async fn a_request_times_out_after_the_configured_time() {
    let server = AuthorizationServer::start(Rules::of(Vendor::Cursor));
    let http: OAuthHttp = server.without_sockets().timeout(seconds(9));
    let client = OAuthClient::new("cursor", server.config(), http);
    let mut sign_in = client.sign_in(FlowKind::LinkPoll).await.unwrap();
    server.fail_next([Fault::Never]);
    let began = Instant::now();
    let progress = sign_in.next().await.unwrap().unwrap().to_string();
    assert!(progress.contains("within 9.0 s"), "{progress}");
    assert_eq!(began.elapsed(), Duration::from_millis(1500) + seconds(9));
}
