//! Whether a connection is reused after a request on it was refused.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use http::{Response, Version};

/// A request of this size or more, in bytes, is an upload. Servers read a smaller one before they respond.
pub(super) const UPLOAD: usize = 64 * 1024;

/// Whether a connection may carry another request. It is in the extensions of each of the connection's responses.
// Relaxed is enough: the next request reaches the connection through a channel, with everything that was set before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reuse(Arc<AtomicU8>);

const CARRIED_UPLOAD: u8 = 1;
const ENDED: u8 = 2;

impl Reuse {
    /// Ends the HTTP/1 connection of a response that is discarded, if it has carried an upload.
    ///
    /// A server that refuses an upload without reading it closes the connection, often without a `connection: close` (RFC
    /// 9112, 9.6). If the system's buffers have taken all of the upload, the client takes the connection for idle, and
    /// would send the next attempt into the server's reset. A request that finds its connection ended before it has begun
    /// goes to another one (hyper-util's `retry_canceled_requests`).
    pub(crate) fn end_after_upload<B>(refused: &Response<B>) {
        if refused.version() <= Version::HTTP_11
            && let Some(Self(state)) = refused.extensions().get()
        {
            let _ = state.compare_exchange(CARRIED_UPLOAD, ENDED, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    pub(super) fn carries_upload(&self) {
        self.0.fetch_max(CARRIED_UPLOAD, Ordering::Relaxed);
    }

    /// Checks that the connection may still be used.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionAborted`] if the connection has been ended.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            ENDED => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "not used after a refused upload"))
            }
            _ => Ok(()),
        }
    }
}
