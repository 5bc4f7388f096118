//! Requests whose bodies, or whose answers, are for one origin alone.

/// In a request's extensions: no client may send it on to another origin, and an answer from there is nobody's. Tokens
/// are in its body, or are expected in the answer.
#[derive(Clone, Copy)]
pub(crate) struct OwnOriginOnly;
