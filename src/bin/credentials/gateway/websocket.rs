//! WebSockets (RFC 6455): requests whose connection carries something else than HTTP once the upstream agrees.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{CONNECTION, TE, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use http_body::Body;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::access::Seen;
use super::forward::lists;

/// How much is read from one side at once.
const PIECE: usize = 16 * 1024;

/// How long one side may go on once the other has ended.
const CLOSING: Duration = Duration::from_secs(10);

/// Whether a request opens a WebSocket (RFC 6455, section 4.1).
pub(super) fn is_handshake<B: Body>(request: &Request<B>) -> bool {
    *request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && request.body().is_end_stream()
        && lists(request.headers(), &CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
        && names_websocket(request.headers())
}

/// Whether the headers of a 101 say that a WebSocket begins (RFC 6455, section 4.2.2).
pub(super) fn names_websocket(headers: &HeaderMap) -> bool {
    lists(headers, &UPGRADE).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

/// Sets what a message of the handshake has for this connection only.
pub(super) fn of_handshake(headers: &mut HeaderMap) {
    headers.remove(TE);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// The two sides of a WebSocket, once the upstream has agreed.
pub(super) struct Sides<B> {
    pub(super) client: OnUpgrade,
    pub(super) upstream: OnUpgrade,
    /// The body of the upstream's response. The account serves this request as long as it is there.
    pub(super) body: B,
}

/// A WebSocket between a client and an upstream.
pub(crate) struct WebSocket<B> {
    sides: Sides<B>,
    passed: Passed,
}

/// What has passed. It is noted when it is dropped, however the connection has ended.
pub(super) struct Passed {
    pub(super) seen: Seen,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

impl Passed {
    pub(super) fn new(seen: Seen) -> Self {
        Self { seen, sent: AtomicU64::new(0), received: AtomicU64::new(0) }
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        self.seen.passed(*self.sent.get_mut(), *self.received.get_mut());
    }
}

impl<B> WebSocket<B> {
    pub(super) fn new(sides: Sides<B>, seen: Seen) -> Self {
        Self { sides, passed: Passed::new(seen) }
    }

    /// Passes on what each side sends, until both have ended. Where one has ended, the other has a moment to end, too.
    pub(crate) async fn run(self) {
        let Self { sides: Sides { client, upstream, body }, mut passed } = self;
        let Ok((client, upstream)) = tokio::try_join!(client, upstream) else { return };
        let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
        let (from_upstream, to_upstream) = tokio::io::split(TokioIo::new(upstream));
        let mut down = pin!(pass(from_upstream, to_client, &passed.sent, || ()));
        let mut up = pin!(pass(from_client, to_upstream, &passed.received, || ()));
        let ended = tokio::select! {
            ended = &mut down => match ended {
                Ok(()) => tokio::time::timeout(CLOSING, up).await,
                Err(error) => Ok(Err(error)),
            },
            ended = &mut up => match ended {
                Ok(()) => tokio::time::timeout(CLOSING, down).await,
                Err(error) => Ok(Err(error)),
            },
        };
        if matches!(ended, Ok(Ok(()))) {
            passed.seen.ended();
        }
        drop(body);
    }
}

/// Passes on all that comes from one side, and then its end, and tells of each piece. `tokio::io::copy` does not say how much
/// it was if it fails.
pub(super) async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: &AtomicU64,
    tell: impl Fn(),
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..length]).await?;
        to.flush().await?;
        count.fetch_add(length as u64, Ordering::Relaxed);
        tell();
    }
}
