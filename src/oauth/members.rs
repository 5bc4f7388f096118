//! Reads the members of a response, whatever format the server has chosen.

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;
use url::form_urlencoded;
use zeroize::{Zeroize, Zeroizing};

/// Members that must not have two different values: nothing could tell which one is right.
const TOKENS: [&str; 4] = ["access_token", "accessToken", "refresh_token", "refreshToken"];

/// A form must have one of these members to be a response at all: any short text may look like a form.
const IN_FORMS: [&str; 3] = ["access_token", "error", "device_code"];

/// Why no members could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// The body is a web page: something between here and the server has answered.
    Page,
    /// A token has two different values.
    TwoTokens,
    /// The body is neither a JSON object nor a form.
    Other,
}

/// Reads the members into a JSON object in which each name occurs once.
///
/// Accepts objects (RFC 8259), also with a byte order mark, inside a JSON string, or with a repeated name; and forms, which
/// GitHub sends unless JSON is requested. Only the body counts: servers label JSON as text, and web pages as JSON.
pub(super) fn members(body: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unread> {
    // A message in another encoding must not lose the tokens, which are ASCII.
    let lossy = Zeroizing::new(String::from_utf8_lossy(body).into_owned());
    let text = lossy.trim_start_matches('\u{feff}').trim();
    match text.as_bytes().first() {
        Some(b'<') => Err(Unread::Page),
        Some(b'{') => object(text),
        Some(b'"') => {
            let inner = serde_json::from_str(text).map_err(|_| Unread::Other)?;
            let inner: Zeroizing<String> = Zeroizing::new(inner);
            object(inner.trim())
        }
        _ => form(text),
    }
}

fn object(text: &str) -> Result<Zeroizing<Vec<u8>>, Unread> {
    let Pairs(pairs) = serde_json::from_str(text).map_err(|_| Unread::Other)?;
    let mut distinct = Distinct::default();
    for (name, value) in pairs {
        distinct.add(name, value.get())?;
    }
    Ok(distinct.write())
}

fn form(text: &str) -> Result<Zeroizing<Vec<u8>>, Unread> {
    let is_in_form = |byte: u8| byte.is_ascii_graphic() && !b"<>{}[]\"".contains(&byte);
    if !text.bytes().all(is_in_form) {
        return Err(Unread::Other);
    }
    let mut distinct = Distinct::default();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        let mut value = value.into_owned();
        let json = Zeroizing::new(serde_json::to_string(&value).expect("text is written to memory"));
        value.zeroize();
        distinct.add(name.into_owned(), &json)?;
    }
    if IN_FORMS.iter().any(|name| distinct.has(name)) {
        Ok(distinct.write())
    } else {
        Err(Unread::Other)
    }
}

/// Members with distinct names.
#[derive(Default)]
struct Distinct(Vec<(String, Option<Zeroizing<String>>)>);

impl Distinct {
    /// Adds a member; one that is null or empty does not count. If a name has two different values, neither is kept; for a
    /// token, that is an error.
    fn add(&mut self, name: String, value: &str) -> Result<(), Unread> {
        if matches!(value, "null" | "\"\"") {
            return Ok(());
        }
        let is_token = TOKENS.contains(&name.as_str());
        if is_token && value.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Unread::Other);
        }
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            None => self.0.push((name, Some(Zeroizing::new(value.to_owned())))),
            Some((_, Some(known))) if bare(known) == bare(value) => {}
            Some(_) if is_token => return Err(Unread::TwoTokens),
            Some((_, known)) => *known = None,
        }
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, value)| known == name && value.is_some())
    }

    fn write(self) -> Zeroizing<Vec<u8>> {
        let known = || self.0.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        // Allocated once: a buffer that grows leaves copies behind.
        let length: usize = known().map(|(name, value)| 6 * name.len() + value.len() + 4).sum();
        let mut object = Zeroizing::new(Vec::with_capacity(length + 2));
        object.push(b'{');
        for (place, (name, value)) in known().enumerate() {
            if place > 0 {
                object.push(b',');
            }
            serde_json::to_writer(&mut *object, name).expect("text is written to memory");
            object.push(b':');
            object.extend_from_slice(value.as_bytes());
        }
        object.push(b'}');
        object
    }
}

/// A value without its quotes, so that a number equals the same number as text.
fn bare(value: &str) -> &str {
    value.trim_matches('"')
}

/// An object's members in order, with their values as written.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: impl AsRef<[u8]>) -> Result<String, Unread> {
        members(body.as_ref()).map(|object| String::from_utf8(object.to_vec()).unwrap())
    }

    #[test]
    fn an_unambiguous_response_is_read() {
        let tokens = r#"{"access_token":"a","refresh_token":"r"}"#;
        let quoted = serde_json::to_string(tokens).unwrap();
        for body in [
            tokens.to_owned(),
            format!("\u{feff}{tokens}"),
            format!("\u{feff}\r\n {tokens}\r\n"),
            quoted,
            r#"{"access_token":"a","access_token":"a","refresh_token":"r"}"#.to_owned(),
            r#"{"access_token":null,"access_token":"a","refresh_token":"","refresh_token":"r"}"#
                .to_owned(),
            r#"{"access_token":"a","expires_in":1,"refresh_token":"r","expires_in":2,"expires_in":2}"#
                .to_owned(),
            "access_token=a&refresh_token=r".to_owned(),
            "access_token=a&refresh_token=r&access_token=a&scope=\r\n".to_owned(),
        ] {
            assert_eq!(read(&body).as_deref(), Ok(tokens), "{body}");
        }
        assert_eq!(
            read(r#"{"expires_in":5,"expires_in":"5","x":{"y":[1]}}"#).as_deref(),
            Ok(r#"{"expires_in":5,"x":{"y":[1]}}"#)
        );
        assert_eq!(
            read("error=bad_refresh_token&error_description=It+%22is%22+bad.").as_deref(),
            Ok(r#"{"error":"bad_refresh_token","error_description":"It \"is\" bad."}"#)
        );
        let latin = b"{\"access_token\":\"a\",\"words\":\"f\xfcr\"}";
        assert_eq!(read(latin).as_deref(), Ok("{\"access_token\":\"a\",\"words\":\"f\u{fffd}r\"}"));
    }

    #[test]
    fn an_ambiguous_response_is_not_read() {
        for body in [
            r#"{"access_token":"a","access_token":"b"}"#,
            r#"{"access_token":"a","refresh_token":"a","refresh_token":"b"}"#,
            "access_token=a&access_token=b",
        ] {
            assert_eq!(read(body), Err(Unread::TwoTokens), "{body}");
        }
        for body in ["<html>", "\u{feff}<!DOCTYPE html>", "\n<?xml version='1.0'?><a/>"] {
            assert_eq!(read(body), Err(Unread::Page), "{body}");
        }
        for body in [
            "",
            "null",
            "true",
            "[]",
            r#"[{"access_token":"a"}]"#,
            r#"{"access_token":"a""#,
            r#"{"access_token":"a"} {}"#,
            "\"access_token=a\"",
            "OK",
            "access_token",
            "a=b&c=d",
            "see access_token=a&refresh_token=b",
        ] {
            assert_eq!(read(body), Err(Unread::Other), "{body}");
        }
        assert_eq!(read(b"{\"access_token\":\"a\xfc\"}"), Err(Unread::Other));
    }
}
