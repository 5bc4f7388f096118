//! Which redirects a reqwest client may follow under the layers.

use reqwest::redirect::Policy;

use super::convert::is_same_origin;

/// A policy for `reqwest::ClientBuilder::redirect` with which no credential gets to another origin. Within
/// an origin, the `inner` policy decides; a redirect to another one is not followed, so that it is the
/// answer.
///
/// ```
/// use reqwest::redirect::Policy;
/// use tower_credentials::reqwest_client::redirect_policy;
///
/// # fn client() -> reqwest::Result<reqwest::Client> {
/// reqwest::Client::builder().redirect(redirect_policy(Policy::default())).build()
/// # }
/// ```
pub fn redirect_policy(inner: Policy) -> Policy {
    Policy::custom(move |attempt| match attempt.previous().last() {
        Some(previous) if is_same_origin(previous, attempt.url()) => inner.redirect(attempt),
        _ => attempt.stop(),
    })
}
