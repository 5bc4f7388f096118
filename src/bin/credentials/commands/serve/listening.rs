//! Where a gateway listens: what is allowed, and what is said about it.

use std::net::SocketAddr;

use super::Serve;
use super::proxy;
use super::told::of_routes;
use crate::failure::Failure;
use crate::gateway::{Forward, Listener, Rules, ServeSettings};
use crate::output;

impl Serve {
    /// Checks that these settings and flags open the accounts to nobody by accident.
    pub(super) fn check(&self, listen: SocketAddr, settings: &ServeSettings) -> Result<(), Failure> {
        proxy::check(self.open, settings)?;
        if listen.ip().is_loopback() {
            return Ok(());
        }
        if self.open {
            return Err(Failure::usage(format!(
                "--open with --listen {listen}: whoever reaches that address could use the accounts"
            ))
            .way_out("leave out --open, and give each client a token: credentials client add NAME"));
        }
        if !self.allow_remote {
            return Err(Failure::usage(format!("--listen {listen} is no loopback address"))
                .way_out("add --allow-remote if others shall reach it"));
        }
        Ok(())
    }

    pub(super) async fn listeners(&self, listen: SocketAddr) -> Result<Vec<Listener>, Failure> {
        let tcp = Listener::tcp(listen).await.map_err(|error| {
            Failure::failed(format!("can't listen on {listen}"))
                .because(error)
                .way_out("choose another address with --listen, such as 127.0.0.1:0")
        })?;
        let mut listeners = vec![tcp];
        #[cfg(unix)]
        if let Some(path) = &self.unix {
            let socket = Listener::unix(path).map_err(|error| {
                Failure::failed(format!("can't listen at {}", path.display()))
                    .because(error)
                    .way_out("choose another path with --unix")
            })?;
            listeners.push(socket);
        }
        Ok(listeners)
    }

    /// Says where it listens, and what to set in tools.
    pub(super) fn say<S: Forward>(
        &self,
        listeners: &[Listener],
        has_tls: bool,
        rules: &Rules<S>,
        has_clients: bool,
    ) {
        for address in listeners.iter().filter_map(|listener| listener.address().ok()) {
            let scheme = if has_tls { "https" } else { "http" };
            let base = format!("{scheme}://{address}");
            output::say(format_args!("Listening on {}", output::strong(&base)));
            for line in of_routes(rules, scheme, address) {
                output::say(format_args!("  {line}"));
            }
            if !has_tls && !address.ip().is_loopback() {
                output::warn(
                    "connections are not encrypted: whoever listens in on the network reads the tokens and all requests; \
                     --tls-cert and --tls-key encrypt them",
                );
            }
        }
        #[cfg(unix)]
        if let Some(path) = &self.unix {
            output::say(format_args!("Listening at {}", output::path(path)));
        }
        if self.open {
            output::warn(
                "no token is needed: every program and every user of this machine can use the accounts",
            );
        } else if has_clients {
            output::say(
                "TOKEN is what `credentials client add` has printed; the clients are: credentials client list",
            );
        } else {
            output::say(
                "TOKEN is that of a client, and there is no client yet: credentials client add NAME",
            );
        }
    }
}
