//! Reverse proxies in their own processes: a bare one, which is this program run again, and the example
//! `axum_gateway`.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use http::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::{Credential, PoolKey, Secret};

/// The argument that makes this program the bare proxy. The upstream's origin follows.
const BARE: &str = "--be-a-bare-proxy-of";

const LISTENING: &str = "listening on ";

/// A proxy that runs until it is dropped.
pub(crate) struct Proxy {
    process: Child,
    origin: String,
    _vault: Option<tempfile::TempDir>,
}

impl Proxy {
    /// A proxy that only forwards.
    pub(crate) fn bare(upstream: &str) -> Self {
        let program = std::env::current_exe().expect("this program's path");
        let mut command = Command::new(program);
        command.args([BARE, upstream]);
        Self::start(command, None)
    }

    /// The example, with four accounts in a vault on disk.
    pub(crate) async fn ours(upstream: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("vault");
        let key = VaultKey::generate();
        let vault = FileVault::open(&root, &key).await.expect("a vault");
        for number in 0..4 {
            let secret = Secret::api_key(format!("sk-{number}-0123456789abcdef0123456789abcdef"));
            let credential =
                Credential::new(PoolKey::new("openai"), format!("account {number}"), secret);
            vault.put(credential).await.expect("a vault that stores");
        }
        let mut command = Command::new(example());
        command.args(["--listen", "127.0.0.1:0", "--provider", "openai", "--upstream", upstream]);
        command.arg("--vault").arg(&root);
        command.env("TOWER_CREDENTIALS_VAULT_KEY", key.to_base64().expose());
        Self::start(command, Some(directory))
    }

    fn start(mut command: Command, vault: Option<tempfile::TempDir>) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut process = command.spawn().expect("a process");
        let output = process.stdout.take().expect("its output");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("a line");
        let origin = line.trim_end().strip_prefix(LISTENING).expect("where it listens").to_owned();
        Self { process, origin, _vault: vault }
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The example's program. If it is missing or out of date, builds it with this program's profile.
fn example() -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--all-features", "--example", "axum_gateway"]);
    if !cfg!(debug_assertions) {
        // With this program's profile, nothing else is built again.
        build.args(["--profile", "bench"]);
    }
    assert!(build.status().expect("cargo").success(), "the example was not built");
    // This program is `target/release/deps/end_to_end-…`, and the example is in `target/release/examples`.
    let this = std::env::current_exe().expect("this program's path");
    let profile = this.ancestors().nth(2).expect("the profile's directory");
    profile.join("examples").join("axum_gateway")
}

/// Runs the bare proxy until it is killed, if this process should be one. Otherwise returns false.
pub(crate) fn be_one_if_asked() -> bool {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, flag, upstream] = &arguments[..] else { return false };
    if flag != BARE {
        return false;
    }
    // Like the example's.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(serve(upstream.parse().expect("an origin")));
    true
}

#[derive(Clone)]
struct Forward {
    client: Client<HttpConnector, Body>,
    upstream: http::uri::Authority,
}

async fn serve(upstream: http::Uri) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let upstream = upstream.authority().expect("an authority").clone();
    let router = Router::new().fallback(forward).with_state(Forward { client, upstream });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{LISTENING}http://{}", listener.local_addr().expect("an address"));
    axum::serve(listener, router).await.expect("a server");
}

async fn forward(State(forward): State<Forward>, mut request: Request<Body>) -> Response<Body> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(http::uri::Scheme::HTTP);
    parts.authority = Some(forward.upstream);
    *request.uri_mut() = http::Uri::from_parts(parts).expect("a URI");
    request.headers_mut().remove(http::header::HOST);
    let response = forward.client.request(request).await.expect("a response");
    response.map(Body::new)
}
