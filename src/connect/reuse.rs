//! Whether a connection is used again after a request on it was refused.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use http::{Response, Version};

/// A request of this size or more, in bytes, is an upload. Servers read a smaller one before they answer.
pub(super) const UPLOAD: usize = 64 * 1024;

/// Whether a connection may carry another request. Each of the connection's responses has it in its extensions.
// Relaxed: the connection sees the next request through a channel, and what was set before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reuse(Arc<AtomicU8>);

const CARRIED_UPLOAD: u8 = 1;
const ENDED: u8 = 2;

impl Reuse {
    /// Ends the HTTP/1 connection of a response that is thrown away, if it has carried an upload.
    ///
    /// A server that refuses an upload unread closes the connection, often without saying so by `connection: close` (RFC
    /// 9112, 9.6). If the system's buffers have taken all of the upload, the client believes that the connection is idle,
    /// and would send the next attempt into the server's reset. A request that meets the end of a connection before it
    /// is begun goes to another one (hyper-util's `retry_canceled_requests`).
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

    /// # Errors
    ///
    /// If the connection has been ended.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            ENDED => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "not used after a refused upload"))
            }
            _ => Ok(()),
        }
    }
}
