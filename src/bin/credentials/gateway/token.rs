//! The tokens by which clients show that they may use the gateway. They stand where a tool puts its API key.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tower_credentials::SecretString;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::forward::lists;

/// How tokens begin. Tools that check the form of a key look for `sk-`.
const START: &str = "sk-credentials-";

/// What stands where a tool has its API key if its requests need none: it opens nothing, wherever the tool sends it.
pub(crate) const PLACEHOLDER: &str = "sk-credentials-placeholder";

/// The headers in which tools send their key, besides `authorization`.
const KEY_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
    HeaderName::from_static("api-key"),
];

/// How OpenAI's subprotocol with a key begins.
const KEY_PROTOCOL: &[u8] = b"openai-insecure-api-key.";

/// The parameters of a query in which tools send their key.
const KEY_PARAMETERS: [&str; 4] = ["key", "api_key", "api-key", "access_token"];

/// Makes a token of 256 random bits.
pub(crate) fn generate() -> Result<SecretString, getrandom::Error> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(random.as_mut())?;
    let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_ref()));
    Ok(SecretString::from(format!("{START}{}", text.as_str())))
}

/// Whether this is a token of a gateway, by its form.
pub(crate) fn is_gateway_token(text: &SecretString) -> bool {
    text.expose().starts_with(START)
}

/// What is kept of a token. It has 256 random bits, so a plain hash of it cannot be searched for.
#[derive(Clone, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(crate) fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Compares in a time that does not depend on the hashes.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        URL_SAFE_NO_PAD.encode(hash.0)
    }
}

impl TryFrom<String> for TokenHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("is not the hash of a token")
    }
}

/// Returns the hashes of all tokens that a request may carry: tools send some keys in two places.
pub(super) fn presented<'a>(
    headers: &'a HeaderMap,
    query: Option<&'a str>,
) -> impl Iterator<Item = TokenHash> + 'a {
    // One look at each header costs less than a search for each of these.
    let keys = headers.iter().filter_map(|(name, value)| match name {
        name if *name == AUTHORIZATION => bearer(value.as_bytes()),
        name if KEY_HEADERS.contains(name) => Some(value.as_bytes().trim_ascii()),
        _ => None,
    });
    let in_protocols = lists(headers, &SEC_WEBSOCKET_PROTOCOL).filter_map(key_in_protocol);
    let in_headers = keys.chain(in_protocols).map(TokenHash::of);
    let in_query = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .filter(|(name, _)| is_key_parameter(name))
        .map(|(_, value)| TokenHash::of(value.as_bytes()));
    in_headers.chain(in_query)
}

/// Returns the hash of the token with which a client asks a proxy: the password of `Basic` (RFC 7617, section 2).
pub(super) fn of_proxy(headers: &HeaderMap) -> Option<TokenHash> {
    let mut values = headers.get_all(PROXY_AUTHORIZATION).iter();
    let (scheme, encoded) = values.next()?.as_bytes().split_at_checked(6)?;
    // With several it would be uncertain who asks.
    let is_basic = scheme.eq_ignore_ascii_case(b"basic ") && values.next().is_none();
    let decoded = STANDARD.decode(is_basic.then(|| encoded.trim_ascii())?).ok().map(Zeroizing::new)?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(TokenHash::of(&decoded[colon + 1..]))
}

/// Returns the token of `Bearer TOKEN` (RFC 6750, section 2.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Whether tools send their key in a header of this name.
pub(super) fn is_key_header(name: &HeaderName) -> bool {
    *name == AUTHORIZATION || KEY_HEADERS.contains(name)
}

fn is_key_parameter(name: &str) -> bool {
    KEY_PARAMETERS.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Returns the key in a WebSocket's subprotocol: pages can't set headers, so they send their key there.
fn key_in_protocol(protocol: &[u8]) -> Option<&[u8]> {
    let start = START.as_bytes();
    let own = protocol.windows(start.len()).position(|window| window == start);
    own.map(|at| &protocol[at..]).or_else(|| protocol.strip_prefix(KEY_PROTOCOL))
}

/// Takes the client's keys out of the subprotocols that it offers.
pub(super) fn remove_from_protocols(headers: &mut HeaderMap) {
    if !lists(headers, &SEC_WEBSOCKET_PROTOCOL).any(|protocol| key_in_protocol(protocol).is_some()) {
        return;
    }
    let kept = lists(headers, &SEC_WEBSOCKET_PROTOCOL);
    let kept: Vec<_> = kept.filter(|protocol| key_in_protocol(protocol).is_none()).collect();
    match HeaderValue::from_bytes(&kept.join(&b", "[..])) {
        Ok(kept) if !kept.is_empty() => headers.insert(SEC_WEBSOCKET_PROTOCOL, kept),
        _ => headers.remove(SEC_WEBSOCKET_PROTOCOL),
    };
}

/// Returns a query without the client's keys; otherwise as it came.
pub(super) fn without_keys(query: &str) -> Option<String> {
    let is_key = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        // As servers decode it: `api%5Fkey` is `api_key`.
        form_urlencoded::parse(name.as_bytes()).next().is_some_and(|(name, _)| is_key_parameter(&name))
    };
    if query.is_empty() {
        return Some(String::new());
    }
    let kept: Vec<_> = query.split('&').filter(|pair| !is_key(pair)).collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}
