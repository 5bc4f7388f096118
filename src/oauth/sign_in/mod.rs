//! Signing in to one account.

mod code;
mod device;
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
use std::time::Duration;

use tokio::sync::mpsc;

use super::client::OAuthClient;
use super::config::FlowKind;
use super::cursor;
use super::error::OAuthError;
use super::signed_in::SignedIn;
use loopback::Farewell;
use paste::Paste;

/// Where a flow tells what happens.
pub(super) type Events = mpsc::UnboundedSender<Progress>;

type Flow = Pin<Box<dyn Future<Output = End> + Send>>;

/// How a flow has ended.
struct End {
    result: Result<SignedIn, OAuthError>,
    /// What still answers the browser.
    farewell: Option<Farewell>,
}

/// A flow without a browser that comes back.
fn flow(running: impl Future<Output = Result<SignedIn, OAuthError>> + Send + 'static) -> Flow {
    Box::pin(async { End { result: running.await, farewell: None } })
}

/// What to show to the person who signs in. `Debug` doesn't show it: whoever has it may sign in instead.
#[derive(Clone)]
#[non_exhaustive]
pub enum Prompt {
    /// A page to open in a browser on this machine. Nothing else is to be done.
    Browser {
        /// The page. At a loopback sign-in it is one of this machine's, which leads on to the vendor's: the first browser
        /// that opens it is the one that signs in, and a second one ends the sign-in. Whoever sees its address in the
        /// browser's arguments learns nothing by which they could sign in instead, unless they open it first.
        url: String,
        /// The vendor's page, for a browser on another machine. The address at which that one ends is to be
        /// [pasted](SignIn::paste). It is not to be in anybody's arguments. `None` if `url` works there as well.
        elsewhere: Option<String>,
    },
    /// A page to open in any browser. At its end it shows a code, or the browser ends at an address that
    /// has one: either is to be [pasted](SignIn::paste).
    Paste {
        /// The page.
        url: String,
    },
    /// A code to type into a page on any device (RFC 8628, section 3.3).
    Device {
        /// The code.
        user_code: String,
        /// The page.
        verification_url: String,
        /// The page with the code typed in already, to be shown as a QR code, say.
        verification_url_complete: Option<String>,
        /// How long the code works, from now on.
        expires_in: Duration,
    },
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Browser { .. } => "Browser(…)",
            Self::Paste { .. } => "Paste(…)",
            Self::Device { .. } => "Device(…)",
        })
    }
}

/// What has happened in a sign-in. `Display` says it in words.
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress {
    /// Something else than the vendor's answer came to the loopback address, or a forged one, or one that was too
    /// long. The wait for the answer goes on.
    Ignored {
        /// What was wrong with it.
        reason: &'static str,
    },
    /// The person has signed in; the code that came of it is being exchanged for tokens.
    Exchanging,
    /// The server asks to be asked less often (RFC 8628, section 3.5).
    SlowedDown,
    /// The server was not reached, and will be asked again.
    NotReached {
        /// Why.
        reason: String,
    },
    /// Done. Nothing comes after it.
    SignedIn(Box<SignedIn>),
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignored { reason } => write!(f, "ignored a request: {reason}"),
            Self::Exchanging => f.write_str("exchanging the code for tokens"),
            Self::SlowedDown => f.write_str("the server asks for patience"),
            Self::NotReached { reason } => write!(f, "trying again: {reason}"),
            Self::SignedIn(_) => f.write_str("signed in"),
        }
    }
}

/// A sign-in under way, made by [`OAuthClient::sign_in`].
///
/// Show its [`prompt`](Self::prompt), then call [`next`](Self::next) until there is no more, or
/// [`finish`](Self::finish). It works only while one of them is awaited. To give up, drop it: its sockets
/// are closed, and what was asked of the vendor lapses by itself.
///
/// By a loopback address it waits for as long as it is awaited; by a device code or a link, until that has
/// expired.
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
    /// How it ended, until that was told.
    Ended(Option<Result<SignedIn, OAuthError>>),
}

impl SignIn {
    /// What to show to the person.
    pub fn prompt(&self) -> &Prompt {
        &self.prompt
    }

    /// What has happened next; `None` once the end was told, which is [`Progress::SignedIn`] or an error. At a
    /// loopback address that `None` comes about a second after the end: until then, or until this is dropped, a
    /// browser that loads the address once more gets the same page.
    ///
    /// Cancel safe: a call that is dropped loses nothing, and the next one goes on.
    pub async fn next(&mut self) -> Option<Result<Progress, OAuthError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Progress, OAuthError>>> {
        // The flow goes on when all was told: so no flood of requests makes more wait to be.
        if let Ok(progress) = self.progress.try_recv() {
            return Poll::Ready(Some(Ok(progress)));
        }
        if let State::Running(flow) = &mut self.state
            && let Poll::Ready(End { result, farewell }) = flow.as_mut().poll(cx)
        {
            self.state = State::Ended(Some(result));
            self.farewell = farewell;
        }
        // What came before the end is told before it.
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

    /// Waits for the end, whatever happens before.
    ///
    /// # Errors
    /// [`OAuthError::Refused`] where the person or the server said no, [`OAuthError::Expired`] where nobody
    /// signed in in time, or what went wrong. [`OAuthError::Ended`] where [`next`](Self::next) has told the
    /// end already.
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

    /// Takes a code that a person has copied: as it is, with the state after a `#`, or in the whole address
    /// at which the browser has ended. At a loopback sign-in, too: its browser may be on another machine.
    /// Keep awaiting [`next`](Self::next) for what comes of it.
    ///
    /// # Errors
    /// [`OAuthError::NoCode`], [`OAuthError::NoState`], [`OAuthError::WrongState`], or [`OAuthError::Refused`] for an address that
    /// has the vendor's error; another text may be pasted then. [`OAuthError::Ended`] after a code, and
    /// [`OAuthError::UnsupportedFlow`] where there is none to paste.
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

pub(super) async fn begin(client: OAuthClient, flow: FlowKind) -> Result<SignIn, OAuthError> {
    if !client.config().flows.contains(&flow) {
        return Err(OAuthError::UnsupportedFlow { provider: client.provider().to_owned(), flow });
    }
    let (events, progress) = mpsc::unbounded_channel();
    let (prompt, running, paste) = match flow {
        FlowKind::Loopback => code::by_loopback(&client, events).await?,
        FlowKind::PastedCode => code::by_paste(&client, events)?,
        FlowKind::Device => device::begin(&client, events).await?,
        FlowKind::LinkPoll => by_link(&client, events)?,
    };
    Ok(SignIn { prompt, client, state: State::Running(running), progress, paste, farewell: None })
}

/// What a flow begins with.
type Begun = (Prompt, Flow, Option<Paste>);

fn by_link(client: &OAuthClient, events: Events) -> Result<Begun, OAuthError> {
    let ticket = cursor::Ticket::new();
    let page = ticket.on(client.url("authorize_url", client.config().authorize_url.as_ref())?);
    let client = client.clone();
    let running = async move {
        let answer = cursor::poll(&client, ticket, events).await?;
        Ok(answer.signed_in(client.dialect(), client.now()))
    };
    Ok((Prompt::Browser { url: page.into(), elsewhere: None }, flow(running), None))
}
