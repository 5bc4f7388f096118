//! `/.gateway/…` and `/metrics`: the state of the accounts, for clients that may administer the gateway.

use std::time::Duration;

use http::{HeaderValue, Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower_credentials::standing::Scope;
use tower_credentials::vault::VaultError;
use tower_credentials::{CredentialStatus, Metadata};
use url::form_urlencoded;

use super::clients::Sender;
use super::events::Events;
use super::responses::{self, Own, as_json, error};
use super::route::Route;
use super::rules::Rules;
use super::{guard, metrics, page};

/// How the paths begin. No API has such a path.
const PREFIX: &str = "/.gateway";

/// The path of the page.
const PAGE: &str = "/.gateway/";

/// The path at which Prometheus looks.
const METRICS: &str = "/metrics";

/// What can be asked for.
const PATHS: &str = "GET /.gateway/, /.gateway/accounts, /.gateway/why, /.gateway/counters, /.gateway/events and /metrics; \
                     POST /.gateway/accounts/ID/reset, …/pause and …/resume";

impl<S> Rules<S> {
    /// Returns the response to a request for administration; `None` for any other request. A response that streams ends once
    /// `end` is true.
    pub(super) async fn administer<B>(
        &self,
        request: &Request<B>,
        sender: Option<&Sender>,
        end: &watch::Sender<bool>,
    ) -> Option<Own> {
        let path = request.uri().path();
        let own = path.strip_prefix(PREFIX).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        if own.is_none() && path != METRICS {
            return None;
        }
        // Its sender is not who it seems.
        if guard::is_forwarded(request.headers()) {
            let message = "a proxy in front of this gateway has passed this on: administration is for clients that reach it directly";
            return Some(responses::lasting_error(StatusCode::FORBIDDEN, "permission_error", message));
        }
        if let (&Method::GET | &Method::HEAD, Some(path)) = (request.method(), own) {
            if path.is_empty() {
                return Some(responses::moved(PAGE));
            }
            if let Some(file) = page::file(path) {
                return Some(file);
            }
        }
        match sender.and_then(Sender::client) {
            Some(client) if client.is_admin() => {}
            Some(_) => {
                let message = "this client may not administer the gateway; `credentials client add NAME --admin` makes one that may";
                return Some(responses::lasting_error(
                    StatusCode::FORBIDDEN,
                    "permission_error",
                    message,
                ));
            }
            None => {
                let advice = "this is for an administrator of the gateway; `credentials client add NAME --admin` makes one";
                return Some(responses::unauthorized(advice));
            }
        }
        let response = match own {
            Some(path) => self.administered(request, path.trim_matches('/'), end).await,
            None => self.metrics(),
        };
        Some(without_cache(response))
    }

    async fn administered<B>(&self, request: &Request<B>, path: &str, end: &watch::Sender<bool>) -> Own {
        let segments: Vec<_> = path.split('/').collect();
        match (request.method(), &*segments) {
            (&Method::GET, ["accounts"]) => {
                as_json(StatusCode::OK, &self.pools().map(accounts).collect())
            }
            (&Method::GET, ["counters"]) => {
                as_json(StatusCode::OK, &self.pools().map(counters).collect())
            }
            (&Method::GET, ["why"]) => {
                let scope = model(request.uri().query()).map(Scope::new);
                as_json(StatusCode::OK, &self.pools().map(|route| why(route, scope.as_ref())).collect())
            }
            (&Method::GET, ["events"]) => {
                responses::lines(Events::of(self.pools().map(|route| route.pool.events()), end))
            }
            (&Method::POST, ["accounts", id, action @ ("reset" | "pause" | "resume")]) => {
                self.act(id, action).await
            }
            (
                _,
                ["accounts" | "counters" | "events" | "why"]
                | ["accounts", _, "reset" | "pause" | "resume"],
            ) => error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", PATHS),
            _ => error(StatusCode::NOT_FOUND, "not_found_error", PATHS),
        }
    }

    async fn act(&self, id: &str, action: &str) -> Own {
        let mut found = Vec::new();
        for route in self.pools() {
            let accounts = route.pool.status().into_iter().map(|status| status.credential);
            let is_meant = |account: &Metadata| account.id.to_string().starts_with(id);
            found.extend(accounts.filter(is_meant).map(|account| (&route.pool, account)));
        }
        // The first digits are enough, as in the program.
        let [(pool, account)] = &*found else {
            let message = match found.len() {
                0 => format!("there is no account {id:?}; GET /.gateway/accounts lists them"),
                several => format!("{several} accounts have ids that begin with {id:?}"),
            };
            return error(StatusCode::NOT_FOUND, "not_found_error", message);
        };
        let done: Result<(), VaultError> = match action {
            "reset" => pool.reset(account.id).await,
            "pause" => pool.pause(account.id).await,
            _ => pool.resume(account.id).await,
        };
        match done {
            Ok(()) => as_json(StatusCode::OK, &json!({ "id": account.id, "done": action })),
            Err(problem) => error(StatusCode::SERVICE_UNAVAILABLE, "vault_error", problem),
        }
    }

    fn metrics(&self) -> Own {
        let mut response = responses::text(StatusCode::OK, metrics::text(self.pools()));
        // The version is that of the text format (Prometheus, "Exposition formats").
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

fn without_cache(mut response: Own) -> Own {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn accounts<S>(route: &Route<S>) -> Value {
    let now = route.pool.now();
    let account = |status: &CredentialStatus| {
        json!({
            "id": status.credential.id,
            "label": status.credential.label,
            "kind": status.credential.kind,
            "generation": status.credential.generation,
            "ready_in_ms": millis(status.ready_in(now)),
            "standing": status.standing,
        })
    };
    let accounts: Vec<_> = route.pool.status().iter().map(account).collect();
    json!({
        "route": route.path(),
        "upstream": route.upstream.to_string(),
        "provider": route.pool.key().provider(),
        "namespace": route.pool.key().namespace(),
        "vault": route.pool.vault_contact(),
        "accounts": accounts,
    })
}

fn why<S>(route: &Route<S>, scope: Option<&Scope>) -> Value {
    json!({ "route": route.path(), "accounts": route.pool.why(scope) })
}

/// Returns the model that a query names.
fn model(query: Option<&str>) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query?.as_bytes());
    pairs.find(|(name, _)| name == "model").map(|(_, model)| model.into_owned())
}

fn counters<S>(route: &Route<S>) -> Value {
    json!({ "route": route.path(), "counters": route.pool.counters() })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
