//! `exec`: runs a tool with all accounts behind it.

mod proxied;

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;

use clap::Args;
use tokio::process::{Child, Command};
use tower_credentials::SecretString;
use tower_credentials::setup::VaultPlace;

use super::proxy::TunnelOptions;
use super::serve::SendingOptions;
use crate::context::Context;
use crate::failure::{self, Failure};
use crate::gateway::{
    AccessFormat, AccessLog, ClientRecord, Clients, Forward, Gateway, Guard, Listener, Others, Proxy,
    Route, Rules, ServeSettings, Server, Threads, TokenHash, Value, generate_token, is_gateway_token,
    routes, variables,
};
use crate::log;
use crate::output;
use crate::signals::Interrupts;
use crate::time::now;
use proxied::Proxied;

/// The most connections of one command.
const MAX_CONNECTIONS: usize = 1024;

/// Run a command with all accounts behind it
///
/// The command's environment gets the address of a gateway on this machine, in the variables that the SDKs and tools of each
/// provider read, and a token for it in place of an API key. The gateway sends its requests on with one of the accounts: with
/// the next one if that is limited, and with a renewed token if it has expired. No key and no token of an account reaches the
/// command. The gateway ends when the command ends, and the exit code is the command's.
#[derive(Debug, Args)]
#[command(
    override_usage = "credentials exec [OPTIONS] [PROVIDER]... -- COMMAND [ARGUMENT]...",
    after_help = "\
Examples:
  credentials exec -- llm 'hello'
  credentials exec anthropic -- claude
  credentials exec --proxy -- a-tool-without-a-base-url
  credentials exec --print"
)]
pub(crate) struct Exec {
    /// The providers whose accounts it may use; all that have accounts if none is given
    #[arg(value_name = "PROVIDER")]
    providers: Vec<String>,
    /// Only show the variables that the command would get
    #[arg(long)]
    print: bool,
    /// Be the command's HTTPS proxy: for tools that take no base URL
    ///
    /// The variables name a proxy and an authority of this run in place of base URLs. Requests to the providers' own hosts get
    /// accounts, and other connections pass untouched. The keys in the variables are placeholders.
    #[arg(long)]
    proxy: bool,
    #[command(flatten)]
    tunnels: TunnelOptions,
    #[command(flatten)]
    sending: SendingOptions,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "print")]
    command: Vec<OsString>,
}

impl Exec {
    pub(crate) async fn run(self, context: &Context) -> Result<failure::Exit, Failure> {
        let mut signals = Interrupts::listen()?;
        let sending = self.sending.get();
        let routes = async {
            let vault = context.vault_or_empty().await?;
            // A tool has no use for more routes than those of its providers.
            let mut settings = ServeSettings::read(&context.places.config)?;
            settings.routes.clear();
            routes(context, &vault, &self.providers, &settings, sending).await
        };
        let routes = signals.unless_one_comes(routes).await?;
        log::show_engine(true);
        let not_listening =
            |error: io::Error| Failure::failed("can't listen on a port of this machine").because(error);
        let listener = Listener::tcp(([127, 0, 0, 1], 0).into()).await.map_err(not_listening)?;
        let address = listener.address().map_err(not_listening)?;
        let token = generate_token().map_err(|error| {
            Failure::failed("the system gave no random numbers for a token").because(error)
        })?;
        let mut environment = environment(&routes, &format!("http://{address}"), &token);
        let rules = Rules::new(routes, Guard::default());
        // Its files stay until the command has ended.
        let proxied = self.proxy.then(|| Proxied::new(&rules)).transpose()?;
        if let Some((files, authority)) = &proxied {
            environment = files.environment(&rules, authority, address, &token)?;
        }
        if self.print {
            for (name, value) in &environment {
                if let Some(value) = value.shown() {
                    output::print(format_args!("{name}={value}"))?;
                }
            }
            return Ok(failure::Exit::Done);
        }
        let [program, arguments @ ..] = &*self.command else {
            return Err(Failure::usage("there is no command to run"));
        };
        let (_files, authority) = proxied.unzip();
        let TunnelOptions { proxy_others, proxy_idle } = self.tunnels;
        let others = proxy_others.unwrap_or(Others::Tunnel);
        let proxy = authority.map(|authority| Proxy::new(vec![authority], others, proxy_idle));
        let proxy = proxy.transpose()?;
        let clients = Clients::of_command(client(&token));
        let access = AccessLog::new(AccessFormat::Off);
        let gateway = Arc::new(Gateway::new(rules, clients, access, sending).with_proxy(proxy));
        let threads = Threads::start_one()?;
        let server = Server::new(listener, MAX_CONNECTIONS, None, threads);
        let serving = tokio::spawn(server.run(gateway.clone()));
        let mut command = Command::new(program);
        command.args(arguments);
        without_secrets(context, &mut command);
        past_proxies(&mut command);
        for (name, value) in &environment {
            match value.expose() {
                Some(value) => command.env(name, &*value),
                None => command.env_remove(name),
            };
        }
        let child = command.spawn().map_err(|error| not_run(program, &error))?;
        let status = wait(child, &mut signals).await;
        gateway.end();
        // Nobody reads the responses that are under way.
        serving.abort();
        let status =
            status.map_err(|error| Failure::failed("the command can't be waited for").because(error))?;
        Ok(failure::Exit::OfCommand(code(status)))
    }
}

/// The only client of the gateway.
fn client(token: &SecretString) -> ClientRecord {
    ClientRecord {
        name: "exec".into(),
        token: TokenHash::of(token.expose().as_bytes()),
        created_at: now(),
        is_admin: false,
        providers: Vec::new(),
        max_in_flight: None,
        per_minute: None,
    }
}

/// Returns the variables for the tools of all routes.
fn environment<S: Forward>(
    routes: &[Route<S>],
    gateway: &str,
    token: &SecretString,
) -> Vec<(String, Value)> {
    let of_route = |route: &Route<S>| {
        variables(route.provider(), &format!("{gateway}{}", route.path()), route.prefix(), token)
    };
    routes.iter().flat_map(of_route).map(|variable| (variable.name, variable.value)).collect()
}

/// Takes what is secret out of the command's environment: the vault's key, clients' secrets, and keys of accounts.
fn without_secrets(context: &Context, command: &mut Command) {
    const OURS: &str = "TOWER_CREDENTIALS_";
    const PLACES: [&str; 5] = ["DIR", "CONFIG", "KEY_FILE", "KEY_COMMAND", "KEYRING"];
    for (name, _) in std::env::vars_os() {
        let is_ours = name.to_str().and_then(|name| name.strip_prefix(OURS));
        if is_ours.is_some_and(|rest| !PLACES.contains(&rest)) {
            command.env_remove(&name);
        }
    }
    const PLACE: &str = "TOWER_CREDENTIALS_DIR";
    match std::env::var_os(PLACE).map(VaultPlace::parse) {
        Some(Ok(VaultPlace::Engine(url))) if url.has_password() => {
            command.env(PLACE, url.to_string());
        }
        // It may have a password in it, too.
        Some(Err(_)) => {
            command.env_remove(PLACE);
        }
        _ => {}
    }
    for provider in context.registry.names() {
        // That of a gateway around this one stays: it goes with an address that stays, too.
        let is_gateways = |variable: &str| {
            std::env::var(variable).is_ok_and(|value| is_gateway_token(&SecretString::from(value)))
        };
        match context.registry.api_key_variable(provider) {
            Ok(Some(variable)) if !is_gateways(variable) => {
                command.env_remove(variable);
            }
            _ => {}
        }
    }
}

/// Lets the command reach the gateway directly where the environment names a proxy.
fn past_proxies(command: &mut Command) {
    for name in ["NO_PROXY", "no_proxy"] {
        let before = std::env::var(name).unwrap_or_default();
        let separator = if before.is_empty() { "" } else { "," };
        command.env(name, format!("{before}{separator}127.0.0.1"));
    }
}

/// Waits for the command, and passes on the signals that it would not get.
async fn wait(mut child: Child, signals: &mut Interrupts) -> io::Result<ExitStatus> {
    loop {
        tokio::select! {
            status = child.wait() => return status,
            signal = signals.next() => pass_on(&child, signal),
        }
    }
}

/// Passes a signal on. The terminal itself sends its own, such as that of Ctrl-C, to the command as well.
#[cfg(unix)]
fn pass_on(child: &Child, exit_code: u8) {
    use rustix::process::{Pid, Signal, getpgrp, kill_process};
    let signal = match exit_code.checked_sub(128) {
        Some(1) => Signal::HUP,
        Some(2) => Signal::INT,
        Some(3) => Signal::QUIT,
        _ => Signal::TERM,
    };
    let is_of_terminal = matches!(signal, Signal::INT | Signal::QUIT)
        && rustix::termios::tcgetpgrp(std::io::stdin()).is_ok_and(|group| group == getpgrp());
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid.filter(|_| !is_of_terminal) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}

#[cfg(not(unix))]
fn pass_on(_child: &Child, _exit_code: u8) {}

/// The exit code of a command, as in shells: 128 plus the number of the signal that ended it.
fn code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal: Option<i32> = None;
    let code = status.code().or(signal.map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// As shells say it: 127 if there is no such command, and 126 if it can't be run.
fn not_run(program: &OsStr, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::NotFound => failure::Exit::OfCommand(127),
        _ => failure::Exit::OfCommand(126),
    };
    let failure = Failure::new(exit, format!("can't run {}", program.display())).because(error);
    match error.kind() {
        io::ErrorKind::NotFound => failure.way_out("check its name, and whether it is in PATH"),
        _ => failure,
    }
}
