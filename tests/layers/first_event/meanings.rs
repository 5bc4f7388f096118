//! What the vendors' events mean.

use tower_credentials::provider::{EventMeaning, StreamEvent};

fn meaning(name: &str, data: &str) -> EventMeaning {
    EventMeaning::of(&StreamEvent::new(name, data))
}

#[test]
fn events_before_the_content_say_nothing() {
    for (name, data) in [
        ("message", ""),
        ("message", "  "),
        ("ping", r#"{"type": "ping"}"#),
        ("ping", "2026-11-29 09:00:00"),
        ("message_start", r#"{"type":"message_start","message":{"role":"assistant","content":[]}}"#),
        ("response.created", r#"{"type":"response.created","response":{"error":null,"tools":[1]}}"#),
        ("message", r#"{"type":"response.in_progress","response":{"status":"in_progress"}}"#),
        ("response.queued", r#"{"type":"response.queued","response":null}"#),
        ("message", r#"{"choices":[],"prompt_filter_results":[{}]}"#),
        (
            "message",
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
        ),
        ("message", r#"{"choices":[{"delta":{"role":"assistant","content":null,"tool_calls":[]}}]}"#),
    ] {
        assert_eq!(meaning(name, data), EventMeaning::Nothing, "{name}: {data}");
    }
}

#[test]
fn whatever_is_no_error_is_content() {
    for (name, data) in [
        ("message", "[DONE]"),
        ("message", "hello"),
        ("error", "hello"),
        ("message", r#"["ping"]"#),
        ("message", r#""ping""#),
        ("message", "{\"error\":"),
        ("content_block_start", r#"{"type":"content_block_start","index":0}"#),
        ("message", r#"{"choices":[{"delta":{"content":"Hi"}}]}"#),
        ("message", r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#),
        ("message", r#"{"choices":[{"delta":{"tool_calls":[{}]}}]}"#),
        ("message", r#"{"choices":[{"text":"Hi"}]}"#),
        ("message", r#"{"candidates":[{"content":{"parts":[{"text":"Hi"}]}}]}"#),
        ("response.output_item.added", r#"{"type":"response.output_item.added"}"#),
        ("response.completed", r#"{"type":"response.completed","response":{"error":null}}"#),
        ("response.failed", r#"{"type":"response.failed","response":{"error":null}}"#),
        ("response.failed", r#"{"type":"response.failed"}"#),
        ("message", r#"{"error":"","answer":42}"#),
        ("message", r#"{"error":false,"answer":42}"#),
        // Nested too deeply for a reader.
        ("message", &format!("{{\"error\":{}", "[".repeat(100_000))),
    ] {
        assert_eq!(meaning(name, data), EventMeaning::Content, "{name}: {data:.100}");
    }
}

#[test]
fn an_error_has_the_status_and_the_body_of_one_without_a_stream() {
    let same = |name: &str, data: &str| (name.to_owned(), data.to_owned(), data.to_owned());
    let anthropic =
        |kind: &str| same("error", &format!(r#"{{"type":"error","error":{{"type":"{kind}"}}}}"#));
    let openai = |code: &str| {
        let error = format!(r#"{{"code":"{code}"}}"#);
        let data = format!(r#"{{"type":"response.failed","response":{{"id":"r","error":{error}}}}}"#);
        ("response.failed".to_owned(), data, format!(r#"{{"error":{error}}}"#))
    };
    let unnested = |data: &str, body: &str| ("error".to_owned(), data.to_owned(), body.to_owned());
    let google = |code: u16, word: &str| {
        same("message", &format!(r#"{{"error":{{"code":{code},"status":"{word}"}}}}"#))
    };
    for (status, (name, data, body)) in [
        (400, anthropic("invalid_request_error")),
        (401, anthropic("authentication_error")),
        (402, anthropic("billing_error")),
        (403, anthropic("permission_error")),
        (404, anthropic("not_found_error")),
        (413, anthropic("request_too_large")),
        (429, anthropic("rate_limit_error")),
        (500, anthropic("api_error")),
        (504, anthropic("timeout_error")),
        (529, anthropic("overloaded_error")),
        (429, openai("rate_limit_exceeded")),
        (429, openai("insufficient_quota")),
        (429, openai("usage_limit_reached")),
        (401, openai("token_invalidated")),
        (500, openai("server_error")),
        (503, openai("server_is_overloaded")),
        (503, anthropic("service_unavailable_error")),
        (
            429,
            unnested(
                r#"{"type":"error","code":"rate_limit_exceeded","message":"m","param":null,"sequence_number":3}"#,
                r#"{"error":{"code":"rate_limit_exceeded","message":"m","param":null}}"#,
            ),
        ),
        // A code that says nothing gives way to the type.
        (500, same("message", r#"{"error":{"code":null,"type":"server_error"}}"#)),
        (
            400,
            same(
                "message",
                r#"{"error":{"code":"context_length_exceeded","type":"invalid_request_error"}}"#,
            ),
        ),
        (429, google(429, "RESOURCE_EXHAUSTED")),
        (503, google(503, "UNAVAILABLE")),
        (401, same("message", r#"{"error":{"status":"UNAUTHENTICATED"}}"#)),
        // OpenRouter's, in a chunk of its own.
        (429, same("message", r#"{"choices":[{"delta":{"content":""}}],"error":{"code":429}}"#)),
        (502, same("message", r#"{"error":{"code":"502"}}"#)),
        // Nobody knows with which status these would have come.
        (500, anthropic("a_new_error")),
        (500, openai("a_new_code")),
        (500, same("message", r#"{"error":"busy"}"#)),
        (500, same("error", r#"{"detail":"busy"}"#)),
        (500, same("message", r#"{"error":{"code":200}}"#)),
        (500, same("message", r#"{"error":{"code":-429}}"#)),
        (500, same("message", r#"{"error":{"code":4290000000000}}"#)),
        (
            500,
            unnested(
                r#"{"type":"error","message":"failed"}"#,
                r#"{"error":{"code":null,"message":"failed","param":null}}"#,
            ),
        ),
    ] {
        let EventMeaning::Error { status: found, body: as_plain } = meaning(&name, &data) else {
            panic!("{name}: {data} is no error");
        };
        assert_eq!((found.as_u16(), &*as_plain), (status, body.as_bytes()), "{name}: {data}");
    }
}
