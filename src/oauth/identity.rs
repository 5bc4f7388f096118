//! Whose tokens are, as far as they and their record tell.

use std::fmt;

use super::redact::fit_to_show;
use super::signed_in::SignedIn;
use crate::claims::{ACCOUNT, ACCOUNT_ID, Claims, ID_TOKEN, within};
use crate::credential::{Credential, OAuthTokens, Secret};

/// What is known of who has signed in.
#[derive(Debug, Default)]
pub(super) struct Identity {
    /// The vendor's id.
    id: Option<String>,
    email: Option<String>,
}

impl Identity {
    pub(super) fn of_record(record: &Credential) -> Self {
        let told = match &record.secret {
            Secret::OAuth(tokens) | Secret::Mcp(tokens) => Self::of_tokens(tokens),
            _ => Self::default(),
        };
        let id = record.metadata.attributes.get(ACCOUNT).cloned();
        Self { id: id.or(told.id), email: told.email }
    }

    pub(super) fn of_sign_in(account: &SignedIn) -> Self {
        let told = Self::of_tokens(&account.tokens);
        let email = account.label.clone().filter(|label| label.contains('@'));
        Self { id: account.account.clone().or(told.id), email: email.or(told.email) }
    }

    fn of_tokens(tokens: &OAuthTokens) -> Self {
        let claims = tokens.extra.get(ID_TOKEN).and_then(Claims::read);
        // Where there is no id token, an access token may be one that can be read.
        let claims = claims.or_else(|| Claims::read(&tokens.access)).unwrap_or_default();
        let workspace = tokens.extra.get(ACCOUNT_ID).map(|id| id.expose().to_owned());
        Self { id: within(claims.workspace().or(workspace), claims.sub), email: claims.email }
    }

    /// Whether both are the same account; `None` where that isn't known.
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

/// Whether two ids are of one account: a record may have less of it than a sign-in tells, a person without a
/// workspace.
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
    fn one_account_is_told_from_another_where_both_say_whose_they_are() {
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
