//! Numbers and addresses that are typed. If one is wrong, the error says what fits, and not how it was parsed.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// Parses a number of things, of which there must be one at least.
pub(crate) fn count<T: FromStr>(text: &str) -> Result<T, String> {
    number(text, 1)
}

/// Parses a number from 1 up to this one.
pub(crate) fn up_to<const MOST: u16>(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| (1..=MOST).contains(number));
    number.ok_or_else(|| format!("it must be a whole number from 1 to {MOST}"))
}

/// Parses a number of bytes.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    number(text, 0).map_err(|why| format!("{why}; it counts bytes, without a unit"))
}

/// Parses a number of seconds.
pub(crate) fn any_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "it must be a whole number of seconds".to_owned())?;
    Ok(Duration::from_secs(seconds))
}

/// Parses a number of seconds that is not zero.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
        _ => Err("it must be a whole number of seconds, from 1 on".to_owned()),
    }
}

/// Parses the number of a tier.
pub(crate) fn tier(text: &str) -> Result<u8, String> {
    text.parse().map_err(|_| format!("tiers have the numbers from 0 to {}", u8::MAX))
}

fn number<T: FromStr>(text: &str, from: u128) -> Result<T, String> {
    text.parse().map_err(|_| match text.parse::<u128>() {
        Ok(number) if number >= from => "the number is too large".to_owned(),
        _ => format!("it must be a whole number, from {from} on"),
    })
}

/// Parses an address and a port to listen at.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "it must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080; names such as localhost are not \
         looked up"
            .to_owned()
    })
}
