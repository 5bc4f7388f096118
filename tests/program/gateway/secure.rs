//! An upstream over TLS, which speaks HTTP/2 or HTTP/1.1 as it is told, and a network that can be cut in silence.

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tower_credentials::BoxError;

use super::process::{Gateway, home_of_x};
use crate::cli::Home;
use crate::wire::certified::Certified;
use crate::wire::{WireBody, WireReply, full, whole};

/// What an upstream offers by ALPN.
pub(super) const BOTH: &[&str] = &["h2", "http/1.1"];
pub(super) const HTTP1: &[&str] = &["http/1.1"];

/// An upstream over TLS.
pub(super) struct Secure {
    pub(super) port: u16,
    connections: Arc<AtomicUsize>,
    certified: Certified,
    /// How often it was told to end its connections.
    ends: watch::Sender<usize>,
}

impl Secure {
    /// One that offers these protocols, and takes so many requests at once on a connection of HTTP/2. It resets the stream of a
    /// request whose response is an error, with that error's code.
    pub(super) async fn start<F>(
        protocols: &[&str],
        streams: u32,
        respond: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<WireReply, BoxError>> + Send + 'static,
    {
        let certified = Certified::new();
        let acceptor = certified.acceptor(protocols);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let (ends, ending) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let (acceptor, respond, mut end) = (acceptor.clone(), respond.clone(), ending.clone());
                end.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let (stream, service) = (TokioIo::new(stream), service_fn(respond));
                    if !is_http2 {
                        let serving = http1::Builder::new().serve_connection(stream, service);
                        // Many tests have a client that goes away.
                        let _ = serving.with_upgrades().await;
                        return;
                    }
                    let mut builder = http2::Builder::new(TokioExecutor::new());
                    builder.max_concurrent_streams(streams);
                    let mut serving = std::pin::pin!(builder.serve_connection(stream, service));
                    let is_over = tokio::select! {
                        _ = serving.as_mut() => true,
                        _ = end.changed() => false,
                    };
                    if !is_over {
                        serving.as_mut().graceful_shutdown();
                        let _ = serving.await;
                    }
                });
            }
        });
        Self { port, connections, certified, ends }
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Takes no more requests on the connections that there are (GOAWAY).
    pub(super) fn end_connections(&self) {
        self.ends.send_modify(|ends| *ends += 1);
    }

    /// A home of the provider `x` whose requests go to this upstream, at this port.
    pub(super) async fn home_at(&self, port: u16, labels: &[&str]) -> Home {
        home_that_trusts(&self.certified, port, labels).await
    }

    pub(super) async fn home(&self, labels: &[&str]) -> Home {
        self.home_at(self.port, labels).await
    }
}

/// A home of the provider `x` whose requests go to this port, and which knows the authority of its certificate.
pub(super) async fn home_that_trusts(certified: &Certified, port: u16, labels: &[&str]) -> Home {
    let mut home = home_of_x(&format!("https://127.0.0.1:{port}"), labels).await;
    let authority = home.path().join("authority.pem");
    std::fs::write(&authority, certified.authority.pem()).unwrap();
    home.set("SSL_CERT_FILE", authority.to_str().unwrap());
    home
}

/// Says what it was asked by: the version, the host and the key.
pub(super) async fn say(request: Request<Incoming>) -> Result<WireReply, BoxError> {
    let (head, body) = request.into_parts();
    let host = match head.uri.authority() {
        Some(host) => host.to_string(),
        None => head.headers["host"].to_str()?.to_owned(),
    };
    let key = head.headers["authorization"].to_str()?.to_owned();
    whole(body).await;
    Ok(Response::new(full(format!("{:?} {host} {key}", head.version))))
}

/// A request through the gateway.
pub(super) fn get(gateway: &Gateway, path: &str) -> Request<WireBody> {
    Request::get(gateway.url(path)).body(full("")).unwrap()
}

/// Sends such a request. Returns the status and the body.
pub(super) async fn asked(gateway: &Gateway, path: &str) -> (u16, String) {
    let (status, _, said) = gateway.ask(get(gateway, path)).await;
    (status, said)
}

/// A proxy with `CONNECT`, and the first line of each request to it.
pub(super) async fn proxy() -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(near.read_u8().await.unwrap());
            }
            let line = String::from_utf8(head).unwrap().lines().next().unwrap().to_owned();
            let mut far = TcpStream::connect(line.split(' ').nth(1).unwrap()).await.unwrap();
            tell.send(line).unwrap();
            near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    (port, told)
}

/// A network to a port of this machine.
pub(super) struct Network {
    pub(super) port: u16,
    cuts: watch::Sender<usize>,
    given_up: mpsc::UnboundedReceiver<()>,
}

impl Network {
    pub(super) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().port();
        let (cuts, cut) = watch::channel(0);
        let (tell, given_up) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let mut cut = cut.clone();
                cut.mark_unchanged();
                tokio::spawn(pass(near, far, cut, tell.clone()));
            }
        });
        Self { port: at, cuts, given_up }
    }

    /// Lets the connections that there are lose all that is sent on them, as a firewall does that has forgotten them.
    pub(super) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Waits until the near side has closed a connection that was cut.
    pub(super) async fn given_up(&mut self) {
        self.given_up.recv().await.unwrap();
    }
}

async fn pass(
    near: TcpStream,
    far: TcpStream,
    mut cut: watch::Receiver<usize>,
    tell: mpsc::UnboundedSender<()>,
) {
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let passing = async {
        tokio::join!(
            tokio::io::copy(&mut from_near, &mut to_far),
            tokio::io::copy(&mut from_far, &mut to_near)
        )
    };
    tokio::select! {
        _ = passing => return,
        _ = cut.changed() => {}
    }
    // Taken, and lost.
    while from_near.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {}
    let _ = tell.send(());
    let _ = to_far.shutdown().await;
    pending::<()>().await;
}
