//! Checks of what is about to be stored, and what a vault adds to it: a free label and the time.

use std::any::Any;
use std::sync::Arc;

use super::VaultError;
use crate::clock::Timestamp;
use crate::credential::{Metadata, Secret};
use crate::printable::{is_unprintable, was_unprintable};

/// The maximum length, in bytes, of the name of a provider or a namespace and of a label.
pub const MAX_NAME_LEN: usize = 200;

/// Checks a name: it must not be empty, blank or longer than [`MAX_NAME_LEN`], nor contain control characters, invisible
/// characters or such that turn a line around. Vaults check the provider, the namespace and the label on `Put`, and the
/// new label on `Relabel`.
///
/// ```
/// use tower_credentials::vault::check_name;
///
/// assert!(check_name("label", "work, the second").is_ok());
/// assert!(check_name("label", "work\n").is_err());
/// ```
///
/// # Errors
/// [`VaultError::InvalidName`], with this field and the reason.
pub fn check_name(field: &'static str, name: &str) -> Result<(), VaultError> {
    check_stored_name(field, name)?;
    if name.chars().any(is_unprintable) {
        let reason = "it has characters that are not seen, or turn a line around";
        return Err(VaultError::InvalidName { field, reason });
    }
    Ok(())
}

/// Checks a stored name. Older versions refused fewer invisible characters, so more is allowed here.
pub(crate) fn check_stored_name(field: &'static str, name: &str) -> Result<(), VaultError> {
    let reason = match name {
        "" => "it is empty",
        name if name.len() > MAX_NAME_LEN => "it is longer than 200 bytes",
        name if name.trim().is_empty() => "it is blank",
        name if name.chars().any(char::is_control) => "it has control characters",
        name if name.chars().any(was_unprintable) => {
            "it has characters that are not seen, or turn a line around"
        }
        _ => return Ok(()),
    };
    Err(VaultError::InvalidName { field, reason })
}

/// Checks every name of a record that is about to be stored.
pub(crate) fn check_names(metadata: &Metadata) -> Result<(), VaultError> {
    check_name("provider", metadata.pool.provider())?;
    check_name("namespace", metadata.pool.namespace())?;
    check_name("label", &metadata.label)
}

/// Checks every name of a stored record.
#[cfg(feature = "file")]
pub(crate) fn check_stored_names(metadata: &Metadata) -> Result<(), VaultError> {
    check_stored_name("provider", metadata.pool.provider())?;
    check_stored_name("namespace", metadata.pool.namespace())?;
    check_stored_name("label", &metadata.label)
}

/// Checks that a secret has the metadata's kind. A sealed secret was checked when it was sealed.
pub(crate) fn check_kind<T: 'static>(metadata: &Metadata, secret: &T) -> Result<(), VaultError> {
    match (secret as &dyn Any).downcast_ref::<Secret>().map(Secret::kind) {
        Some(given) if given != metadata.kind => {
            Err(VaultError::WrongKind { id: metadata.id, expected: metadata.kind, given })
        }
        _ => Ok(()),
    }
}

/// Refuses a secret whose token no request could carry. An empty or blank one is not a token yet: it is renewed or minted
/// before it is sent.
pub(crate) fn check_secret(secret: &Secret) -> Result<(), VaultError> {
    let field = match secret {
        Secret::OAuth(_) | Secret::Mcp(_) => "access token",
        Secret::Api { .. } => "API key",
        Secret::WellKnown { .. } => "token",
    };
    let text = secret.token().expose();
    let within = text.trim();
    let reason = if within.chars().any(char::is_control) {
        "it has a line break or another control character in it, which no header takes; store it without"
    } else if text.chars().any(char::is_control) {
        "it begins or ends with a line break or another control character, which no header takes; store it without, \
         as SecretString::api_key gives it"
    } else if within.len() < text.len() && !within.is_empty() {
        "it begins or ends with white space, which no header keeps; store it without, as SecretString::api_key gives it"
    } else {
        return Ok(());
    };
    Err(VaultError::InvalidSecret { field, reason })
}

/// Returns `label`, or if it is taken the first of `label-2`, `label-3` … that is free. The label is shortened if the
/// number would make it longer than [`MAX_NAME_LEN`]. For a backend's `Put`.
///
/// ```
/// use tower_credentials::vault::free_label;
///
/// let taken = ["work", "work-2"];
/// assert_eq!(&*free_label(&"work".into(), |label| taken.contains(&label)), "work-3");
/// ```
pub fn free_label(label: &Arc<str>, is_taken: impl Fn(&str) -> bool) -> Arc<str> {
    if !is_taken(label) {
        return label.clone();
    }
    let numbered = |number: u64| {
        let suffix = format!("-{number}");
        let room = MAX_NAME_LEN.saturating_sub(suffix.len());
        let fits = label.char_indices().map(|(start, char)| start + char.len_utf8());
        let end = fits.take_while(|end| *end <= room).last().unwrap_or(0);
        format!("{}{suffix}", &label[..end])
    };
    (2..).map(numbered).find(|candidate| !is_taken(candidate)).map_or_else(|| label.clone(), Into::into)
}

/// The time that a vault stores with a new secret.
pub(crate) fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}
