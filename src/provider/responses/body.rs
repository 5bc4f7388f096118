//! The fields of an error's body, of which only the beginning may be there.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The most values that are taken of one body.
const MOST: usize = 64;

/// The values, as text, that these paths of fields lead to, each with its path's number: as many as stand whole in
/// what there is of a JSON body. Lists count for nothing in a path, so an error in a list is found like one alone.
/// Of what is no JSON there are none.
pub(crate) fn values(body: &[u8], paths: &[&str]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut take = |path: &[String], value: &dyn fmt::Display| {
        let is_it = |wanted: &str| wanted.split('.').eq(path.iter().map(String::as_str));
        let is_it = |wanted: &&str| wanted.split('|').any(is_it);
        for (number, _) in paths.iter().enumerate().filter(|(_, wanted)| is_it(wanted)) {
            if found.len() < MOST {
                found.push((number, value.to_string()));
            }
        }
    };
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut json = serde_json::Deserializer::from_slice(without_last_number(body));
    // That it ends too soon, or isn't JSON, is no matter: what came before was taken.
    let _ = Walk { path: &mut Vec::new(), take: &mut take }.deserialize(&mut json);
    found
}

/// Without a number at the very end, of which more may have followed. A whole body ends in a bracket.
fn without_last_number(body: &[u8]) -> &[u8] {
    let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let length = body.iter().rev().take_while(|byte| is_part(byte)).count();
    &body[..body.len() - length]
}

type Take<'a> = dyn FnMut(&[String], &dyn fmt::Display) + 'a;

/// Visits a value and all that is in it.
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
            // Of a field that stands there twice the first counts: it is the one that others may have judged by.
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
