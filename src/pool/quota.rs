//! The quota that a vendor's responses name.

use http::{HeaderMap, HeaderName};

use super::{Lease, Pool};
use crate::clock::Timestamp;
use crate::credential::Kind;
use crate::vault::MAX_NAME_LEN;

impl Pool {
    /// Records which quota the vendor says that an API key takes from.
    pub(super) fn record_quota(&self, lease: &Lease, headers: &HeaderMap, now: Timestamp) {
        let names = &self.0.quota_headers;
        if names.is_empty() || lease.credential().kind != Kind::Api {
            return;
        }
        let mut buffer = [0; MAX_NAME_LEN];
        if let Some(name) = quota_name(names, headers, &mut buffer) {
            self.with_state(|state, config| state.record_quota(lease, name, config, now));
        }
    }
}

/// Joins the values of these headers with slashes: the first, which must be there, and those of the others that are.
/// `None` if that is too long for a name. Allocates nothing, since most responses say what is known.
fn quota_name<'a>(
    names: &[HeaderName],
    headers: &HeaderMap,
    buffer: &'a mut [u8; MAX_NAME_LEN],
) -> Option<&'a str> {
    let mut length = 0;
    for (place, name) in names.iter().enumerate() {
        let value = headers.get(name).map(|value| value.as_bytes().trim_ascii()).unwrap_or_default();
        if place == 0 && value.is_empty() {
            return None;
        }
        let slash: &[u8] = if place == 0 { b"" } else { b"/" };
        for part in [slash, value] {
            let end = length + part.len();
            buffer.get_mut(length..end)?.copy_from_slice(part);
            length = end;
        }
    }
    std::str::from_utf8(&buffer[..length]).ok().map(|name| name.trim_end_matches('/'))
}
