//! Reads one page of a list of models, in each of the shapes.

use std::borrow::Cow;

use http::Uri;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use url::form_urlencoded;

use super::model::Model;
use crate::clock::Timestamp;
use crate::provider::ModelsShape;
use crate::rate_limit::{Reset, any_reset};

/// The number of models per page: the maximum at Anthropic and Google.
const SIZE: &str = "1000";

/// One page.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) models: Vec<Model>,
    /// The token that requests the next page.
    pub(super) next: Option<String>,
}

/// The URL of the first page, or of the one that `next` requests.
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

/// The fields of a page. They are unparsed: parsed values of small numbers take twenty times the space.
#[derive(Default, Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    models: Option<&'a RawValue>,
    has_more: Option<&'a RawValue>,
    last_id: Option<&'a RawValue>,
    #[serde(rename = "nextPageToken")]
    next_page_token: Option<&'a RawValue>,
}

/// Reads at most this many models of a page. The error says what is wrong with it.
pub(super) fn read(shape: ModelsShape, body: &[u8], most: usize) -> Result<Page, String> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // The error names the place but quotes nothing: it may be anything.
    let page: &RawValue = serde_json::from_slice(body)
        .map_err(|error| format!("no JSON, at line {} column {}", error.line(), error.column()))?;
    let page = page.get().trim_ascii_start();
    let (parts, list) = match (shape, page.as_bytes().first()) {
        // Some servers send the list alone.
        (ModelsShape::OpenAi, Some(b'[')) => (Parts::default(), Some(page)),
        (_, Some(b'{')) => {
            let parts: Parts<'_> = serde_json::from_str(page).map_err(|_| TWICE)?;
            let list = list(shape, &parts, page)?;
            (parts, list)
        }
        _ => return Err("not a list of models, but other JSON".to_owned()),
    };
    let next = match shape {
        ModelsShape::OpenAi => None,
        ModelsShape::Anthropic => match parts.has_more.map(RawValue::get) {
            Some("true") => {
                let last = parts.last_id.and_then(non_empty);
                Some(last.ok_or("`has_more` without a `last_id`")?)
            }
            None | Some("false") => None,
            Some(_) => return Err("`has_more` is neither true nor false".to_owned()),
        },
        ModelsShape::Google => match parts.next_page_token {
            None => None,
            Some(token) => {
                Some(text(token).ok_or("`nextPageToken` is not text")?).filter(|token| !token.is_empty())
            }
        },
    };
    let items: Vec<&RawValue> = match list {
        // `list` has checked that it is one.
        Some(list) => serde_json::from_str(list).unwrap_or_default(),
        None => Vec::new(),
    };
    let models = items.into_iter().take(most).map(|item| model(shape, item.to_owned()));
    Ok(Page { models: models.collect::<Result<_, _>>()?, next })
}

/// The only reason why a JSON object can't be read into unparsed fields.
const TWICE: &str = "a name occurs twice in one object";

/// The list of a page; `None` if it is empty and therefore left out.
fn list<'a>(shape: ModelsShape, parts: &Parts<'a>, page: &str) -> Result<Option<&'a str>, String> {
    let (field, list) = match shape {
        ModelsShape::OpenAi | ModelsShape::Anthropic => ("data", parts.data),
        ModelsShape::Google => ("models", parts.models),
    };
    match list.map(RawValue::get) {
        Some(list) if list.starts_with('[') => Ok(Some(list)),
        // The JSON form of Protocol Buffers leaves out empty lists.
        None if shape == ModelsShape::Google && has_only_a_token(page) => Ok(None),
        _ => Err(format!("no list of models in `{field}`")),
    }
}

fn has_only_a_token(page: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Only {
        #[serde(rename = "nextPageToken")]
        _token: Option<IgnoredAny>,
    }
    serde_json::from_str::<Only>(page).is_ok()
}

/// The fields of a model.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    name: Option<&'a RawValue>,
    display_name: Option<&'a RawValue>,
    #[serde(rename = "displayName")]
    google_name: Option<&'a RawValue>,
    owned_by: Option<&'a RawValue>,
    vendor: Option<&'a RawValue>,
    created: Option<&'a RawValue>,
    created_at: Option<&'a RawValue>,
    context_length: Option<&'a RawValue>,
    context_window: Option<&'a RawValue>,
    max_context_length: Option<&'a RawValue>,
    max_model_len: Option<&'a RawValue>,
    max_input_tokens: Option<&'a RawValue>,
    #[serde(rename = "inputTokenLimit")]
    google_limit: Option<&'a RawValue>,
    capabilities: Option<&'a RawValue>,
}

/// Reads a model. The error says what is wrong with it.
pub(super) fn model(shape: ModelsShape, raw: Box<RawValue>) -> Result<Model, String> {
    if !raw.get().starts_with('{') {
        return Err("a model that is not an object".to_owned());
    }
    let fields: Fields<'_> = serde_json::from_str(raw.get()).map_err(|_| TWICE)?;
    let (field, id) = match shape {
        ModelsShape::Google => ("name", fields.name),
        _ => ("id", fields.id),
    };
    let mut id = id.and_then(text);
    if shape == ModelsShape::Google {
        id = id.map(|name| name.strip_prefix("models/").unwrap_or(&name).to_owned());
    }
    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| format!("a model without `{field}`"))?;
    let names = match shape {
        ModelsShape::OpenAi => [fields.name, fields.display_name],
        ModelsShape::Anthropic => [fields.display_name, None],
        ModelsShape::Google => [fields.google_name, None],
    };
    Ok(Model {
        id,
        name: first(names, non_empty),
        owner: first([fields.owned_by, fields.vendor], non_empty),
        created_at: first([fields.created, fields.created_at], timestamp),
        context_window: context_window(&fields),
        raw,
    })
}

fn first<T, const N: usize>(
    fields: [Option<&RawValue>; N],
    read: impl Fn(&RawValue) -> Option<T>,
) -> Option<T> {
    fields.into_iter().flatten().find_map(read)
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn non_empty(value: &RawValue) -> Option<String> {
    text(value).filter(|text| !text.is_empty())
}

fn number(value: &RawValue) -> Option<u64> {
    serde_json::from_str(value.get()).ok()
}

/// Seconds since the Unix epoch, or a date of RFC 3339.
fn timestamp(value: &RawValue) -> Option<Timestamp> {
    let text = match value.get() {
        string if string.starts_with('"') => Cow::Owned(text(value)?),
        number => Cow::Borrowed(number),
    };
    match any_reset(text.as_bytes())? {
        Reset::At(milliseconds) => u64::try_from(milliseconds).ok().map(Timestamp::from_millis),
        Reset::In(_) => None,
    }
}

/// The field's names at OpenRouter, Groq, Mistral, vLLM, Anthropic and Google, and Copilot's nested field.
fn context_window(fields: &Fields<'_>) -> Option<u64> {
    #[derive(Deserialize)]
    struct Capabilities {
        limits: Limits,
    }
    #[derive(Deserialize)]
    struct Limits {
        max_context_window_tokens: u64,
    }
    let named = [
        fields.context_length,
        fields.context_window,
        fields.max_context_length,
        fields.max_model_len,
        fields.max_input_tokens,
        fields.google_limit,
    ];
    first(named, number).or_else(|| {
        let capabilities: Capabilities = serde_json::from_str(fields.capabilities?.get()).ok()?;
        Some(capabilities.limits.max_context_window_tokens)
    })
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
    fn every_shape_is_read() {
        let read = |shape: usize| read(SHAPES[shape], PAGES[shape].as_bytes(), 10).unwrap();
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
        assert_eq!(
            page.models[0].raw.get(),
            r#"{"name": "models/a", "displayName": "A", "inputTokenLimit": 30720}"#
        );
        assert_eq!(page.models[0].context_window, Some(30_720));
    }

    #[test]
    fn an_invalid_list_differs_from_an_empty_one() {
        for (shape, body, expected) in [
            (0, r#"{"data": []}"#, Ok(0)),
            (0, r#"[{"id": "a"}]"#, Ok(1)),
            (0, "\u{feff}[]", Ok(0)),
            (1, r#"{"data": [], "has_more": false, "last_id": null}"#, Ok(0)),
            (1, r#"{"data": [], "has_more": null}"#, Ok(0)),
            (2, "{}", Ok(0)),
            (2, " {} ", Ok(0)),
            (2, r#"{"nextPageToken": null}"#, Ok(0)),
            (2, r#"{"nextPageToken": ""}"#, Ok(0)),
            (0, "", Err("no JSON")),
            (0, "<html>", Err("no JSON")),
            (0, "{}", Err("`data`")),
            (0, r#"{"data": {"id": "a"}}"#, Err("`data`")),
            (0, r#"{"error": "no"}"#, Err("`data`")),
            (0, "\"a\"", Err("other JSON")),
            (0, r#"{"data": [{"id": ""}]}"#, Err("without `id`")),
            (0, r#"{"data": [{"id": 1}]}"#, Err("without `id`")),
            (0, r#"{"data": ["a"]}"#, Err("not an object")),
            (0, r#"{"data": [{"id": "a", "id": "b"}]}"#, Err("twice")),
            (0, r#"{"data": [], "data": []}"#, Err("twice")),
            (1, "[]", Err("other JSON")),
            (2, r#"{"models": null}"#, Err("`models`")),
            (1, r#"{"data": [], "has_more": true}"#, Err("`last_id`")),
            (1, r#"{"data": [], "has_more": "yes"}"#, Err("`has_more`")),
            (2, r#"{"error": {}}"#, Err("`models`")),
            (2, r#"{"models": [], "nextPageToken": 1}"#, Err("`nextPageToken`")),
            (2, r#"{"models": [{"id": "a"}]}"#, Err("without `name`")),
            (2, r#"{"models": [{"name": "models/"}]}"#, Err("without `name`")),
        ] {
            match (read(SHAPES[shape], body.as_bytes(), 10), expected) {
                (Ok(page), Ok(length)) => assert_eq!(page.models.len(), length, "{body}"),
                (Err(error), Err(reason)) => assert!(error.contains(reason), "{body}: {error}"),
                (page, _) => panic!("{body}: {page:?}"),
            }
        }
    }

    #[test]
    fn no_more_models_are_read_than_the_maximum() {
        let body = br#"[{"id": "a"}, {"id": "b"}, 3]"#;
        assert_eq!(read(ModelsShape::OpenAi, body, 2).unwrap().models.len(), 2);
        assert!(read(ModelsShape::OpenAi, body, 3).is_err());
    }

    #[test]
    fn a_truncated_page_is_refused() {
        for (shape, page) in SHAPES.into_iter().zip(PAGES) {
            for end in 0..page.len() {
                assert!(read(shape, &page.as_bytes()[..end], 10).is_err(), "{}", &page[..end]);
            }
        }
    }

    #[test]
    fn the_next_pages_token_is_escaped() {
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
        fn every_model_of_a_damaged_page_has_an_id(
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
            if let Ok(page) = read(SHAPES[which], &body, 10) {
                for model in page.models {
                    prop_assert!(!model.id.is_empty());
                    // The cache reads it again like this.
                    let again = super::model(SHAPES[which], model.raw.clone());
                    prop_assert_eq!(again.unwrap(), model);
                }
            }
        }
    }
}
