//! Uploads that stream through the layers in several orders, and can be sent again.

use std::convert::Infallible;
use std::io;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::sync::Notify;
use tower::util::MapRequestLayer;
use tower::{Service, ServiceExt};
use tower_credentials::vault::MemoryVault;
use tower_credentials::*;

use crate::support::*;

/// A body in small pieces that does not say how many.
struct Streamed {
    inner: Full<Bytes>,
    left: Bytes,
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.left = frame.into_data().unwrap();
        }
        let length = self.left.len().min(4);
        let piece = self.left.split_to(length);
        Poll::Ready((length > 0).then_some(Ok(Frame::data(piece))))
    }
}

type Upload = UnsyncBoxBody<Bytes, BoxError>;
type Respond = Arc<
    dyn Fn(String, Upload) -> Pin<Box<dyn Future<Output = Result<StatusCode, BoxError>> + Send>>
        + Send
        + Sync,
>;

/// Responds as `respond` says, and records which tokens came with how many bytes.
#[derive(Clone)]
struct Uploads {
    respond: Respond,
    seen: Journal<String>,
}

impl Uploads {
    fn new<F>(respond: impl Fn(String, Upload) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<StatusCode, BoxError>> + Send + 'static,
    {
        let respond: Respond = Arc::new(move |token, upload| Box::pin(respond(token, upload)));
        Self { respond, seen: Journal::new() }
    }
}

impl<B> Service<Request<B>> for Uploads
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Reply;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let token = request.headers()["authorization"].to_str().unwrap().replace("Bearer ", "");
        self.seen.push(token.clone());
        let upload = request.into_body().map_err(Into::into).boxed_unsync();
        let status = (self.respond)(token, upload);
        Box::pin(async move {
            let body = Full::from("what the upstream says");
            Ok(Response::builder().status(status.await?).body(body)?)
        })
    }
}

async fn read(upload: Upload) -> Result<Bytes, BoxError> {
    Ok(upload.collect().await?.to_bytes())
}

const QUESTION: &str = "a question";

type Stacked = Box<dyn Fn(&Pool, &Refresher, &Uploads) -> Stack>;

/// The four layers under one that records up to the bound, in several orders.
fn orders(bound: u64) -> [Stacked; 4] {
    let over = move || {
        let streamed = |body| Streamed { inner: body, left: Bytes::new() };
        let streams = MapRequestLayer::new(move |request: Asked| request.map(streamed));
        (streams, ReplayLayer::new().bound(bound))
    };
    let nothing = || MapRequestLayer::new(|request: Request<ReplayBody<Streamed>>| request);
    [
        Box::new(move |pool, refresher, to| stack((over(), four(pool, refresher)), to.clone())),
        Box::new(move |pool, refresher, to| {
            let (rotate, refresh, auth, persist) = four(pool, refresher);
            stack((over(), auth, persist, refresh, rotate), to.clone())
        }),
        Box::new(move |pool, refresher, to| {
            let (rotate, refresh, auth, persist) = four(pool, refresher);
            stack((over(), refresh, nothing(), auth, rotate, nothing(), persist), to.clone())
        }),
        Box::new(move |pool, refresher, to| {
            let (rotate, refresh, auth, persist) = four(pool, refresher);
            stack((over(), persist, nothing(), rotate, nothing(), refresh, auth), to.clone())
        }),
    ]
}

async fn pool(vault: MemoryVault) -> Pool {
    builder(vault).clock(tokio_clock()).open().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_upload_within_the_bound_is_sent_again_whole() {
    for stacked in orders(QUESTION.len() as u64) {
        let pool = pool(keys(["a", "b"]).await).await;
        let upstream = Uploads::new(|token, upload| async move {
            assert_eq!(read(upload).await.unwrap(), QUESTION);
            Ok(if token == "a" { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK })
        });
        let service = stacked(&pool, &no_refresh(), &upstream);
        assert_eq!(ask(&service, post()).await.0, 200);
        assert_eq!(upstream.seen.all(), ["a", "b"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_past_the_bound_is_sent_once_and_the_next_request_takes_the_next() {
    for stacked in orders(QUESTION.len() as u64 - 1) {
        let pool = pool(keys(["a", "b"]).await).await;
        let upstream = Uploads::new(|token, upload| async move {
            assert_eq!(read(upload).await.unwrap(), QUESTION);
            Ok(if token == "a" { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK })
        });
        let service = stacked(&pool, &no_refresh(), &upstream);
        assert_eq!(ask(&service, post()).await, (429, "what the upstream says".into()));
        assert_eq!(upstream.seen.all(), ["a"]);
        assert_eq!(ask(&service, post()).await.0, 200);
        assert_eq!(upstream.seen.all(), ["a", "b"]);
    }
}

/// An upload of which a part has been read, and of which the rest may be read.
type Held = Arc<Mutex<Option<Upload>>>;

fn hold(held: &Held, upload: Upload) {
    *held.lock().unwrap() = Some(upload);
}

fn held(held: &Held) -> Upload {
    held.lock().unwrap().take().expect("there is an upload under way")
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_response_is_thrown_away_is_cut_short() {
    // Reading on passes the bound.
    for stacked in orders(QUESTION.len() as u64 - 2) {
        let pool = pool(keys(["a", "b"]).await).await;
        let under_way = Held::default();
        let upstream = Uploads::new(move |token, mut upload| {
            let under_way = under_way.clone();
            async move {
                if token == "a" {
                    upload.frame().await.unwrap().unwrap();
                    hold(&under_way, upload);
                    return Ok(StatusCode::TOO_MANY_REQUESTS);
                }
                let error = read(held(&under_way)).await.unwrap_err();
                assert!(matches!(error.downcast_ref(), Some(ReplayError::Replaced)), "{error}");
                assert_eq!(read(upload).await.unwrap(), QUESTION);
                Ok(StatusCode::OK)
            }
        });
        let service = stacked(&pool, &no_refresh(), &upstream);
        assert_eq!(ask(&service, post()).await.0, 200);
        assert_eq!(upstream.seen.all(), ["a", "b"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_passes_the_bound_during_a_refresh_is_not_sent_again() {
    for stacked in orders(QUESTION.len() as u64 - 1) {
        let pool = pool(accounts(["a", "b"]).await).await;
        let under_way = Held::default();
        let to_hold = under_way.clone();
        let upstream = Uploads::new(move |token, upload| {
            let under_way = to_hold.clone();
            async move {
                if token == "a-1" {
                    hold(&under_way, upload);
                    return Ok(StatusCode::UNAUTHORIZED);
                }
                assert_eq!(read(upload).await.unwrap(), QUESTION);
                Ok(StatusCode::OK)
            }
        });
        let refresher = Refresher::new(move |credential: Credential| {
            let upload = held(&under_way);
            async move {
                assert_eq!(read(upload).await.unwrap(), QUESTION);
                Ok::<_, RefreshError>(renewed(&credential.metadata))
            }
        });
        let service = stacked(&pool, &refresher, &upstream);
        assert_eq!(ask(&service, post()).await, (401, "what the upstream says".into()));
        assert_eq!(upstream.seen.all(), ["a-1"]);
        assert_eq!(ask(&service, post()).await.0, 200);
        assert_eq!(upstream.seen.all(), ["a-1", "a-2"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_returned_does_not_cut_its_upload_short() {
    for stacked in orders(QUESTION.len() as u64) {
        let pool = pool(keys(["a"]).await).await;
        let under_way = Held::default();
        let to_hold = under_way.clone();
        let upstream = Uploads::new(move |_, mut upload| {
            let under_way = to_hold.clone();
            async move {
                upload.frame().await.unwrap().unwrap();
                hold(&under_way, upload);
                Ok(StatusCode::TOO_MANY_REQUESTS)
            }
        });
        let service = stacked(&pool, &no_refresh(), &upstream);
        assert_eq!(ask(&service, post()).await.0, 429);
        assert_eq!(read(held(&under_way)).await.unwrap(), QUESTION[4..]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_past_the_bound_does_not_wait_for_a_credential() {
    for stacked in orders(QUESTION.len() as u64 - 1) {
        let vault = keys(["a", "b"]).await;
        let pool = builder(vault).max_in_flight(NonZeroU32::MIN).open().await.unwrap();
        let release = Arc::new(Notify::new());
        let released = release.clone();
        let upstream = Uploads::new(move |token, upload| {
            let released = released.clone();
            async move {
                assert_eq!(read(upload).await.unwrap(), QUESTION);
                if token == "b" {
                    return Ok(StatusCode::TOO_MANY_REQUESTS);
                }
                released.notified().await;
                Ok(StatusCode::OK)
            }
        });
        let service = stacked(&pool, &no_refresh(), &upstream);
        let busy = tokio::spawn(ask(&service, post()));
        upstream.seen.reaches(1).await;
        let response = tokio::time::timeout(seconds(60), ask(&service, post())).await;
        assert_eq!(response.expect("it waits in vain").0, 429);
        release.notify_one();
        assert_eq!(busy.await.unwrap().0, 200);
        assert_eq!(upstream.seen.all(), ["a", "b"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_error_past_the_bound_is_returned_to_the_caller() {
    let length = QUESTION.len() as u64;
    for (bound, attempts) in [(length, 2), (length - 1, 1)] {
        for stacked in orders(bound) {
            let pool = pool(keys(["a", "b"]).await).await;
            let upstream = Uploads::new(|_, upload| async move {
                assert_eq!(read(upload).await.unwrap(), QUESTION);
                Err(io::Error::from(io::ErrorKind::ConnectionRefused).into())
            });
            let service = stacked(&pool, &no_refresh(), &upstream);
            let error = service.oneshot(post()).await.unwrap_err();
            assert!(error.is::<io::Error>(), "{error}");
            assert_eq!(upstream.seen.all(), vec!["a"; attempts]);
        }
    }
}
