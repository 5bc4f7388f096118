//! gRPC's trailers-only responses: a refusal in the headers of an HTTP 200.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use crate::clock::Timestamp;
use crate::standing::{Stated, StatedBy};

/// Whether these are the headers of a trailers-only response that failed ("Trailers-Only" in gRPC over HTTP2).
/// In a response with messages the status comes after them, too late for a layer to act on it.
#[inline]
pub(super) fn is_trouble(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return false };
    kind.as_bytes().starts_with(b"application/grpc") && has_failed(headers)
}

#[cold]
fn has_failed(headers: &HeaderMap) -> bool {
    headers.get("grpc-status").is_some_and(|status| status != "0")
}

/// Returns the HTTP status with the same meaning, if there is one that concerns the credential.
pub(super) fn status(headers: &HeaderMap) -> Option<StatusCode> {
    match headers.get("grpc-status")?.as_bytes() {
        b"7" => Some(StatusCode::FORBIDDEN),
        b"8" => Some(StatusCode::TOO_MANY_REQUESTS),
        b"16" => Some(StatusCode::UNAUTHORIZED),
        _ => None,
    }
}

/// Returns when the server says to ask again, in `grpc-retry-pushback-ms` or in a `google.rpc.RetryInfo` among the
/// details.
pub(super) fn retry_stated(headers: &HeaderMap, now: Timestamp) -> Option<Stated> {
    let (wait, name) = match pushback(headers) {
        Some(wait) => (wait, PUSHBACK),
        None => (retry_delay(headers)?, DETAILS),
    };
    let at = now.after(wait.min(crate::rate_limit::MAX_STATED));
    Some((at, StatedBy::Header(name.into())))
}

const PUSHBACK: &str = "grpc-retry-pushback-ms";
const DETAILS: &str = "grpc-status-details-bin";

/// A negative number says not to ask again, but not for how long.
fn pushback(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(PUSHBACK)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_millis)
}

#[cfg(not(feature = "providers"))]
fn retry_delay(_: &HeaderMap) -> Option<Duration> {
    None
}

/// `google.rpc.Status` has the details in field 3, each a `google.protobuf.Any` with its type in field 1 and its value
/// in field 2; `RetryInfo` has the delay in field 1, as seconds in field 1 and nanoseconds in field 2.
#[cfg(feature = "providers")]
fn retry_delay(headers: &HeaderMap) -> Option<Duration> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD_NO_PAD;

    let text = headers.get(DETAILS)?.to_str().ok()?;
    let status = STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    let is_retry_info = |any: &&[u8]| {
        let kind = protobuf::fields(any).find_map(|field| field.bytes(1));
        kind.is_some_and(|kind| kind.ends_with(b"/google.rpc.RetryInfo"))
    };
    let any = protobuf::fields(&status).filter_map(|field| field.bytes(3)).find(is_retry_info)?;
    let info = protobuf::fields(any).find_map(|field| field.bytes(2))?;
    let delay = protobuf::fields(info).find_map(|field| field.bytes(1))?;
    let number = |of| protobuf::fields(delay).find_map(|field| field.number(of)).unwrap_or(0);
    let nanoseconds =
        u32::try_from(number(2)).ok().filter(|nanoseconds| *nanoseconds < 1_000_000_000)?;
    // A negative one is a number of ten bytes that is too large.
    (number(1) < 1 << 40).then(|| Duration::new(number(1), nanoseconds))
}

/// The part of protobuf's encoding that this needs.
#[cfg(feature = "providers")]
mod protobuf {
    pub(super) enum Field<'a> {
        Number(u64, u64),
        Bytes(u64, &'a [u8]),
    }

    impl<'a> Field<'a> {
        pub(super) fn number(self, wanted: u64) -> Option<u64> {
            match self {
                Self::Number(field, number) if field == wanted => Some(number),
                _ => None,
            }
        }

        pub(super) fn bytes(self, wanted: u64) -> Option<&'a [u8]> {
            match self {
                Self::Bytes(field, bytes) if field == wanted => Some(bytes),
                _ => None,
            }
        }
    }

    /// Returns the fields of a message, up to the first that can't be read.
    pub(super) fn fields(mut message: &[u8]) -> impl Iterator<Item = Field<'_>> {
        std::iter::from_fn(move || {
            let tag = varint(&mut message)?;
            match tag & 7 {
                0 => Some(Field::Number(tag >> 3, varint(&mut message)?)),
                2 => {
                    let length = usize::try_from(varint(&mut message)?).ok()?;
                    let (bytes, rest) = message.split_at_checked(length)?;
                    message = rest;
                    Some(Field::Bytes(tag >> 3, bytes))
                }
                _ => None,
            }
        })
    }

    fn varint(message: &mut &[u8]) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = message.split_first()?;
            *message = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}
