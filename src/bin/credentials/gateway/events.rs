//! The events of all pools, as lines of JSON for as long as somebody reads them.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::{mpsc, watch};
use tower_credentials::BoxError;
use tower_credentials::events::EventStream;

/// How many lines wait for the reader. The pools keep more, and tell how many were lost.
const WAITING: usize = 16;

/// A body that has a line for each event.
pub(super) struct Events {
    lines: mpsc::Receiver<Bytes>,
}

impl Events {
    /// Ends once `end` is true.
    pub(super) fn of(streams: impl Iterator<Item = EventStream>, end: &watch::Sender<bool>) -> Self {
        let (to, lines) = mpsc::channel(WAITING);
        for stream in streams {
            tokio::spawn(pass_on(stream, to.clone(), end.subscribe()));
        }
        Self { lines }
    }
}

async fn pass_on(mut stream: EventStream, to: mpsc::Sender<Bytes>, mut end: watch::Receiver<bool>) {
    loop {
        let event = tokio::select! {
            event = stream.next() => event,
            // Nobody reads any more.
            () = to.closed() => return,
            _ = end.wait_for(|end| *end) => return,
        };
        let Some(event) = event else { return };
        let Ok(mut line) = serde_json::to_vec(&event) else { continue };
        line.push(b'\n');
        if to.send(line.into()).await.is_err() {
            return;
        }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.lines.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
