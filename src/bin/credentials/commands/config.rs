//! `config …`: the settings file.

#[cfg(feature = "tui")]
mod mode;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::{Args, Subcommand};
use serde::Serialize;
use tower_credentials::OAuthTokens;
use tower_credentials::oauth::{FlowKind, OAuthConfig};
use tower_credentials::registry::Registry;

use crate::account::setting;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::files;
use crate::options::{Global, Json};
use crate::output;
use crate::table::{Overflow, table};
#[cfg(feature = "tui")]
pub(crate) use mode::set_mode;

/// Create, check and show the settings
#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(Init),
    Path(Path_),
    Check(Check),
    Show(Show),
}

impl Config {
    pub(crate) fn run(self, global: &Global) -> Result<Exit, Failure> {
        match self.command {
            Command::Init(command) => command.run(global),
            Command::Path(command) => command.run(global),
            Command::Check(command) => command.run(&Context::new(global)?),
            Command::Show(command) => command.run(&Context::new(global)?),
        }
    }
}

/// The file that `config init` writes: every setting is explained and commented out.
const TEMPLATE: &str = include_str!("config/template.toml");

/// Create a settings file that explains every setting and sets none
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  credentials config init\n  credentials config init --stdout | less"
)]
struct Init {
    /// Write it to standard output instead of a file
    #[arg(long)]
    stdout: bool,
}

impl Init {
    fn run(self, global: &Global) -> Result<Exit, Failure> {
        if self.stdout {
            output::print_bytes(TEMPLATE.as_bytes())?;
            return Ok(Exit::Done);
        }
        let path = Context::config_file(global)?;
        make(&path).map_err(|error| {
            // A file in place of a directory is there already, too, and not of this name.
            if path.symlink_metadata().is_ok() {
                return Failure::failed(format!("{} is there already", path.display())).way_out(
                    "credentials config check; or, to compare with it: credentials config init --stdout",
                );
            }
            Failure::failed(format!("could not create {}", path.display()))
                .because(&error)
                .way_out("--config FILE, with a file that can be created")
        })?;
        output::say(format_args!("Created {}: it explains every setting and sets none", path.display()));
        Ok(Exit::Done)
    }
}

/// Creates the file, and missing directories, for its owner alone: it may get a client's secret.
fn make(path: &Path) -> io::Result<()> {
    make_directory_of(path)?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(TEMPLATE.as_bytes())
}

/// Creates the missing directories of a file, for its owner alone.
fn make_directory_of(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(());
    };
    files::make_directories(parent)
}

/// Show the path of the settings file
#[derive(Debug, Args)]
struct Path_ {}

impl Path_ {
    #[allow(clippy::unused_self, reason = "as every command has it")]
    fn run(self, global: &Global) -> Result<Exit, Failure> {
        let path = Context::config_file(global)?;
        output::print(path.display())?;
        if !path.exists() {
            output::say("It does not exist yet. To create it: credentials config init");
        }
        Ok(Exit::Done)
    }
}

/// Check the settings file and the environment
#[derive(Debug, Args)]
struct Check {}

impl Check {
    #[allow(clippy::unused_self, reason = "as every command has it")]
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        let path = &context.places.config;
        let providers = context.registry.names().count();
        for name in context.registry.names() {
            for origin in context.registry.insecure_http_origins(name)? {
                output::warn(format_args!(
                    "accounts of {name} may be sent to {origin} unencrypted: anyone on that network can read them"
                ));
            }
        }
        warn_of_useless(context)?;
        warn_of_sign_in(context)?;
        #[cfg(feature = "serve")]
        for route in crate::gateway::ServeSettings::read(path)?.routes {
            context.pool_key(&route.provider, route.namespace.as_deref())?;
        }
        let is_key_in_vault = context.is_key_in_vault();
        if is_key_in_vault && !context.has_vault() {
            // No vault could be created.
            context.check_room()?;
        }
        match path.exists() {
            true => {
                let but = if is_key_in_vault { ", except for that" } else { "" };
                output::say(format_args!(
                    "{} is valid{but}; {providers} providers are known",
                    path.display()
                ))
            }
            false => output::say(format_args!(
                "There is no {}, and none is needed. To create one: credentials config init",
                path.display()
            )),
        }
        Ok(Exit::Done)
    }
}

/// Warns of providers of the settings' own that no request, or no command, can name.
fn warn_of_useless(context: &Context) -> Result<(), Failure> {
    let shipped = Registry::builder().build()?;
    for name in context.registry.names().filter(|name| shipped.provider(name).is_err()) {
        let shown = output::plain(name);
        if context.registry.provider(name)?.origin().is_none() {
            output::warn(format_args!("{shown} does not say where its requests go"));
            let origins = setting(name, "origins");
            output::way_out(format_args!("set {origins} in {}", output::path(&context.places.config)));
        }
        if name.contains(|char: char| char == '/' || char.is_whitespace()) {
            output::warn(format_args!(
                "the provider's name {shown:?} has a `/` or a blank in it, which separate names elsewhere"
            ));
            output::way_out("choose a name of letters, digits and `-`");
        }
    }
    Ok(())
}

/// Warns of OAuth settings with which a sign-in or a renewal fails.
fn warn_of_sign_in(context: &Context) -> Result<(), Failure> {
    let shipped = Registry::builder().build()?;
    let file = output::path(&context.places.config);
    for name in context.registry.names() {
        let provider = context.registry.provider(name)?;
        let Some(oauth) = provider.oauth() else { continue };
        let shown = output::plain(name);
        let redirect = oauth.redirect_uri.as_deref().and_then(|uri| uri.parse::<http::Uri>().ok());
        // A browser that is elsewhere has to find it.
        let has_no_port = redirect.is_some_and(|uri| uri.port_u16() == Some(0));
        if has_no_port && oauth.flows.contains(&FlowKind::PastedCode) {
            output::warn(format_args!(
                "`login {shown} --paste-code` fails: the port of its redirect_uri is 0, and a pasted code needs a real one"
            ));
            let setting = setting(name, "oauth.redirect_uri");
            output::way_out(format_args!("set {setting} in {file}, with a port"));
        }
        // The vendors' own come without a client id, and few people need one.
        let is_own = shipped.provider(name).is_err();
        let missing = oauth.missing_for_refresh(&OAuthTokens::new(""));
        if let Some(field) = missing.filter(|_| is_own) {
            output::warn(format_args!("tokens of {shown} can't be renewed: no `{field}` is set"));
            let setting = setting(name, &format!("oauth.{field}"));
            output::way_out(format_args!("set {setting} in {file}"));
        }
    }
    Ok(())
}

/// Show the settings that are in effect, without secrets
#[derive(Debug, Args)]
struct Show {
    /// Only the settings of this provider
    provider: Option<String>,
    #[command(flatten)]
    output: Json,
}

/// The settings of a provider in `--json`.
#[derive(Serialize)]
struct Effective {
    provider: String,
    namespace: String,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_variable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_in_flight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cooldown_limited_seconds: Option<f64>,
    /// All to which its accounts may go, as far as the settings add some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    origins: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    insecure_http_origins: Vec<String>,
    /// The URLs of its OAuth server, by the names of their settings.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    oauth: BTreeMap<&'static str, String>,
}

impl Effective {
    /// What has no column in the table.
    fn more(&self) -> Vec<(String, String)> {
        let list = |name: &str, values: &[String]| {
            (!values.is_empty()).then(|| (name.to_owned(), values.join(", ")))
        };
        let cooldown = self.cooldown_limited_seconds.map(|seconds| format!("{seconds} s"));
        let single = [
            ("max_in_flight", self.max_in_flight.map(|most| most.to_string())),
            ("cooldown_limited", cooldown),
        ];
        let mut more: Vec<_> =
            single.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        more.extend(list("origins", &self.origins));
        more.extend(list("insecure_http_origins", &self.insecure_http_origins));
        more.extend(self.oauth.iter().map(|(name, url)| (format!("oauth.{name}"), url.clone())));
        more
    }
}

fn texts(values: &[impl ToString]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// Returns the URLs of a provider's OAuth server that are set.
fn oauth_urls(config: &OAuthConfig) -> BTreeMap<&'static str, String> {
    let urls = [
        ("authorize_url", &config.authorize_url),
        ("redirect_uri", &config.redirect_uri),
        ("device_url", &config.device_url),
        ("token_url", &config.token_url),
        ("refresh_url", &config.refresh_url),
        ("exchange_url", &config.exchange_url),
        ("poll_url", &config.poll_url),
        ("account_url", &config.account_url),
    ];
    urls.into_iter().filter_map(|(name, url)| Some((name, url.clone()?))).collect()
}

impl Show {
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        let registry = &context.registry;
        let names: Vec<String> = match &self.provider {
            Some(name) => vec![registry.pool_key(name)?.provider().to_owned()],
            None => registry.names().map(str::to_owned).collect(),
        };
        let mut shown = Vec::new();
        for name in names {
            let provider = registry.provider(&name)?;
            shown.push(Effective {
                namespace: registry.pool_key(&name)?.namespace().to_owned(),
                mode: registry.mode(&name)?.as_str(),
                max_attempts: registry.max_attempts(&name)?.map(Into::into),
                origin: provider.origin().map(ToString::to_string),
                api_key_variable: registry.api_key_variable(&name)?.map(str::to_owned),
                client_id: provider.oauth().and_then(|config| config.client_id.clone()),
                max_in_flight: registry.max_in_flight(&name)?.map(Into::into),
                cooldown_limited_seconds: registry
                    .cooldown_limited(&name)?
                    .map(|time| time.as_secs_f64()),
                origins: texts(registry.origins(&name)?),
                insecure_http_origins: texts(registry.insecure_http_origins(&name)?),
                oauth: provider.oauth().map(oauth_urls).unwrap_or_default(),
                provider: name,
            });
        }
        if self.output.json {
            output::print_json(&shown)?;
            return Ok(Exit::Done);
        }
        let (places, keys) = (&context.places, &context.keys);
        output::say(format_args!(
            "settings: {}\nvault:    {}\nkey:      {keys}\n",
            places.config.display(),
            context.vault_name()
        ));
        // A provider that was asked for is shown with all that it has.
        let more = match (&self.provider, &*shown) {
            (Some(_), [one]) => one.more(),
            _ => Vec::new(),
        };
        let rows = shown.into_iter().map(|settings| {
            let text = |text: Option<String>| text.as_deref().map(output::plain).unwrap_or_default();
            [
                output::plain(&settings.provider),
                output::plain(&settings.namespace),
                settings.mode.to_owned(),
                settings.max_attempts.map(|most| most.to_string()).unwrap_or_default(),
                text(settings.origin),
                text(settings.api_key_variable),
                text(settings.client_id),
            ]
        });
        let header = ["PROVIDER", "NAMESPACE", "MODE", "ATTEMPTS", "ORIGIN", "API KEY IN", "CLIENT ID"];
        let overflow = Overflow { truncated: &["CLIENT ID", "ORIGIN"], ..Overflow::default() };
        output::print(table(header, overflow, rows))?;
        for (name, value) in more {
            output::print(format_args!("{}: {}", output::strong(name), output::plain(&value)))?;
        }
        Ok(Exit::Done)
    }
}
