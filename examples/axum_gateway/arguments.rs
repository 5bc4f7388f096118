//! The command line.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use http::HeaderName;
use tower_credentials::provider::{Endpoint, InvalidOrigin};

use crate::guard::AllowedOrigin;

/// A reverse proxy that lends its clients the accounts of a vault.
///
/// Sends every request to the upstream with one of the provider's accounts, whatever credential the client has
/// sent, and with the next account if that one is limited. Point an SDK's base URL at it.
#[derive(Debug, Parser)]
#[command(name = "axum_gateway", version, after_long_help = AFTER_HELP)]
pub struct Arguments {
    /// Where to listen; port 0 lets the system choose one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// The upstream: https://HOST[:PORT][/PATH], or http:// with a loopback host
    ///
    /// PATH is put before every request's own path. The accounts may be used at this origin, and at those of the
    /// provider.
    // Checked later: clap's errors would show a password in it.
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    upstream: Result<Endpoint, InvalidOrigin>,

    /// The provider of the accounts: a vendor such as anthropic or openai, a name from the file of --config, or any
    /// other name for accounts that are sent as `authorization: Bearer`
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub provider: String,

    /// The vault's directory [default: that of the program `credentials`]
    #[arg(long, value_name = "DIR")]
    pub vault: Option<PathBuf>,

    /// The file of the vault's key [default: the key of the program `credentials`]
    ///
    /// The key may also be in the variable TOWER_CREDENTIALS_VAULT_KEY, or where the settings say. It is made together
    /// with a new vault, and never for an existing one.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,

    /// Which of the provider's pools [default: `default`, or as --config says]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub namespace: Option<String>,

    /// A TOML file with settings of providers [default: that of the program `credentials`]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The header for tokens, for a provider that is not a known vendor
    #[arg(long, value_name = "NAME")]
    pub header: Option<HeaderName>,

    /// Query parameters that are credentials of clients, and are removed
    #[arg(
        long,
        value_name = "NAME,…",
        value_delimiter = ',',
        default_value = "key,api_key,api-key,access_token"
    )]
    pub strip_query: Vec<String>,

    /// How many bytes of a request's body are kept so that it can be sent again with another account
    #[arg(long, value_name = "BYTES", default_value_t = 2 * 1024 * 1024)]
    pub replay: u64,

    /// Speak HTTP/2 to an http:// upstream; with https://, TLS negotiates it
    #[arg(long)]
    pub http2: bool,

    /// Serve /.gateway/…, for clients on this machine
    #[arg(long)]
    pub admin: bool,

    /// Allow --listen with an address that is not loopback: whoever reaches it uses the accounts
    #[arg(long)]
    pub allow_remote: bool,

    /// Web pages that may use the gateway: `null`, SCHEME://HOST[:PORT] or, for a program's own scheme, SCHEME://*
    ///
    /// As in the browser's `origin` header, such as app://obsidian.md or vscode-webview://*. Any page can get the
    /// origin `null` with a sandboxed frame, so `null` allows all pages.
    #[arg(long, value_name = "ORIGIN,…", value_delimiter = ',')]
    pub allow_origin: Vec<AllowedOrigin>,

    /// Tell clients not to try again if every account is limited for longer than this, in seconds
    ///
    /// SDKs sleep silently for as long as `retry-after` says.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = any_seconds)]
    pub no_retry_beyond: Duration,

    /// How long to wait for a connection to the upstream, in seconds; then 504
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub connect_timeout: Duration,

    /// How long to wait for the head of the upstream's response, in seconds; then 504
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    pub timeout: Duration,

    /// How long requests in flight may go on after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub drain: Duration,
}

impl Arguments {
    /// Returns the arguments, or exits with an error that names the wrong one.
    pub fn read() -> Self {
        let given = Self::parse();
        let listen = given.listen;
        if let Err(error) = &given.upstream {
            refuse(&format!("--upstream: {error}"));
        }
        if !listen.ip().is_loopback() && !given.allow_remote {
            refuse(&format!(
                "--listen {listen} is no loopback address: whoever reaches it would use the accounts; add \
                 --allow-remote if that is meant"
            ));
        }
        given
    }

    pub fn upstream(&self) -> Result<&Endpoint, InvalidOrigin> {
        self.upstream.as_ref().map_err(Clone::clone)
    }
}

fn refuse(message: &str) -> ! {
    Arguments::command().error(ErrorKind::ValueValidation, message).exit()
}

#[allow(clippy::unnecessary_wraps, reason = "as clap wants it")]
fn endpoint(text: &str) -> Result<Result<Endpoint, InvalidOrigin>, Infallible> {
    Ok(text.parse())
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
        _ => Err("it must be a whole number of seconds, from 1 on".to_owned()),
    }
}

fn any_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "it must be a whole number of seconds".to_owned())?;
    Ok(Duration::from_secs(seconds))
}

const AFTER_HELP: &str = "\
What is forwarded:
  Method, path, query, headers, body and trailers, both ways and as they come. Left out are hop-by-hop headers
  (RFC 9110, section 7.6.1), also those that `connection` names, and the client's own credentials. Only the
  account's headers and those that the provider's settings name are added. Trailers of HTTP/1.1 need a `trailer`
  header, and those of responses `te: trailers` as well.

  If an account is limited, the request goes to the next one. If a token is refused, it is renewed and the request
  sent again with the same account. Both need a body that fits into --replay: a longer one is sent once, and the
  client gets the 429.

Responses of the gateway itself, with a JSON body:
  429  every account is limited; `retry-after` and `retry-after-ms` say when the first one is ready, if the upstream
       has said so, and `x-should-retry: false` says that this takes longer than --no-retry-beyond
  502  the upstream can't be reached, or broke off             504  it did not answer in time
  503  no account can be used                                  426  a WebSocket, or another upgrade
  400  the request can't be forwarded: a CONNECT, or one that its client broke off
  403  the request came from a web page of another machine that --allow-origin does not name, or is for another
       host than this one (not with --allow-remote)

With --admin:
  GET  /.gateway/pool         the accounts and their state
  GET  /.gateway/counters     requests, attempts, rotations and refreshes so far
  POST /.gateway/reset/NAME   ends the cooldowns of the account of this label or id
  Without it these paths go to the upstream, too.

SIGTERM and SIGINT end the gateway once the requests in flight have ended; a second signal ends it at once.
Exit codes: 0 after a signal, 1 if it can't start, 2 for a bad command line.
";
