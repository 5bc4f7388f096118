//! The ways in which servers refuse a request, and which of them are a verdict on the account.

use serde::Deserialize;

use super::client::OAuthClient;
use super::error::OAuthError;
use super::http::EndpointResponse;
use super::redact::Secrets;
use crate::claims::lenient;

/// Our code for Copilot's exchange refusing a token that is no longer good.
pub(super) const NOT_GOOD: &str = "bad_credentials";

/// Our code for Copilot's exchange refusing a token of a kind that it never exchanges.
pub(super) const NOT_EXCHANGED: &str = "token_not_exchanged";

/// Our code for Cursor refusing to renew a session that has ended.
pub(super) const LOGGED_OUT: &str = "should_logout";

/// A response that refuses the request: in the standard's form (RFC 6749, section 5.2), with an object in place of the
/// code, or with a code and words but no `error`.
pub(super) struct Refusal {
    pub(super) code: String,
    pub(super) words: Option<String>,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default, deserialize_with = "lenient")]
    error: Option<ErrorField>,
    #[serde(default, deserialize_with = "lenient")]
    error_code: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    code: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    status: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    error_description: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    message: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    msg: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    detail: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    access_token: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorField {
    Code(String),
    Object {
        #[serde(default, deserialize_with = "lenient")]
        code: Option<String>,
        #[serde(default, rename = "type", deserialize_with = "lenient")]
        sort: Option<String>,
        #[serde(default, deserialize_with = "lenient")]
        status: Option<String>,
        #[serde(default, deserialize_with = "lenient")]
        message: Option<String>,
    },
}

impl Refusal {
    pub(super) fn read(response: &EndpointResponse) -> Option<Self> {
        let wire: Wire = response.read()?;
        let words = wire.error_description.or(wire.message).or(wire.msg).or(wire.detail);
        match wire.error {
            Some(ErrorField::Code(code)) => Some(Self { code, words }),
            Some(ErrorField::Object { code, sort, status, message }) => {
                let code = code.or(sort).or(status);
                // An empty error object beside tokens refuses nothing.
                let says = code.is_some() || message.is_some() || wire.access_token.is_none();
                let code = code.unwrap_or_else(|| "error".to_owned());
                says.then(|| Self { code, words: message.or(words) })
            }
            None if response.status.is_success() => None,
            None => match wire.error_code.or(wire.code).or(wire.status) {
                Some(code) => Some(Self { code, words }),
                None => words
                    .map(|words| Self { code: response.status.as_str().to_owned(), words: Some(words) }),
            },
        }
    }

    pub(super) fn into_error(self, client: &OAuthClient, secrets: &Secrets) -> OAuthError {
        refused(client, secrets, &self.code, self.words.as_deref())
    }
}

/// The server's refusal, in words that may be shown.
pub(super) fn refused(
    client: &OAuthClient,
    secrets: &Secrets,
    code: &str,
    description: Option<&str>,
) -> OAuthError {
    let description = description.map(|text| secrets.clean(text)).filter(|text| !text.is_empty());
    OAuthError::Refused {
        provider: client.provider().to_owned(),
        code: secrets.clean(code),
        description,
    }
}

/// Codes that refuse only the refresh token itself, or the session behind it: from the standards (RFC 6749, section 5.2;
/// OpenID Connect Core 1.0, section 3.1.2.6) and from vendors. They have no other meaning, so they are verdicts inside a
/// sentence, too.
const VERDICTS: [&str; 14] = [
    "invalid_grant",
    "interaction_required",
    "login_required",
    "consent_required",
    "account_selection_required",
    "mfa_required",
    "refresh_token_reused",
    "refresh_token_expired",
    "refresh_token_invalidated",
    "refresh_token_not_found",
    "refresh_token_already_used",
    "refresh_token_revoked",
    "invalid_refresh_token",
    "bad_refresh_token",
];

/// Codes that are verdicts only as the error's code, not inside a sentence.
const VERDICTS_AS_CODES: [&str; 6] =
    ["session_expired", "session_not_found", "expired_token", NOT_GOOD, NOT_EXCHANGED, LOGGED_OUT];

/// Codes that say that something else is wrong, whatever the words beside them. `unauthorized_client` is about what the
/// client may do (RFC 6749, section 5.2): as a verdict it would stop all of the client's accounts for a wrong setting.
const OTHER_REASONS: [&str; 15] = [
    "invalid_client",
    "unauthorized_client",
    "invalid_request",
    "invalid_scope",
    "unsupported_grant_type",
    "access_denied",
    "server_error",
    "temporarily_unavailable",
    "slow_down",
    "authorization_pending",
    "overloaded_error",
    "rate_limit_error",
    "rate_limit_exceeded",
    "api_error",
    "internal_error",
];

/// Beginnings of words that make a sentence doubtful: it may be about passing trouble, or say that something is not so.
const DOUBTS: [&str; 15] = [
    "not",
    "no",
    "never",
    "neither",
    "without",
    "unless",
    "if",
    "whether",
    "timeout",
    "timed",
    "temporar",
    "unavailable",
    "retry",
    "overload",
    "connect",
];

/// Whether a server's error is about the refresh token itself, so that only a new sign-in can help.
pub(super) fn is_verdict(code: &str, words: Option<&str>) -> bool {
    let code = code.trim().to_ascii_lowercase();
    if VERDICTS.iter().chain(&VERDICTS_AS_CODES).any(|verdict| *verdict == code) {
        // One server says this of a refresh that another process is making.
        return !words.is_some_and(|words| words.contains("already being processed"));
    }
    if OTHER_REASONS.contains(&code.as_str()) {
        return false;
    }
    let mut sentences = words.into_iter().chain(code.contains(' ').then_some(code.as_str()));
    sentences.any(names_a_verdict)
}

/// Whether a sentence such as `failed to refresh token: invalid_grant` names a verdict beyond doubt.
fn names_a_verdict(sentence: &str) -> bool {
    let sentence = sentence.to_ascii_lowercase();
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let words: Vec<&str> =
        sentence.split(|char| !is_part(char)).filter(|word| !word.is_empty()).collect();
    let is_doubtful = |word: &str| {
        let is_other = OTHER_REASONS.contains(&word);
        // A 5xx, or 429.
        let is_status = matches!(word.as_bytes(), [b'5', b'0'..=b'9', b'0'..=b'9'] | b"429");
        let begins = |doubt: &str| if doubt.len() < 5 { word == doubt } else { word.starts_with(doubt) };
        is_other || is_status || DOUBTS.iter().any(|doubt| begins(doubt))
    };
    let is_one_of_several = |place: usize| {
        let beside = [place.checked_sub(1), place.checked_add(1)];
        beside.into_iter().flatten().any(|place| words.get(place) == Some(&"or"))
    };
    let mut named = words.iter().enumerate().filter(|(_, word)| VERDICTS.contains(word));
    named.any(|(place, _)| !is_one_of_several(place))
        && !sentence.contains("try again")
        && !words.iter().any(|word| is_doubtful(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_verdict_wherever_it_appears() {
        for (code, words) in [
            ("invalid_grant", None),
            ("INVALID_GRANT", Some("The token is not valid or has expired.")),
            ("BAD_REFRESH_TOKEN", None),
            ("interaction_required", Some("AADSTS50076: use multi-factor authentication")),
            ("login_required", None),
            ("consent_required", None),
            ("failed to refresh token: invalid_grant", None),
            ("400", Some("failed to refresh token: invalid_grant")),
            ("error", Some("oauth2: \"invalid_grant\" \"Token has been expired or revoked.\"")),
            ("invalid_request_error", Some("refresh failed (invalid_grant).")),
            ("error", Some("Upstream said: {\"error\":\"invalid_grant\"}")),
        ] {
            assert!(is_verdict(code, words), "{code} {words:?}");
        }
    }

    #[test]
    fn an_error_that_may_pass_is_not_a_verdict() {
        for (code, words) in [
            ("invalid_client", Some("failed to refresh token: invalid_grant")),
            ("server_error", Some("failed to refresh token: invalid_grant")),
            ("temporarily_unavailable", Some("invalid_grant")),
            ("error", Some("could not tell whether it is an invalid_grant")),
            ("error", Some("this is not an invalid_grant")),
            ("error", Some("upstream answered 503 (last error: invalid_grant)")),
            ("error", Some("invalid_client: expected invalid_grant")),
            ("error", Some("invalid_grant; try again later")),
            ("error", Some("a full queue or invalid_grant")),
            ("error", Some("invalid_grants")),
            ("error", Some("the session has ended")),
            ("error", Some("login required")),
            ("invalid_grant", Some("token request is already being processed")),
            ("error", None),
            ("", None),
        ] {
            assert!(!is_verdict(code, words), "{code} {words:?}");
        }
    }
}
