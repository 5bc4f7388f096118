//! `credentials serve` with a certificate of its own.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use http::{Method, Request, Response, StatusCode, Version};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async;

use super::process::{Gateway, client, home, upstream};
use super::websockets::Echo;
use crate::cli::Home;
use crate::wire::certified::Certified;
use crate::wire::{Wire, WireBody, full, soon, whole};

impl Certified {
    /// Writes the certificate and its key.
    pub(super) fn write(&self, files: &Files) {
        std::fs::write(&files.certificate, &self.certificate).unwrap();
        write_key(&files.key, &self.key);
    }

    /// Writes the authority's own certificate.
    pub(super) fn write_authority(&self, home: &Home) -> PathBuf {
        let path = home.path().join("authority.pem");
        std::fs::write(&path, self.authority.pem()).unwrap();
        path
    }

    fn config(&self, protocols: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = rustls::crypto::ring::default_provider();
        let mut config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// A client for HTTP/2 that trusts this authority alone.
    pub(super) fn client(&self) -> Client<HttpsConnector<HttpConnector>, WireBody> {
        let connector = HttpsConnectorBuilder::new().with_tls_config(self.config(&[]));
        Client::builder(TokioExecutor::new()).build(connector.https_only().enable_http2().build())
    }

    pub(super) async fn connect(
        &self,
        address: SocketAddr,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::new(self.config(&[])));
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        soon("the handshake", connector.connect(name, stream)).await
    }
}

pub(super) struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    pub(super) fn of(directory: &Path) -> Self {
        Self { certificate: directory.join("gateway.pem"), key: directory.join("gateway.key") }
    }

    pub(super) fn arguments(&self) -> [&str; 4] {
        ["--tls-cert", self.certificate.to_str().unwrap(), "--tls-key", self.key.to_str().unwrap()]
    }
}

fn write_key(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_with_a_certificate_speaks_https_by_http2_and_http1() {
    let upstream = Wire::start(async |request: Request<_>| {
        let (head, body) = request.into_parts();
        let cookies: Vec<_> = head.headers.get_all("cookie").iter().cloned().collect();
        let said = format!("{} {} {cookies:?} {}", head.method, head.uri, whole(body).await.0.len());
        Response::new(full(said))
    })
    .await;
    let home = home(&upstream, &["good-1"]).await;
    let token = client(&home, &["laptop"]);
    let (certified, files) = (Certified::new(), Files::of(home.path()));
    certified.write(&files);
    let authority = certified.write_authority(&home);
    let mut gateway = Gateway::start(&home, &files.arguments()).await;
    gateway.says(&format!("OPENAI_BASE_URL=https://{}/openai/v1", gateway.address)).await;
    let url = format!("https://{}/openai/v1/x", gateway.address);
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let output = std::process::Command::new("curl")
            .args(["-sS", flag, "-w", " by %{http_version}", "--noproxy", "*", "--cacert"])
            .arg(&authority)
            .args(["-H", &format!("authorization: Bearer {token}"), "-d", "four", &url])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said, format!("POST /v1/x [] 4 by {version}"), "{output:?}");
    }

    // Many at once, on one connection of at most a hundred.
    let client = certified.client();
    let sending = (0..150).map(|at| {
        let request = Request::builder().method(Method::PUT).uri(format!("{url}?at={at}"));
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.header("cookie", "a=1").header("cookie", "b=2");
        let response = client.request(request.body(full(vec![b'x'; 100_000])).unwrap());
        tokio::spawn(async move {
            let response = soon("a response", response).await.unwrap();
            assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
            let said = whole(response.into_body()).await.0;
            assert_eq!(said, format!("PUT /v1/x?at={at} [\"a=1; b=2\"] 100000"));
        })
    });
    for sent in sending.collect::<Vec<_>>() {
        sent.await.unwrap();
    }

    // Whoever speaks plain HTTP is told so.
    let (status, said) = gateway.send(gateway.get("/openai/v1/x", &token)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(said.contains("https://"), "{said}");
    let run = gateway.stop().await;
    home.check(&run.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_for_a_host_and_a_strangers_host_are_known_by_http2() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let before = std::fs::read_to_string(home.settings_file()).unwrap();
    let route = "[[serve.route]]\npath = \"/team\"\nprovider = \"openai\"\nhost = \"localhost\"\n";
    // Relative paths begin at the settings file.
    let files = Files::of(home.settings_file().parent().unwrap());
    let table = "[serve]\ntls_cert = \"gateway.pem\"\ntls_key = \"gateway.key\"\n";
    home.settings(&format!("{before}{table}{route}"));
    let certified = Certified::new();
    certified.write(&files);
    let token = client(&home, &["laptop"]);
    let gateway = Gateway::start(&home, &[]).await;
    let client = certified.client();
    for (host, named, expected) in [
        ("localhost", None, StatusCode::OK),
        ("127.0.0.1", None, StatusCode::NOT_FOUND),
        ("127.0.0.1", Some("localhost"), StatusCode::NOT_FOUND),
    ] {
        let url = format!("https://{host}:{}/team/x", gateway.address.port());
        let mut request = Request::get(url).header("x-api-key", &token);
        if let Some(named) = named {
            request = request.header("host", named);
        }
        let response =
            soon("a response", client.request(request.body(full("")).unwrap())).await.unwrap();
        assert_eq!(response.status(), expected, "{host} {named:?}");
    }
    // The connection ends with the gateway.
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_certificate_is_served_within_seconds_and_a_wrong_one_is_told() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let files = Files::of(home.path());
    let (first, second) = (Certified::new(), Certified::new());
    first.write(&files);
    let mut gateway = Gateway::start(&home, &files.arguments()).await;
    first.connect(gateway.address).await.unwrap();
    second.connect(gateway.address).await.unwrap_err();

    second.write(&files);
    gateway.says("The certificate was read again").await;
    second.connect(gateway.address).await.unwrap();
    first.connect(gateway.address).await.unwrap_err();

    write_key(&files.key, &first.key);
    gateway.says("is not the key of the certificate").await;
    gateway.says("The certificate so far stays in use").await;
    second.connect(gateway.address).await.unwrap();
    std::fs::remove_file(&files.certificate).unwrap();
    gateway.says("could not read").await;
    second.connect(gateway.address).await.unwrap();
    std::fs::set_permissions(&files.key, PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(&files.certificate, &first.certificate).unwrap();
    gateway.says("others than its owner may read").await;
    // The way out that was told is enough.
    std::fs::set_permissions(&files.key, PermissionsExt::from_mode(0o600)).unwrap();
    soon("the certificate", async { while first.connect(gateway.address).await.is_err() {} }).await;
    let run = gateway.stop().await;
    assert_eq!(run.stderr.matches("was read again").count(), 2, "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_pair_are_refused_by_name_and_without_their_text() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let files = Files::of(home.path());
    let (certified, other) = (Certified::new(), Certified::new());
    let refused = |arguments: &[&str], code: i32, says: &[&str]| {
        let run = home.run([&["serve", "--listen", "127.0.0.1:0"], arguments].concat()).code(code);
        assert!(!run.stderr.contains("planted"), "{run:?}");
        says.iter().fold(run, |run, text| run.says(text));
    };
    let all = files.arguments();
    refused(&all, 3, &["gateway.pem (--tls-cert)"]);
    certified.write(&files);
    refused(&all[..2], 2, &["--tls-cert", "--tls-key FILE"]);
    refused(&all[2..], 2, &["--tls-key", "--tls-cert FILE"]);
    let swapped = [all[0], all[3], all[2], all[1]];
    refused(&swapped, 2, &["gateway.key (--tls-cert) has no certificate"]);
    write_key(&files.key, &other.key);
    refused(&all, 2, &["gateway.key (--tls-key) is not the key of the certificate", "gateway.pem"]);
    for text in [
        "planted",
        "-----BEGIN PRIVATE KEY planted\n",
        "-----BEGIN PRIVATE KEY-----\nplanted!\n-----END PRIVATE KEY-----\n",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\ncGxhbnRlZA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\ncGxhbnRlZA==\n-----END PRIVATE KEY-----\n",
    ] {
        write_key(&files.key, text);
        refused(&all, 2, &["gateway.key (--tls-key) has"]);
    }
    write_key(&files.key, &certified.key);
    std::fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    refused(&all, 2, &["gateway.pem (--tls-cert) is not valid"]);
    certified.write(&files);
    std::fs::set_permissions(&files.key, PermissionsExt::from_mode(0o644)).unwrap();
    refused(&all, 2, &["gateway.key (--tls-key)", "0644", "chmod 600"]);
    let before = std::fs::read_to_string(home.settings_file()).unwrap();
    home.settings(&format!("{before}[serve]\ntls_key = \"gateway.key\"\n"));
    refused(&[], 2, &["tls_key in the table [serve] of the settings", "--tls-cert FILE"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_go_on_is_ended() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let (certified, files) = (Certified::new(), Files::of(home.path()));
    certified.write(&files);
    let gateway = Gateway::start(&home, &files.arguments()).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(&[22, 3, 1]).await.unwrap();
    assert_eq!(soon("its end", stream.read(&mut [0; 64])).await.unwrap_or(0), 0);
    certified.connect(gateway.address).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_comes_over_tls() {
    let mut upstream = Echo::start().await;
    let home = upstream.home(&["good-1"]).await;
    let token = client(&home, &["laptop"]);
    let (certified, files) = (Certified::new(), Files::of(home.path()));
    certified.write(&files);
    let gateway = Gateway::start(&home, &files.arguments()).await;
    let stream = certified.connect(gateway.address).await.unwrap();
    let url = format!("wss://{}/openai/v1/realtime?key={token}", gateway.address);
    let (mut websocket, _) = soon("the handshake", client_async(url, stream)).await.unwrap();
    assert_eq!(upstream.asked().await.1["authorization"], "Bearer good-1-key");
    websocket.send("hello".into()).await.unwrap();
    let said = soon("a message", websocket.next()).await.unwrap().unwrap();
    assert_eq!(said.to_text().unwrap(), "hello");
    drop(websocket);
    upstream.ended().await;
}
