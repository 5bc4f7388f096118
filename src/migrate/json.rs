//! JSON read in place: a member's value stays in the text, which is wiped, until a reader takes it out with its expected type.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::printable::{is_short_printable, is_unprintable};
use crate::secret::SecretString;

/// A problem of one member. It does not quote the value.
#[derive(Debug)]
pub(super) struct Problem {
    /// The member's name, with those of the objects that it is in; empty for the value itself.
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) reason: &'static str,
}

/// Why a text is not JSON.
pub(super) struct Syntax {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) reason: &'static str,
}

/// The latest time in milliseconds that is accepted: JavaScript's dates end here.
const LATEST: u64 = 8_640_000_000_000_000;

/// Numbers from here on are milliseconds, smaller ones seconds. It means 1973 in milliseconds, and the year 5138 in seconds.
const MIN_MILLIS: u64 = 100_000_000_000;

/// A JSON text.
pub(super) struct Text<'t> {
    text: &'t str,
    /// The offsets of the line ends.
    ends: Vec<usize>,
}

impl<'t> Text<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, ends: text.match_indices('\n').map(|(at, _)| at).collect() }
    }

    /// Reads the text as an object. Members whose names occur twice are left out, and returned as problems.
    pub(super) fn object(&self) -> Result<(Object<'_>, Vec<Problem>), Syntax> {
        // Checks the whole text first, to tell a syntax error from JSON of another shape.
        if let Err(error) = serde_json::from_str::<IgnoredAny>(self.text) {
            return Err(syntax(&error));
        }
        let value = serde_json::from_str::<&RawValue>(self.text).map_err(|error| syntax(&error))?;
        let value = Value { text: self, raw: value };
        let members = value.members().map_err(|problem| Syntax {
            line: problem.line,
            column: 1,
            reason: problem.reason,
        })?;
        let mut object = Object { line: value.line(), members };
        let repeated = object.repeated();
        object.members.retain(|member| !repeated.contains(&member.name));
        let line = object.line;
        let problem = |name: &String| Problem { name: shown(name), line, reason: TWICE };
        Ok((object, repeated.iter().map(problem).collect()))
    }

    /// The line where a part of the text begins, counted from 1.
    fn line(&self, part: &str) -> usize {
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        1 + self.ends.partition_point(|end| *end < offset)
    }
}

const TWICE: &str = "is there twice, and it can't be told which one counts";

/// Keeps only the place, because serde's own message may quote the text.
fn syntax(error: &serde_json::Error) -> Syntax {
    let reason = match error.is_eof() {
        true => "it ends in the middle: it was not written to its end",
        false => "it is not JSON from here on (it may be cut off)",
    };
    Syntax { line: error.line(), column: error.column(), reason }
}

/// A value in the text.
#[derive(Clone, Copy)]
pub(super) struct Value<'t> {
    text: &'t Text<'t>,
    raw: &'t RawValue,
}

impl<'t> Value<'t> {
    pub(super) fn line(self) -> usize {
        self.text.line(self.raw.get())
    }

    fn begins(self) -> u8 {
        self.raw.get().bytes().next().unwrap_or_default()
    }

    pub(super) fn is_object(self) -> bool {
        self.begins() == b'{'
    }

    fn is_null(self) -> bool {
        self.begins() == b'n'
    }

    fn problem(self, reason: &'static str) -> Problem {
        Problem { name: String::new(), line: self.line(), reason }
    }

    fn members(self) -> Result<Vec<Member<'t>>, Problem> {
        if !self.is_object() {
            return Err(self.problem("must be an object"));
        }
        serde_json::Deserializer::from_str(self.raw.get())
            .deserialize_map(Members { text: self.text })
            .map_err(|_| self.problem("has a name with an escape that makes no character"))
    }

    pub(super) fn object(self) -> Result<Object<'t>, Problem> {
        let object = Object { line: self.line(), members: self.members()? };
        match object.repeated().first() {
            Some(name) => Err(Problem { name: shown(name), ..self.problem(TWICE) }),
            None => Ok(object),
        }
    }

    pub(super) fn secret(self) -> Result<SecretString, Problem> {
        self.string().map(SecretString::from)
    }

    fn string(self) -> Result<String, Problem> {
        if self.begins() != b'"' {
            return Err(self.problem("must be a string"));
        }
        serde_json::from_str(self.raw.get())
            .map_err(|_| self.problem("has an escape that makes no character"))
    }

    fn moment(self) -> Result<Timestamp, Problem> {
        let number = match serde_json::from_str::<f64>(self.raw.get()) {
            Ok(number) if number >= 0.0 && number <= LATEST as f64 => number as u64,
            Ok(_) => return Err(self.problem("must be a moment after 1970 that a calendar has")),
            Err(_) => {
                return Err(self.problem("must be a number, of milliseconds or seconds since 1970"));
            }
        };
        let millis = if number < MIN_MILLIS { number.saturating_mul(1000) } else { number };
        Ok(Timestamp::from_millis(millis))
    }

    /// A string, or the strings of an array, with a space between them.
    fn words(self) -> Result<String, Problem> {
        if self.begins() != b'[' {
            return self.string();
        }
        let words: Vec<String> = serde_json::from_str(self.raw.get())
            .map_err(|_| self.problem("must be an array of strings"))?;
        Ok(words.join(" "))
    }
}

/// An object's members, in the order of the text. Readers take the ones that they know; the rest is unknown.
pub(super) struct Object<'t> {
    line: usize,
    members: Vec<Member<'t>>,
}

pub(super) struct Member<'t> {
    pub(super) name: String,
    pub(super) value: Value<'t>,
}

impl<'t> Object<'t> {
    /// The line where it begins.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The names that occur more than once.
    fn repeated(&self) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let names = self.members.iter().map(|member| &member.name);
        names.filter(|name| !seen.insert(*name)).cloned().collect()
    }

    pub(super) fn into_members(self) -> Vec<Member<'t>> {
        self.members
    }

    pub(super) fn members(&self) -> &[Member<'t>] {
        &self.members
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn get(&self, name: &str) -> Option<Value<'t>> {
        self.members.iter().find(|member| member.name == name).map(|member| member.value)
    }

    /// Takes the member of this name, unless it is `null`.
    pub(super) fn take(&mut self, name: &str) -> Option<Value<'t>> {
        let place = self.members.iter().position(|member| member.name == name)?;
        Some(self.members.remove(place).value).filter(|value| !value.is_null())
    }

    fn take_as<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Value<'t>) -> Result<T, Problem>,
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.take(name) else { return Ok(None) };
        read(value).map(Some).map_err(|problem| problem.inside(name))
    }

    pub(super) fn object(&mut self, name: &str) -> Result<Option<Object<'t>>, Problem> {
        self.take_as(name, Value::object)
    }

    /// Takes a secret. An empty one counts as none.
    pub(super) fn secret(&mut self, name: &str) -> Result<Option<SecretString>, Problem> {
        Ok(self.take_as(name, Value::secret)?.filter(|secret| !secret.is_empty()))
    }

    /// Takes a secret that must fit into a header.
    pub(super) fn token(&mut self, name: &str) -> Result<Option<SecretString>, Problem> {
        let token = self.take_as(name, |value| {
            let token = value.secret()?;
            let fits = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            match token.expose().bytes().all(fits) {
                true => Ok(token),
                false => Err(value.problem("has a line break or the like, which no header can carry")),
            }
        })?;
        Ok(token.filter(|token| !token.is_empty()))
    }

    /// Takes a text that may be shown. An empty one counts as none.
    pub(super) fn plain(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let plain = |value: Value<'_>| plain(value, value.string()?);
        Ok(self.take_as(name, plain)?.filter(|text| !text.is_empty()))
    }

    /// Takes a list of words that may be shown, as one text or as an array.
    pub(super) fn words(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let words = |value: Value<'_>| {
            let words = value.words()?;
            match words.chars().any(is_unprintable) {
                true => Err(value.problem(UNPRINTABLE)),
                false => Ok(words),
            }
        };
        Ok(self.take_as(name, words)?.filter(|text| !text.is_empty()))
    }

    /// Takes a time. 0 counts as none.
    pub(super) fn moment(&mut self, name: &str) -> Result<Option<Timestamp>, Problem> {
        Ok(self.take_as(name, Value::moment)?.filter(|moment| moment.as_millis() > 0))
    }

    /// The remaining members, as the text of an object; `None` if there are none.
    pub(super) fn rest(self) -> Option<SecretString> {
        let members: Vec<_> =
            self.members.into_iter().filter(|member| !member.value.is_null()).collect();
        if members.is_empty() {
            return None;
        }
        // Sorted by name, so that the order in the file makes no difference.
        let members: BTreeMap<_, _> =
            members.iter().map(|member| (member.name.as_str(), member.value.raw)).collect();
        let room: usize = members.iter().map(|(name, raw)| 6 * name.len() + raw.get().len() + 8).sum();
        let mut text = Zeroizing::new(Vec::with_capacity(room + 2));
        serde_json::to_writer(&mut *text, &members).ok()?;
        String::from_utf8(std::mem::take(&mut *text)).ok().map(SecretString::from)
    }
}

const UNPRINTABLE: &str = "is too long, or has characters that can't be shown";

fn plain(value: Value<'_>, text: String) -> Result<String, Problem> {
    match text.is_empty() || is_short_printable(&text) {
        true => Ok(text),
        false => Err(value.problem(UNPRINTABLE)),
    }
}

impl Problem {
    /// The same problem, with the name of the object that the member is in.
    pub(super) fn inside(mut self, name: &str) -> Self {
        self.name = match self.name.is_empty() {
            true => shown(name),
            false => format!("{}.{}", shown(name), self.name),
        };
        self
    }
}

/// A name from a file in a form that may be shown.
pub(super) fn shown(name: &str) -> String {
    match is_short_printable(name) {
        true => name.to_owned(),
        false => name.escape_debug().take(600).collect(),
    }
}

/// Reads all members of an object, including those with the same name.
struct Members<'t> {
    text: &'t Text<'t>,
}

impl<'de> Visitor<'de> for Members<'de> {
    type Value = Vec<Member<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, raw)) = map.next_entry::<String, &'de RawValue>()? {
            members.push(Member { name, value: Value { text: self.text, raw } });
        }
        Ok(members)
    }
}
