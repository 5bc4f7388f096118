//! The redirects that a reqwest client may follow under the layers.

use reqwest::redirect::Policy;

use super::convert::is_same_origin;

/// Creates a policy for `reqwest::ClientBuilder::redirect` that sends no credential to another origin.
///
/// Within an origin, the `inner` policy decides. A redirect to another origin is not followed, but returned as the
/// response.
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
