//! Each attempt has its own credential's headers, marked sensitive.

use http::{HeaderName, HeaderValue, Uri, header};
use tower::ServiceExt;
use tower_credentials::provider::{CredentialHeaders, GenericProvider, Provider, UnusableSecret};
use tower_credentials::*;

use super::origins::pool_for;
use crate::support::*;

/// A provider whose credentials set several headers, none of them marked sensitive.
struct Several;

impl Provider for Several {
    fn name(&self) -> &str {
        "x"
    }

    fn trusts(&self, uri: &Uri) -> bool {
        uri.host() == Some("api.test")
    }

    fn headers(&self, credential: &Credential) -> Result<CredentialHeaders, UnusableSecret> {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        let token = credential.secret.token().expose();
        let mut headers = vec![
            (header::AUTHORIZATION, value(&format!("Token {token}"))),
            (HeaderName::from_static("x-account"), value(&credential.metadata.label)),
        ];
        if let Some(project) = credential.metadata.attributes.get("project") {
            headers.push((HeaderName::from_static("x-project"), value(project)));
        }
        Ok(headers)
    }

    fn header_names(&self) -> &[HeaderName] {
        static NAMES: [HeaderName; 3] = [
            header::AUTHORIZATION,
            HeaderName::from_static("x-account"),
            HeaderName::from_static("x-project"),
        ];
        &NAMES
    }
}

async fn several() -> Pool {
    let vault = vault::MemoryVault::new();
    let with_project = |label: &str, project: Option<&str>| {
        let credential = Credential::new(key(), label, Secret::api_key(format!("token-{label}")));
        match project {
            Some(project) => credential.attribute("project", project),
            None => credential,
        }
    };
    for (label, project) in [("a", Some("project-a")), ("b", None), ("c", Some("project-c"))] {
        vault::VaultExt::put(&vault, with_project(label, project)).await.unwrap();
    }
    Pool::builder(Several, vault).open().await.unwrap()
}

#[tokio::test]
async fn header_values_that_hold_a_secret_are_marked_sensitive() {
    let pool = pool_for(GenericProvider::bearer("x").origin(ORIGIN).unwrap()).await;
    let upstream = Upstream::new().answers("planted-a", [Canned::limited(30)]);
    ask(&stack(four(&pool, &no_refresh()), upstream.clone()), post()).await;
    let seen = upstream.seen.all();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|seen| seen.headers["authorization"].is_sensitive()));
}

#[tokio::test]
async fn header_values_that_hold_a_secret_are_marked_sensitive_even_if_the_provider_forgets() {
    let upstream = Upstream::new();
    ask(&stack(four(&several().await, &no_refresh()), upstream.clone()), post()).await;
    let headers = upstream.seen.all()[0].headers.clone();
    assert_eq!(headers["authorization"], "Token token-a");
    assert!(headers["authorization"].is_sensitive());
}

// Never a mix of two accounts

#[tokio::test]
async fn each_attempt_has_the_headers_of_one_credential_never_a_mix_of_two() {
    for stacked in ORDERS {
        let pool = several().await;
        let upstream = ["a", "b", "c"].iter().fold(Upstream::new(), |upstream, label| {
            upstream.answers(&format!("Token token-{label}"), [Canned::limited(30)])
        });
        let mut request = post();
        request.headers_mut().insert("x-project", "callers-own".parse().unwrap());
        assert_eq!(ask(&stacked(&pool, upstream.clone()), request).await.0, 429);
        let seen = upstream.seen.all();
        assert_eq!(seen.len(), 3);
        for (seen, (label, project)) in
            seen.iter().zip([("a", Some("project-a")), ("b", None), ("c", Some("project-c"))])
        {
            let all = |name: &str| {
                seen.headers
                    .get_all(name)
                    .iter()
                    .map(|value| value.to_str().unwrap())
                    .collect::<Vec<_>>()
            };
            assert_eq!(all("authorization"), [format!("Token token-{label}")]);
            assert_eq!(all("x-account"), [label]);
            assert_eq!(all("x-project"), project.into_iter().collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn a_secret_that_no_header_can_hold_is_reported_and_the_others_are_used() {
    let vault = keys(["good"]).await;
    let broken = Credential::new(key(), "broken", Secret::api_key("planted\nsecret"));
    // Put past the checks of `VaultExt::put`.
    vault.clone().oneshot(vault::VaultRequest::Put(broken)).await.unwrap();
    let events = Journal::new();
    let pool = builder(vault).on_event(events.observer()).open().await.unwrap();
    assert_eq!(order(&pool), ["good"]);
    assert_eq!(events.count("Damaged"), 1);
    assert!(
        events.all()[0].contains("broken") && !events.all()[0].contains("planted"),
        "{:?}",
        events.all()
    );
}
