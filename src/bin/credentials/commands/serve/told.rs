//! What is said of routes: what to set in tools, and what a change of the settings has done.

use std::net::SocketAddr;

use tower_credentials::SecretString;

use crate::gateway::{Route, Rules, Value, variables};
use crate::output;

/// What to set in the tools of each route.
pub(super) fn of_routes<S>(rules: &Rules<S>, scheme: &str, address: SocketAddr) -> Vec<String> {
    rules.routes().iter().map(|route| of_route(route, scheme, address)).collect()
}

/// What to set in the tools of a route.
fn of_route<S>(route: &Route<S>, scheme: &str, address: SocketAddr) -> String {
    let host =
        route.host().map_or_else(|| address.to_string(), |host| format!("{host}:{}", address.port()));
    let base = format!("{scheme}://{host}{}", route.path());
    let all = variables(route.provider(), &base, route.prefix(), &SecretString::from("TOKEN"));
    let shown = |value: Value| value.expose().map(|text| text.to_string()).unwrap_or_default();
    let all = all.into_iter().map(|one| format!("{}={}", one.name, shown(one.value)));
    format!("{base}  {}", all.collect::<Vec<_>>().join(" "))
}

/// Says which routes are new, with what to set in tools, and which are gone. Each has its address first.
pub(super) fn tell_changes(before: &[String], after: &[String]) {
    let not_in = |all: &[String], line: &&String| !all.contains(line);
    for line in after.iter().filter(|line| not_in(before, line)) {
        output::say(format_args!("  new: {line}"));
    }
    for line in before.iter().filter(|line| not_in(after, line)) {
        let address = line.split(' ').next().unwrap_or_default();
        output::say(format_args!("  gone: {address}"));
    }
}
