//! Connections to hosts that are no provider's: directly, or by the machine's proxy.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use clap::ValueEnum;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use serde::Deserialize;
use tokio::net::TcpStream;
use tower::{Service, ServiceExt};
use tower_credentials::https::Proxies;

use super::addresses::is_public;
use super::target::{HTTPS, Target};
use crate::failure::Failure;

/// How long it may take to connect.
const CONNECTING: Duration = Duration::from_secs(30);

/// How often the system checks whether the other side is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Which hosts may be reached besides the providers'.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Others {
    /// All hosts, also this machine and its network
    Tunnel,
    /// Port 443 of hosts with a public address
    Public,
    /// No other host
    Refuse,
}

/// Connects to other hosts.
pub(super) struct Outside {
    others: Others,
    proxies: Proxies,
    direct: HttpConnector<Resolver>,
}

/// Why there is no connection.
pub(super) enum NoConnection {
    Refused(&'static str),
    Failed(String),
}

/// A host has no address to which a tunnel may lead.
#[derive(Debug)]
struct NoPublicAddress;

impl fmt::Display for NoPublicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NOT_PUBLIC)
    }
}

impl std::error::Error for NoPublicAddress {}

const NOT_PUBLIC: &str =
    "this proxy leads to port 443 of public addresses alone; `--proxy-others tunnel` leads to all";

impl Outside {
    pub(super) fn new(others: Others) -> Result<Self, Failure> {
        let proxies = Proxies::of_the_system().map_err(|error| Failure::usage(error.to_string()))?;
        let mut direct = HttpConnector::new_with_resolver(Resolver { others });
        direct.enforce_http(false);
        direct.set_nodelay(true);
        direct.set_keepalive(Some(KEEP_ALIVE));
        Ok(Self { others, proxies, direct })
    }

    /// Connects to a host. What it is allowed to reach is decided by the addresses that are connected to, so that no name
    /// leads elsewhere on a second look.
    pub(super) async fn connect(&self, target: &Target) -> Result<TcpStream, NoConnection> {
        let is_this_machine = match target.address() {
            Some(address) => address.to_canonical().is_loopback(),
            None => target.host() == "localhost" || target.host().ends_with(".localhost"),
        };
        let is_public = !is_this_machine && target.address().is_none_or(is_public);
        match self.others {
            Others::Tunnel => {}
            Others::Public if target.port() == HTTPS && is_public => {}
            Others::Public => return Err(NoConnection::Refused(NOT_PUBLIC)),
            Others::Refuse => {
                let message = "this proxy leads to the providers' hosts alone, as --proxy-others says";
                return Err(NoConnection::Refused(message));
            }
        }
        let Some(uri) = target.uri() else {
            return Err(NoConnection::Failed("its name makes no URI".to_owned()));
        };
        let proxied = if is_this_machine { None } else { self.proxies.connect(&uri) };
        let connecting = async {
            match proxied {
                Some(connecting) => connecting.await,
                None => Ok(self.direct.clone().oneshot(uri).await?.into_inner()),
            }
        };
        match tokio::time::timeout(CONNECTING, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                let reasons = super::super::responses::causes(&*error);
                if reasons.clone().any(|reason| reason.is::<NoPublicAddress>()) {
                    return Err(NoConnection::Refused(NOT_PUBLIC));
                }
                let reasons: Vec<_> = reasons.map(ToString::to_string).collect();
                Err(NoConnection::Failed(reasons.join(": ")))
            }
            Err(_) => Err(NoConnection::Failed("it does not respond".to_owned())),
        }
    }
}

/// Looks names up, and leaves out the addresses to which no tunnel may lead.
#[derive(Clone)]
struct Resolver {
    others: Others,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = tower_credentials::BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let others = self.others;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let may_lead = |at: &SocketAddr| others == Others::Tunnel || is_public(at.ip());
            let found: Vec<_> = found.collect();
            let kept: Vec<_> = found.iter().copied().filter(may_lead).collect();
            match (found.is_empty(), kept.is_empty()) {
                (true, _) => Err(io::Error::other("it has no address").into()),
                (false, true) => Err(NoPublicAddress.into()),
                (false, false) => Ok(kept.into_iter()),
            }
        })
    }
}
