//! `/.gateway/…` and `/metrics`: the state of the accounts, for clients that may administer the gateway.

use std::time::Duration;

use http::{HeaderValue, Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tower_credentials::vault::VaultError;
use tower_credentials::{CredentialId, CredentialStatus};

use super::clients::Sender;
use super::responses::{self, Own, as_json, error};
use super::route::Route;
use super::rules::Rules;
use super::{guard, metrics};

/// How the paths begin. No API has such a path.
const PREFIX: &str = "/.gateway";

/// The path at which Prometheus looks.
const METRICS: &str = "/metrics";

/// What can be asked for.
const PATHS: &str = "GET /.gateway/accounts, GET /.gateway/counters, POST /.gateway/accounts/ID/reset, …/pause and …/resume, GET /metrics";

impl<S> Rules<S> {
    /// Returns the response to a request for administration; `None` if it is none.
    pub(super) async fn administer<B>(
        &self,
        request: &Request<B>,
        sender: Option<&Sender>,
    ) -> Option<Own> {
        let path = request.uri().path();
        let own = path.strip_prefix(PREFIX).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        if own.is_none() && path != METRICS {
            return None;
        }
        // Its sender is not who it seems, and a page may have sent it.
        if guard::is_forwarded(request.headers()) {
            let message = "a proxy in front of this gateway has passed this on: administration is for clients that reach it directly";
            return Some(responses::lasting_error(StatusCode::FORBIDDEN, "permission_error", message));
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
            None => return Some(responses::unauthorized()),
        }
        let response = match own {
            Some(path) => self.administered(request.method(), path.trim_matches('/')).await,
            None => self.metrics(),
        };
        Some(without_cache(response))
    }

    async fn administered(&self, method: &Method, path: &str) -> Own {
        let segments: Vec<_> = path.split('/').collect();
        match (method, &*segments) {
            (&Method::GET, ["accounts"]) => {
                as_json(StatusCode::OK, &self.pools().map(accounts).collect())
            }
            (&Method::GET, ["counters"]) => {
                as_json(StatusCode::OK, &self.pools().map(counters).collect())
            }
            (&Method::POST, ["accounts", id, action @ ("reset" | "pause" | "resume")]) => {
                self.act(id, action).await
            }
            (_, ["accounts" | "counters"] | ["accounts", _, "reset" | "pause" | "resume"]) => {
                error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", PATHS)
            }
            _ => error(StatusCode::NOT_FOUND, "not_found_error", PATHS),
        }
    }

    async fn act(&self, id: &str, action: &str) -> Own {
        let known = self.pools().find_map(|route| {
            let id: CredentialId = id.parse().ok()?;
            let known = route.pool.status().into_iter().find(|status| status.credential.id == id)?;
            Some((&route.pool, known.credential))
        });
        let Some((pool, account)) = known else {
            let message = format!("there is no account {id:?}; GET /.gateway/accounts lists them");
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
        "accounts": accounts,
    })
}

fn counters<S>(route: &Route<S>) -> Value {
    json!({ "route": route.path(), "counters": route.pool.counters() })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
