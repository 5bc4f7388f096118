//! Finding headers that may carry a credential, at little cost.

use http::header::{AUTHORIZATION, Entry};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The headers in which clients usually put credentials, whatever the provider.
const USUAL: [HeaderName; 4] = [
    AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// The provider's header names and the usual ones.
///
/// A look-up in a header map hashes the name. Most requests have none of these headers, so it is cheaper to scan the
/// names that are there: length and first byte rule out most of them.
#[derive(Clone, Debug)]
pub(crate) struct CredentialHeaderNames {
    names: Vec<HeaderName>,
    /// The marks of all names. Most other names have a mark that is not among them.
    marks: u64,
}

impl CredentialHeaderNames {
    pub(crate) fn new(of_provider: &[HeaderName]) -> Self {
        let mut names = of_provider.to_vec();
        names.extend(USUAL);
        let marks = names.iter().fold(0, |marks, name| marks | mark(name));
        Self { names, marks }
    }

    #[inline]
    pub(crate) fn contains(&self, name: &HeaderName) -> bool {
        self.marks & mark(name) != 0 && self.is_one(name)
    }

    #[cold]
    fn is_one(&self, name: &HeaderName) -> bool {
        self.names.contains(name)
    }

    /// Removes every header of these names.
    pub(crate) fn remove_from(&self, headers: &mut HeaderMap) {
        while let Some(name) = headers.keys().find(|name| self.contains(name)).cloned() {
            if let Entry::Occupied(entry) = headers.entry(name) {
                entry.remove_entry_mult();
            }
        }
    }

    /// Returns the values of these headers that are marked sensitive.
    pub(crate) fn sensitive<'a>(
        &'a self,
        headers: &'a HeaderMap,
    ) -> impl Iterator<Item = &'a HeaderValue> {
        let is_ours =
            |(name, value): &(&HeaderName, &HeaderValue)| value.is_sensitive() && self.contains(name);
        headers.iter().filter(is_ours).map(|(_, value)| value)
    }
}

/// Returns a bit for a name's length and first byte.
#[inline]
fn mark(name: &HeaderName) -> u64 {
    let name = name.as_str().as_bytes();
    let first = name.first().copied().unwrap_or_default();
    1 << ((name.len() + usize::from(first)) % 64)
}
