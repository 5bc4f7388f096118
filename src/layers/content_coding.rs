//! Reading the beginning of a compressed body (RFC 9110, section 8.4).

use std::io::Read;

use http::{HeaderMap, header};

/// The codings that can be decoded, as `accept-encoding` names them.
#[cfg(feature = "decompress")]
pub(super) const READABLE: &[&str] = &["gzip", "deflate", "br", "zstd"];
#[cfg(not(feature = "decompress"))]
pub(super) const READABLE: &[&str] = &[];

/// The most codings that are decoded one after the other. More than one is rare already.
const MAX_CODINGS: usize = 4;

/// How much of a compressed body is read, in bytes. The beginning of an error's text is shorter than that when it is
/// compressed, or a few bytes longer if there is next to nothing to compress.
pub(super) const MAX_COMPRESSED: usize = 16 * 1024;

/// Whether the body is compressed.
pub(super) fn is_coded(headers: &HeaderMap) -> bool {
    codings(headers).next().is_some()
}

/// Returns the codings, in the order in which they were applied.
fn codings(headers: &HeaderMap) -> impl DoubleEndedIterator<Item = &str> {
    let values = headers.get_all(header::CONTENT_ENCODING).into_iter();
    let elements = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let elements = elements.map(str::trim).filter(|name| !name.is_empty());
    elements.filter(|name| !name.eq_ignore_ascii_case("identity"))
}

/// Decodes as much of this beginning of a body as can be read, and at most this many bytes. Returns `None` for an
/// unknown coding. A body that decompresses without end costs no more than its beginning does.
pub(super) fn decoded(headers: &HeaderMap, beginning: &[u8], limit: usize) -> Option<Vec<u8>> {
    let codings: Vec<_> = codings(headers).rev().collect();
    if codings.len() > MAX_CODINGS {
        return None;
    }
    let mut text = beginning.to_vec();
    for (index, name) in codings.iter().enumerate() {
        // A text that is still compressed may be longer than what it decodes to.
        let limit = if index + 1 == codings.len() { limit } else { limit.max(MAX_COMPRESSED) };
        text = decode(name, &text, limit)?;
    }
    Some(text)
}

#[cfg(not(feature = "decompress"))]
fn decode(_: &str, _: &[u8], _: usize) -> Option<Vec<u8>> {
    None
}

#[cfg(feature = "decompress")]
fn decode(name: &str, text: &[u8], limit: usize) -> Option<Vec<u8>> {
    use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

    let is = |known: &str| name.eq_ignore_ascii_case(known);
    if is("gzip") || is("x-gzip") {
        Some(beginning(MultiGzDecoder::new(text), limit))
    } else if is("deflate") {
        // Zlib's format (RFC 9110, section 8.4.1.2). Some servers leave its header out.
        let is_framed =
            matches!(text, [a, b, ..] if a & 0x0f == 8 && u16::from_be_bytes([*a, *b]) % 31 == 0);
        Some(if is_framed {
            beginning(ZlibDecoder::new(text), limit)
        } else {
            beginning(DeflateDecoder::new(text), limit)
        })
    } else if is("br") {
        Some(beginning(brotli_decompressor::Decompressor::new(text, 4096), limit))
    } else if is("zstd") {
        Some(zstd(text, limit))
    } else {
        None
    }
}

/// Decodes the frames of Zstandard one after the other. The window's limit is the one that RFC 8878 asks of every
/// decoder (section 3.1.1.1.2).
#[cfg(feature = "decompress")]
fn zstd(mut text: &[u8], limit: usize) -> Vec<u8> {
    use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

    const WINDOW: u64 = 8 * 1024 * 1024;
    let mut read = Vec::new();
    while !text.is_empty() && read.len() < limit {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW);
        let before = text.len();
        let Ok(stream) = StreamingDecoder::new_with_decoder(&mut text, decoder) else { break };
        read.extend(beginning(stream, limit - read.len()));
        if text.len() == before {
            break;
        }
    }
    read
}

/// Reads up to the end, to an error, or to this many bytes.
#[cfg_attr(not(feature = "decompress"), allow(dead_code, reason = "nothing is decoded"))]
fn beginning(mut reader: impl Read, limit: usize) -> Vec<u8> {
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    while text.len() < limit {
        let room = chunk.len().min(limit - text.len());
        match reader.read(&mut chunk[..room]) {
            Ok(length) if length > 0 => text.extend_from_slice(&chunk[..length]),
            // A body that is cut off ends in an error, too.
            _ => break,
        }
    }
    text
}
