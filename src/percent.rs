//! Percent-encoding (RFC 3986, section 2.1).

/// Decodes a name or a value of a query, as servers do: `api%5Fkey` is `api_key`.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Encodes each byte for which `is_kept` is false as `%` and two lower-case digits.
#[cfg(any(feature = "config", feature = "file", feature = "redis"))]
pub(crate) fn encoded(text: &str, is_kept: impl Fn(u8) -> bool) -> String {
    use std::fmt::Write;

    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if is_kept(byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02x}");
        }
        encoded
    })
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}
