//! Numbers and addresses that are typed. If one is wrong, the error says what fits, and not how it was parsed.

#[cfg(feature = "serve")]
use std::net::SocketAddr;
#[cfg(feature = "serve")]
use std::str::FromStr;

/// Parses a number of things, of which there must be one at least.
#[cfg(feature = "serve")]
pub(crate) fn count<T: FromStr>(text: &str) -> Result<T, String> {
    number(text, 1)
}

/// Parses a number of bytes.
#[cfg(feature = "serve")]
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    number(text, 0).map_err(|why| format!("{why}; it counts bytes, without a unit"))
}

/// Parses the number of a tier.
pub(crate) fn tier(text: &str) -> Result<u8, String> {
    text.parse().map_err(|_| format!("tiers have the numbers from 0 to {}", u8::MAX))
}

#[cfg(feature = "serve")]
fn number<T: FromStr>(text: &str, from: u128) -> Result<T, String> {
    text.parse().map_err(|_| match text.parse::<u128>() {
        Ok(number) if number >= from => "the number is too large".to_owned(),
        _ => format!("it must be a whole number, from {from} on"),
    })
}

/// Parses an address and a port to listen at.
#[cfg(feature = "serve")]
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "it must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080; names such as localhost are not \
         looked up"
            .to_owned()
    })
}
