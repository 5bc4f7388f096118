//! HTTP/2 as its frames, so that a test's server controls each of them.
#![allow(dead_code, reason = "each file of tests uses a part")]

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

// The kinds (RFC 9113, section 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// The flag of a reply to settings or to a ping.
const ACK: u8 = 1;

/// The flag of the last frame of a stream.
pub(crate) const END_STREAM: u8 = 1;

/// A frame.
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) id: u32,
}

impl Frame {
    /// Whether a request ends with it.
    pub(crate) fn ends_request(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// Whether the client has followed the latest settings.
    pub(crate) fn is_settings_ack(&self) -> bool {
        self.kind == SETTINGS && self.flags & ACK != 0
    }
}

/// Begins a connection as its server, with these settings.
pub(crate) async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    settings: &[u8],
) -> io::Result<()> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    stream.read_exact(&mut [0; PREFACE.len()]).await?;
    set(stream, settings).await
}

/// The settings that so many requests are taken at once.
pub(crate) fn streams(limit: u32) -> [u8; 6] {
    let [a, b, c, d] = limit.to_be_bytes();
    // SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113, section 6.5.2).
    [0, 3, a, b, c, d]
}

/// Reads the next frame. Replies to settings and pings.
pub(crate) async fn next<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await?;
    let (kind, flags) = (head[3], head[4]);
    match kind {
        SETTINGS if flags & ACK == 0 => send(stream, SETTINGS, ACK, 0, &[]).await?,
        PING if flags & ACK == 0 => send(stream, PING, ACK, 0, &payload).await?,
        _ => {}
    }
    Ok(Frame { kind, flags, id })
}

/// Sends a frame (RFC 9113, section 4.1).
pub(crate) async fn send<S: AsyncWrite + Unpin>(
    stream: &mut S,
    kind: u8,
    flags: u8,
    id: u32,
    payload: &[u8],
) -> io::Result<()> {
    let mut frame = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags];
    frame.extend(id.to_be_bytes());
    frame.extend(payload);
    stream.write_all(&frame).await?;
    stream.flush().await
}

/// Sends settings.
pub(crate) async fn set<S: AsyncWrite + Unpin>(stream: &mut S, settings: &[u8]) -> io::Result<()> {
    send(stream, SETTINGS, 0, 0, settings).await
}

/// Sends the head of a 200, with these flags.
pub(crate) async fn ok<S: AsyncWrite + Unpin>(stream: &mut S, id: u32, flags: u8) -> io::Result<()> {
    const END_HEADERS: u8 = 4;
    // `:status: 200` (RFC 7541, appendix A).
    send(stream, HEADERS, END_HEADERS | flags, id, &[0x88]).await
}

pub(crate) async fn reset<S: AsyncWrite + Unpin>(stream: &mut S, id: u32, code: u32) -> io::Result<()> {
    send(stream, RST_STREAM, 0, id, &code.to_be_bytes()).await
}

pub(crate) async fn go_away<S: AsyncWrite + Unpin>(
    stream: &mut S,
    last: u32,
    code: u32,
) -> io::Result<()> {
    send(stream, GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat()).await
}
