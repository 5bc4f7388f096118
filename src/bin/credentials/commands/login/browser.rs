//! Starts the browser without secrets in its environment.
//!
//! It would inherit the program's environment, with the vault's key and API keys in it, and hand it on to whatever it starts.
//! A process can't lose variables of its own safely, so one of the same program opens the page, which never had them.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use clap::Args;
use tower_credentials::registry::Registry;

use crate::failure::{Exit, Failure};

/// Opens a page in the browser, if there is one to be seen. If that fails, the page's address has been printed.
pub(crate) fn open(url: &str, registry: &Registry) {
    if has_display()
        && let Err(error) = start(url, registry)
    {
        tracing::info!(%error, "could not open a browser");
    }
}

fn start(url: &str, registry: &Registry) -> io::Result<()> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("open-page").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    for (name, _) in env::vars_os() {
        if is_secret(&name, registry) {
            command.env_remove(name);
        }
    }
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(url.as_bytes())?;
    }
    // It may take as long as the browser does.
    thread::spawn(move || child.wait());
    Ok(())
}

/// Whether a variable has a key in it, or may: the crate's own, those that a provider's key comes from, and those of other
/// providers by their usual ending.
fn is_secret(name: &OsStr, registry: &Registry) -> bool {
    let text = name.to_string_lossy();
    let of_provider = |provider| registry.api_key_variable(provider).ok().flatten();
    text.starts_with("TOWER_CREDENTIALS_")
        || text.ends_with("_API_KEY")
        || registry.names().filter_map(of_provider).any(|variable| variable == text)
}

/// Open the page whose address is on standard input
#[derive(Debug, Args)]
pub(crate) struct OpenPage {}

impl OpenPage {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let failed = |error| Failure::failed("could not open a browser").because(error);
        let mut url = String::new();
        io::stdin().read_to_string(&mut url).map_err(failed)?;
        webbrowser::open(url.trim()).map_err(failed)?;
        Ok(Exit::Done)
    }
}

#[cfg(any(windows, target_os = "macos"))]
fn has_display() -> bool {
    // One at the other end of a connection is not this person's.
    env::var_os("SSH_CONNECTION").is_none()
}

/// Without a display, a browser would be one in this very terminal.
#[cfg(not(any(windows, target_os = "macos")))]
fn has_display() -> bool {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    ["BROWSER", "DISPLAY", "WAYLAND_DISPLAY"].into_iter().any(is_set)
}
