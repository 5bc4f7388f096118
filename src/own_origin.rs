//! Requests whose bodies or responses are for one origin only.

/// An extension of a request with tokens in its body or response: no client may send it on to another origin, and a
/// response from there must be ignored.
#[derive(Clone, Copy)]
pub(crate) struct OwnOriginOnly;
