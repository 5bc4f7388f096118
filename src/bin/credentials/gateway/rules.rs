//! Which requests are taken, and which route each takes.

use http::{Method, Request, StatusCode, Uri};
use memchr::memchr2;
use tower_credentials::Availability;

use super::clients::Sender;
use super::fields::Fields;
use super::guard::{self, Guard, Stranger};
use super::proxy::Target;
use super::responses::{self, Own};
use super::route::Route;

/// Which requests are taken, and where they go.
pub(crate) struct Rules<S> {
    /// The most specific first.
    routes: Vec<Route<S>>,
    guard: Guard,
    /// Whether the vault can't be reached, so that no route is known.
    is_away: bool,
}

impl<S> Rules<S> {
    pub(crate) fn new(mut routes: Vec<Route<S>>, guard: Guard) -> Self {
        routes.sort_by_key(|route| route.settings.precedence());
        Self { routes, guard, is_away: false }
    }

    /// Returns the rules for as long as the vault can't be reached: every request is told to come again.
    pub(crate) fn while_away(self) -> Self {
        Self { is_away: true, ..self }
    }

    pub(crate) fn are_while_away(&self) -> bool {
        self.is_away
    }

    pub(crate) fn routes(&self) -> &[Route<S>] {
        &self.routes
    }

    /// Returns one route of each pool.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &Route<S>> {
        let is_first = |at: usize, route: &Route<S>| {
            self.routes[..at].iter().all(|before| before.pool.key() != route.pool.key())
        };
        let routes = self.routes.iter().enumerate();
        routes.filter(move |(at, route)| is_first(*at, route)).map(|(_, route)| route)
    }

    /// Responds to strangers, and to whoever asks for the gateway's health.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Own> {
        if *request.method() == Method::CONNECT {
            let message = "this gateway is not a proxy: set it as the base URL, or start it with --proxy for CONNECT";
            return Err(responses::refused(StatusCode::BAD_REQUEST, "invalid_request_error", message));
        }
        has_one_host(request)?;
        self.guard.check(request).map_err(strange)?;
        is_sound(request)?;
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok(());
        }
        match request.uri().path() {
            "/healthz" => Err(responses::text(StatusCode::OK, "ok\n")),
            "/readyz" if self.is_ready() => {
                // It serves from memory.
                let is_away = self.pools().any(|route| route.pool.vault_contact().away_since.is_some());
                let text = if is_away { "ready; the vault can't be reached now\n" } else { "ready\n" };
                Err(responses::text(StatusCode::OK, text))
            }
            "/readyz" if self.is_away => {
                Err(responses::text(StatusCode::SERVICE_UNAVAILABLE, "the vault can't be reached\n"))
            }
            "/readyz" => {
                Err(responses::text(StatusCode::SERVICE_UNAVAILABLE, "no account can be used now\n"))
            }
            _ => Ok(()),
        }
    }

    /// Responds to strangers who want a tunnel. No browser lets a page ask for one.
    pub(super) fn check_connect<B>(&self, request: &Request<B>) -> Result<(), Own> {
        self.guard.check_page(request.headers(), |_| false).map_err(strange)
    }

    /// Responds to strangers within a tunnel to this target: it shows who has opened it, and not what a browser runs there.
    pub(super) fn check_inside<B>(&self, request: &Request<B>, target: &Target) -> Result<(), Own> {
        has_one_host(request)?;
        if *request.method() == Method::CONNECT {
            let message = "there is no tunnel within a tunnel";
            return Err(responses::refused(StatusCode::BAD_REQUEST, "invalid_request_error", message));
        }
        if !target.is_meant(request) {
            // RFC 9110, section 15.5.20.
            let message = format!("this tunnel is for {target}, and the request for another host");
            let status = StatusCode::MISDIRECTED_REQUEST;
            return Err(responses::refused(status, "misdirected_request", message));
        }
        let is_own = |origin: &str| target.is_page(origin);
        self.guard.check_page(request.headers(), is_own).map_err(strange)?;
        is_sound(request)
    }

    /// Whether requests for this target get accounts.
    pub(crate) fn serves(&self, target: &Target) -> bool {
        self.routes.iter().any(|route| route.is_at(target))
    }

    /// The hosts whose requests get accounts.
    pub(crate) fn targets(&self) -> impl Iterator<Item = Target> {
        let origins = self.routes.iter().flat_map(|route| route.provider.origins());
        origins.filter_map(|origin| Target::of_https(&format!("{origin}/").parse().ok()?))
    }

    /// Whether an account can be used now. One that is at its cap of requests can be in a moment.
    fn is_ready(&self) -> bool {
        let is_usable = |availability: &Availability| {
            matches!(availability, Availability::Ready { .. } | Availability::AtCap { most: 1.., .. })
        };
        let mut accounts = self.pools().flat_map(|route| route.pool.why(None));
        accounts.any(|account| is_usable(&account.availability))
    }

    /// Returns the routes that a request may take, the most specific first.
    pub(super) fn routes_of<B>(
        &self,
        request: &Request<B>,
        sender: &Sender,
    ) -> Result<Vec<&Route<S>>, Own> {
        let (host, path) = (guard::host(request).unwrap_or_default(), request.uri().path());
        let leads = |route: &&Route<S>| {
            route.settings.path.rest_of(path).is_some() && route.settings.takes_host(host)
        };
        self.usable(self.routes.iter().filter(leads).collect(), sender)
    }

    /// Returns the routes that a request in a tunnel may take, the most specific first.
    pub(super) fn routes_inside(
        &self,
        target: &Target,
        path: &str,
        sender: &Sender,
    ) -> Result<Vec<&Route<S>>, Own> {
        let leads = |route: &&Route<S>| route.rest_inside(target, path).is_some();
        let mut found: Vec<_> = self.routes.iter().filter(leads).collect();
        found.sort_by_key(|route| route.precedence_inside());
        self.usable(found, sender)
    }

    /// Returns those of these routes that a sender may use.
    fn usable<'a>(
        &self,
        mut found: Vec<&'a Route<S>>,
        sender: &Sender,
    ) -> Result<Vec<&'a Route<S>>, Own> {
        let Some(first) = found.first().copied() else { return Err(self.no_route(sender)) };
        found.retain(|route| may_use(sender, route));
        if let ([], Some(client)) = (&*found, sender.client()) {
            let (name, provider) = (client.name(), first.provider());
            let message = match client.is_admin() {
                true => format!("the client {name} administers the gateway, and sends no requests"),
                false => format!("the client {name} may not use the accounts of {provider}"),
            };
            return Err(responses::lasting_error(StatusCode::FORBIDDEN, "permission_error", message));
        }
        Ok(found)
    }

    /// The response to a path that leads nowhere, with those that do.
    fn no_route(&self, sender: &Sender) -> Own {
        if self.is_away {
            return responses::away();
        }
        let routes = self.routes.iter().filter(|route| may_use(sender, route));
        let routes: Vec<_> = routes.map(|route| format!("{}/…", route.path)).collect();
        let message = match &*routes {
            [] => "this gateway has no accounts for you".to_owned(),
            routes => format!("this gateway has {}", routes.join(", ")),
        };
        responses::error(StatusCode::NOT_FOUND, "not_found_error", message)
    }
}

/// Returns the first of these routes that takes the request's model.
pub(super) fn for_model<'a, S>(
    routes: &[&'a Route<S>],
    uri: &Uri,
    fields: &Fields<'_>,
    model_alone: &[u8],
) -> Result<&'a Route<S>, Own> {
    let depends = |route: &Route<S>| route.settings.depends_on_model();
    if fields.is_ambiguous() && routes.iter().any(|route| depends(route)) {
        let message = "the body has several fields `model`, and the route depends on it";
        return Err(responses::error(StatusCode::BAD_REQUEST, "invalid_request_error", message));
    }
    let takes = |route: &&&Route<S>| {
        !depends(route) || {
            let model = route.provider.model(uri, model_alone);
            route.settings.takes_model(model.as_deref())
        }
    };
    routes.iter().find(takes).copied().ok_or_else(|| {
        let message = "no route is for the model of this request";
        responses::error(StatusCode::NOT_FOUND, "not_found_error", message)
    })
}

fn strange(stranger: Stranger) -> Own {
    responses::refused(StatusCode::FORBIDDEN, "forbidden", stranger.message())
}

fn has_one_host<B>(request: &Request<B>) -> Result<(), Own> {
    if guard::has_one_host(request) {
        return Ok(());
    }
    let message = "a request must have one `host` header (RFC 9112, section 3.2)";
    Err(responses::refused(StatusCode::BAD_REQUEST, "invalid_request_error", message))
}

/// Whether nothing about a request's method and path is dangerous.
fn is_sound<B>(request: &Request<B>) -> Result<(), Own> {
    // It would send the account's key back to the client (RFC 9110, section 9.3.8).
    if ["TRACE", "TRACK"].contains(&request.method().as_str()) {
        let message =
            "this gateway sends no TRACE on, since its response would have the account's key in it";
        return Err(responses::refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message));
    }
    if has_dot_segments(request.uri().path()) {
        let message = "the path has a segment `.` or `..`, which would lead out of its route";
        return Err(responses::refused(StatusCode::BAD_REQUEST, "invalid_request_error", message));
    }
    Ok(())
}

/// Whether a server may take a part of the path for `.` or `..`, also where it decodes first or takes a backslash for a slash
/// (RFC 3986, sections 5.2.4 and 6.2.2).
fn has_dot_segments(path: &str) -> bool {
    // Most paths have no dot.
    if memchr2(b'.', b'%', path.as_bytes()).is_none() {
        return false;
    }
    let is_dots = |dots| matches!(dots, Some(1 | 2));
    let mut rest = path.as_bytes();
    // How many dots the present segment has before its parameters. `None` if it has something else there.
    let (mut dots, mut is_in_parameters) = (Some(0_usize), false);
    loop {
        let (byte, after) = match rest {
            [] => return is_dots(dots),
            [b'%', b'2', b'e' | b'E', after @ ..] => (b'.', after),
            [b'%', b'2', b'f' | b'F', after @ ..] => (b'/', after),
            [b'%', b'5', b'c' | b'C', after @ ..] => (b'\\', after),
            [byte, after @ ..] => (*byte, after),
        };
        rest = after;
        match byte {
            b'/' | b'\\' if is_dots(dots) => return true,
            b'/' | b'\\' => (dots, is_in_parameters) = (Some(0), false),
            b';' => is_in_parameters = true,
            _ if is_in_parameters => {}
            b'.' => dots = dots.map(|dots| dots + 1),
            _ => dots = None,
        }
    }
}

fn may_use<S>(sender: &Sender, route: &Route<S>) -> bool {
    sender.client().is_none_or(|client| client.may_use(route.provider()))
}
