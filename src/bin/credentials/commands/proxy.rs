//! What `exec` and `serve` say about their proxy.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;

use crate::context::Context;
use crate::failure::Failure;
use crate::gateway::{KeptAuthorities, Listener, Others, Proxy, Rules, ServeSettings, proxy_url};
use crate::{numbers, output};

/// How a proxy treats tunnels to other hosts than the providers'.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct TunnelOptions {
    /// Where else the proxy's tunnels may lead [default: tunnel for exec, public for serve]
    #[arg(long, value_name = "WHERE", requires = "proxy")]
    pub(super) proxy_others: Option<Others>,
    /// How long nothing may pass in such a tunnel before it is closed, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "900", value_parser = numbers::seconds, requires = "proxy")]
    pub(super) proxy_idle: Duration,
}

impl TunnelOptions {
    /// Makes the proxy of `serve`, and says what to set in tools.
    pub(super) fn proxy<S>(
        self,
        context: &Context,
        settings: &ServeSettings,
        rules: &Rules<S>,
        listeners: &[Listener],
        has_tls: bool,
    ) -> Result<Proxy, Failure> {
        let kept = KeptAuthorities::of(context.own_files()?);
        // They are known once the vault can be reached.
        let hosts = if rules.are_while_away() { BTreeSet::new() } else { hosts(rules)? };
        output::say(format_args!(
            "Proxy for {}, with the authority {}",
            hosts.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
            output::path(&kept.certificate)
        ));
        let scheme = if has_tls { "https" } else { "http" };
        for address in listeners.iter().filter_map(|listener| listener.address().ok()) {
            output::say(format_args!("  HTTPS_PROXY={}", proxy_url(scheme, address, "TOKEN")));
        }
        let others = self.proxy_others.or(settings.proxy_others).unwrap_or(Others::Public);
        Proxy::new(kept.get(hosts)?, others, self.proxy_idle)
    }
}

/// Lets a proxy speak for the hosts of these rules from now on. Says what tools must do for that.
pub(super) fn follow<S>(proxy: &Proxy, context: &Context, rules: &Rules<S>) -> Result<(), Failure> {
    proxy.set(KeptAuthorities::of(context.own_files()?).get(of(rules))?);
    Ok(())
}

/// Refuses a proxy that anybody could use.
pub(super) fn check(is_open: bool, settings: &ServeSettings) -> Result<(), Failure> {
    if is_open && settings.proxy {
        return Err(Failure::usage(
            "--open with `proxy = true` in the table [serve] of the settings: anybody could go anywhere by the proxy",
        )
        .way_out("leave out --open, and give each client a token: credentials client add NAME"));
    }
    Ok(())
}

/// Returns the hosts for which a proxy speaks. There must be some.
pub(super) fn hosts<S>(rules: &Rules<S>) -> Result<BTreeSet<String>, Failure> {
    let hosts = of(rules);
    if hosts.is_empty() {
        return Err(Failure::usage(
            "no origin of these providers is HTTPS, so --proxy would take no request",
        )
        .way_out("leave out --proxy, and let the tools take their base URL from the variables"));
    }
    Ok(hosts)
}

fn of<S>(rules: &Rules<S>) -> BTreeSet<String> {
    rules.targets().map(|target| target.host().to_owned()).collect()
}
