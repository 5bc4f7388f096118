//! Copies of an error, for several callers that wait for the same result.

use std::io;

use super::VaultError;
use crate::BoxError;

impl VaultError {
    /// Copies the error. A source that can't be copied is kept as text.
    pub(crate) fn copy(&self) -> Self {
        match self {
            Self::NotFound(id) => Self::NotFound(*id),
            Self::Exists(id) => Self::Exists(*id),
            Self::LabelTaken(label) => Self::LabelTaken(label.clone()),
            Self::InvalidName { field, reason } => Self::InvalidName { field, reason },
            Self::WrongKind { id, expected, given } => {
                Self::WrongKind { id: *id, expected: *expected, given: *given }
            }
            Self::InvalidSecret { field, reason } => Self::InvalidSecret { field, reason },
            Self::Damaged(damage) => Self::Damaged(damage.clone()),
            Self::Key(reason) => Self::Key(reason.clone()),
            Self::Locked { path, holder, waited } => {
                Self::Locked { path: path.clone(), holder: *holder, waited: *waited }
            }
            Self::DirectoryGone(path) => Self::DirectoryGone(path.clone()),
            Self::NetworkFileSystem { path, name } => {
                Self::NetworkFileSystem { path: path.clone(), name }
            }
            Self::TooLong { bytes, most } => Self::TooLong { bytes: *bytes, most: *most },
            Self::Io { action, path, source } => Self::Io {
                action,
                path: path.clone(),
                source: match source.raw_os_error() {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => io::Error::new(source.kind(), source.to_string()),
                },
            },
            Self::Layer(error) => Self::Layer(copy(error)),
            Self::Unsupported { request } => Self::Unsupported { request },
            Self::UnexpectedResponse => Self::UnexpectedResponse,
            Self::Unreachable(error) => Self::Unreachable(copy(error)),
            Self::LeaseLost(id) => Self::LeaseLost(*id),
        }
    }
}

fn copy(error: &BoxError) -> BoxError {
    #[cfg(feature = "redis")]
    if let Some(error) = error.downcast_ref::<super::redis::EngineError>() {
        return error.clone().into();
    }
    error.to_string().into()
}
