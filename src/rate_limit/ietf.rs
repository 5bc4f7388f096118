//! The structured fields of draft-ietf-httpapi-ratelimit-headers.

use http::HeaderMap;

use super::first;
use super::limits::Bucket;
use super::values::{Reset, milliseconds, number, quota};

/// One item of `ratelimit` or `ratelimit-policy`.
#[derive(Clone, Copy, Default)]
pub(super) struct Item<'a> {
    pub(super) name: &'a [u8],
    /// The remaining quota.
    pub(super) r: Option<u64>,
    /// Seconds until the reset.
    pub(super) t: Option<u64>,
    /// The quota, in a policy.
    pub(super) q: Option<u64>,
}

/// Returns the quota of the policy with this name (draft-ietf-httpapi-ratelimit-headers-10).
pub(super) fn policy_quota(headers: &HeaderMap, name: &[u8]) -> Option<u64> {
    first(headers, "ratelimit-policy", |text| {
        let mut quota = None;
        let whole = for_each_item(text, |item| {
            if item.name == name {
                quota = quota.or(item.q);
            }
        });
        whole.and(quota)
    })
}

/// Calls `each` for the items of a structured list of strings or tokens with parameters (RFC 9651,
/// section 3.1). Returns `None` if the text isn't one.
pub(super) fn for_each_item<'a>(mut text: &'a [u8], mut each: impl FnMut(Item<'a>)) -> Option<()> {
    loop {
        let mut item = Item::default();
        (item.name, text) = match text.first()? {
            b'"' => string(text)?,
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => token(text),
            _ => return None,
        };
        while let Some(rest) = text.strip_prefix(b";") {
            let length = rest.iter().take_while(|byte| **byte == b' ').count();
            let (key, rest) = key(&rest[length..])?;
            let value;
            (value, text) = match rest.strip_prefix(b"=") {
                Some(rest) => bare_item(rest)?,
                None => (&b""[..], rest),
            };
            match key {
                b"r" => item.r = number(value),
                b"t" => item.t = number(value),
                b"q" => item.q = number(value),
                _ => {}
            }
        }
        each(item);
        text = text.trim_ascii_start();
        if text.is_empty() {
            return Some(());
        }
        text = text.strip_prefix(b",")?.trim_ascii_start();
    }
}

fn bare_item(text: &[u8]) -> Option<(&[u8], &[u8])> {
    match text.first()? {
        b'"' => string(text),
        b':' => {
            let end = text[1..].iter().position(|byte| *byte == b':')?;
            Some(text.split_at(end + 2))
        }
        // Booleans and dates.
        b'?' | b'@' => {
            let (_, rest) = token(&text[1..]);
            Some((&text[..text.len() - rest.len()], rest))
        }
        _ => {
            let (value, rest) = token(text);
            (!value.is_empty()).then_some((value, rest))
        }
    }
}

/// Splits off a quoted string: its unescaped contents as written, and the rest.
pub(crate) fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut end = 1;
    loop {
        match text.get(end)? {
            b'"' => return Some((&text[1..end], &text[end + 1..])),
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
}

/// Splits off a token (RFC 9651, section 3.3.4), or a number, which has the same characters.
pub(crate) fn token(text: &[u8]) -> (&[u8], &[u8]) {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(byte);
    text.split_at(text.iter().take_while(|byte| is_part(byte)).count())
}

fn key(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_part =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(byte);
    let length = text.iter().take_while(|byte| is_part(byte)).count();
    (length > 0).then(|| text.split_at(length))
}

/// `limit=100, remaining=50, reset=30` (draft-ietf-httpapi-ratelimit-headers-07, section 5).
pub(super) fn draft_07(text: &[u8]) -> Option<Bucket> {
    let mut bucket = Bucket::default();
    for member in text.split(|byte| *byte == b',') {
        let mut parts = member.splitn(2, |byte| *byte == b'=');
        let key = parts.next()?.trim_ascii();
        let value = parts.next()?.trim_ascii();
        match key {
            b"limit" => bucket.limit = Some(quota(value)?),
            b"remaining" => bucket.remaining = Some(number(value)?),
            b"reset" => bucket.reset = Some(Reset::In(milliseconds(number(value)?))),
            _ => {}
        }
    }
    Some(bucket)
}
