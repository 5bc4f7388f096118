//! `credentials test`: an expired token is renewed first, and one that can't be renewed says why.
#![cfg(feature = "cli")]

use std::time::Duration;

use http::StatusCode;
use tower_credentials::vault::VaultExt;
use tower_credentials::{Clock, OAuthTokens, PoolKey, Secret};

use crate::authorization_server::{AuthorizationServer, Fault, Kind, Rules, Vendor};
use crate::cli::Home;
use crate::cli::tested::{example, results, upstream};
use crate::support::Canned;

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_renewed_first_and_one_that_cannot_be_is_named() {
    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    let home = Home::new();
    let more = "models_url = \"/resource\"\nmode = \"api\"\n[providers.openai.oauth]";
    home.settings(&server.settings(true).replace("[providers.openai.oauth]", more));
    let mut tokens = server.account().await.tokens.clone();
    tokens.expires_at = Some(Clock::system().now().before(Duration::from_secs(60)));
    let stored = home.add_to(PoolKey::new("openai"), "work", tokens.clone()).await;
    let json = home.run(["test", "--json"]).ok().json();
    assert_eq!(results(&json), [("work", "works")]);
    assert_eq!(server.granted(Kind::Refresh), 1);
    let Secret::OAuth(kept) = home.vault().await.get(&stored.pool, stored.id).await.unwrap().secret
    else {
        panic!()
    };
    assert_ne!(kept.access.expose(), tokens.access.expose());
    home.secret(kept.access.expose());
    server.revoke_all();
    let run = home.run(["test", "--json"]).code(4).says("openai/work can't be used now");
    let run = run.says("try: credentials login openai --label work --replace\n");
    assert_eq!(results(&run.json()), [("work", "needs_sign_in")]);
    assert_eq!(home.run(["list", "--json"]).ok().json()[0]["state"], "needs_sign_in");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_of_a_failed_renewal_is_said_and_no_useless_sign_in_is_advised() {
    for (status, text, words) in [
        (StatusCode::SERVICE_UNAVAILABLE, "busy", "503 Service Unavailable"),
        (StatusCode::TOO_MANY_REQUESTS, "{}", "429 Too Many Requests"),
        (StatusCode::OK, "<html>Sign in to this network</html>", "is a web page"),
        (StatusCode::FORBIDDEN, "<!doctype html>", "is a web page"),
        (StatusCode::FOUND, "", "302 Found, a redirect, and nothing secret is sent on"),
        (StatusCode::FOUND, "<html>Moved</html>", "set that URL in the settings to the endpoint itself"),
        (StatusCode::BAD_REQUEST, "", "400 Bad Request, and gives no readable reason"),
        (StatusCode::BAD_REQUEST, r#"{"message": "no"}"#, "openai refuses with the status 400: no"),
        (
            StatusCode::FORBIDDEN,
            r#"{"error": {"code": "unsupported_country_region_territory", "message": "Country not supported"}}"#,
            "Country not supported",
        ),
        (StatusCode::UNAUTHORIZED, r#"{"error": "invalid_client"}"#, "providers.openai.oauth.client_id"),
    ] {
        let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
        let home = Home::new();
        let more = "models_url = \"/resource\"\n[providers.openai.oauth]";
        home.settings(&server.settings(true).replace("[providers.openai.oauth]", more));
        let mut tokens = server.account().await.tokens.clone();
        tokens.expires_at = Some(Clock::system().now().before(Duration::from_secs(60)));
        home.add_to(PoolKey::new("openai"), "work", tokens).await;
        server.advance(Duration::from_secs(9 * 3600));
        server.fail_next(vec![Fault::Text(status, text); 8]);
        let run = home.run(["test", "--json"]).code(6).says("openai/work can't be used now");
        assert!(!run.stderr.contains("login"), "{run:?}");
        let json = run.json();
        assert_eq!(results(&json), [("work", "not_renewed")], "{text}");
        let reason = json[0]["reason"].as_str().unwrap();
        assert!(reason.contains(words), "{reason}");
        home.run(["test"]).code(6).prints("its token could not be renewed: ").prints(words);
        let run = home.run(["headers", "openai/work"]).code(6).says("could not be renewed").says(words);
        assert!(!run.stderr.contains("login") && !run.stderr.contains("limited"), "{run:?}");
        let run = home.run(["headers", "openai"]).code(6);
        assert!(
            !run.stderr.contains("is limited") && !run.stderr.contains("is cooling down"),
            "{run:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_a_refresh_token_is_refused_as_it_is() {
    let upstream = upstream().answers("at-secret-1", [Canned::status(401)]);
    let (home, _server) = example(&upstream, &[]).await;
    home.add_to(PoolKey::new("example"), "work", OAuthTokens::new("at-secret-1")).await;
    let json = home.run(["test", "--json"]).code(4).json();
    assert_eq!(results(&json), [("work", "refused")]);
}
