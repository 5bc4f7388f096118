//! `/.gateway/…`: the state of the accounts, for clients on the same machine.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::routing::{get, post};
use http::{Request, Response, StatusCode};
use serde_json::json;
use tower_credentials::{CredentialId, CredentialStatus, Pool};

use crate::guard::is_from_here;
use crate::responses::{as_json, error};

/// No API has paths with this beginning.
pub const PREFIX: &str = "/.gateway";

pub fn routes(pool: Pool) -> Router {
    Router::new()
        .route("/pool", get(status))
        .route("/counters", get(counters))
        .route("/reset/{account}", post(reset))
        .fallback(async || error(StatusCode::NOT_FOUND, "not_found", "--help lists what there is"))
        .layer(axum::middleware::from_fn(only_from_here))
        .with_state(pool)
}

/// Even if the gateway itself listens for other machines.
async fn only_from_here(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
    next: axum::middleware::Next,
) -> Response<Body> {
    if peer.ip().to_canonical().is_loopback() && is_from_here(&request, &[]) {
        next.run(request).await
    } else {
        error(StatusCode::FORBIDDEN, "forbidden", "this is for clients on the gateway's own machine")
    }
}

async fn status(State(pool): State<Pool>) -> Response<Body> {
    let now = pool.now();
    let account = |status: &CredentialStatus| {
        json!({
            "id": status.credential.id,
            "label": status.credential.label,
            "kind": status.credential.kind,
            "generation": status.credential.generation,
            "ready_in_ms": u64::try_from(status.ready_in(now).as_millis()).unwrap_or(u64::MAX),
            "standing": status.standing,
        })
    };
    let accounts: Vec<_> = pool.status().iter().map(account).collect();
    as_json(StatusCode::OK, &json!({ "pool": pool.key().to_string(), "accounts": accounts }))
}

async fn counters(State(pool): State<Pool>) -> Response<Body> {
    let counters = pool.counters();
    let counters = json!({
        "requests": counters.requests,
        "attempts": counters.attempts,
        "rotations": counters.rotations,
        "refreshes": counters.refreshes,
    });
    as_json(StatusCode::OK, &counters)
}

async fn reset(State(pool): State<Pool>, Path(account): Path<String>) -> Response<Body> {
    let id: Option<CredentialId> = account.parse().ok();
    let all = pool.status();
    let found = all
        .iter()
        .map(|status| &status.credential)
        .find(|known| *known.label == *account || Some(known.id) == id);
    let Some(found) = found else {
        let message = format!("pool {} has no account {account:?}; see {PREFIX}/pool", pool.key());
        return error(StatusCode::NOT_FOUND, "not_found", &message);
    };
    match pool.reset(found.id).await {
        Ok(()) => as_json(StatusCode::OK, &json!({ "reset": found.label })),
        Err(problem) => error(StatusCode::SERVICE_UNAVAILABLE, "vault", &problem.to_string()),
    }
}
