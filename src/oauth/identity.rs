//! Which account tokens belong to, as far as they and their record say.

use std::fmt;

use super::redact::fit_to_show;
use crate::claims::{ACCOUNT, ACCOUNT_ID, Claims, ID_TOKEN, within};
use crate::credential::{Credential, OAuthTokens, Secret};

/// What is known of an account's owner.
#[derive(Debug, Default)]
pub(super) struct Identity {
    /// The vendor's id.
    id: Option<String>,
    email: Option<String>,
}

impl Identity {
    pub(super) fn of_record(record: &Credential) -> Self {
        let in_tokens = match &record.secret {
            Secret::OAuth(tokens) | Secret::Mcp(tokens) => Self::of_tokens(tokens),
            _ => Self::default(),
        };
        let id = record.metadata.attributes.get(ACCOUNT).cloned();
        Self { id: id.or(in_tokens.id), email: in_tokens.email }
    }

    /// `id` and `label` are what the token response itself says of the account.
    pub(super) fn of_sign_in(tokens: &OAuthTokens, id: Option<&str>, label: Option<&str>) -> Self {
        let in_tokens = Self::of_tokens(tokens);
        let email = label.filter(|label| label.contains('@'));
        Self {
            id: id.map(str::to_owned).or(in_tokens.id),
            email: email.map(str::to_owned).or(in_tokens.email),
        }
    }

    fn of_tokens(tokens: &OAuthTokens) -> Self {
        let claims = tokens.extra.get(ID_TOKEN).and_then(Claims::read);
        // Without an id token, the access token may be a readable one.
        let claims = claims.or_else(|| Claims::read(&tokens.access)).unwrap_or_default();
        let workspace = tokens.extra.get(ACCOUNT_ID).map(|id| id.expose().to_owned());
        Self { id: within(claims.workspace().or(workspace), claims.sub), email: claims.email }
    }

    /// Whether both are the same account; `None` if that isn't known.
    pub(super) fn is(&self, other: &Self) -> Option<bool> {
        match (&self.id, &other.id) {
            (Some(ours), Some(theirs)) => Some(is_same(ours, theirs)),
            _ => match (&self.email, &other.email) {
                (Some(ours), Some(theirs)) => Some(ours.eq_ignore_ascii_case(theirs)),
                _ => None,
            },
        }
    }
}

/// Whether two ids belong to one account. A record may have less of the id than a sign-in: the person without the
/// workspace, for example.
fn is_same(a: &str, b: &str) -> bool {
    let is_part = |part: &str, whole: &str| {
        whole.strip_prefix(part).is_some_and(|rest| rest.starts_with('/'))
            || whole.strip_suffix(part).is_some_and(|rest| rest.ends_with('/'))
    };
    a == b || is_part(a, b) || is_part(b, a)
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &Option<String>| text.as_deref().and_then(fit_to_show);
        match (shown(&self.email), shown(&self.id)) {
            (Some(email), Some(id)) => write!(f, "{email} ({id})"),
            (Some(name), None) | (None, Some(name)) => f.write_str(&name),
            (None, None) => f.write_str("an account that nothing is known of"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(id: &str, email: &str) -> Identity {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Identity { id: some(id), email: some(email) }
    }

    #[test]
    fn two_accounts_are_distinguished_if_both_name_their_owner() {
        for (a, b, expected) in [
            (("work/alice", ""), ("work/alice", ""), Some(true)),
            (("work/alice", "a@example.com"), ("work/alice", "new@example.com"), Some(true)),
            (("work/alice", ""), ("work/bob", ""), Some(false)),
            (("work/alice", ""), ("home/alice", ""), Some(false)),
            (("alice", ""), ("work/alice", ""), Some(true)),
            (("work", ""), ("work/alice", ""), Some(true)),
            (("lice", ""), ("work/alice", ""), Some(false)),
            (("", "a@example.com"), ("work/alice", "A@Example.com"), Some(true)),
            (("", "a@example.com"), ("work/bob", "b@example.com"), Some(false)),
            (("", ""), ("work/alice", "a@example.com"), None),
            (("", "a@example.com"), ("alice", ""), None),
        ] {
            let (a, b) = (identity(a.0, a.1), identity(b.0, b.1));
            assert_eq!((a.is(&b), b.is(&a)), (expected, expected), "{a} {b}");
        }
    }
}
