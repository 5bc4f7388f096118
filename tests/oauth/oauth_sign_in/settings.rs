//! Settings that are missing, wrong or unusual.

use tower_credentials::oauth::{
    FlowKind, OAuthClient, OAuthConfig, OAuthError, OAuthHttp, TokenEncoding,
};

use super::BROWSERS;
use crate::authorization_server::{self, AuthorizationServer, CLIENT_ID, Rules, client};

#[tokio::test]
async fn the_encoding_of_token_requests_is_a_setting() {
    for vendor in BROWSERS {
        for encoding in [TokenEncoding::Form, TokenEncoding::Json] {
            let server = AuthorizationServer::start(Rules { encoding, ..Rules::of(vendor) });
            let mut config = server.config();
            config.token_encoding = encoding;
            let client = OAuthClient::new("test", config.clone(), OAuthHttp::new(client()));
            server.sign_in(&client, FlowKind::Loopback).await.unwrap();

            config.token_encoding = match encoding {
                TokenEncoding::Form => TokenEncoding::Json,
                _ => TokenEncoding::Form,
            };
            let client =
                OAuthClient::new("test", config, OAuthHttp::new(authorization_server::client()));
            let error = server.sign_in(&client, FlowKind::Loopback).await.unwrap_err();
            assert!(error.to_string().contains("providers.test.oauth.token_encoding"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_missing_setting_is_named_with_all_the_places_to_set_it() {
    let http = OAuthHttp::new(client());
    for (name, config, flow) in [
        ("openai", OAuthConfig::openai(), FlowKind::Loopback),
        ("google", OAuthConfig::google(), FlowKind::PastedCode),
        ("github-copilot", OAuthConfig::github_copilot(), FlowKind::Device),
    ] {
        let error = OAuthClient::new(name, config, http.clone()).sign_in(flow).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, OAuthError::MissingSetting { setting: "client_id", .. }), "{text}");
        let variable = name.to_uppercase().replace('-', "_");
        for place in [
            format!("providers.{name}.oauth.client_id"),
            format!("TOWER_CREDENTIALS_{variable}_OAUTH_CLIENT_ID"),
            "OAuthConfig::client_id".to_owned(),
        ] {
            assert!(text.contains(&place), "{text}");
        }
    }
}

#[tokio::test]
async fn a_setting_that_would_send_secrets_unencrypted_is_refused() {
    let http = OAuthHttp::new(client());
    for url in [
        "http://auth.example.com/token",
        "https://user@auth.example.com/token",
        "ftp://auth.example.com/token",
        "https://auth.example.com/token#part",
        "/token",
        "http://127.0.0.1.example.com/token",
    ] {
        let mut config = OAuthConfig::openai().client_id(CLIENT_ID);
        config.token_url = Some(url.to_owned());
        let error = OAuthClient::new("openai", config, http.clone())
            .sign_in(FlowKind::Loopback)
            .await
            .unwrap_err();
        assert!(
            matches!(error, OAuthError::InvalidSetting { setting: "token_url", .. }),
            "{url}: {error}"
        );
    }
}

#[tokio::test]
async fn a_flow_that_the_provider_lacks_is_an_error() {
    let client = OAuthClient::new("cursor", OAuthConfig::cursor(), OAuthHttp::new(client()));
    let error = client.sign_in(FlowKind::Device).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("cursor has no sign-in by device code"), "{text}");
    assert!(text.contains("add \"device\" to providers.cursor.oauth.flows"), "{text}");
    let mut sign_in = client.sign_in(FlowKind::LinkPoll).await.unwrap();
    assert!(matches!(sign_in.paste("code"), Err(OAuthError::UnsupportedFlow { .. })));
}
