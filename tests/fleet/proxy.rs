//! A line between one host and the engine, that a test can spoil.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// What the line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Works,
    /// Each connection is closed, also each new one.
    Breaks,
    /// Nothing arrives, in neither direction, and connections stay open.
    HoldsBack,
    /// Requests arrive, and their responses get lost.
    LosesResponses,
    /// The engine's side of each connection is closed, and the host's is not.
    HalfCloses,
    /// Each response arrives so much later.
    Delays(Duration),
}

impl Line {
    /// Whether requests reach the engine.
    fn lets_requests_through(self) -> bool {
        matches!(self, Self::Works | Self::LosesResponses | Self::Delays(_))
    }
}

pub(crate) struct Proxy {
    port: u16,
    line: watch::Sender<Line>,
}

impl Proxy {
    /// Starts one before the engine at this port, in the current runtime.
    pub(crate) async fn start(engine: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (line, state) = watch::channel(Line::Works);
        tokio::spawn(async move {
            while let Ok((host, _)) = listener.accept().await {
                tokio::spawn(carry(host, engine, state.clone()));
            }
        });
        Self { port, line }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

/// Carries a connection until it breaks.
async fn carry(host: TcpStream, engine: u16, line: watch::Receiver<Line>) {
    let Ok(engine) = TcpStream::connect(("127.0.0.1", engine)).await else { return };
    let _ = (host.set_nodelay(true), engine.set_nodelay(true));
    let ((from_host, to_host), (from_engine, to_engine)) = (host.into_split(), engine.into_split());
    let mut state = line.clone();
    tokio::select! {
        _ = state.wait_for(|line| *line == Line::Breaks) => {}
        // Both go on until both have ended.
        _ = async { tokio::join!(requests(from_host, to_engine, line.clone()), responses(from_engine, to_host, line)) } => {}
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
) -> io::Result<()> {
    let mut bytes = [0; 16_384];
    loop {
        let count = from.read(&mut bytes).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        let _ = line.wait_for(|line| line.lets_requests_through()).await;
        to.write_all(&bytes[..count]).await?;
    }
}

async fn responses(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
) -> io::Result<()> {
    let mut bytes = [0; 16_384];
    loop {
        let mut state = line.clone();
        let count = tokio::select! {
            _ = state.wait_for(|line| *line == Line::HalfCloses) => None,
            count = from.read(&mut bytes) => Some(count?),
        };
        let Some(count) = count else {
            to.shutdown().await?;
            // The rest of the connection stays open.
            return std::future::pending().await;
        };
        if count == 0 {
            return to.shutdown().await;
        }
        let now = *line.wait_for(|line| *line != Line::HoldsBack).await.expect("the test sets it");
        match now {
            Line::LosesResponses => continue,
            Line::Delays(by) => sleep(by).await,
            _ => {}
        }
        to.write_all(&bytes[..count]).await?;
    }
}
