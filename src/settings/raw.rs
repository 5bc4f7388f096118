//! Values as a file or the environment writes them, and their parsers.

use std::fmt::Display;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::pool::Mode;
use crate::provider::{Endpoint, ModelsShape, ModelsUrl, Origin};
use crate::rate_limit::go_duration;

/// A value as it is written.
#[cfg_attr(not(feature = "config"), allow(dead_code, reason = "only a file has all types of values"))]
pub(super) enum Raw<'a> {
    /// Text that may mean any type: an environment variable's, or a program's.
    Plain(&'a str),
    Text(&'a str),
    Integer(i64),
    Boolean(bool),
    List(Vec<Raw<'a>>),
    Table(Vec<(&'a str, Raw<'a>)>),
    /// Something else, by the name of its type.
    Other(&'static str),
}

type Read<T> = Result<T, String>;

impl<'a> Raw<'a> {
    pub(super) fn text(&self) -> Read<&'a str> {
        match self {
            Self::Plain(text) | Self::Text(text) => Ok(text),
            Self::Integer(_) => Err("must be text, in quotes".to_owned()),
            Self::Boolean(_) => Err("must be text, not a true or false".to_owned()),
            Self::List(_) => Err("must be text, not a list".to_owned()),
            Self::Table(_) => Err("must be text, not a table".to_owned()),
            Self::Other(kind) => Err(format!("must be text, not a {kind}")),
        }
    }

    /// A list of texts. Plain text is split at spaces and commas.
    pub(super) fn list(&self) -> Read<Vec<&'a str>> {
        match self {
            Self::Plain(text) => {
                let parts = text.split(|char: char| char == ',' || char.is_whitespace());
                Ok(parts.filter(|part| !part.is_empty()).collect())
            }
            Self::List(items) => items.iter().map(Raw::text).collect(),
            _ => Err("must be a list of texts, as in [\"a\", \"b\"]".to_owned()),
        }
    }

    /// A list of values, one read from each text.
    pub(super) fn list_of<T>(&self, read: impl Fn(&str) -> Read<T>) -> Read<Vec<T>> {
        self.list()?.into_iter().map(read).collect()
    }

    /// Seconds, or text such as `30s`, `5m` or `1h30m`.
    pub(super) fn duration(&self) -> Read<Duration> {
        let wrong =
            || "must be a number of seconds, or a time such as \"30s\", \"5m\" or \"1h30m\"".to_owned();
        let seconds = match self {
            Self::Integer(seconds) => Some(*seconds),
            _ => self.text().map_err(|_| wrong())?.parse().ok(),
        };
        if let Some(seconds) = seconds {
            return u64::try_from(seconds).map(Duration::from_secs).map_err(|_| wrong());
        }
        let text = self.text()?.trim();
        if text.starts_with('-') {
            return Err(wrong());
        }
        let milliseconds = go_duration(text.as_bytes()).ok_or_else(wrong)?;
        u64::try_from(milliseconds).map(Duration::from_millis).map_err(|_| wrong())
    }

    pub(super) fn at_least_one(&self) -> Read<NonZeroU32> {
        let wrong = || "must be a whole number from 1 on: with 0, no request could be sent".to_owned();
        let number = match self {
            Self::Integer(number) => u32::try_from(*number).ok(),
            _ => self.text().map_err(|_| wrong())?.trim().parse().ok(),
        };
        number.and_then(NonZeroU32::new).ok_or_else(wrong)
    }

    pub(super) fn mode(&self) -> Read<Mode> {
        self.one_of(&Mode::VALUES.map(|mode| (mode.as_str(), mode)))
    }

    /// The meaning of one of these words.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Read<T> {
        word(self.text()?, words)
    }

    pub(super) fn header_name(&self) -> Read<HeaderName> {
        header_name(self.text()?)
    }

    pub(super) fn header_value(&self) -> Read<HeaderValue> {
        // The error does not quote the text, which may be a secret.
        HeaderValue::from_str(self.text()?)
            .map_err(|_| "can't be a header's value: it must be one line of plain text".to_owned())
    }

    /// The prefix of a token in a header.
    pub(super) fn prefix(&self) -> Read<String> {
        self.header_value()?;
        self.text().map(str::to_owned)
    }

    pub(super) fn endpoint(&self) -> Read<Endpoint> {
        shown(self.text()?.parse())
    }

    pub(super) fn models_url(&self) -> Read<ModelsUrl> {
        shown(ModelsUrl::parse(self.text()?))
    }

    pub(super) fn models_shape(&self) -> Read<ModelsShape> {
        let shapes = [ModelsShape::OpenAi, ModelsShape::Anthropic, ModelsShape::Google];
        self.one_of(&shapes.map(|shape| (shape.as_str(), shape)))
    }

    pub(super) fn namespace(&self) -> Read<String> {
        let name = self.text()?;
        match crate::vault::check_name("namespace", name) {
            Ok(()) => Ok(name.to_owned()),
            Err(error) => Err(format!("can't be used: {error}")),
        }
    }

    /// The name of an environment variable, or nothing.
    pub(super) fn variable(&self) -> Read<String> {
        let name = self.text()?;
        if name.contains(|char: char| char == '=' || char == '\0' || char.is_whitespace()) {
            return Err("must be the name of an environment variable".to_owned());
        }
        Ok(name.to_owned())
    }
}

pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Read<T> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        format!("must be one of {}", words.join(", "))
    })
}

pub(super) fn header_name(text: &str) -> Read<HeaderName> {
    HeaderName::from_str(text).map_err(|_| "must be a header's name (RFC 9110, section 5.1)".to_owned())
}

pub(super) fn origin(text: &str) -> Read<Origin> {
    shown(text.parse())
}

/// An origin to which credentials may go: over plain HTTP only to this machine.
pub(super) fn trusted_origin(text: &str) -> Read<Origin> {
    origin(text).map_err(|reason| match Origin::plain_http(text) {
        Ok(_) => format!(
            "{reason}; if it is in a network of your own in which nobody listens in, name it in \
             `insecure_http_origins` instead"
        ),
        Err(_) => reason,
    })
}

/// An origin that is explicitly allowed to use plain HTTP.
pub(super) fn insecure_origin(text: &str) -> Read<Origin> {
    shown(Origin::plain_http(text))
}

/// Words an error so that it can follow the setting's name.
pub(super) fn shown<T, E: Display>(result: Result<T, E>) -> Read<T> {
    result.map_err(|error| format!("is of no use: {error}"))
}
