//! `serve`: one address for the tools of a machine or a team.

mod listening;
mod reload;
mod tls;
mod told;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::task::JoinSet;

use super::proxy::{self, TunnelOptions};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::gateway::{
    AccessFormat, AccessLog, AllowedOrigin, Clients, ClientsFile, FollowedClients, Forward, Gateway,
    Guard, HttpVersion, Listener, Rules, Sending, ServeSettings, Server, Threads, Tls, routes,
};
use crate::options::Global;
use crate::signals::Interrupts;
use crate::{log, numbers, output};
use reload::{Changed, Reload};
use tls::TlsOptions;
use told::{of_routes, tell_changes};

/// Where to listen, if nothing else is said.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// Serve all accounts at one address, for the tools of a machine or a team
///
/// Each provider that has accounts gets a path, such as /openai. Tools take it as the base URL, and the token of a client
/// (`credentials client add`) as the API key. Every request is sent on with one of the accounts: with the next one if that is
/// limited, and with a renewed token if it has expired.
///
/// SIGTERM and Ctrl-C end it once the requests under way have ended; a second signal ends it at once.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct Serve {
    #[command(subcommand)]
    action: Option<Action>,
    /// The providers to serve; all that have accounts if none is given
    #[arg(value_name = "PROVIDER")]
    providers: Vec<String>,
    /// Where to listen [default: 127.0.0.1:8080]; the system chooses the port if it is 0
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = numbers::address)]
    listen: Option<SocketAddr>,
    /// Listen at this path, too: a socket for this user alone
    #[cfg(unix)]
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// Need no token: every program and every user of this machine can use the accounts. Loopback only
    #[arg(long)]
    open: bool,
    /// Allow an address that is not loopback
    #[arg(long)]
    allow_remote: bool,
    /// A name of this machine that requests may be for, beside localhost
    #[arg(long, value_name = "HOST,…", value_delimiter = ',')]
    allow_host: Vec<String>,
    /// Web pages that may use it: `null`, SCHEME://HOST or SCHEME://HOST:PORT, or for a program's own scheme SCHEME://*
    ///
    /// As in the browser's `origin` header, such as app://obsidian.md or vscode-webview://*. Any page can get the
    /// origin `null` with a sandboxed frame, so `null` allows all pages.
    #[arg(long, value_name = "ORIGIN,…", value_delimiter = ',')]
    allow_origin: Vec<AllowedOrigin>,
    /// Be an HTTPS proxy, too: for tools that take no base URL
    ///
    /// A client's tools name it as HTTPS_PROXY, as is shown at the start, and trust the authority that is named there.
    #[arg(long, conflicts_with = "open")]
    proxy: bool,
    #[command(flatten)]
    tunnels: TunnelOptions,
    #[command(flatten)]
    tls: TlsOptions,
    #[command(flatten)]
    sending: SendingOptions,
    /// What to write to standard output about each request
    #[arg(long, value_name = "FORM", default_value = "text")]
    access_log: AccessFormat,
    /// How many connections there may be at once; more wait
    #[arg(long, value_name = "N", default_value = "4096", value_parser = numbers::count::<NonZeroUsize>)]
    max_connections: NonZeroUsize,
    /// How long requests under way may go on after the first signal, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = numbers::seconds)]
    drain: Duration,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Let the gateways of this vault read their settings again
    ///
    /// A gateway that runs follows them within a second. If they are wrong, it says so and goes on with those it has. SIGHUP
    /// does the same for one gateway.
    Reload,
}

/// How requests are sent on.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct SendingOptions {
    /// How many bytes of a request's body are kept so that it can be sent again with another account
    #[arg(long, value_name = "BYTES", default_value_t = 2 * 1024 * 1024, value_parser = numbers::bytes)]
    replay: u64,
    /// How long to wait for the head of a response, in seconds; then 504
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = numbers::seconds)]
    timeout: Duration,
    /// Tell tools not to try again if every account is limited for longer than this, in seconds
    ///
    /// SDKs sleep silently for as long as `retry-after` says.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = numbers::any_seconds)]
    no_retry_beyond: Duration,
    /// What to speak to the upstreams [default: `upstream_http_version` of the settings, or else auto]
    #[arg(long, value_name = "VERSION")]
    upstream_http_version: Option<HttpVersion>,
    /// After how many silent seconds an HTTP/2 connection to an upstream is checked with a ping; it is lost if as many pass
    /// without a reply
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = numbers::up_to::<3600>)]
    upstream_ping: u16,
}

impl SendingOptions {
    pub(crate) fn get(self) -> Sending {
        let Self { replay, timeout, no_retry_beyond, upstream_http_version, upstream_ping } = self;
        let (http_version, ping) = (upstream_http_version, Duration::from_secs(upstream_ping.into()));
        Sending { replay, timeout, no_retry_beyond, http_version, ping }
    }
}

impl Serve {
    /// Whether it does something else than to end when a signal comes.
    pub(super) fn handles_signals(&self) -> bool {
        self.action.is_none()
    }

    pub(crate) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let context = Context::new(global)?;
        let settings = ServeSettings::read(&context.places.config)?;
        if let Some(Action::Reload) = self.action {
            reload::ask(&context)?;
            return Ok(Exit::Done);
        }
        let listen = self.listen.or(settings.listen).unwrap_or(LISTEN);
        self.check(listen, &settings)?;
        let mut certificate = self.tls.files(&settings, &context.places.config)?;
        let read = certificate.as_mut().map(|files| files.read()).transpose()?;
        let tls = read.map(Tls::new).transpose()?.map(Arc::new);
        // Before the first wait, so that no signal is missed.
        let mut signals = Interrupts::listen_as_server()?;
        let listeners = self.listeners(listen).await?;
        let file = ClientsFile::of(&context.places.own);
        let followed = FollowedClients::new(file.clone());
        let known = file.read()?;
        let has_clients = !known.is_empty();
        let look = move |clients: &Clients| followed.look(|known| clients.set(known));
        let clients = Clients::new(known).following(look);
        let clients = if self.open { clients.open() } else { clients };
        let rules = signals.unless_one_comes(self.rules(&context, true)).await?;
        log::show_engine(!rules.are_while_away());
        let make = || self.tunnels.proxy(&context, &settings, &rules, &listeners, tls.is_some());
        let proxy = (self.proxy || settings.proxy).then(make).transpose()?;
        let threads = Threads::start()?;
        // Before anybody hears that it runs.
        let mut reload = Reload::new(&context, &self.providers, certificate);
        self.say(&listeners, tls.is_some(), &rules, has_clients);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = listeners.iter().find_map(|listener| listener.address().ok()).unwrap_or(listen);
        let access = AccessLog::new(self.access_log);
        let gateway =
            Arc::new(Gateway::new(rules, clients, access, self.sending.get()).with_proxy(proxy));
        let following = async {
            let mut said = String::new();
            loop {
                let changed = tokio::select! {
                    changed = reload.next(&gateway.clients) => changed,
                    () = reload::vault_is_back(&context), if gateway.is_away() => Changed::Settings,
                };
                match changed {
                    Changed::Certificate(certificate) => {
                        if let Some(tls) = &tls {
                            tls.set(certificate);
                            output::say("The certificate was read again");
                        }
                    }
                    Changed::Settings => {
                        let was_away = gateway.is_away();
                        let rules = async {
                            let context = Context::quiet(global, None)?;
                            let rules = self.rules(&context, was_away).await?;
                            if let Some(proxy) = gateway.proxy() {
                                proxy::follow(proxy, &context, &rules)?;
                            }
                            Ok::<_, Failure>(rules)
                        };
                        match rules.await {
                            Ok(rules) => {
                                let after = of_routes(&rules, scheme, address);
                                let is_back = was_away && !rules.are_while_away();
                                let before = gateway.replace(rules);
                                log::show_engine(!gateway.is_away());
                                output::say(match is_back {
                                    true => "The vault can be reached now",
                                    false => "The settings were read again",
                                });
                                tell_changes(&of_routes(&before, scheme, address), &after);
                                tokio::spawn(reload::close(before));
                            }
                            // The vault was reached, and is looked at until it can be served.
                            Err(failure) if was_away && failure.message() == said => {}
                            Err(failure) => {
                                failure.message().clone_into(&mut said);
                                output::warn_of(&failure);
                                if !was_away {
                                    output::say("The settings so far stay in use");
                                }
                            }
                        }
                    }
                }
            }
        };
        tokio::select! {
            () = self.serve(listeners, tls.clone(), threads, gateway.clone(), &mut signals) => {}
            () = following => {}
        }
        #[cfg(unix)]
        if let Some(path) = &self.unix {
            let _ = std::fs::remove_file(path);
        }
        Ok(Exit::Ended)
    }

    /// Returns what the settings and the flags say. If the vault can't be reached and `may_wait` is set, they are those for as
    /// long as it can't.
    async fn rules(
        &self,
        context: &Context,
        may_wait: bool,
    ) -> Result<Rules<impl Forward + use<>>, Failure> {
        let settings = ServeSettings::read(&context.places.config)?;
        let found = async {
            let vault = context.vault_or_empty().await?;
            routes(context, &vault, &self.providers, &settings, self.sending.get()).await
        };
        let (routes, is_away) = match found.await {
            Err(failure) if may_wait && failure.is_away() => {
                output::warn_of(&failure);
                output::say("Until the vault can be reached, requests are answered with 503");
                (Vec::new(), true)
            }
            found => (found?, false),
        };
        let hosts = [&*self.allow_host, &settings.allow_hosts].concat();
        let origins = [&*self.allow_origin, &settings.allow_origins].concat();
        let guard = Guard::new(self.allow_remote, hosts, origins);
        let rules = Rules::new(routes, guard);
        Ok(if is_away { rules.while_away() } else { rules })
    }

    /// Serves until a signal comes, and then until the requests under way have ended or another signal comes.
    async fn serve<S: Forward>(
        &self,
        listeners: Vec<Listener>,
        tls: Option<Arc<Tls>>,
        threads: Threads,
        gateway: Arc<Gateway<S>>,
        signals: &mut Interrupts,
    ) {
        let mut servers = JoinSet::new();
        for listener in listeners {
            let (most, tls, threads) = (self.max_connections.get(), tls.clone(), threads.clone());
            let server = Server::new(listener, most, tls, threads);
            servers.spawn(server.run(gateway.clone()));
        }
        let too_late = async {
            signals.next().await;
            gateway.end();
            let told = async {
                gateway.has_requests().await;
                output::say("Waiting for the requests under way; another signal ends them");
                std::future::pending().await
            };
            tokio::select! {
                biased;
                () = told => {}
                _ = tokio::time::timeout(self.drain, signals.next()) => {}
            }
        };
        tokio::select! {
            _ = servers.join_all() => {}
            () = too_late => output::warn("requests that were under way are broken off"),
        }
    }
}

const AFTER_HELP: &str = "\
Responses of its own, with a JSON body:
  400  it can't be forwarded                501  its body has another transfer coding than `chunked`
  401  no token of a client                 403  a web page, another host, or a client that may not
  404  no such path                         426  an upgrade that is no WebSocket
  429  every account is limited; `retry-after` says when the first is ready, if the upstream has said so, and
       `x-should-retry: false` says that this takes longer than --no-retry-beyond; or the client has reached its bound
  502  the upstream can't be reached        504  it did not answer in time
  503  no account can be used; or the vault of many hosts can't be reached yet, with `retry-after`

  GET /healthz is 200 while it runs; GET /readyz is 503 if no account can be used now.

Examples:
  credentials client add laptop
  credentials serve
  OPENAI_BASE_URL=http://127.0.0.1:8080/openai/v1 OPENAI_API_KEY=$(cat token) llm hello";
