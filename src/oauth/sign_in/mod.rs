//! Signing in to one account.

mod code;
mod device;
mod flow;
mod link;
mod listen;
mod loopback;
mod page;
mod paste;
mod peer;
mod visit;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use super::client::OAuthClient;
use super::config::FlowKind;
use super::error::OAuthError;
use super::progress::Progress;
use super::signed_in::SignedIn;
pub use flow::Prompt;
use flow::{End, Flow};
use loopback::Farewell;
use paste::Paste;

impl OAuthClient {
    /// Begins a sign-in. The device flow requests its code here; the loopback flow starts to listen here.
    ///
    /// # Errors
    /// [`OAuthError::UnsupportedFlow`] if the configuration doesn't list this flow; an error for a setting that is missing
    /// or wrong; [`OAuthError::PortTaken`]; or the error that the server's response amounts to.
    pub async fn sign_in(&self, flow: FlowKind) -> Result<SignIn, OAuthError> {
        if !self.config().flows.contains(&flow) {
            return Err(OAuthError::UnsupportedFlow { provider: self.provider().to_owned(), flow });
        }
        let (events, progress) = mpsc::unbounded_channel();
        let (prompt, running, paste) = match flow {
            FlowKind::Loopback => code::by_loopback(self, events).await?,
            FlowKind::PastedCode => code::by_paste(self, events)?,
            FlowKind::Device => device::begin(self, events).await?,
            FlowKind::LinkPoll => link::begin(self, events)?,
        };
        let (client, state) = (self.clone(), State::Running(running));
        Ok(SignIn { prompt, client, state, progress, paste, farewell: None })
    }
}

/// A sign-in in progress, made by [`OAuthClient::sign_in`].
///
/// Show its [`prompt`](Self::prompt), then call [`next`](Self::next) until it returns `None`, or call
/// [`finish`](Self::finish). It works only while one of them is awaited. To give up, drop it: that closes its sockets, and
/// the request at the vendor expires.
///
/// The loopback flow waits for as long as it is awaited; the device and link flows wait until the code or link expires.
#[must_use = "a sign-in does nothing unless it is awaited by `next` or `finish`"]
pub struct SignIn {
    prompt: Prompt,
    client: OAuthClient,
    state: State,
    progress: mpsc::UnboundedReceiver<Progress>,
    paste: Option<Paste>,
    farewell: Option<Farewell>,
}

enum State {
    Running(Flow),
    /// How it ended, until `next` has returned that.
    Ended(Option<Result<SignedIn, OAuthError>>),
}

impl SignIn {
    /// Returns what to show to the person.
    pub fn prompt(&self) -> &Prompt {
        &self.prompt
    }

    /// Waits for the next event. After the last one, which is [`Progress::SignedIn`] or an error, it returns `None`. In the
    /// loopback flow, `None` comes about a second after the end: until then, or until this is dropped, a browser that loads
    /// the address again gets the same page.
    ///
    /// Cancel safe: dropping a call loses nothing, and the next one goes on.
    pub async fn next(&mut self) -> Option<Result<Progress, OAuthError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Progress, OAuthError>>> {
        // The flow goes on only once all events are taken, so a flood of requests can't fill the channel.
        if let Ok(progress) = self.progress.try_recv() {
            return Poll::Ready(Some(Ok(progress)));
        }
        if let State::Running(flow) = &mut self.state
            && let Poll::Ready(End { result, farewell }) = flow.as_mut().poll(cx)
        {
            self.state = State::Ended(Some(result));
            self.farewell = farewell;
        }
        // Events from before the end come before it.
        if let Ok(progress) = self.progress.try_recv() {
            return Poll::Ready(Some(Ok(progress)));
        }
        match &mut self.state {
            State::Running(_) => Poll::Pending,
            State::Ended(end) => match (end.take(), &mut self.farewell) {
                (None, Some(farewell)) => {
                    std::task::ready!(Pin::new(farewell).poll(cx));
                    self.farewell = None;
                    Poll::Ready(None)
                }
                (end, _) => {
                    Poll::Ready(end.map(|end| end.map(|account| Progress::SignedIn(Box::new(account)))))
                }
            },
        }
    }

    /// Waits for the end, and skips all other events.
    ///
    /// # Errors
    /// [`OAuthError::Refused`] if the person or the server refused, [`OAuthError::Expired`] if nobody signed in in time, or
    /// whatever else went wrong. [`OAuthError::Ended`] if [`next`](Self::next) has already returned the end.
    pub async fn finish(mut self) -> Result<SignedIn, OAuthError> {
        loop {
            match self.next().await {
                Some(Ok(Progress::SignedIn(account))) => return Ok(*account),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Err(OAuthError::Ended),
            }
        }
    }

    /// Takes a code that a person has copied: alone, with the state after a `#`, or in the whole address at which the
    /// browser ended. This also works in the loopback flow, since its browser may be on another machine. Keep awaiting
    /// [`next`](Self::next) for the result.
    ///
    /// # Errors
    /// [`OAuthError::NoCode`], [`OAuthError::NoState`], [`OAuthError::WrongState`], or [`OAuthError::Refused`] for an
    /// address that has the vendor's error; after these, another text may be pasted. [`OAuthError::Ended`] after a code,
    /// and [`OAuthError::UnsupportedFlow`] if the flow has no code to paste.
    pub fn paste(&mut self, text: &str) -> Result<(), OAuthError> {
        match &self.paste {
            Some(paste) => paste.take(&self.client, text),
            None => Err(OAuthError::UnsupportedFlow {
                provider: self.client.provider().to_owned(),
                flow: FlowKind::PastedCode,
            }),
        }
    }
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn")
            .field("provider", &self.client.provider())
            .field("prompt", &self.prompt)
            .finish_non_exhaustive()
    }
}
