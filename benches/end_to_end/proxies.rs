//! Reverse proxies in their own processes: a bare one, which is this program run again, `credentials serve`, nginx, and
//! LiteLLM's.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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

const LISTENING: &str = "Listening on ";

/// A proxy that runs until it is dropped.
pub(crate) struct Proxy {
    process: Child,
    /// Where requests go: an origin, and a path for ours.
    base: String,
    _directory: Option<tempfile::TempDir>,
}

impl Proxy {
    /// A proxy that only forwards.
    pub(crate) fn bare(upstream: &str) -> Self {
        let program = std::env::current_exe().expect("this program's path");
        let mut command = Command::new(program);
        command.args([BARE, upstream]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("a process");
        let base = origin_in(process.stdout.take().expect("its output"));
        Self { process, base, _directory: None }
    }

    /// The program, in a home of its own with one account.
    pub(crate) async fn ours(upstream: &str) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let settings = home.path().join(".config/tower-credentials");
        std::fs::create_dir_all(&settings).expect("a directory");
        let text = format!("[providers.openai]\norigins = [\"{upstream}\"]\n");
        std::fs::write(settings.join("config.toml"), text).expect("a file");
        let key = VaultKey::load_or_create(settings.join("vault.key")).await.expect("a key");
        let vault = home.path().join(".local/share/tower-credentials/vault");
        let vault = FileVault::open(vault, &key).await.expect("a vault");
        let secret = Secret::api_key("sk-0123456789abcdef0123456789abcdef");
        let credential = Credential::new(PoolKey::new("openai"), "account", secret);
        vault.put(credential).await.expect("a vault that stores");
        let mut command = Command::new(env!("CARGO_BIN_EXE_credentials"));
        command.args(["serve", "--open", "--access-log", "off", "--listen", "127.0.0.1:0"]);
        command.args(["--max-connections", "20000"]);
        command.env_clear().env("HOME", home.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("a process");
        let origin = origin_in(process.stderr.take().expect("its errors"));
        Self { process, base: format!("{origin}/openai"), _directory: Some(home) }
    }

    /// nginx, if it is installed.
    pub(crate) fn nginx(upstream: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let address = free_address();
        let settings = NGINX
            .replace("DIRECTORY", directory.path().to_str().expect("a path"))
            .replace("UPSTREAM", upstream.trim_start_matches("http://"))
            .replace("ADDRESS", &address);
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, settings).expect("a file");
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file).stdin(Stdio::null());
        let process = listening(command.spawn().ok()?, "nginx", &address);
        Some(Self { process, base: format!("http://{address}"), _directory: Some(directory) })
    }

    /// LiteLLM's proxy, which is this program, with one account.
    pub(crate) fn litellm(program: &Path, upstream: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let address = free_address();
        let file = directory.path().join("config.yaml");
        std::fs::write(&file, LITELLM.replace("UPSTREAM", upstream)).expect("a file");
        let (_, port) = address.rsplit_once(':').expect("a port");
        let mut command = Command::new(program);
        command.arg("--config").arg(&file).args(["--host", "127.0.0.1", "--port", port]);
        command.env("LITELLM_MASTER_KEY", TOKEN).env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
        // Nothing but the upstream is asked.
        command.envs([("HTTPS_PROXY", "http://127.0.0.1:9"), ("NO_PROXY", "127.0.0.1")]);
        command.current_dir(&directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("LiteLLM's program");
        let process = listening(process, "LiteLLM", &address);
        Self { process, base: format!("http://{address}"), _directory: Some(directory) }
    }

    /// Returns how many megabytes of memory it has at present.
    pub(crate) fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("a process of Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kilobytes / 1024.0
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Returns where it listens, and the path before that of requests.
    pub(crate) fn address_and_path(&self) -> (String, String) {
        let base: http::Uri = self.base.parse().expect("a URI");
        let address = base.authority().expect("an authority").to_string();
        (address, base.path().trim_end_matches('/').to_owned())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // nginx's workers end with it only if it can tell them.
        let id = self.process.id().to_string();
        let is_told =
            Command::new("kill").args(["-TERM", &id]).status().is_ok_and(|done| done.success());
        if !is_told {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

/// Returns an address for a program that can't tell which port it was given.
fn free_address() -> String {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.expect("a port").to_string()
}

/// Waits until a process listens.
fn listening(mut process: Child, name: &str, address: &str) -> Child {
    while TcpStream::connect(address).is_err() {
        if let Some(status) = process.try_wait().expect("a process") {
            panic!("{name} has ended: {status}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    process
}

/// Reads where a process listens, and lets it go on writing.
fn origin_in(output: impl Read + Send + 'static) -> String {
    let mut output = BufReader::new(output);
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    let origin = line.trim_end().strip_prefix(LISTENING).expect(&line).to_owned();
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    origin
}

/// The settings of an nginx that forwards to the upstream over connections that stay open, and keeps its files in DIRECTORY.
const NGINX: &str = "\
daemon off;
worker_processes 2;
pid DIRECTORY/pid;
error_log stderr;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path DIRECTORY/body;
    proxy_temp_path DIRECTORY/proxy;
    fastcgi_temp_path DIRECTORY/fastcgi;
    uwsgi_temp_path DIRECTORY/uwsgi;
    scgi_temp_path DIRECTORY/scgi;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    upstream theirs { server UPSTREAM; keepalive 128; keepalive_requests 1000000000; }
    server {
        listen ADDRESS;
        location / {
            proxy_pass http://theirs;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }
    }
}
";

/// The token of LiteLLM's only client.
pub(crate) const TOKEN: &str = "sk-client-0123456789abcdef0123456789abcdef";

/// The settings of a LiteLLM that forwards to the upstream.
const LITELLM: &str = "\
model_list:
  - model_name: bench
    litellm_params:
      model: openai/bench
      api_base: UPSTREAM/v1
      api_key: sk-0123456789abcdef0123456789abcdef
";

/// Runs the bare proxy until it is killed, if this process should be one. Otherwise returns false.
pub(crate) fn be_one_if_asked() -> bool {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, flag, upstream] = &arguments[..] else { return false };
    if flag != BARE {
        return false;
    }
    // As many threads as ours has.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
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
