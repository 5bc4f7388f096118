//! Connections to one node of an engine: TCP, TLS if the URL asks for it, and a login.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::url::{Address, Login};

/// What all connections have in common.
#[derive(Clone)]
pub(super) struct Dialer {
    tls: Option<TlsConnector>,
}

impl Dialer {
    /// Returns a dialer without TLS.
    pub(super) fn plain() -> Self {
        Self { tls: None }
    }

    /// Returns a dialer with TLS. A server's certificate must be one of the authorities in `pem`, or else of the system's.
    ///
    /// The cryptography is *ring*'s. It is chosen here, so that this neither sets nor needs the process's default.
    pub(super) fn with_tls(pem: Option<&[u8]>) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        match pem {
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let certificate = certificate.map_err(io::Error::other)?;
                    roots.add(certificate).map_err(io::Error::other)?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "no certificate of an authority was found",
            ));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Some(TlsConnector::from(Arc::new(config))) })
    }

    /// Connects and logs in. A command then has this long to be answered.
    pub(super) async fn dial(
        &self,
        address: &Address,
        login: &Login,
        database: u32,
        answered_within: Duration,
    ) -> Result<Connection, RedisError> {
        let stream = TcpStream::connect((&*address.host, address.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Connection::over(stream, login, database, answered_within).await,
            Some(tls) => {
                let name = ServerName::try_from(address.host.to_string()).map_err(io::Error::other)?;
                let stream = tls.connect(name, stream).await?;
                Connection::over(stream, login, database, answered_within).await
            }
        }
    }
}

/// A connection. Clones share it, and it is closed with the last one.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) commands: MultiplexedConnection,
    driver: Arc<Driver>,
}

/// The task that writes and reads; it ends with the connection, also while a command blocks.
struct Driver {
    task: AbortHandle,
    has_ended: Arc<AtomicBool>,
}

/// Says that the task has ended, also if its runtime has ended it.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        login: &Login,
        database: u32,
        answered_within: Duration,
    ) -> Result<Self, RedisError> {
        let mut info = RedisConnectionInfo::default().set_db(database.into()).set_skip_set_lib_name();
        if let Some(user) = &login.user {
            info = info.set_username(user);
        }
        match (&login.password, &login.user) {
            (Some(password), _) => info = info.set_password(password.expose()),
            // Without a password nothing would log in, and the commands would be those of the user `default`.
            (None, Some(_)) => info = info.set_password(""),
            (None, None) => {}
        }
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(answered_within));
        let (commands, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
        let has_ended = Arc::new(AtomicBool::new(false));
        let ended = Ended(has_ended.clone());
        let task = tokio::spawn(async move {
            let _ended = ended;
            driver.await;
        });
        let driver = Driver { task: task.abort_handle(), has_ended };
        Ok(Self { commands, driver: Arc::new(driver) })
    }

    /// Returns whether the other side has closed it.
    pub(super) fn is_closed(&self) -> bool {
        self.driver.has_ended.load(Ordering::Acquire)
    }
}
