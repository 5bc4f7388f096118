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
/// Every request is sent to the upstream with one of the provider's accounts, whatever credential its client
/// has sent; with the next one where that is limited. Point an SDK's base URL at it.
#[derive(Debug, Parser)]
#[command(name = "axum_gateway", version, after_long_help = AFTER_HELP)]
pub struct Arguments {
    /// Where to listen; port 0 lets the system choose one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Where requests go: https://HOST[:PORT][/PATH], or http:// with a loopback host
    ///
    /// PATH is put before every request's own. The accounts may go to this origin as well as to those of the
    /// provider.
    // Judged later: clap's errors would show a password in it.
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    upstream: Result<Endpoint, InvalidOrigin>,

    /// Whose accounts: a vendor such as anthropic or openai, one of the file given by --config, or any other
    /// name for accounts that go into `authorization: Bearer`
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub provider: String,

    /// The vault's directory [default: that of the program `credentials`]
    #[arg(long, value_name = "DIR")]
    pub vault: Option<PathBuf>,

    /// The file of the vault's key [default: the key of the program `credentials`]
    ///
    /// Or the key is in the variable TOWER_CREDENTIALS_VAULT_KEY, or where the settings say. It is made together with a
    /// vault, and for none that is there.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,

    /// Which of the provider's pools [default: `default`, or as --config says]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub namespace: Option<String>,

    /// A TOML file with settings of providers [default: that of the program `credentials`]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The header that tokens go into, for a provider that is no vendor's
    #[arg(long, value_name = "NAME")]
    pub header: Option<HeaderName>,

    /// Query parameters of clients' that are credentials, and are removed
    #[arg(
        long,
        value_name = "NAME,…",
        value_delimiter = ',',
        default_value = "key,api_key,api-key,access_token"
    )]
    pub strip_query: Vec<String>,

    /// How much of a request's body is kept so that it can be sent again with another account, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 2 * 1024 * 1024)]
    pub replay: u64,

    /// Speak HTTP/2 to an http:// upstream; with https:// it is agreed upon by TLS
    #[arg(long)]
    pub http2: bool,

    /// Serve /.gateway/…, for clients on this machine
    #[arg(long)]
    pub admin: bool,

    /// Listen on an address that is not loopback: whoever reaches it uses the accounts
    #[arg(long)]
    pub allow_remote: bool,

    /// Web pages that may use the gateway: `null`, SCHEME://HOST[:PORT] or, for schemes of programs, SCHEME://*
    ///
    /// As the browser's `origin` header has it, such as app://obsidian.md or vscode-webview://*. Any page can have the
    /// origin `null` by a sandboxed frame: it opens the gateway to all of them.
    #[arg(long, value_name = "ORIGIN,…", value_delimiter = ',')]
    pub allow_origin: Vec<AllowedOrigin>,

    /// Tell clients not to try again if every account is limited for longer than this, in seconds
    ///
    /// SDKs sleep for as long as `retry-after` says, in silence.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = any_seconds)]
    pub no_retry_beyond: Duration,

    /// How long to wait for a connection to the upstream, in seconds; then 504
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub connect_timeout: Duration,

    /// How long to wait for the head of the upstream's response, in seconds; then 504
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    pub timeout: Duration,

    /// How long requests that are under way have to end after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub drain: Duration,
}

impl Arguments {
    /// What is given, or an end with what is wrong.
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
  Method, path, query, headers, body and trailers, both ways and as they come. Left out are the headers of one
  hop (RFC 9110, section 7.6.1), also those that `connection` names, and the client's own credentials. Nothing
  is added but the account's headers, and those that the provider's settings name. Trailers of HTTP/1.1 need a `trailer` header, and those of responses `te: trailers` as well.

  A request goes to the next account where one is limited, and again with the same one once its token is
  renewed, if its body fits into --replay; a longer one is sent once, and the client gets the 429.

What is answered by the gateway itself, with a JSON body:
  429  every account is limited; `retry-after` and `retry-after-ms` say when the first is ready, if an upstream has
       said so, and `x-should-retry: false` that this takes longer than --no-retry-beyond
  502  the upstream can't be reached, or has broken off        504  it has not answered in time
  503  there is no account that can be used                    426  a WebSocket, or another upgrade
  400  what can't be forwarded: CONNECT, or a request that its client has broken off
  403  the request was made by a web page of another machine that --allow-origin does not name, or for another
       host than this one (not with --allow-remote)

With --admin:
  GET  /.gateway/pool         the accounts, and how each stands
  GET  /.gateway/counters     requests, attempts, rotations and refreshes so far
  POST /.gateway/reset/NAME   ends the cooldowns of the account of this label or id
  Without it these paths, too, are the upstream's.

SIGTERM and SIGINT end it once the requests under way have ended; a second one ends it at once.
Exit codes: 0 after a signal, 1 when it can't start, 2 for a command line that is of no use.
";
