//! An upstream that speaks the vendors' APIs, and whose accounts are limited, refused or cut off as a model's name says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::apis::{Api, Said};
use crate::cli::Home;
use crate::support::Journal;
use crate::wire::{Wire, WireBody, WireReply, full, length, whole};

/// What becomes of an account's requests for a model. A model without one of these names is at hand.
enum Plan {
    Well,
    /// A 429 for this many seconds from the first request on.
    Limited(u64),
    /// The account may not use this model.
    Refused,
    /// The first response ends in its middle.
    CutOff,
}

impl Plan {
    fn of(account: &str, model: &str) -> Self {
        match model.strip_prefix("used-up-").map(str::parse) {
            Some(seconds) => Self::Limited(seconds.unwrap()),
            None if account == "a" && is_limited_for_a(model) => Self::Limited(3600),
            None if model == "refused-for-a" && account == "a" => Self::Refused,
            None if model.starts_with("cut-off") => Self::CutOff,
            None => Self::Well,
        }
    }
}

/// `llm` takes only models that it knows.
fn is_limited_for_a(model: &str) -> bool {
    model.starts_with("limited-for-a") || model == "gpt-4o-mini"
}

/// The upstream of the providers `openai`, `anthropic` and `google`.
pub(super) struct Vendor {
    wire: Wire,
    /// The account and the model of each request, such as `a limited-for-a`.
    pub(super) seen: Journal<String>,
}

/// When an account was first asked for a model.
type First = Arc<Mutex<HashMap<String, Instant>>>;

impl Vendor {
    pub(super) async fn start() -> Self {
        let (seen, first) = (Journal::new(), First::default());
        let journal = seen.clone();
        let wire = Wire::start(move |request| respond(request, journal.clone(), first.clone())).await;
        Self { wire, seen }
    }

    /// How often an account was asked for a model, such as `a limited-for-a`.
    pub(super) fn count(&self, asked: &str) -> usize {
        self.seen.all().iter().filter(|seen| *seen == asked).count()
    }

    /// A home with accounts of each provider. The key of `LABEL` is `LABEL-key`.
    pub(super) async fn home(&self, labels: &[&str]) -> Home {
        let home = Home::new();
        let providers = ["openai", "anthropic", "google"];
        let origin = self.wire.origin();
        home.settings(
            &providers.map(|name| format!("[providers.{name}]\norigins = [\"{origin}\"]\n")).concat(),
        );
        for provider in providers {
            for label in labels {
                home.add(provider, label, &format!("{label}-key")).await;
            }
        }
        home
    }
}

async fn respond(request: Request<Incoming>, seen: Journal<String>, first: First) -> WireReply {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let headers = ["authorization", "x-api-key", "x-goog-api-key"];
    let key = headers
        .iter()
        .find_map(|name| head.headers.get(*name))
        .map_or("", |value| value.to_str().unwrap());
    let account = key.trim_start_matches("Bearer ").trim_end_matches("-key");
    if path.ends_with("/files") {
        let asked = format!("{account} files");
        seen.push(asked.clone());
        if let (true, Some(limited)) = (account == "a", limit(&first, asked, 3600)) {
            // Without reading the body first.
            return limited_response(Api::Chat, limited);
        }
        let bytes = length(body).await;
        return json_response(200, &file(account, bytes));
    }
    let Some(api) = Api::of(path) else {
        return json_response(404, &json!({"error": {"message": format!("no {path}")}}));
    };
    let body: Value = serde_json::from_slice(&whole(body).await.0).unwrap();
    let in_path = path.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(model, _)| model);
    let model = in_path.or(body["model"].as_str()).unwrap();
    let asked = format!("{account} {model}");
    seen.push(asked.clone());
    let plan = Plan::of(account, model);
    match plan {
        Plan::Limited(seconds) => {
            if let Some(left) = limit(&first, asked.clone(), seconds) {
                return limited_response(api, left);
            }
        }
        Plan::Refused => return json_response(403, &api.refused(model)),
        Plan::Well | Plan::CutOff => {}
    }
    let cut =
        matches!(plan, Plan::CutOff) && first.lock().unwrap().insert(asked, Instant::now()).is_none();
    let said = what_it_says(account, &body);
    let streams = body["stream"] == true || path.ends_with(":streamGenerateContent");
    let (kind, pieces) = if streams {
        ("text/event-stream", api.events(model, &said))
    } else {
        let text = api.body(model, &said).to_string();
        let (start, end) = text.split_at(text.len() / 2);
        ("application/json", [start, end].map(str::to_owned).to_vec())
    };
    let body = if cut { cut_off(pieces) } else { full(pieces.concat()) };
    Response::builder().header("content-type", kind).body(body).unwrap()
}

/// How many seconds of an account's limit are left.
fn limit(first: &First, asked: String, seconds: u64) -> Option<u64> {
    let since = *first.lock().unwrap().entry(asked).or_insert_with(Instant::now);
    let left = Duration::from_secs(seconds).saturating_sub(since.elapsed());
    (!left.is_zero()).then(|| left.as_secs() + u64::from(left.subsec_nanos() > 0))
}

/// Calls the tool for the weather if there is one, and then says what that said.
fn what_it_says(account: &str, body: &Value) -> Said {
    let body = body.to_string();
    match () {
        () if body.contains("sunny") => Said::Text(format!("It is sunny, says {account}")),
        () if body.contains("get_weather") => Said::Call("get_weather", json!({"city": "Paris"})),
        () => Said::Text(format!("hello from {account}")),
    }
}

/// The beginning of a response, and then the connection's end.
fn cut_off(mut pieces: Vec<String>) -> WireBody {
    pieces.truncate(pieces.len() / 2);
    let sent = stream::iter(pieces).map(|piece| Ok(Frame::data(Bytes::from(piece))));
    let end = stream::once(async {
        // What was sent is on its way before the end.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err("cut off".into())
    });
    StreamBody::new(sent.chain(end)).boxed_unsync()
}

fn limited_response(api: Api, seconds: u64) -> WireReply {
    let mut response = json_response(429, &api.limited());
    response.headers_mut().insert("retry-after", seconds.into());
    response
}

fn json_response(status: u16, body: &Value) -> WireReply {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(full(body.to_string())).unwrap()
}

/// A file, as OpenAI and Anthropic name it. Its name tells whose it is.
fn file(account: &str, bytes: usize) -> Value {
    json!({
        "id": "file-1", "object": "file", "type": "file", "bytes": bytes, "size_bytes": bytes, "created_at": 1,
        "filename": account, "purpose": "user_data", "status": "processed", "mime_type": "text/plain",
        "downloadable": false,
    })
}
