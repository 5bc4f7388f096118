//! Connections: where they come from, and how many there are.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Gateway;
use super::connection::{serve_http1, serve_tcp};
use super::route::Forward;
use super::threads::{Place, Threads};
use super::tls::Tls;
use crate::output;

/// How a connection on which nobody sends is checked: the client of a WebSocket may be lost in silence.
const KEEP_ALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));

/// How many connections wait until they are taken. The system may lower it.
const BACKLOG: u32 = 4096;

/// How long to wait if the system gives out no more connections.
const EXHAUSTED: Duration = Duration::from_secs(1);

/// Where connections come from.
pub(crate) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
}

/// A connection that has been taken. It belongs to no runtime yet.
enum Connection {
    Tcp(std::net::TcpStream),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
}

impl Listener {
    /// Listens at an address.
    pub(crate) async fn tcp(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // As std does, so that a gateway that starts again gets its port.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self::Tcp(socket.listen(BACKLOG)?))
    }

    /// Listens at a path that only this user may connect to. A socket that nobody listens at any more is replaced.
    #[cfg(unix)]
    pub(crate) fn unix(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::FileTypeExt;
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
        if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
            std::fs::remove_file(path)?;
        }
        // From the first moment on: who may write to the socket may connect.
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let bound = tokio::net::UnixListener::bind(path);
        rustix::process::umask(before);
        Ok(Self::Unix(bound?))
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
            #[cfg(unix)]
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    async fn accept(&self) -> io::Result<Connection> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // If these fail, the connection is slower, and stays for longer once the client is gone.
                let _ = stream.set_nodelay(true);
                let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEP_ALIVE);
                Ok(Connection::Tcp(stream.into_std()?))
            }
            #[cfg(unix)]
            Self::Unix(listener) => Ok(Connection::Unix(listener.accept().await?.0.into_std()?)),
        }
    }
}

/// Serves the connections of a listener.
pub(crate) struct Server {
    listener: Listener,
    /// How many connections there may be at once. More wait in the system's queue.
    max_connections: usize,
    /// For connections from the network.
    tls: Option<Arc<Tls>>,
    threads: Threads,
}

impl Server {
    pub(crate) fn new(
        listener: Listener,
        max_connections: usize,
        tls: Option<Arc<Tls>>,
        threads: Threads,
    ) -> Self {
        Self { listener, max_connections, tls, threads }
    }

    /// Serves until the gateway ends, and then until the requests under way have ended. If this is dropped, they are broken
    /// off.
    pub(crate) async fn run<S: Forward>(self, gateway: Arc<Gateway<S>>) {
        let mut end = gateway.end.subscribe();
        let mut connections = JoinSet::new();
        let mut is_exhausted = false;
        loop {
            let has_room = connections.len() < self.max_connections;
            let connection = tokio::select! {
                biased;
                _ = end.wait_for(|end| *end) => break,
                Some(_) = connections.join_next() => continue,
                connection = self.listener.accept(), if has_room => connection,
            };
            match connection {
                Ok(connection) => {
                    if std::mem::take(&mut is_exhausted) {
                        output::say("Connections are taken again");
                    }
                    let Some((runtime, place)) = self.threads.place() else { continue };
                    let (tls, gateway) = (self.tls.clone(), gateway.clone());
                    connections.spawn_on(serve(connection, place, tls, gateway, end.clone()), runtime);
                }
                // It was gone before it was taken.
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut is_exhausted, true) {
                        let count = connections.len();
                        output::warn(format_args!(
                            "no connection can be taken beside the {count} that there are: {error}; the next try is in a \
                             second. Raise the limit of open files (`ulimit -n`), or lower --max-connections"
                        ));
                    }
                    tokio::select! {
                        _ = end.wait_for(|end| *end) => break,
                        () = tokio::time::sleep(EXHAUSTED) => {}
                    }
                }
            }
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }
}

/// Whether an error is about one connection, and not about the listener.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

async fn serve<S: Forward>(
    connection: Connection,
    _place: Place,
    tls: Option<Arc<Tls>>,
    gateway: Arc<Gateway<S>>,
    end: watch::Receiver<bool>,
) {
    // If the system does not let the thread's runtime wait for it, the connection is closed.
    match connection {
        Connection::Tcp(stream) => {
            let Ok(stream) = TcpStream::from_std(stream) else { return };
            serve_tcp(stream, tls, gateway, end).await;
        }
        // This user alone can open one, and nobody listens in on it.
        #[cfg(unix)]
        Connection::Unix(stream) => {
            let Ok(stream) = tokio::net::UnixStream::from_std(stream) else { return };
            serve_http1(stream, gateway, end).await;
        }
    }
}
