//! The connections of `AutoClient`, whose server a test plays itself, frame by frame.

#![cfg(all(feature = "file", feature = "hyper", feature = "reqwest-middleware", feature = "tls"))]

mod ends;
mod limits;

use std::io;
use std::time::Duration;

use http::{Method, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;
use tower_credentials::https::{AutoBody, AutoClient, AutoError};
use tower_credentials::{BoxError, is_connect_error};

use crate::children;
use crate::frames::{self, END_STREAM, Frame, ok, set, streams};
use crate::wire::certified::Certified;
use crate::wire::{WireBody, full, soon};

/// Runs a test in a process whose environment names an authority, which the test makes.
fn with_authority<T: Fn()>(_: T, run: impl AsyncFnOnce(TlsAcceptor)) {
    const VARIABLE: &str = "SSL_CERT_FILE";
    let (module, test) = std::any::type_name::<T>().rsplit_once("::").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("authority.pem");
    let variables = [(VARIABLE, file.as_os_str()), ("NO_PROXY", "127.0.0.1".as_ref())];
    if !children::is_alone_with(module, test, &variables) {
        return;
    }
    let certified = Certified::new();
    std::fs::write(std::env::var_os(VARIABLE).unwrap(), certified.authority.pem()).unwrap();
    // One thread, so that what the client has read it has acted on before the test goes on.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(certified.acceptor(&["h2"])));
}

/// A client, and the server that the test plays.
struct Site {
    client: AutoClient<WireBody>,
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

type Sent = JoinHandle<Result<Response<AutoBody>, AutoError>>;

impl Site {
    async fn new(acceptor: TlsAcceptor) -> Self {
        // Without pings.
        let client = AutoClient::with_ping(Duration::MAX).unwrap();
        Self { client, listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), acceptor }
    }

    /// Begins a request.
    fn send(&self, method: Method, body: WireBody) -> Sent {
        let url = format!("https://{}/", self.listener.local_addr().unwrap());
        let request = Request::builder().method(method).uri(url).body(body).unwrap();
        tokio::spawn(self.client.clone().oneshot(request))
    }

    fn get(&self) -> Sent {
        self.send(Method::GET, full(""))
    }

    /// Takes the client's next connection.
    async fn accept(&self, limit: u32) -> Connection {
        let accepting = async {
            let (stream, _) = self.listener.accept().await.unwrap();
            let mut stream = self.acceptor.accept(stream).await.unwrap();
            frames::begin(&mut stream, &streams(limit)).await.unwrap();
            Connection(stream)
        };
        soon("a connection", accepting).await
    }
}

/// A connection as its server has it.
struct Connection(TlsStream<TcpStream>);

impl Connection {
    /// Waits for the end of the next request, and returns its stream.
    async fn request(&mut self) -> u32 {
        self.until(Frame::ends_request).await
    }

    /// Waits for such a frame, and returns its stream.
    async fn until(&mut self, is_it: impl Fn(&Frame) -> bool) -> u32 {
        let next = async {
            loop {
                let frame = frames::next(&mut self.0).await.unwrap();
                if is_it(&frame) {
                    return frame.id;
                }
            }
        };
        soon("a frame", next).await
    }

    async fn respond(&mut self, id: u32) {
        ok(&mut self.0, id, END_STREAM).await.unwrap();
    }

    /// Takes this request as the next one, and responds to it. Returns its stream.
    async fn serve(&mut self, sent: Sent) -> u32 {
        let id = self.request().await;
        self.respond(id).await;
        answered(sent).await;
        id
    }

    /// Takes so many requests at once from now on. Waits until the client knows that.
    async fn limit(&mut self, limit: u32) {
        set(&mut self.0, &streams(limit)).await.unwrap();
        self.until(Frame::is_settings_ack).await;
    }

    /// Says that no request after this one is taken.
    async fn go_away(&mut self, last: u32) {
        const NO_ERROR: u32 = 0;
        frames::go_away(&mut self.0, last, NO_ERROR).await.unwrap();
    }

    /// Waits until the client has closed it, without another request.
    async fn closed(mut self) {
        let closed = async {
            loop {
                match frames::next(&mut self.0).await {
                    Ok(frame) => assert!(!frame.ends_request()),
                    Err(error) => return error.kind(),
                }
            }
        };
        assert_eq!(soon("its end", closed).await, io::ErrorKind::UnexpectedEof);
    }
}

/// Waits for the response to a request.
async fn answered(sent: Sent) {
    let response = soon("a response", sent).await.unwrap();
    assert_eq!(response.unwrap().status(), 200);
}

/// Waits for the error of a request, which says that the request can be sent again.
async fn unprocessed(sent: Sent) {
    let error: BoxError = soon("an error", sent).await.unwrap().unwrap_err().into();
    assert!(is_connect_error(&error), "{error:?}");
}
