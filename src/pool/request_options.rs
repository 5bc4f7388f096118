//! What a caller may ask for, one request at a time, by an extension of the request.

use std::collections::HashMap;
use std::sync::Arc;

use http::Extensions;

use super::pick_index::SlotIndex;
use crate::credential::CredentialId;
use crate::standing::Scope;

/// Pins a request to one credential: it is used whatever its cooldown, and the request is not rotated. To
/// one that is paused or out of use, it is an error; see [`check`](Self::check).
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
    /// To the credential of this id.
    pub fn id(id: CredentialId) -> Self {
        Self { to: PinTo::Id(id), is_check: false }
    }

    /// To the credential of this label.
    pub fn label(label: impl Into<Arc<str>>) -> Self {
        Self { to: PinTo::Label(label.into()), is_check: false }
    }

    /// Sends the request also with a credential that is [spent](crate::standing::Health::Spent) or
    /// [dead](crate::standing::Health::Dead), to see whether it is well again: a good answer puts it to use. For a
    /// person's word, not for requests that come by themselves. One that needs a sign-in stays out of use.
    #[must_use]
    pub fn check(mut self) -> Self {
        self.is_check = true;
        self
    }

    pub(crate) fn is_check(&self) -> bool {
        self.is_check
    }

    /// The id of the credential that it names, if these labels tell.
    pub(crate) fn to_one_of(&self, labels: &HashMap<Arc<str>, CredentialId>) -> Option<CredentialId> {
        match &self.to {
            PinTo::Id(id) => Some(*id),
            PinTo::Label(label) => labels.get(label).copied(),
        }
    }

    /// The credential that it names, by the indexes of a pool.
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

/// Keeps requests of one key on one credential while it is ready: a conversation's id keeps its prompt
/// cache warm. When that credential is limited, the key moves to the next one and stays there.
///
/// A pool remembers the thousands of keys used last; one that is forgotten is placed anew.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Affinity(Arc<str>);

impl Affinity {
    /// The affinity of this key.
    pub fn new(key: impl Into<Arc<str>>) -> Self {
        Self(key.into())
    }
}

/// What one request asks for.
#[derive(Debug, Default)]
pub(crate) struct RequestOptions {
    pub(crate) pin: Option<Pin>,
    pub(crate) affinity: Option<Affinity>,
    pub(crate) scope: Option<Scope>,
}

impl RequestOptions {
    /// What a request that has these extensions asks for, if anything.
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

    /// Whether any ready credential will do.
    pub(crate) fn is_none(&self) -> bool {
        self.pin.is_none() && self.affinity.is_none() && self.scope.is_none()
    }
}
