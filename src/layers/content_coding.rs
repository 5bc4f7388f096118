//! Reading the beginning of a body that is compressed (RFC 9110, section 8.4).

use std::io::Read;

use http::{HeaderMap, header};

/// The codings that can be read, as `accept-encoding` names them.
#[cfg(feature = "decompress")]
pub(super) const READABLE: &[&str] = &["gzip", "deflate", "br", "zstd"];
#[cfg(not(feature = "decompress"))]
pub(super) const READABLE: &[&str] = &[];

/// The most codings that are undone. More than one is rare already.
const MOST_CODINGS: usize = 4;

/// How much of a compressed body is read for this much of what it says. Compressed, an error's body is shorter than
/// that, but for some bytes of its own where there is next to nothing to compress.
pub(super) const MOST_COMPRESSED: usize = 16 * 1024;

/// Whether the body is compressed.
pub(super) fn is_coded(headers: &HeaderMap) -> bool {
    codings(headers).next().is_some()
}

/// The codings, in the order in which they were applied.
fn codings(headers: &HeaderMap) -> impl DoubleEndedIterator<Item = &str> {
    let values = headers.get_all(header::CONTENT_ENCODING).into_iter();
    let elements = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let elements = elements.map(str::trim).filter(|name| !name.is_empty());
    elements.filter(|name| !name.eq_ignore_ascii_case("identity"))
}

/// As much as can be read of what this beginning of a body says, and at most this many bytes of it; `None` where it is
/// in a coding that isn't known. A body that unfolds without end costs no more than its beginning does.
pub(super) fn decoded(headers: &HeaderMap, beginning: &[u8], most: usize) -> Option<Vec<u8>> {
    let codings: Vec<_> = codings(headers).rev().collect();
    if codings.len() > MOST_CODINGS {
        return None;
    }
    let mut text = beginning.to_vec();
    for (index, name) in codings.iter().enumerate() {
        // What is compressed again is longer than what it says.
        let most = if index + 1 == codings.len() { most } else { most.max(MOST_COMPRESSED) };
        text = decode(name, &text, most)?;
    }
    Some(text)
}

#[cfg(not(feature = "decompress"))]
fn decode(_: &str, _: &[u8], _: usize) -> Option<Vec<u8>> {
    None
}

#[cfg(feature = "decompress")]
fn decode(name: &str, text: &[u8], most: usize) -> Option<Vec<u8>> {
    use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

    let is = |known: &str| name.eq_ignore_ascii_case(known);
    if is("gzip") || is("x-gzip") {
        Some(beginning(MultiGzDecoder::new(text), most))
    } else if is("deflate") {
        // Zlib's format, by RFC 9110, section 8.4.1.2; without its frame from some servers.
        let is_framed =
            matches!(text, [a, b, ..] if a & 0x0f == 8 && u16::from_be_bytes([*a, *b]) % 31 == 0);
        Some(if is_framed {
            beginning(ZlibDecoder::new(text), most)
        } else {
            beginning(DeflateDecoder::new(text), most)
        })
    } else if is("br") {
        Some(beginning(brotli_decompressor::Decompressor::new(text, 4096), most))
    } else if is("zstd") {
        Some(zstd(text, most))
    } else {
        None
    }
}

/// The frames of Zstandard one after the other. Windows are those that RFC 8878 asks of every reader (section 3.1.1.1.2).
#[cfg(feature = "decompress")]
fn zstd(mut text: &[u8], most: usize) -> Vec<u8> {
    use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

    const WINDOW: u64 = 8 * 1024 * 1024;
    let mut read = Vec::new();
    while !text.is_empty() && read.len() < most {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW);
        let before = text.len();
        let Ok(stream) = StreamingDecoder::new_with_decoder(&mut text, decoder) else { break };
        read.extend(beginning(stream, most - read.len()));
        if text.len() == before {
            break;
        }
    }
    read
}

/// What can be read up to the end, to an error, or to this many bytes.
#[cfg_attr(not(feature = "decompress"), allow(dead_code, reason = "nothing is decoded"))]
fn beginning(mut reader: impl Read, most: usize) -> Vec<u8> {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    while text.len() < most {
        let room = piece.len().min(most - text.len());
        match reader.read(&mut piece[..room]) {
            Ok(length) if length > 0 => text.extend_from_slice(&piece[..length]),
            // A body that is cut off ends in an error.
            _ => break,
        }
    }
    text
}
