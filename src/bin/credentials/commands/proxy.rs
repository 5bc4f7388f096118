//! What `exec` and `serve` say about their proxy.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;

use super::serve::seconds;
use crate::failure::Failure;
use crate::gateway::{Others, Rules};

/// How a proxy treats tunnels to other hosts than the providers'.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct TunnelOptions {
    /// Where else the proxy's tunnels may lead [default: tunnel for exec, public for serve]
    #[arg(long, value_name = "WHERE", requires = "proxy")]
    pub(super) proxy_others: Option<Others>,
    /// How long nothing may pass in such a tunnel before it is closed, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "900", value_parser = seconds, requires = "proxy")]
    pub(super) proxy_idle: Duration,
}

/// Returns the hosts for which a proxy speaks. There must be some.
pub(super) fn hosts<S>(rules: &Rules<S>) -> Result<BTreeSet<String>, Failure> {
    let hosts: BTreeSet<_> = rules.targets().map(|target| target.host().to_owned()).collect();
    if hosts.is_empty() {
        return Err(Failure::usage(
            "no origin of these providers is HTTPS, so --proxy would take no request",
        )
        .way_out("leave out --proxy, and let the tools take their base URL from the variables"));
    }
    Ok(hosts)
}
