//! A server's no, in its many forms, and what of it is a verdict on the account.

use serde::Deserialize;

use super::client::OAuthClient;
use super::error::OAuthError;
use super::http::EndpointResponse;
use super::redact::Secrets;
use super::{copilot, cursor};
use crate::claims::lenient;

/// An answer that says no: the standard's form (RFC 6749, section 5.2), an object in place of the code, or a
/// code and words beside no `error`.
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
    pub(super) fn read(answer: &EndpointResponse) -> Option<Self> {
        let wire: Wire = answer.read()?;
        let words = wire.error_description.or(wire.message).or(wire.msg).or(wire.detail);
        match wire.error {
            Some(ErrorField::Code(code)) => Some(Self { code, words }),
            Some(ErrorField::Object { code, sort, status, message }) => {
                let code = code.or(sort).or(status);
                // Nothing that is said so is a no where tokens are given.
                let says = code.is_some() || message.is_some() || wire.access_token.is_none();
                let code = code.unwrap_or_else(|| "error".to_owned());
                says.then(|| Self { code, words: message.or(words) })
            }
            None if answer.status.is_success() => None,
            None => match wire.error_code.or(wire.code).or(wire.status) {
                Some(code) => Some(Self { code, words }),
                None => words
                    .map(|words| Self { code: answer.status.as_str().to_owned(), words: Some(words) }),
            },
        }
    }

    pub(super) fn into_error(self, client: &OAuthClient, secrets: &Secrets) -> OAuthError {
        refused(client, secrets, &self.code, self.words.as_deref())
    }
}

/// The server's no, in words that may be shown.
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

/// Codes by which only the refresh token itself, or the session behind it, is refused: of the standards (RFC 6749,
/// section 5.2; OpenID Connect Core 1.0, section 3.1.2.6), and of vendors'.
/// Nobody writes one of these but to say that, so they are verdicts inside of a sentence, too.
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

/// Codes that are verdicts only where they are the code.
const VERDICTS_AS_CODES: [&str; 6] = [
    "session_expired",
    "session_not_found",
    "expired_token",
    copilot::NOT_GOOD,
    copilot::NOT_EXCHANGED,
    cursor::LOGGED_OUT,
];

/// Codes that say what else is wrong, whatever the words beside them. `unauthorized_client` is about what the client
/// may do (RFC 6749, section 5.2), and every account of its would be stopped for a setting.
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

/// Beginnings of words by which a sentence may be about trouble that passes, or about what is not the case.
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

/// Whether a server's error is about the refresh token itself, so that only a new sign-in helps.
pub(super) fn is_verdict(code: &str, words: Option<&str>) -> bool {
    let code = code.trim().to_ascii_lowercase();
    if VERDICTS.iter().chain(&VERDICTS_AS_CODES).any(|verdict| *verdict == code) {
        // One server says so of a refresh that another process is making.
        return !words.is_some_and(|words| words.contains("already being processed"));
    }
    if OTHER_REASONS.contains(&code.as_str()) {
        return false;
    }
    let mut sentences = words.into_iter().chain(code.contains(' ').then_some(code.as_str()));
    sentences.any(names_a_verdict)
}

/// Whether a sentence such as `failed to refresh token: invalid_grant` can mean nothing but that.
fn names_a_verdict(sentence: &str) -> bool {
    let sentence = sentence.to_ascii_lowercase();
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let words: Vec<&str> =
        sentence.split(|char| !is_part(char)).filter(|word| !word.is_empty()).collect();
    let is_doubtful = |word: &str| {
        let is_other = OTHER_REASONS.contains(&word);
        // A status of the 500s, or of a limit.
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
    fn a_code_is_a_verdict_wherever_it_stands() {
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
    fn what_may_be_trouble_that_passes_is_no_verdict() {
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
