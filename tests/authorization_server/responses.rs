//! Grants and refusals in each vendor's words.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};

use super::Shared;
use super::books::{No, Pair};
use super::rules::Vendor;

/// The reply to a request.
pub(super) enum Reply {
    Json(StatusCode, Value),
    To(String),
    Text(StatusCode, String),
}

/// A successful response in the vendor's form.
pub(super) fn tokens(shared: &Shared, pair: &Pair, first: bool) -> Value {
    let rules = &shared.rules;
    let person = &pair.person;
    let email = format!("{person}@example.com");
    let mut response = json!({ "access_token": pair.access, "token_type": "Bearer" });
    let mut add = |name: &str, value: Value| {
        response[name] = value;
    };
    if let Some(refresh) = &pair.refresh {
        add("refresh_token", refresh.clone().into());
    }
    let lifetime = match rules.vendor {
        Vendor::Copilot => rules.github_lifetime,
        _ => rules.states_lifetime.then_some(rules.access_lifetime),
    };
    if let Some(lifetime) = lifetime {
        add("expires_in", lifetime.as_secs().into());
    }
    match rules.vendor {
        Vendor::Anthropic => {
            add("account", json!({ "uuid": format!("uuid-{person}"), "email_address": email }));
            add("organization", json!({ "uuid": "uuid-org", "name": "Org" }));
        }
        Vendor::OpenAi => {
            let auth = json!({ "chatgpt_account_id": "workspace", "chatgpt_plan_type": "team" });
            let claims = json!({
                "sub": format!("sub-{person}"), "email": email, "https://api.openai.com/auth": auth,
            });
            add("id_token", signed(shared, &claims).into());
        }
        Vendor::Google if first => {
            let claims = json!({ "sub": format!("sub-{person}"), "email": email });
            add("id_token", signed(shared, &claims).into());
        }
        Vendor::Qwen => add("resource_url", api(shared, "portal.example.com").into()),
        Vendor::Google | Vendor::Copilot | Vendor::Cursor => {}
    }
    response
}

/// Returns a token of three parts. Nobody checks the last.
fn signed(shared: &Shared, claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signature = shared.books().issue("signature");
    format!("{}.{}.{signature}", part(&json!({ "alg": "RS256" })), part(claims))
}

pub(super) fn refusal(shared: &Shared, (code, words): No) -> Reply {
    let status =
        if code == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
    match (shared.rules.vendor, code) {
        (Vendor::OpenAi, _) => {
            let error = json!({ "message": words, "type": "invalid_request_error", "param": null, "code": code });
            Reply::Json(StatusCode::UNAUTHORIZED, json!({ "error": error }))
        }
        (Vendor::Copilot, "refresh_token_reused") => Reply::Json(
            StatusCode::OK,
            json!({ "error": "bad_refresh_token", "error_description": words }),
        ),
        (Vendor::Copilot, _) => {
            Reply::Json(StatusCode::OK, json!({ "error": code, "error_description": words }))
        }
        (_, "refresh_token_reused") => {
            Reply::Json(status, json!({ "error": "invalid_grant", "error_description": words }))
        }
        _ => Reply::Json(status, json!({ "error": code, "error_description": words })),
    }
}

/// Returns the API's host as token responses name it.
pub(super) fn api(shared: &Shared, of_vendor: &str) -> String {
    let port = shared.url.rsplit(':').next().unwrap();
    shared.rules.api.map_or(of_vendor.to_owned(), |api| api.replace("{}", port))
}
