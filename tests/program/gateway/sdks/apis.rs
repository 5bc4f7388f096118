//! What the vendors' APIs say, as far as the tools here need it.

use serde_json::{Value, json};

/// What an upstream says.
pub(super) enum Said {
    Text(String),
    /// That this tool is to be called.
    Call(&'static str, Value),
}

/// An API of a vendor.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Api {
    Chat,
    Responses,
    Messages,
    Generate,
}

impl Api {
    /// The API of a path, if it is that of one.
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/v1/chat/completions" => Some(Self::Chat),
            "/v1/responses" => Some(Self::Responses),
            "/v1/messages" => Some(Self::Messages),
            _ if path.contains("/models/") && path.ends_with("enerateContent") => Some(Self::Generate),
            _ => None,
        }
    }

    /// The whole response.
    pub(super) fn body(self, model: &str, said: &Said) -> Value {
        match self {
            Self::Chat => chat(model, said, "chat.completion", "message"),
            Self::Responses => response(model, "completed", json!([output(said)])),
            Self::Messages => message(model, json!([block(said)]), json!(stop_reason(said))),
            Self::Generate => candidates(model, said, json!("STOP")),
        }
    }

    /// The same as server-sent events.
    pub(super) fn events(self, model: &str, said: &Said) -> Vec<String> {
        match self {
            Self::Chat => chat_chunks(model, said),
            Self::Responses => response_events(model, said),
            Self::Messages => message_events(model, said),
            Self::Generate => match said {
                Said::Text(text) => pieces(text)
                    .map(|piece| candidates(model, &Said::Text(piece), Value::Null))
                    .chain([candidates(model, &Said::Text(String::new()), json!("STOP"))])
                    .map(|data| format!("data: {data}\r\n\r\n"))
                    .collect(),
                Said::Call(..) => {
                    vec![format!("data: {}\r\n\r\n", candidates(model, said, json!("STOP")))]
                }
            },
        }
    }

    /// The body of a 429.
    pub(super) fn limited(self) -> Value {
        match self {
            Self::Chat | Self::Responses => json!({"error": {
                "message": "Rate limit reached", "type": "requests", "param": null, "code": "rate_limit_exceeded",
            }}),
            Self::Messages => json!({"type": "error", "error": {
                "type": "rate_limit_error", "message": "This request would exceed your rate limit.",
            }}),
            Self::Generate => json!({"error": {
                "code": 429, "message": "Resource has been exhausted.", "status": "RESOURCE_EXHAUSTED",
            }}),
        }
    }

    /// The body of the 403 of an account that may not use this model.
    pub(super) fn refused(self, model: &str) -> Value {
        match self {
            Self::Chat | Self::Responses => json!({"error": {
                "message": format!("Project `proj_1` does not have access to model `{model}`"),
                "type": "invalid_request_error", "param": null, "code": "model_not_found",
            }}),
            Self::Messages => json!({"type": "error", "error": {
                "type": "permission_error", "message": "Your API key does not have permission to use the specified resource",
            }}),
            Self::Generate => json!({"error": {
                "code": 403, "message": format!("Permission denied on resource {model}"), "status": "PERMISSION_DENIED",
            }}),
        }
    }
}

/// The words of a text, each with the space after it.
fn pieces(text: &str) -> impl Iterator<Item = String> {
    text.split_inclusive(' ').map(str::to_owned)
}

fn chat(model: &str, said: &Said, object: &str, field: &str) -> Value {
    let (part, reason) = match said {
        Said::Text(text) => (json!({"role": "assistant", "content": text}), "stop"),
        Said::Call(name, arguments) => {
            let function = json!({"name": name, "arguments": arguments.to_string()});
            let call = json!({"index": 0, "id": "call_1", "type": "function", "function": function});
            (json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls")
        }
    };
    json!({
        "id": "chatcmpl-1", "object": object, "created": 1, "model": model,
        "choices": [{"index": 0, field: part, "finish_reason": reason, "logprobs": null}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    })
}

fn chat_chunks(model: &str, said: &Said) -> Vec<String> {
    let chunks = match said {
        Said::Text(text) => {
            let mut chunks: Vec<_> = pieces(text)
                .map(|piece| {
                    let mut chunk = chat(model, &Said::Text(piece), "chat.completion.chunk", "delta");
                    chunk["choices"][0]["finish_reason"] = Value::Null;
                    chunk
                })
                .collect();
            chunks.push(chat(model, &Said::Text(String::new()), "chat.completion.chunk", "delta"));
            chunks
        }
        Said::Call(..) => vec![chat(model, said, "chat.completion.chunk", "delta")],
    };
    let chunks = chunks.into_iter().map(|chunk| format!("data: {chunk}\n\n"));
    chunks.chain(["data: [DONE]\n\n".into()]).collect()
}

fn response(model: &str, status: &str, output: Value) -> Value {
    json!({
        "id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": model, "output": output,
        "error": null, "incomplete_details": null, "instructions": null, "metadata": {}, "parallel_tool_calls": true,
        "temperature": 1, "tool_choice": "auto", "tools": [], "top_p": 1,
        "usage": {
            "input_tokens": 1, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 1, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 2,
        },
    })
}

fn output(said: &Said) -> Value {
    match said {
        Said::Text(text) => json!({
            "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}],
        }),
        Said::Call(name, arguments) => json!({
            "type": "function_call", "id": "fc_1", "call_id": "call_1", "status": "completed",
            "name": name, "arguments": arguments.to_string(),
        }),
    }
}

fn response_events(model: &str, said: &Said) -> Vec<String> {
    let item = output(said);
    let mut started = item.clone();
    started["status"] = json!("in_progress");
    let mut events =
        vec![json!({"type": "response.created", "response": response(model, "in_progress", json!([]))})];
    match said {
        Said::Text(text) => {
            started["content"] = json!([]);
            events
                .push(json!({"type": "response.output_item.added", "output_index": 0, "item": started}));
            let mut of_item = |kind: &str, more: Value| {
                let mut event = json!({
                    "type": format!("response.{kind}"), "item_id": "msg_1", "output_index": 0, "content_index": 0,
                });
                event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                events.push(event);
            };
            let part =
                |text: &str| json!({"part": {"type": "output_text", "text": text, "annotations": []}});
            of_item("content_part.added", part(""));
            pieces(text)
                .for_each(|piece| of_item("output_text.delta", json!({"delta": piece, "logprobs": []})));
            of_item("output_text.done", json!({"text": text, "logprobs": []}));
            of_item("content_part.done", part(text));
        }
        Said::Call(_, arguments) => {
            started["arguments"] = json!("");
            events
                .push(json!({"type": "response.output_item.added", "output_index": 0, "item": started}));
            let of_item = json!({"item_id": "fc_1", "output_index": 0});
            for (kind, field) in [("delta", "delta"), ("done", "arguments")] {
                let mut event = of_item.clone();
                event["type"] = json!(format!("response.function_call_arguments.{kind}"));
                event[field] = json!(arguments.to_string());
                events.push(event);
            }
        }
    }
    events.push(json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
    events.push(
        json!({"type": "response.completed", "response": response(model, "completed", json!([item]))}),
    );
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = json!(number);
    }
    named(events)
}

fn message(model: &str, content: Value, stop_reason: Value) -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": stop_reason, "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1},
    })
}

fn block(said: &Said) -> Value {
    match said {
        Said::Text(text) => json!({"type": "text", "text": text}),
        Said::Call(name, arguments) => {
            json!({"type": "tool_use", "id": "toolu_1", "name": name, "input": arguments})
        }
    }
}

fn stop_reason(said: &Said) -> &'static str {
    if matches!(said, Said::Text(_)) { "end_turn" } else { "tool_use" }
}

fn message_events(model: &str, said: &Said) -> Vec<String> {
    let (empty, deltas) = match said {
        Said::Text(text) => {
            let delta = |piece| json!({"type": "text_delta", "text": piece});
            (Said::Text(String::new()), pieces(text).map(delta).collect())
        }
        Said::Call(name, arguments) => {
            let delta = json!({"type": "input_json_delta", "partial_json": arguments.to_string()});
            (Said::Call(name, json!({})), vec![delta])
        }
    };
    let mut events = vec![
        json!({"type": "message_start", "message": message(model, json!([]), Value::Null)}),
        json!({"type": "content_block_start", "index": 0, "content_block": block(&empty)}),
    ];
    let delta = |delta| json!({"type": "content_block_delta", "index": 0, "delta": delta});
    events.extend(deltas.into_iter().map(delta));
    events.push(json!({"type": "content_block_stop", "index": 0}));
    let delta = json!({"stop_reason": stop_reason(said), "stop_sequence": null});
    events.push(json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 1}}));
    events.push(json!({"type": "message_stop"}));
    named(events)
}

/// Events whose names are their types.
fn named(events: Vec<Value>) -> Vec<String> {
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
        .collect()
}

fn candidates(model: &str, said: &Said, reason: Value) -> Value {
    let part = match said {
        Said::Text(text) => json!({"text": text}),
        Said::Call(name, arguments) => json!({"functionCall": {"name": name, "args": arguments}}),
    };
    let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": [part]}});
    if !reason.is_null() {
        candidate["finishReason"] = reason;
    }
    json!({
        "candidates": [candidate], "modelVersion": model,
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
    })
}
