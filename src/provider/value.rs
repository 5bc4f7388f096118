//! Header values made of secrets.

use http::HeaderValue;
use zeroize::Zeroizing;

use super::UnusableSecret;
use crate::secret::SecretString;

/// The secret after a prefix, marked sensitive. The bytes are wiped when the last copy of the value is dropped.
pub(super) fn secret_value(prefix: &str, secret: &SecretString) -> Result<HeaderValue, UnusableSecret> {
    let secret = secret.expose();
    let mut text = Zeroizing::new(Vec::with_capacity(prefix.len() + secret.len()));
    text.extend_from_slice(prefix.as_bytes());
    text.extend_from_slice(secret.as_bytes());
    let text = bytes::Bytes::from_owner(text);
    let mut value = HeaderValue::from_maybe_shared(text).map_err(|_| UnusableSecret)?;
    value.set_sensitive(true);
    Ok(value)
}
