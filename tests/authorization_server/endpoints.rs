//! Handling requests, in each vendor's way.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use serde_json::json;
use tower_credentials::oauth::TokenEncoding;
use url::{Url, form_urlencoded};

use super::Shared;
use super::books::{Kind, No, no};
use super::hooks::Fault;
use super::responses::{Reply, api, refusal, tokens};
use super::rules::{CLIENT_ID, Vendor, config};
use super::wire::Canned;

type Params = HashMap<String, String>;

pub(super) async fn handle<B: Body>(shared: &Shared, request: Request<B>) -> Response<Canned> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return respond(Reply::Text(StatusCode::BAD_REQUEST, "the body broke off".to_owned()));
    };
    let body = String::from_utf8(body.to_bytes().into()).unwrap_or_default();
    let query: Params = pairs(parts.uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    let reply = match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/authorize") => authorize(shared, &query),
        (&Method::GET, "/login") => login(shared, &query),
        (&Method::GET, "/user") => user(shared, &parts.headers),
        (&Method::GET, "/resource" | "/v1/resource") => resource(shared, &parts.headers),
        (&Method::POST, "/device") => device(shared, &parts.headers, &body),
        (&Method::POST, "/token" | "/refresh") | (&Method::GET, "/exchange" | "/poll") => {
            shared.hooks.before().await;
            let reply = match parts.uri.path() {
                "/token" => token(shared, &parts.headers, &body),
                "/refresh" => cursor_refresh(shared, &parts.headers, &body),
                "/exchange" => exchange(shared, &parts.headers),
                _ => poll(shared, &query),
            };
            if let Some(fault) = shared.hooks.after().await {
                return suffer(fault, reply, &body, &parts.headers).await;
            }
            reply
        }
        _ => Reply::Text(StatusCode::NOT_FOUND, "<html>nothing here</html>".to_owned()),
    };
    respond(reply)
}

fn respond(reply: Reply) -> Response<Canned> {
    let (status, sort, value, body) = match reply {
        Reply::Json(status, value) => {
            (status, header::CONTENT_TYPE, "application/json".to_owned(), value.to_string())
        }
        Reply::To(url) => (StatusCode::FOUND, header::LOCATION, url, String::new()),
        Reply::Text(status, text) => (status, header::CONTENT_TYPE, "text/html".to_owned(), text),
    };
    Response::builder().status(status).header(sort, value).body(Canned::whole(body)).unwrap()
}

async fn suffer(fault: Fault, reply: Reply, body: &str, headers: &HeaderMap) -> Response<Canned> {
    let text = match &reply {
        Reply::Json(_, value) => value.to_string(),
        _ => "{\"access_token\": \"".to_owned(),
    };
    let json = Response::builder().header(header::CONTENT_TYPE, "application/json");
    match fault {
        Fault::None => respond(reply),
        Fault::Never => std::future::pending().await,
        Fault::Cut => json.body(Canned::cut(text[..text.len() / 2].to_owned())).unwrap(),
        Fault::Oversized => json.body(Canned::whole(format!("{text}{}", " ".repeat(1 << 20)))).unwrap(),
        Fault::Text(status, text) => json.status(status).body(Canned::whole(text.to_owned())).unwrap(),
        Fault::Quoting(status, text) => {
            let text = text.replace("{}", &secret_of(body, headers));
            json.status(status).body(Canned::whole(text)).unwrap()
        }
    }
}

/// The parts of a request that must not be shown to others.
fn secret_of(body: &str, headers: &HeaderMap) -> String {
    let params = pairs(body.as_bytes()).unwrap_or_default();
    let json: Params = serde_json::from_str(body).unwrap_or_default();
    let names = ["refresh_token", "code", "device_code"];
    let found = names.iter().find_map(|name| params.get(*name).or_else(|| json.get(*name)).cloned());
    found.or_else(|| authorization(headers, "token ")).expect("the request has a secret")
}

/// Parses parameters, none of which may occur twice (RFC 6749, section 3.2).
fn pairs(form: &[u8]) -> Option<Params> {
    let mut params = Params::new();
    for (name, value) in form_urlencoded::parse(form) {
        if params.insert(name.into_owned(), value.into_owned()).is_some() {
            return None;
        }
    }
    Some(params)
}

fn body_of(headers: &HeaderMap, body: &str, encoding: TokenEncoding) -> Result<Params, No> {
    if headers.get(header::ACCEPT).is_none_or(|accept| accept != "application/json") {
        return Err(no("invalid_request", "accept is not application/json"));
    }
    let sort = headers.get(header::CONTENT_TYPE).and_then(|sort| sort.to_str().ok()).unwrap_or_default();
    let params = match (encoding, sort) {
        (TokenEncoding::Form, "application/x-www-form-urlencoded") => pairs(body.as_bytes()),
        (TokenEncoding::Json, "application/json") => serde_json::from_str(body).ok(),
        _ => return Err(no("invalid_request", format!("not in {sort:?}"))),
    };
    params.ok_or_else(|| no("invalid_request", "the body can't be read"))
}

fn need<'a>(params: &'a Params, name: &str) -> Result<&'a str, No> {
    params.get(name).map(String::as_str).ok_or_else(|| no("invalid_request", format!("no {name}")))
}

fn check_client(shared: &Shared, params: &Params) -> Result<(), No> {
    let secret = params.get("client_secret").map(String::as_str);
    if need(params, "client_id")? != CLIENT_ID || secret != shared.rules.client_secret {
        return Err(no("invalid_client", "no such client"));
    }
    Ok(())
}

/// RFC 6749, section 4.1.1; RFC 7636, section 4.3. If something is wrong with the client, the client is not told.
fn authorize(shared: &Shared, query: &Params) -> Reply {
    let checked = (|| {
        let redirect =
            Url::parse(need(query, "redirect_uri")?).map_err(|_| no("invalid_request", "redirect"))?;
        let registered = config(shared.rules.vendor, &shared.url).redirect_uri.unwrap_or_default();
        let registered = Url::parse(&registered).map_err(|_| no("invalid_request", "redirect"))?;
        let place = |url: &Url| (url.host_str().map(str::to_owned), url.path().to_owned());
        if place(&redirect) != place(&registered) || redirect.port().is_none_or(|port| port == 0) {
            return Err(no("invalid_request", "the redirect_uri isn't registered"));
        }
        if need(query, "client_id")? != CLIENT_ID || need(query, "response_type")? != "code" {
            return Err(no("invalid_request", "the client isn't known"));
        }
        if need(query, "code_challenge_method")? != "S256" || need(query, "code_challenge")?.len() != 43
        {
            return Err(no("invalid_request", "no PKCE"));
        }
        let scopes = config(shared.rules.vendor, &shared.url).scopes.join(" ");
        if need(query, "scope")? != scopes || need(query, "state")?.len() < 22 {
            return Err(no("invalid_request", "no scope, or no state to speak of"));
        }
        let extra = match shared.rules.vendor {
            Vendor::Anthropic => &[("code", "true")][..],
            Vendor::OpenAi => &[("prompt", "login"), ("id_token_add_organizations", "true")],
            Vendor::Google => &[("access_type", "offline"), ("prompt", "consent")],
            _ => &[],
        };
        if extra.iter().any(|(name, value)| query.get(*name).is_none_or(|given| given != value)) {
            return Err(no("invalid_request", "a parameter of the vendor's is missing"));
        }
        Ok(redirect)
    })();
    let mut redirect = match checked {
        Ok(redirect) => redirect,
        Err((code, words)) => return Reply::Text(StatusCode::BAD_REQUEST, format!("{code}: {words}")),
    };
    let state = &query["state"];
    if shared.says_yes.load(std::sync::atomic::Ordering::SeqCst) {
        let (challenge, uri) = (query["code_challenge"].clone(), query["redirect_uri"].clone());
        let code = shared.books().code(challenge, uri, state.clone(), shared.person());
        redirect.query_pairs_mut().append_pair("code", &code).append_pair("state", state);
    } else {
        redirect
            .query_pairs_mut()
            .append_pair("error", "access_denied")
            .append_pair("error_description", "<b>The person said no</b>")
            .append_pair("state", state);
    }
    Reply::To(redirect.into())
}

fn token(shared: &Shared, headers: &HeaderMap, body: &str) -> Reply {
    shared.books().token_request(body.to_owned());
    let mut first = false;
    let granted = body_of(headers, body, shared.rules.encoding).and_then(|params| {
        let kind = match need(&params, "grant_type")? {
            "authorization_code" => Kind::Code,
            "refresh_token" => Kind::Refresh,
            "urn:ietf:params:oauth:grant-type:device_code" => Kind::DevicePoll,
            _ => return Err(no("unsupported_grant_type", "not that")),
        };
        first = kind != Kind::Refresh;
        shared.books().ask(kind);
        check_client(shared, &params)?;
        let mut books = shared.books();
        match kind {
            Kind::Code => books.exchange_code(
                &shared.rules,
                need(&params, "code")?,
                need(&params, "code_verifier")?,
                need(&params, "redirect_uri")?,
                // A test that does not want this can refuse it.
                match (shared.rules.vendor, params.get("state")) {
                    (Vendor::Anthropic, _) => Some(need(&params, "state")?),
                    (_, Some(_)) => return Err(no("invalid_request", "what is the state for")),
                    (_, None) => None,
                },
            ),
            Kind::Refresh => books.refresh(&shared.rules, need(&params, "refresh_token")?),
            _ => {
                let verifier = params.get("code_verifier").map(String::as_str);
                books.poll_device(&shared.rules, need(&params, "device_code")?, verifier)
            }
        }
    });
    match granted {
        Ok(pair) => Reply::Json(StatusCode::OK, tokens(shared, &pair, first)),
        Err(no) => refusal(shared, no),
    }
}

/// RFC 8628, section 3.1.
fn device(shared: &Shared, headers: &HeaderMap, body: &str) -> Reply {
    shared.books().ask(Kind::Device);
    let granted = body_of(headers, body, TokenEncoding::Form).and_then(|params| {
        check_client(shared, &params)?;
        let scopes = config(shared.rules.vendor, &shared.url).scopes.join(" ");
        if need(&params, "scope")? != scopes {
            return Err(no("invalid_scope", "not those"));
        }
        let challenge = match shared.rules.vendor {
            Vendor::Qwen => {
                if need(&params, "code_challenge_method")? != "S256" {
                    return Err(no("invalid_request", "no PKCE"));
                }
                Some(need(&params, "code_challenge")?.to_owned())
            }
            _ => None,
        };
        Ok(shared.books().device(&shared.rules, challenge))
    });
    let (device_code, user_code) = match granted {
        Ok(codes) => codes,
        Err(no) => return refusal(shared, no),
    };
    let page = format!("{}/activate", shared.url);
    let mut response = json!({
        "device_code": device_code,
        "user_code": user_code,
        "verification_uri": page,
        "verification_uri_complete": format!("{page}?user_code={user_code}"),
        "expires_in": shared.rules.device_lifetime.as_secs(),
    });
    if let Some(interval) = shared.rules.device_interval {
        response["interval"] = interval.into();
    }
    Reply::Json(StatusCode::OK, response)
}

fn authorization(headers: &HeaderMap, scheme: &str) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix(scheme).map(str::to_owned)
}

/// Copilot's exchange.
fn exchange(shared: &Shared, headers: &HeaderMap) -> Reply {
    let mut books = shared.books();
    books.ask(Kind::Exchange);
    let github = authorization(headers, "token ").unwrap_or_default();
    let Some(pair) = books.exchange(&shared.rules, &github) else {
        return Reply::Json(StatusCode::UNAUTHORIZED, json!({ "message": "Bad credentials" }));
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let response = json!({
        "token": pair.access,
        "expires_at": (now + shared.rules.access_lifetime).as_secs(),
        "refresh_in": 1500,
        "endpoints": { "api": api(shared, "https://api.individual.githubcopilot.com") },
    });
    Reply::Json(StatusCode::OK, response)
}

fn user(shared: &Shared, headers: &HeaderMap) -> Reply {
    let books = shared.books();
    let github = authorization(headers, "token ").unwrap_or_default();
    match books.whose(&github) {
        Some(person) => {
            let id: u64 = person.bytes().map(u64::from).sum();
            Reply::Json(StatusCode::OK, json!({ "id": id, "login": person }))
        }
        None => Reply::Json(StatusCode::UNAUTHORIZED, json!({ "message": "Bad credentials" })),
    }
}

/// Cursor's link.
fn login(shared: &Shared, query: &Params) -> Reply {
    let (Some(uuid), Some(verifier)) = (query.get("uuid"), query.get("verifier")) else {
        return Reply::Text(StatusCode::BAD_REQUEST, "no uuid or no verifier".to_owned());
    };
    let mut books = shared.books();
    books.link(uuid, verifier, shared.person());
    Reply::Text(StatusCode::OK, "You can go back.".to_owned())
}

pub(super) fn follow_link(shared: &Shared, url: &str) {
    let query = Url::parse(url).unwrap().query_pairs().into_owned().collect();
    assert!(matches!(login(shared, &query), Reply::Text(StatusCode::OK, _)));
}

fn poll(shared: &Shared, query: &Params) -> Reply {
    let mut books = shared.books();
    books.ask(Kind::LinkPoll);
    let get = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    match books.poll_link(&shared.rules, get("uuid"), get("verifier")) {
        Some(pair) => {
            let auth_id = format!("auth0|{}", pair.person);
            let response = json!({
                "accessToken": pair.access, "refreshToken": pair.refresh, "authId": auth_id,
            });
            Reply::Json(StatusCode::OK, response)
        }
        None => Reply::Text(StatusCode::NOT_FOUND, "Not Found".to_owned()),
    }
}

fn cursor_refresh(shared: &Shared, headers: &HeaderMap, body: &str) -> Reply {
    let mut books = shared.books();
    books.ask(Kind::Refresh);
    books.token_request(body.to_owned());
    let granted = body_of(headers, body, TokenEncoding::Json)
        .and_then(|params| books.refresh(&shared.rules, need(&params, "refresh_token")?));
    match granted {
        Ok(pair) => {
            let response = json!({
                "access_token": pair.access,
                "refresh_token": pair.refresh,
                "expires_in": shared.rules.access_lifetime.as_secs(),
                "shouldLogout": false,
            });
            Reply::Json(StatusCode::OK, response)
        }
        Err(("invalid_request", words)) => {
            Reply::Json(StatusCode::BAD_REQUEST, json!({ "error": words }))
        }
        Err(_) => {
            let response = json!({ "access_token": "", "id_token": "", "shouldLogout": true });
            Reply::Json(StatusCode::OK, response)
        }
    }
}

/// The resource that tokens are for: 200 with their owner, or 401 (RFC 6750, section 3.1).
fn resource(shared: &Shared, headers: &HeaderMap) -> Reply {
    let mut books = shared.books();
    books.ask(Kind::Resource);
    books.resource_asked(headers);
    let access = authorization(headers, "Bearer ").unwrap_or_default();
    match books.whose(&access) {
        Some(person) => Reply::Json(StatusCode::OK, json!({ "person": person })),
        None => Reply::Json(StatusCode::UNAUTHORIZED, json!({ "error": "invalid_token" })),
    }
}
