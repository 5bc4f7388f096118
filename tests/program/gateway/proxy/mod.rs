//! The gateway as a proxy: tools send their requests to the provider's own host, which is a server on loopback. Names are known
//! to a proxy of the tests alone, so nothing is ever looked up.

mod certificates;
mod clients;
mod exec;
mod inside;
mod others;
mod strangers;
mod streams;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::process::{Gateway, add_settings, client, home_of_x, upstream};
use crate::cli::Home;
use crate::wire::{Wire, WireBody, soon};

/// The provider's host.
const API: &str = "api.acme.test";

/// A host that is no provider's.
const OTHER: &str = "other.test";

/// An authority of the tests.
struct Authority {
    issuer: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        Self { issuer: rcgen::CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server of this host, by TLS in front of one without it.
    async fn front(&self, host: &str, to: SocketAddr) -> SocketAddr {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new([host.to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config =
            ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key)
                .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        listen(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut to = TcpStream::connect(to).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut to).await;
            }
        })
        .await
    }
}

/// Serves each connection by itself.
async fn listen<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Reads a head, and nothing after it.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// The net outside: a proxy that knows some names.
struct Net {
    address: SocketAddr,
    /// The targets that it was asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Net {
    async fn start(hosts: HashMap<String, SocketAddr>) -> Self {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let noted = asked.clone();
        let hosts = Arc::new(hosts);
        let address = listen(move |mut stream| {
            let (noted, hosts) = (noted.clone(), hosts.clone());
            async move {
                let head = head(&mut stream).await;
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                noted.lock().unwrap().push(target.clone());
                let Some(to) = hosts.get(&target) else {
                    stream.write_all(b"HTTP/1.1 502 Unknown\r\n\r\n").await.unwrap();
                    return;
                };
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let mut to = TcpStream::connect(to).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut to).await;
            }
        })
        .await;
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A provider at its own host, another host, and a home with accounts of the provider.
pub(super) struct World {
    pub(super) home: Home,
    net: Net,
    /// That of the other host.
    other: Authority,
    _upstream: Option<Wire>,
}

impl World {
    /// With an upstream that says which path and which token it was asked with.
    pub(super) async fn new(labels: &[&str]) -> Self {
        let upstream = upstream().await;
        let world = Self::of(upstream.address, upstream.address, labels).await;
        Self { _upstream: Some(upstream), ..world }
    }

    /// With these servers as the provider's host and as the other one.
    async fn of(api: SocketAddr, other: SocketAddr, labels: &[&str]) -> Self {
        let (authority, others) = (Authority::new("of the vendor"), Authority::new("of another"));
        let hosts = HashMap::from([
            (format!("{API}:443"), authority.front(API, api).await),
            (format!("{OTHER}:443"), others.front(OTHER, other).await),
            (format!("{OTHER}:80"), other),
        ]);
        let net = Net::start(hosts).await;
        let mut home = home_of_x(&format!("https://{API}"), labels).await;
        let path = home.path().join("vendor.pem");
        std::fs::write(&path, authority.pem()).unwrap();
        std::fs::write(home.path().join("other.pem"), others.pem()).unwrap();
        home.set("SSL_CERT_FILE", path.to_str().unwrap());
        home.set("HTTPS_PROXY", format!("http://{}", net.address));
        Self { home, net, other: others, _upstream: None }
    }

    fn settings(&self, toml: &str) {
        add_settings(&self.home, toml);
    }

    /// The certificate of the authority of its gateways.
    fn authority(&self) -> PathBuf {
        self.home.vault_directory().with_file_name("vault.proxy.pem")
    }

    /// Starts a gateway that takes tunnels, and adds a client for it.
    async fn start(&self, more: &[&str]) -> Tunnels {
        let token = client(&self.home, &["laptop"]);
        let gateway = Gateway::start(&self.home, &[&["--proxy"], more].concat()).await;
        Tunnels::of(gateway, token, &self.authority())
    }
}

/// A gateway that takes tunnels, and one of its clients.
struct Tunnels {
    gateway: Gateway,
    token: String,
    roots: RootCertStore,
}

impl Tunnels {
    fn of(gateway: Gateway, token: String, authority: &std::path::Path) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(authority).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        Self { gateway, token, roots }
    }

    /// Asks for a tunnel. Returns the head of the response, and the connection.
    async fn connect(&self, target: &str) -> (String, TcpStream) {
        self.ask(target, &format!("proxy-authorization: {}\r\n", self.basic())).await
    }

    /// What a client shows to a proxy.
    fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("credentials:{}", self.token)))
    }

    /// Asks for a tunnel with these headers.
    async fn ask(&self, target: &str, headers: &str) -> (String, TcpStream) {
        let mut stream = TcpStream::connect(self.gateway.address).await.unwrap();
        let request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = soon("the head", head(&mut stream)).await;
        (head, stream)
    }

    /// Opens a tunnel.
    async fn open(&self, target: &str) -> TcpStream {
        let (head, stream) = self.connect(target).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{target}: {head}");
        stream
    }

    fn connector(&self, protocol: &str) -> TlsConnector {
        let config =
            ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .unwrap();
        let mut config = config.with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    /// A connection to the provider's host, as a tool has it.
    async fn tls(&self, protocol: &str) -> tokio_rustls::client::TlsStream<TcpStream> {
        let stream = self.open(&format!("{API}:443")).await;
        let name = ServerName::try_from(API).unwrap();
        let connecting = self.connector(protocol).connect(name, stream);
        soon("the handshake", connecting).await.unwrap()
    }

    async fn http1(&self) -> http1::SendRequest<WireBody> {
        let (sender, connection) =
            http1::handshake(TokioIo::new(self.tls("http/1.1").await)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        sender
    }

    async fn http2(&self) -> http2::SendRequest<WireBody> {
        let stream = TokioIo::new(self.tls("h2").await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Sends these bytes to the provider's host, and reads to the end.
    async fn raw(&self, bytes: &str) -> String {
        let (mut read, mut write) = tokio::io::split(self.tls("http/1.1").await);
        let mut said = Vec::new();
        let sent = async {
            // The gateway may close the connection before it has read all.
            let _ = write.write_all(bytes.as_bytes()).await;
        };
        let _ = soon("the end", async { tokio::join!(read.read_to_end(&mut said), sent) }).await;
        String::from_utf8_lossy(&said).into_owned()
    }
}

/// Sends a request, and returns the status and the body of its response.
async fn send(sender: &mut http1::SendRequest<WireBody>, request: Request<WireBody>) -> (u16, String) {
    soon("the connection", sender.ready()).await.unwrap();
    read(soon("a response", sender.send_request(request)).await.unwrap()).await
}

/// The status and the body of a response.
async fn read(response: Response<hyper::body::Incoming>) -> (u16, String) {
    let (head, body) = response.into_parts();
    let body = soon("the body", http_body_util::BodyExt::collect(body)).await.unwrap().to_bytes();
    (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
}

/// A request to the provider's host as HTTP/1.1 has it.
fn get(path: &str) -> http::request::Builder {
    Request::get(path).header("host", API)
}
