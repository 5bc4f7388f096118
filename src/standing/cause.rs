//! Which response has changed a standing.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The response because of which a credential is not used. Of a header only the name is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// When it arrived.
    pub at: Timestamp,
    /// Its HTTP status.
    pub status: u16,
    /// The part of it that has stated until when; `None` if it has stated no time, or if that was not believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stated_by: Option<StatedBy>,
}

/// The part of a response that states a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StatedBy {
    /// The header of this name.
    Header(Cow<'static, str>),
    /// The field at this path of the JSON body, such as `error.resets_at`.
    Field(Cow<'static, str>),
    /// The text of the body.
    Text,
}

impl fmt::Display for StatedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "the header {name}"),
            Self::Field(path) => write!(f, "the field {path}"),
            Self::Text => f.write_str("the text"),
        }
    }
}

/// A time that a response states, and the part that does.
pub(crate) type Stated = (Timestamp, StatedBy);
