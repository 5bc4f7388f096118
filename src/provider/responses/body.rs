//! Reads the fields of an error's JSON body, which may be cut off.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The maximum number of values taken from one body.
const MAX_VALUES: usize = 64;

/// Returns the values at these paths of fields, as text, each with the index of its path. A value that the cut body doesn't
/// contain in full is left out. Paths ignore lists, so an error in a list is found like one outside. A body that isn't JSON
/// has no values.
pub(crate) fn values(body: &[u8], paths: &[&str]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut take = |path: &[String], value: &dyn fmt::Display| {
        let is_path = |wanted: &str| wanted.split('.').eq(path.iter().map(String::as_str));
        let matches = |wanted: &&str| wanted.split('|').any(is_path);
        for (index, _) in paths.iter().enumerate().filter(|(_, wanted)| matches(wanted)) {
            if found.len() < MAX_VALUES {
                found.push((index, value.to_string()));
            }
        }
    };
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut json = serde_json::Deserializer::from_slice(without_last_number(body));
    // If the body is cut off or isn't JSON, this fails after it has taken the values before.
    let _ = Walk { path: &mut Vec::new(), take: &mut take }.deserialize(&mut json);
    found
}

/// Removes a number at the very end, whose last digits may be missing. A complete body ends in a bracket.
fn without_last_number(body: &[u8]) -> &[u8] {
    let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let length = body.iter().rev().take_while(|byte| is_part(byte)).count();
    &body[..body.len() - length]
}

type Take<'a> = dyn FnMut(&[String], &dyn fmt::Display) + 'a;

/// Visits a value and everything in it.
struct Walk<'a, 't> {
    path: &'a mut Vec<String>,
    take: &'a mut Take<'t>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut known = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            // If a field occurs twice, the first one counts, as in most other readers.
            if !known.insert(key.clone()) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            self.path.push(key);
            map.next_value_seed(Walk { path: self.path, take: self.take })?;
            self.path.pop();
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Walk { path: self.path, take: self.take })?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        (self.take)(self.path, &text);
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        (self.take)(self.path, &number);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        (self.take)(self.path, &number);
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        (self.take)(self.path, &number);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
