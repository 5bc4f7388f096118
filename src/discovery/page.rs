//! One page of a list of models, in each of the shapes.

use std::borrow::Cow;

use http::Uri;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::Model;
use crate::clock::Timestamp;
use crate::provider::ModelsShape;
use crate::rate_limit::{Reset, any_reset};

/// How many models are wanted at once: the most that Anthropic and Google give.
const SIZE: &str = "1000";

/// One page.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) models: Vec<Model>,
    /// What asks for the next one.
    pub(super) next: Option<String>,
}

/// The URL of the first page, or of the one that `next` asks for.
pub(super) fn uri(uri: &Uri, shape: ModelsShape, next: Option<&str>) -> Option<Uri> {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    if let Some(size) = shape.size_parameter() {
        pairs.append_pair(size, SIZE);
    }
    match (next, shape) {
        (Some(id), ModelsShape::Anthropic) => drop(pairs.append_pair("after_id", id)),
        (Some(token), ModelsShape::Google) => drop(pairs.append_pair("pageToken", token)),
        _ => {}
    }
    let query = pairs.finish();
    let separator = if uri.query().is_some() { '&' } else { '?' };
    if query.is_empty() { Some(uri.clone()) } else { format!("{uri}{separator}{query}").parse().ok() }
}

/// Reads a page, or says what is wrong with it.
pub(super) fn read(shape: ModelsShape, body: &[u8]) -> Result<Page, String> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // Where, but not what: it may be anything.
    let value = serde_json::from_slice(body)
        .map_err(|error| format!("no JSON, at line {} column {}", error.line(), error.column()))?;
    let (mut page, list) = match (shape, value) {
        // Some servers leave out what stands around the list.
        (ModelsShape::OpenAi, Value::Array(list)) => (Map::new(), list),
        (_, Value::Object(mut page)) => {
            let list = take_list(shape, &mut page)?;
            (page, list)
        }
        _ => return Err("no list of models, but other JSON".to_owned()),
    };
    let next = match shape {
        ModelsShape::OpenAi => None,
        ModelsShape::Anthropic => match page.get("has_more") {
            Some(Value::Bool(true)) => {
                let last = text(&mut page, "last_id").ok_or("`has_more` without a `last_id`")?;
                Some(last)
            }
            None | Some(Value::Null | Value::Bool(false)) => None,
            Some(_) => return Err("`has_more` is neither true nor false".to_owned()),
        },
        ModelsShape::Google => match page.remove("nextPageToken") {
            None | Some(Value::Null) => None,
            Some(Value::String(token)) => Some(token).filter(|token| !token.is_empty()),
            Some(_) => return Err("`nextPageToken` is no text".to_owned()),
        },
    };
    let models = list.into_iter().map(|item| model(shape, item)).collect::<Result<_, _>>()?;
    Ok(Page { models, next })
}

fn take_list(shape: ModelsShape, page: &mut Map<String, Value>) -> Result<Vec<Value>, String> {
    let field = match shape {
        ModelsShape::OpenAi | ModelsShape::Anthropic => "data",
        ModelsShape::Google => "models",
    };
    match page.remove(field) {
        Some(Value::Array(list)) => Ok(list),
        // Lists that are empty are left out there (the JSON form of Protocol Buffers).
        None if shape == ModelsShape::Google && page.keys().all(|key| key == "nextPageToken") => {
            Ok(Vec::new())
        }
        _ => Err(format!("no list of models in `{field}`")),
    }
}

/// Reads a model, or says what is wrong with it.
pub(super) fn model(shape: ModelsShape, value: Value) -> Result<Model, String> {
    let Value::Object(raw) = value else { return Err("a model that is no object".to_owned()) };
    let field = if shape == ModelsShape::Google { "name" } else { "id" };
    let id = raw.get(field).and_then(Value::as_str);
    let id = match shape {
        ModelsShape::Google => id.map(|name| name.strip_prefix("models/").unwrap_or(name)),
        _ => id,
    };
    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| format!("a model without `{field}`"))?;
    let names: &[&str] = match shape {
        ModelsShape::OpenAi => &["name", "display_name"],
        ModelsShape::Anthropic => &["display_name"],
        ModelsShape::Google => &["displayName"],
    };
    Ok(Model {
        name: first(&raw, names, non_empty),
        owner: first(&raw, &["owned_by", "vendor"], non_empty),
        created_at: first(&raw, &["created", "created_at"], moment),
        context_window: context_window(&raw),
        id: id.to_owned(),
        raw,
    })
}

fn first<T>(raw: &Map<String, Value>, fields: &[&str], read: fn(&Value) -> Option<T>) -> Option<T> {
    fields.iter().find_map(|field| read(raw.get(*field)?))
}

fn text(page: &mut Map<String, Value>, field: &str) -> Option<String> {
    non_empty(&page.remove(field)?)
}

fn non_empty(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Seconds since the Unix epoch, or a date of RFC 3339.
fn moment(value: &Value) -> Option<Timestamp> {
    let text: Cow<'_, str> = match value {
        Value::String(text) => text.into(),
        Value::Number(number) => number.to_string().into(),
        _ => return None,
    };
    match any_reset(text.as_bytes())? {
        Reset::At(milliseconds) => u64::try_from(milliseconds).ok().map(Timestamp::from_millis),
        Reset::In(_) => None,
    }
}

/// What servers call it: OpenRouter, Groq, Mistral, vLLM, Anthropic, Google, and Copilot deeper down.
fn context_window(raw: &Map<String, Value>) -> Option<u64> {
    let fields = [
        "context_length",
        "context_window",
        "max_context_length",
        "max_model_len",
        "max_input_tokens",
        "inputTokenLimit",
    ];
    first(raw, &fields, Value::as_u64)
        .or_else(|| raw.get("capabilities")?.get("limits")?.get("max_context_window_tokens")?.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHAPES: [ModelsShape; 3] = [ModelsShape::OpenAi, ModelsShape::Anthropic, ModelsShape::Google];

    const PAGES: [&str; 3] = [
        r#"{"object": "list", "data": [
            {"id": "a", "object": "model", "created": 1686935002, "owned_by": "x", "context_length": 8192},
            {"id": "b", "capabilities": {"limits": {"max_context_window_tokens": 128000}}, "vendor": "y"}
        ]}"#,
        r#"{"data": [{"type": "model", "id": "a", "display_name": "A", "created_at": "2025-02-19T00:00:00Z"}],
            "has_more": true, "first_id": "a", "last_id": "a"}"#,
        r#"{"models": [{"name": "models/a", "displayName": "A", "inputTokenLimit": 30720}],
            "nextPageToken": "next"}"#,
    ];

    #[test]
    fn each_shape_says_what_it_has_to_say() {
        let read = |shape: usize| read(SHAPES[shape], PAGES[shape].as_bytes()).unwrap();
        let page = read(0);
        assert_eq!((page.next, page.models.len()), (None, 2));
        assert_eq!(page.models[0].owner.as_deref(), Some("x"));
        assert_eq!(page.models[0].created_at, Some(Timestamp::from_millis(1_686_935_002_000)));
        assert_eq!(page.models[0].context_window, Some(8192));
        assert_eq!(page.models[1].owner.as_deref(), Some("y"));
        assert_eq!(page.models[1].context_window, Some(128_000));
        let page = read(1);
        assert_eq!(page.next.as_deref(), Some("a"));
        assert_eq!(page.models[0].name.as_deref(), Some("A"));
        assert_eq!(page.models[0].created_at, Some(Timestamp::from_millis(1_739_923_200_000)));
        let page = read(2);
        assert_eq!(page.next.as_deref(), Some("next"));
        assert_eq!((&*page.models[0].id, page.models[0].name.as_deref()), ("a", Some("A")));
        assert_eq!(page.models[0].raw["name"], "models/a");
        assert_eq!(page.models[0].context_window, Some(30_720));
    }

    #[test]
    fn what_is_no_list_is_told_apart_from_an_empty_one() {
        for (shape, body, expected) in [
            (0, r#"{"data": []}"#, Ok(0)),
            (0, r#"[{"id": "a"}]"#, Ok(1)),
            (0, "\u{feff}[]", Ok(0)),
            (1, r#"{"data": [], "has_more": false, "last_id": null}"#, Ok(0)),
            (1, r#"{"data": [], "has_more": null}"#, Ok(0)),
            (2, "{}", Ok(0)),
            (2, r#"{"nextPageToken": ""}"#, Ok(0)),
            (0, "", Err("no JSON")),
            (0, "<html>", Err("no JSON")),
            (0, "{}", Err("`data`")),
            (0, r#"{"data": {"id": "a"}}"#, Err("`data`")),
            (0, r#"{"error": "no"}"#, Err("`data`")),
            (0, "\"a\"", Err("other JSON")),
            (0, r#"{"data": [{"id": ""}]}"#, Err("without `id`")),
            (0, r#"{"data": [{"id": 1}]}"#, Err("without `id`")),
            (0, r#"{"data": ["a"]}"#, Err("no object")),
            (1, "[]", Err("other JSON")),
            (1, r#"{"data": [], "has_more": true}"#, Err("`last_id`")),
            (1, r#"{"data": [], "has_more": "yes"}"#, Err("`has_more`")),
            (2, r#"{"error": {}}"#, Err("`models`")),
            (2, r#"{"models": [], "nextPageToken": 1}"#, Err("`nextPageToken`")),
            (2, r#"{"models": [{"id": "a"}]}"#, Err("without `name`")),
            (2, r#"{"models": [{"name": "models/"}]}"#, Err("without `name`")),
        ] {
            match (read(SHAPES[shape], body.as_bytes()), expected) {
                (Ok(page), Ok(length)) => assert_eq!(page.models.len(), length, "{body}"),
                (Err(error), Err(reason)) => assert!(error.contains(reason), "{body}: {error}"),
                (page, _) => panic!("{body}: {page:?}"),
            }
        }
    }

    #[test]
    fn a_part_of_a_page_is_no_page() {
        for (shape, page) in SHAPES.into_iter().zip(PAGES) {
            for end in 0..page.len() {
                assert!(read(shape, &page.as_bytes()[..end]).is_err(), "{}", &page[..end]);
            }
        }
    }

    #[test]
    fn what_asks_for_the_next_page_is_escaped() {
        let at = |text: &str, shape, next| uri(&text.parse().unwrap(), shape, next).unwrap().to_string();
        let [openai, anthropic, google] = SHAPES;
        assert_eq!(at("https://a.test/m", openai, None), "https://a.test/m");
        assert_eq!(at("https://a.test/m", anthropic, None), "https://a.test/m?limit=1000");
        assert_eq!(
            at("https://a.test/m?v=1", anthropic, Some("a&b=c/d é")),
            "https://a.test/m?v=1&limit=1000&after_id=a%26b%3Dc%2Fd+%C3%A9"
        );
        assert_eq!(
            at("https://a.test/m", google, Some("t#\r\n")),
            "https://a.test/m?pageSize=1000&pageToken=t%23%0D%0A"
        );
        assert_eq!(uri(&"https://a.test/".parse().unwrap(), google, Some(&"x".repeat(70_000))), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn whatever_comes_every_model_of_it_has_an_id(
            which in 0..3_usize,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
        ) {
            let mut body = PAGES[which].as_bytes().to_vec();
            for (at, byte, how) in changes {
                let at = at.index(body.len());
                match how {
                    0 => body[at] = byte,
                    1 => body.insert(at, byte),
                    _ => drop(body.remove(at)),
                }
            }
            if let Ok(page) = read(SHAPES[which], &body) {
                for model in page.models {
                    prop_assert!(!model.id.is_empty());
                    // As it is read again from where it is kept.
                    let again = super::model(SHAPES[which], Value::Object(model.raw.clone()));
                    prop_assert_eq!(again.unwrap(), model);
                }
            }
        }
    }
}
