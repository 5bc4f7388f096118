//! Options that a caller sets for one request, as extensions of the request.

use std::collections::HashMap;
use std::sync::Arc;

use http::Extensions;

use super::pick_index::SlotIndex;
use crate::credential::CredentialId;
use crate::standing::Scope;

/// Pins a request to one credential. It is used even if it cools down, and the request is not rotated. If the
/// credential is paused or out of use, the request fails; see [`check`](Self::check).
///
/// ```
/// use tower_credentials::Pin;
///
/// let request = http::Request::post("https://api.example.com/v1")
///     .extension(Pin::label("work"))
///     .body("…")?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    to: PinTo,
    is_check: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PinTo {
    Id(CredentialId),
    Label(Arc<str>),
}

impl Pin {
    /// Pins to the credential with this id.
    pub fn id(id: CredentialId) -> Self {
        Self { to: PinTo::Id(id), is_check: false }
    }

    /// Pins to the credential with this label.
    pub fn label(label: impl Into<Arc<str>>) -> Self {
        Self { to: PinTo::Label(label.into()), is_check: false }
    }

    /// Sends the request even if the credential is [spent](crate::standing::Health::Spent) or
    /// [dead](crate::standing::Health::Dead), to check whether it works again: a success puts it back to use. For
    /// requests that a person makes, not for automatic ones. A credential that needs a sign-in stays out of use.
    #[must_use]
    pub fn check(mut self) -> Self {
        self.is_check = true;
        self
    }

    pub(crate) fn is_check(&self) -> bool {
        self.is_check
    }

    /// Returns the id of the pinned credential; `labels` maps a label to its id.
    pub(crate) fn id_among(&self, labels: &HashMap<Arc<str>, CredentialId>) -> Option<CredentialId> {
        match &self.to {
            PinTo::Id(id) => Some(*id),
            PinTo::Label(label) => labels.get(label).copied(),
        }
    }

    /// Returns the pinned credential, by the indexes of a pool.
    pub(crate) fn lookup(
        &self,
        by_id: &HashMap<CredentialId, SlotIndex>,
        by_label: &HashMap<Arc<str>, SlotIndex>,
    ) -> Option<SlotIndex> {
        match &self.to {
            PinTo::Id(id) => by_id.get(id).copied(),
            PinTo::Label(label) => by_label.get(label).copied(),
        }
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.to {
            PinTo::Id(id) => id.fmt(f),
            PinTo::Label(label) => write!(f, "{label:?}"),
        }
    }
}

/// Keeps requests with the same key on one credential while it is ready. For example, a conversation's id as the key
/// keeps its prompt cache warm. If that credential is limited, the key moves to the next one and stays there.
///
/// A pool remembers thousands of the keys used last. A forgotten key gets a credential as a new key does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Affinity(Arc<str>);

impl Affinity {
    /// Creates the affinity of this key.
    pub fn new(key: impl Into<Arc<str>>) -> Self {
        Self(key.into())
    }
}

/// The options of one request.
#[derive(Debug, Default)]
pub(crate) struct RequestOptions {
    pub(crate) pin: Option<Pin>,
    pub(crate) affinity: Option<Affinity>,
    pub(crate) scope: Option<Scope>,
}

impl RequestOptions {
    /// Returns the options in these extensions, if there are any.
    #[inline]
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        if extensions.is_empty() { None } else { Self::look_up(extensions) }
    }

    #[cold]
    fn look_up(extensions: &Extensions) -> Option<Self> {
        let (pin, affinity) = (extensions.get().cloned(), extensions.get().cloned());
        let options = Self { pin, affinity, scope: extensions.get().cloned() };
        if options.is_none() { None } else { Some(options) }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns whether there are none, so that any ready credential will do.
    pub(crate) fn is_none(&self) -> bool {
        self.pin.is_none() && self.affinity.is_none() && self.scope.is_none()
    }
}
