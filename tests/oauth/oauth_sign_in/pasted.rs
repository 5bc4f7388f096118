//! Codes and addresses that a person pastes.

use tower_credentials::oauth::{FlowKind, OAuthClient, OAuthConfig, OAuthError, OAuthHttp, Prompt};

use super::{BROWSERS, quick};
use crate::authorization_server::{AuthorizationServer, CLIENT_ID, Vendor, client, get, page};

#[tokio::test]
async fn a_browser_sign_in_takes_a_pasted_address_as_well() {
    for vendor in BROWSERS {
        let server = quick(vendor);
        let account = server.sign_in(&server.client(), FlowKind::PastedCode).await.unwrap_err();
        // The redirect of these tests has no fixed port, and nothing listens on one.
        assert!(matches!(account, OAuthError::InvalidSetting { .. }), "{account}");

        let mut sign_in = server.client().sign_in(FlowKind::Loopback).await.unwrap();
        let address = get(&page(&sign_in)).await.location();
        sign_in.paste(&address).unwrap();
        let account = sign_in.finish().await.unwrap();
        assert_eq!(server.whose(&account.tokens).await.as_deref(), Some("alice"), "{vendor:?}");
    }
}

/// A client whose redirect URI has a port on which nothing listens.
fn with_port(server: &AuthorizationServer) -> OAuthClient {
    let mut config = server.config();
    config.redirect_uri = config.redirect_uri.map(|uri| uri.replace(":0", ":54545"));
    OAuthClient::new(server.rules().vendor.name(), config, OAuthHttp::new(client()))
}

#[tokio::test]
async fn a_code_is_pasted_alone_with_its_state_or_in_the_whole_address() {
    for vendor in BROWSERS {
        let server = quick(vendor);
        for form in ["code", "code#state", "address", "address broken into lines"] {
            let mut sign_in = with_port(&server).sign_in(FlowKind::PastedCode).await.unwrap();
            let Prompt::Paste { url } = sign_in.prompt().clone() else { panic!("a page to open") };
            let address = get(&url).await.location();
            let query = url::Url::parse(&address).unwrap();
            let query: std::collections::HashMap<_, _> = query.query_pairs().into_owned().collect();
            let text = match form {
                "code" => query["code"].clone(),
                "code#state" => format!(" {}#{}\n", query["code"], query["state"]),
                "address" => address,
                _ => format!("{}\n  {}", &address[..40], &address[40..]),
            };
            sign_in.paste(&text).unwrap();
            let account = sign_in.finish().await.unwrap();
            assert_eq!(server.whose(&account.tokens).await.as_deref(), Some("alice"), "{form}");
        }
    }
}

#[tokio::test]
async fn a_pasted_text_of_another_sign_in_is_refused_and_the_right_one_still_works() {
    let server = quick(Vendor::Anthropic);
    let mut one = with_port(&server).sign_in(FlowKind::PastedCode).await.unwrap();
    let other = with_port(&server).sign_in(FlowKind::PastedCode).await.unwrap();
    let theirs = get(&page(&other)).await.location();
    assert!(matches!(one.paste(&theirs), Err(OAuthError::WrongState)));
    assert!(matches!(one.paste("code#forged"), Err(OAuthError::WrongState)));
    for nothing in ["", "  \n", "https://example.com/", "http://localhost/callback?state=", "#"] {
        let error = one.paste(nothing).unwrap_err();
        assert!(matches!(error, OAuthError::NoCode | OAuthError::WrongState), "{nothing:?}: {error}");
    }
    let ours = get(&page(&one)).await.location();
    one.paste(&ours).unwrap();
    assert!(matches!(one.paste(&ours), Err(OAuthError::Ended)), "there is one already");
    one.finish().await.unwrap();
}

#[tokio::test]
async fn an_injected_code_fails_at_the_verifier() {
    let server = quick(Vendor::OpenAi);
    let victim = with_port(&server).sign_in(FlowKind::PastedCode).await.unwrap();
    let mut attacker = with_port(&server).sign_in(FlowKind::PastedCode).await.unwrap();
    let address = get(&page(&victim)).await.location();
    let url = url::Url::parse(&address).unwrap();
    let code = url.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    attacker.paste(&code).unwrap();
    let error = attacker.finish().await.unwrap_err();
    let OAuthError::Refused { code, description, .. } = &error else { panic!("{error:?}") };
    assert_eq!(code, "invalid_grant");
    // The server quotes the verifier.
    assert_eq!(description.as_deref(), Some("the verifier … is not this code's"));
}

#[tokio::test]
async fn a_pasted_codes_redirect_uri_may_have_a_programs_own_scheme() {
    for uri in ["com.example.app:/callback", "urn:ietf:wg:oauth:2.0:oob"] {
        let config = OAuthConfig::openai().client_id(CLIENT_ID).redirect_uri(uri);
        let client = OAuthClient::new("openai", config, OAuthHttp::new(client()));
        let sign_in = client.sign_in(FlowKind::PastedCode).await.unwrap();
        let url = url::Url::parse(&page(&sign_in)).unwrap();
        assert!(url.query_pairs().any(|(name, value)| name == "redirect_uri" && value == uri), "{url}");
    }
}
