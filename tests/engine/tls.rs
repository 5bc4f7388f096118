//! An engine that speaks TLS.

use std::fs;
use std::net::TcpListener;

use tempfile::TempDir;

use super::Server;

/// An engine that speaks TLS on a port of its own, and plainly on the usual one.
pub(crate) struct TlsServer {
    pub(crate) server: Server,
    port: u16,
    _files: TempDir,
}

impl TlsServer {
    /// Starts it with this certificate and its key, in PEM, and with these options; `None` if there is no engine with TLS.
    pub(crate) fn start(certificate: &str, key: &str, more: &[&str]) -> Option<Self> {
        let files = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let [certificate, key] =
            [("certificate.pem", certificate), ("key.pem", key)].map(|(name, pem)| {
                let file = files.path().join(name);
                fs::write(&file, pem).unwrap();
                file.display().to_string()
            });
        let port_text = port.to_string();
        let options =
            ["--tls-port", &port_text, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let Some(server) = Server::start_if_it_can(&[&options, more].concat()) else {
            eprintln!("no engine with TLS is installed, so this test is left out");
            return None;
        };
        Some(Self { server, port, _files: files })
    }

    /// The same for clients that show no certificate.
    pub(crate) fn start_for_all(certificate: &str, key: &str) -> Option<Self> {
        Self::start(certificate, key, &["--tls-auth-clients", "no"])
    }

    /// Returns the port of TLS.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}
