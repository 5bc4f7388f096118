//! Where a redirect may take a credential.

use http::{Request, Uri};
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_credentials::provider::OpenAi;
use tower_credentials::*;
use tower_http::follow_redirect::FollowRedirectLayer;

use crate::support::*;

/// The location in a redirect from `https://api.openai.com/v1/a/b`, and where the credential then goes; `None` if it
/// goes nowhere.
pub(super) const REDIRECTS: &[(&str, Option<&str>)] = &[
    ("/v2", Some("https://api.openai.com/v2")),
    ("c", Some("https://api.openai.com/v1/a/c")),
    ("../c", Some("https://api.openai.com/v1/c")),
    ("?x=y", Some("https://api.openai.com/v1/a/b?x=y")),
    ("./", Some("https://api.openai.com/v1/a/")),
    ("https://api.openai.com/v2", Some("https://api.openai.com/v2")),
    ("https://API.OPENAI.com/v2", Some("https://API.OPENAI.com/v2")),
    ("https://api.openai.com:443/v2", Some("https://api.openai.com/v2")),
    ("https://chatgpt.com/v2", Some("https://chatgpt.com/v2")),
    ("//api.openai.com/v2", Some("https://api.openai.com/v2")),
    ("https://evil.test/", None),
    ("//evil.test/", None),
    ("//evil.test", None),
    ("//evil.test:443/", None),
    ("https://api.openai.com.evil.test/", None),
    ("https://evil.test/api.openai.com", None),
    ("https://api.openai.com@evil.test/", None),
    ("//api.openai.com@evil.test/", None),
    ("https://user:pass@api.openai.com/", None),
    ("http://api.openai.com/", None),
    ("http://api.openai.com:443/", None),
    ("https://api.openai.com:8443/", None),
    ("https://api.openai.com./", None),
    ("https://x.api.openai.com/", None),
    ("https://openai.com/", None),
    ("https://127.0.0.1/", None),
    ("https://[::1]/", None),
    ("http://localhost/", None),
    ("https://api.anthropic.com/", None),
    ("ftp://api.openai.com/", None),
];

#[tokio::test]
async fn a_redirect_carries_a_credential_only_to_where_it_may_go() {
    for (location, expected) in REDIRECTS {
        let vault = vault::MemoryVault::new();
        let key = Credential::new(PoolKey::new("openai"), "a", Secret::api_key("planted"));
        vault::VaultExt::put(&vault, key).await.unwrap();
        let pool = Pool::builder(OpenAi::new(), vault).open().await.unwrap();
        let redirect = Canned::status(307).header("location", location);
        let upstream = Upstream::new().answers("planted", [redirect, Canned::ok()]);
        let credentials = CredentialsLayer::new(pool).layer(upstream.clone());
        let service = FollowRedirectLayer::new().layer(credentials);
        let request = Request::get("https://api.openai.com/v1/a/b").body(Full::from("")).unwrap();
        let result = service.oneshot(request).await.map(|response| response.status().as_u16());
        let seen = upstream.seen.all();
        match expected {
            Some(uri) => {
                assert_eq!(result.unwrap(), 200, "{location}");
                assert_eq!(seen.len(), 2, "{location}");
                assert_eq!(seen[1].uri, uri.parse::<Uri>().unwrap(), "{location}");
                assert_eq!(seen[1].token, "planted", "{location}");
            }
            None => {
                let error = result.expect_err(location);
                let error = error.downcast_ref::<Error>();
                assert!(matches!(error, Some(Error::UntrustedOrigin { .. })), "{location}: {error:?}");
                assert_eq!(seen.len(), 1, "{location}");
            }
        }
    }
}
