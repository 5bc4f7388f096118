//! The host and port of a node.

use std::fmt;
use std::sync::Arc;

use super::InvalidRedisUrl;

/// A host and a port.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(in crate::vault) struct Address {
    pub(in crate::vault) host: Arc<str>,
    pub(in crate::vault) port: u16,
}

impl Address {
    pub(in crate::vault) fn new(host: impl Into<Arc<str>>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Reads `host`, `host:port`, `[::1]` or `[::1]:port`.
    pub(super) fn parse(text: &str, default: u16) -> Result<Self, InvalidRedisUrl> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest
                    .split_once(']')
                    .ok_or_else(|| InvalidRedisUrl::new("an IPv6 address has no closing bracket"))?;
                (host, port.strip_prefix(':'))
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        if host.is_empty() {
            return Err(InvalidRedisUrl::new("it names no host"));
        }
        let port = match port {
            None | Some("") => default,
            Some(port) => port
                .parse()
                .map_err(|_| InvalidRedisUrl::new("a port is not a number from 1 to 65535"))?,
        };
        Ok(Self::new(host, port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
