//! A policy for tower-http's `FollowRedirect` that keeps credentials within their origin.

use http::header::{COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, Request, Uri};
use tower_http::follow_redirect::policy::{Action, Attempt, Policy};

use crate::origin::port;
use crate::pool::Pool;

/// Removes every credential from a request that is redirected to another origin, and follows it there.
///
/// tower-http's policy of the same name leaves `x-api-key` and `x-goog-api-key`. This one removes the pool's
/// headers, the usual credential headers, all values that are marked sensitive, cookies, and the request's
/// extensions. Requests of `oauth::OAuthHttp` for a sign-in or a refresh are not followed there at all.
///
/// Use it for a `FollowRedirect` under the layers, or between them. Above them it is not needed: every layer of
/// this crate under the redirect checks each request's origin, and refuses a redirect to one that the provider
/// does not trust.
///
/// ```
/// # use tower_credentials::{CredentialsLayer, Pool};
/// use tower::ServiceBuilder;
/// use tower_credentials::redirect::FilterCredentials;
/// use tower_http::follow_redirect::FollowRedirectLayer;
/// use tower_http::follow_redirect::policy::{Limited, PolicyExt};
///
/// # fn stack<B, E>(pool: Pool) where B: http_body::Body {
/// let policy = Limited::default().and::<_, B, E>(FilterCredentials::new(&pool));
/// let builder = ServiceBuilder::new()
///     .layer(CredentialsLayer::new(pool))
///     .layer(FollowRedirectLayer::with_policy(policy));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FilterCredentials {
    pool: Pool,
    /// Whether the request is one for tokens, which isn't sent on even without them.
    stays: bool,
    leaves: bool,
}

impl FilterCredentials {
    /// Creates a policy that removes the credentials of this pool, and others in the usual headers.
    pub fn new(pool: &Pool) -> Self {
        Self { pool: pool.clone(), stays: false, leaves: false }
    }
}

impl<B, E> Policy<B, E> for FilterCredentials {
    fn redirect(&mut self, attempt: &Attempt<'_>) -> Result<Action, E> {
        // What is removed at one hop does not come back at the next.
        self.leaves = !is_same_origin(attempt.previous(), attempt.location());
        Ok(if self.leaves && self.stays { Action::Stop } else { Action::Follow })
    }

    fn on_request(&mut self, request: &mut Request<B>) {
        #[cfg(any(feature = "oauth", feature = "discovery"))]
        {
            self.stays = request.extensions().get::<crate::own_origin::OwnOriginOnly>().is_some();
        }
        if self.leaves {
            let headers = request.headers_mut();
            self.pool.remove_credentials(headers);
            remove_sensitive(headers);
            headers.remove(COOKIE);
            headers.remove(PROXY_AUTHORIZATION);
            request.extensions_mut().clear();
        }
    }
}

fn remove_sensitive(headers: &mut HeaderMap) {
    let sensitive = headers.iter().filter(|(_, value)| value.is_sensitive());
    let names: Vec<_> = sensitive.map(|(name, _)| name.clone()).collect();
    for name in names {
        headers.remove(name);
    }
}

/// Whether scheme, host and port are equal (RFC 6454, section 5). Never true of a URI that lacks one of them.
pub(crate) fn is_same_origin(one: &Uri, other: &Uri) -> bool {
    let (Some(host), Some(other_host)) = (one.host(), other.host()) else { return false };
    one.scheme().is_some()
        && one.scheme() == other.scheme()
        && host.eq_ignore_ascii_case(other_host)
        && port(one).is_some()
        && port(one) == port(other)
}
