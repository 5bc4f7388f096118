//! The HTTPS client of the feature `tls`, by the program: certificates of the machine, and its proxies.
#![cfg(feature = "cli")]

use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, copy_bidirectional,
};
use tokio::net::{TcpListener, TcpStream};

use crate::cli::{Home, Run};

/// The name of a host that only the proxies know.
const HOST: &str = "api.acme.test";

/// A server of this test's, and what it was asked.
struct Server {
    port: u16,
    asked: Asked,
}

type Asked = Arc<Mutex<Vec<String>>>;

impl Server {
    /// Serves one connection after the other; `serve` notes what it is asked.
    async fn start<F: Future<Output = ()> + Send>(
        serve: impl Fn(TcpStream, Asked) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Asked::default();
        let noted = asked.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                serve(stream, noted.clone()).await;
            }
        });
        Self { port, asked }
    }
}

/// A vendor over HTTPS, whose certificate authority is known in the home alone.
async fn upstream(home: &mut Home) -> Server {
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(authority, authority_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let host = rcgen::CertificateParams::new([HOST.to_owned()]).unwrap();
    let certificate = host.signed_by(&key, &authority).unwrap();
    let path = home.path().join("authority.pem");
    std::fs::write(&path, authority.pem()).unwrap();
    home.set("SSL_CERT_FILE", path.to_str().unwrap());

    let provider = rustls::crypto::ring::default_provider();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    Server::start(move |stream, asked| {
        let acceptor = acceptor.clone();
        async move {
            // One that breaks the handshake off is not served.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let mut stream = BufReader::new(stream);
            let head = head(&mut stream).await.unwrap();
            asked.lock().unwrap().push(head);
            let body = r#"{"data": [{"id": "model-of-acme"}]}"#;
            let length = body.len();
            let response = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            stream.write_all(response.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    })
    .await
}

/// The head of a request.
async fn head(stream: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// A proxy of HTTP's `CONNECT`, that wants a password.
async fn http_proxy(upstream: u16) -> Server {
    Server::start(move |stream, asked| async move {
        let mut stream = BufReader::new(stream);
        let head = head(&mut stream).await.unwrap();
        // The password of the tests, in base64.
        let is_known = head.to_ascii_lowercase().contains("proxy-authorization: basic bwu6chctc2vjcmv0");
        asked.lock().unwrap().push(head);
        if !is_known {
            stream.write_all(b"HTTP/1.1 407 Who are you?\r\n\r\n").await.unwrap();
            return;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        tunnel(&mut stream, upstream).await;
    })
    .await
}

/// A proxy of SOCKS 5 (RFC 1928), without a password; it is asked for hosts.
async fn socks_proxy(upstream: u16) -> Server {
    Server::start(move |mut stream, asked| async move {
        let mut greeting = [0; 2];
        stream.read_exact(&mut greeting).await.unwrap();
        let mut methods = vec![0; usize::from(greeting[1])];
        stream.read_exact(&mut methods).await.unwrap();
        stream.write_all(&[5, 0]).await.unwrap();
        let mut request = [0; 5];
        stream.read_exact(&mut request).await.unwrap();
        assert_eq!(request[..4], [5, 1, 0, 3], "a connection to a name");
        let mut name = vec![0; usize::from(request[4]) + 2];
        stream.read_exact(&mut name).await.unwrap();
        name.truncate(usize::from(request[4]));
        asked.lock().unwrap().push(String::from_utf8(name).unwrap());
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        tunnel(&mut stream, upstream).await;
    })
    .await
}

async fn tunnel(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), upstream: u16) {
    let mut upstream = TcpStream::connect(("127.0.0.1", upstream)).await.unwrap();
    // Either end may break it off.
    let _ = copy_bidirectional(stream, &mut upstream).await;
}

async fn home() -> (Home, Server) {
    let mut home = Home::new();
    let upstream = upstream(&mut home).await;
    home.settings(&format!(
        "[providers.acme]\ntype = \"generic\"\norigins = [\"https://{HOST}\"]\nmodels_url = \"/models\"\n"
    ));
    home.add("acme", "work", "sk-secret-1").await;
    (home, upstream)
}

/// Runs the program beside the servers of this test.
async fn models(home: &Home) -> Run {
    tokio::task::block_in_place(|| home.run(["models", "acme", "--refresh"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_proxy_is_asked_for_a_tunnel_and_sees_nothing_of_what_goes_through() {
    let (mut home, upstream) = home().await;
    let Server { port, asked } = http_proxy(upstream.port).await;
    home.secret("pw-secret");
    home.set("HTTPS_PROXY", format!("http://me:pw-secret@127.0.0.1:{port}"));
    models(&home).await.ok().prints("model-of-acme");
    let asked = asked.lock().unwrap();
    assert!(asked[0].starts_with(&format!("CONNECT {HOST}:443 HTTP/1.1\r\n")), "{asked:?}");
    assert!(!asked[0].contains("sk-secret"), "{asked:?}");
    let heads = upstream.asked.lock().unwrap();
    assert!(heads[0].contains("authorization: Bearer sk-secret-1"), "{heads:?}");
    assert!(heads[0].contains("user-agent: tower-credentials/"), "{heads:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_refuses_is_an_error_without_its_password() {
    let (mut home, upstream) = home().await;
    let Server { port, .. } = http_proxy(upstream.port).await;
    home.secret("wrong-secret");
    home.set("https_proxy", format!("http://me:wrong-secret@127.0.0.1:{port}"));
    models(&home).await.code(6).says("proxy");
    assert!(upstream.asked.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_variable_that_names_no_proxy_is_an_error_and_nothing_goes_past_it() {
    let (mut home, upstream) = home().await;
    home.secret("pw-secret");
    home.set("https_proxy", "gopher://me:pw-secret@127.0.0.1:1");
    models(&home).await.code(2).says("https_proxy").says("socks5h://HOST:PORT, or unset it");
    home.set("HTTPS_PROXY", "");
    home.set("ALL_PROXY", "http://me:pw-secret@[bad");
    models(&home).await.code(2).says("ALL_PROXY");
    tokio::task::block_in_place(|| home.run(["test"])).code(2).says("ALL_PROXY");
    assert!(upstream.asked.lock().unwrap().is_empty());
    // In a CGI program none of them counts: the host is looked up, and not found.
    home.set("REQUEST_METHOD", "GET");
    models(&home).await.code(6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socks_proxy_looks_up_the_host_itself() {
    let (mut home, upstream) = home().await;
    let Server { port, asked } = socks_proxy(upstream.port).await;
    home.set("ALL_PROXY", format!("socks5h://127.0.0.1:{port}"));
    models(&home).await.ok().prints("model-of-acme");
    assert_eq!(*asked.lock().unwrap(), [HOST]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_proxy_means_none_and_a_loopback_host_has_none() {
    let (mut home, upstream) = home().await;
    let Server { port, asked } = http_proxy(upstream.port).await;
    home.set("ALL_PROXY", format!("http://127.0.0.1:{port}"));
    home.set("NO_PROXY", "acme.test");
    models(&home).await.code(6);
    home.settings(
        "[providers.acme]\ntype = \"generic\"\norigins = [\"http://127.0.0.1:1\"]\nmodels_url = \"/\"\n",
    );
    models(&home).await.code(6);
    assert_eq!(*asked.lock().unwrap(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_the_machine_does_not_vouch_for_is_refused() {
    let (mut home, upstream) = home().await;
    let Server { port, .. } = socks_proxy(upstream.port).await;
    home.set("ALL_PROXY", format!("socks5h://127.0.0.1:{port}"));
    let other = rcgen::generate_simple_self_signed(["other.test".to_owned()]).unwrap();
    let path = home.path().join("other.pem");
    std::fs::write(&path, other.cert.pem()).unwrap();
    home.set("SSL_CERT_FILE", path.to_str().unwrap());
    models(&home).await.code(6).says("certificate");
    assert!(upstream.asked.lock().unwrap().is_empty());
}
