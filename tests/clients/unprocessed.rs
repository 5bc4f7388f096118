//! A request that an HTTP/2 server says it did not process (RFC 9113, section 8.7) is sent again with the same account.
//! One that may have been processed is not.

#![cfg(all(feature = "hyper", feature = "reqwest-middleware"))]

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, ServiceExt};
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::Standing;
use tower_credentials::{CredentialsLayer, Pool, is_connect_error};

use crate::frames::{self, END_STREAM, HEADERS, go_away, ok, reset, send};
use crate::reqwest_rig::{CLIENTS, clients};
use crate::support::{keys, learnt};
use crate::wire::soon;

// Error codes (RFC 9113, section 7).
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;
const HTTP_1_1_REQUIRED: u32 = 13;

/// The server's reaction to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Respond,
    Reset(u32),
    /// GOAWAY with the last stream before the request's.
    GoAwayBefore(u32),
    /// GOAWAY with the request's stream as the last, then the end of the connection.
    GoAwayWith(u32),
    /// A graceful shutdown: a GOAWAY for any stream first, then one with the last stream before the request's.
    GoAwayTwice,
    Close,
    /// Half of a response's head, then a reset.
    BeginAndReset(u32),
}

/// An HTTP/2 server that writes its frames itself, so that a test controls every byte.
pub(crate) struct Frames {
    pub(crate) origin: String,
    pub(crate) script: Arc<Mutex<VecDeque<Act>>>,
    requests: Arc<Mutex<usize>>,
}

impl Frames {
    async fn start(script: impl IntoIterator<Item = Act>) -> Self {
        Self::over("http", script, async |stream| stream).await
    }

    /// One whose connections begin as `accept` says.
    pub(crate) async fn over<S, F>(
        scheme: &str,
        script: impl IntoIterator<Item = Act>,
        accept: impl Fn(TcpStream) -> F + Clone + Send + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        F: Future<Output = S> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("{scheme}://{}", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(script.into_iter().collect()));
        let requests = Arc::new(Mutex::new(0));
        let (acts, count) = (script.clone(), requests.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // A client that goes away ends only its connection.
                let (accept, acts, count) = (accept.clone(), acts.clone(), count.clone());
                tokio::spawn(async move { serve(accept(stream).await, acts, count).await });
            }
        });
        Self { origin, script, requests }
    }

    pub(crate) fn requests(&self) -> usize {
        *self.requests.lock().unwrap()
    }

    pub(crate) async fn pool(&self) -> Pool {
        let provider = GenericProvider::bearer("x").origin(&self.origin).unwrap();
        Pool::builder(provider, keys(["a", "b"]).await).open().await.unwrap()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: Arc<Mutex<VecDeque<Act>>>,
    requests: Arc<Mutex<usize>>,
) -> io::Result<()> {
    frames::begin(&mut stream, &[]).await?;
    loop {
        let frame = frames::next(&mut stream).await?;
        *requests.lock().unwrap() += usize::from(frame.kind == HEADERS);
        if !frame.ends_request() {
            continue;
        }
        let id = frame.id;
        let act = script.lock().unwrap().pop_front().unwrap_or(Act::Respond);
        match act {
            Act::Respond => ok(&mut stream, id, END_STREAM).await?,
            Act::Reset(code) => reset(&mut stream, id, code).await?,
            Act::GoAwayBefore(code) => go_away(&mut stream, id.saturating_sub(2), code).await?,
            Act::GoAwayWith(code) => {
                go_away(&mut stream, id, code).await?;
                return stream.shutdown().await;
            }
            Act::GoAwayTwice => {
                go_away(&mut stream, u32::MAX >> 1, NO_ERROR).await?;
                go_away(&mut stream, id.saturating_sub(2), NO_ERROR).await?;
            }
            Act::Close => return stream.shutdown().await,
            Act::BeginAndReset(code) => {
                send(&mut stream, HEADERS, 0, id, &[0x88]).await?;
                reset(&mut stream, id, code).await?;
            }
        }
    }
}

pub(crate) const UNPROCESSED: [Act; 5] = [
    Act::Reset(REFUSED_STREAM),
    Act::GoAwayBefore(NO_ERROR),
    Act::GoAwayBefore(ENHANCE_YOUR_CALM),
    Act::GoAwayBefore(INTERNAL_ERROR),
    Act::GoAwayTwice,
];

pub(crate) const PERHAPS_PROCESSED: [Act; 9] = [
    Act::Reset(NO_ERROR),
    Act::Reset(INTERNAL_ERROR),
    Act::Reset(CANCEL),
    Act::Reset(ENHANCE_YOUR_CALM),
    Act::Reset(HTTP_1_1_REQUIRED),
    Act::GoAwayWith(NO_ERROR),
    Act::GoAwayWith(INTERNAL_ERROR),
    Act::Close,
    Act::GoAwayWith(ENHANCE_YOUR_CALM),
];

/// The result of a request: the status, or whether it failed before it was sent.
type Outcome = Result<u16, bool>;

async fn by_hyper(server: &Frames, pool: &Pool) -> Outcome {
    use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let client = CredentialsLayer::new(pool.clone()).layer(client);
    let request = Request::post(&server.origin).body(Full::<Bytes>::from("hi")).unwrap();
    let response = soon("a response", client.oneshot(request)).await;
    response.map(|response| response.status().as_u16()).map_err(|error| is_connect_error(&error))
}

async fn by_reqwest(server: &Frames, pool: &Pool, way: usize) -> Outcome {
    // reqwest's own retries would hide those of the layers.
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .retry(reqwest::retry::never())
        .build()
        .unwrap();
    let client = &clients!(CredentialsLayer::new(pool.clone()), client)[way];
    let mut request = reqwest::Request::new(reqwest::Method::POST, server.origin.parse().unwrap());
    *request.body_mut() = Some("hi".into());
    let response = soon("a response", client.execute(request)).await;
    response.map(|response| response.status().as_u16()).map_err(|error| is_connect_error(&error))
}

async fn by_each(script: &[Act], test: impl AsyncFn(&Frames, &Pool, Outcome)) {
    for way in 0..=CLIENTS {
        let server = Frames::start(script.iter().copied()).await;
        let pool = server.pool().await;
        let outcome = match way {
            CLIENTS => by_hyper(&server, &pool).await,
            way => by_reqwest(&server, &pool, way).await,
        };
        test(&server, &pool, outcome).await;
    }
}

#[tokio::test]
async fn a_request_that_was_not_processed_is_sent_again_with_the_same_account() {
    for act in UNPROCESSED {
        by_each(&[act], async |server, pool, outcome| {
            assert_eq!(outcome, Ok(200), "{act:?}");
            assert_eq!((server.requests(), pool.counters().rotations), (2, 0), "{act:?}");
            assert!(pool.status().iter().all(|a| learnt(&a.standing) == Standing::default()));
        })
        .await;
    }
}

#[tokio::test]
async fn an_unprocessed_request_is_sent_again_once_and_then_its_error_returned() {
    for act in UNPROCESSED {
        by_each(&[act, act, act], async |server, _, outcome| {
            assert_eq!((outcome, server.requests()), (Err(true), 2), "{act:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_request_that_may_have_been_processed_is_not_sent_again() {
    for act in PERHAPS_PROCESSED {
        by_each(&[act], async |server, pool, outcome| {
            assert_eq!((outcome, server.requests()), (Err(false), 1), "{act:?}");
            assert!(server.script.lock().unwrap().is_empty());
            assert!(pool.status().iter().all(|a| learnt(&a.standing) == Standing::default()));
        })
        .await;
    }
}

#[tokio::test]
async fn a_request_whose_response_has_begun_is_not_sent_again() {
    for code in [REFUSED_STREAM, INTERNAL_ERROR] {
        by_each(&[Act::BeginAndReset(code)], async |server, _, outcome| {
            // The reset right after the head may discard it.
            assert!(outcome == Ok(200) || outcome == Err(false), "{outcome:?}");
            assert_eq!(server.requests(), 1);
        })
        .await;
    }
}

#[tokio::test]
async fn after_a_goaway_the_next_request_uses_a_new_connection() {
    let server = Frames::start([Act::Respond, Act::GoAwayBefore(NO_ERROR)]).await;
    let pool = server.pool().await;
    use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let client = CredentialsLayer::new(pool.clone()).layer(client);
    for requests in [1, 3, 4] {
        let request = Request::post(&server.origin).body(Full::<Bytes>::from("hi")).unwrap();
        let response = soon("a response", client.clone().oneshot(request)).await.unwrap();
        assert_eq!((response.status().as_u16(), server.requests()), (200, requests));
    }
    assert_eq!(pool.counters().rotations, 0);
}
