//! The effects of real responses through the layers: a table, in which each response is used as it is and compressed.
//! The pool has the accounts `a` and `b`, of which `b` always works.

#![cfg(feature = "providers")]

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;
use tower_credentials::provider::{
    Anthropic, Copilot, Cursor, GenericProvider, Google, OpenAi, Provider, Qwen,
};
use tower_credentials::standing::{Cooldown, Health, Reason, Scope};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::{Canned, Journal, Upstream, exact, learnt, renewing, seconds, stack, status_of};

const TABLE: &str = include_str!("responses_table.tsv");
const ORIGIN: &str = "https://api.example.com";

pub(crate) fn provider(name: &str) -> Box<dyn Provider> {
    match name {
        "anthropic" => Box::new(Anthropic::new().origin(ORIGIN).unwrap()),
        "openai" => Box::new(OpenAi::new().origin(ORIGIN).unwrap()),
        "google" => Box::new(Google::new().origin(ORIGIN).unwrap()),
        "github-copilot" => Box::new(Copilot::new().origin(ORIGIN).unwrap()),
        "qwen" => Box::new(Qwen::new().origin(ORIGIN).unwrap()),
        "cursor" => Box::new(Cursor::new().origin(ORIGIN).unwrap()),
        "generic" => Box::new(GenericProvider::bearer("generic").origin(ORIGIN).unwrap()),
        name => panic!("no provider {name}"),
    }
}

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Coding {
    Plain,
    Gzip,
    Zlib,
    Deflate,
    Brotli,
    Zstd,
    /// Zstandard over gzip.
    Both,
}

const CODINGS: [Coding; 7] = {
    use Coding::*;
    [Plain, Gzip, Zlib, Deflate, Brotli, Zstd, Both]
};

impl Coding {
    fn header(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Gzip => Some("gzip"),
            Self::Zlib | Self::Deflate => Some("deflate"),
            Self::Brotli => Some("br"),
            Self::Zstd => Some("ZSTD"),
            Self::Both => Some("gzip, zstd"),
        }
    }

    fn encode(self, text: &[u8]) -> Vec<u8> {
        use flate2::{Compression, write};

        let level = Compression::default();
        match self {
            Self::Plain => text.to_vec(),
            Self::Gzip => {
                let mut encoder = write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Self::Zlib => {
                let mut encoder = write::ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Self::Deflate => {
                let mut encoder = write::DeflateEncoder::new(Vec::new(), level);
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Self::Brotli => {
                let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
                encoder.write_all(text).unwrap();
                encoder.into_inner()
            }
            Self::Zstd => zstd::encode_all(text, 3).unwrap(),
            Self::Both => Self::Zstd.encode(&Self::Gzip.encode(text)),
        }
    }
}

struct Row<'a> {
    provider: &'a str,
    status: u16,
    headers: Vec<(&'static str, &'a str)>,
    body: &'a str,
    expected: &'a str,
}

fn rows() -> Vec<Row<'static>> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let row = |line: &'static str| {
        let [provider, status, headers, body, expected] = line.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("not five fields: {line}");
        };
        let headers = headers.split(" & ").filter(|header| *header != "-");
        Row {
            provider,
            status: status.parse().unwrap(),
            headers: headers.map(|header| header.split_once(": ").unwrap()).collect(),
            body: if body == "-" { "" } else { body },
            expected,
        }
    };
    lines.map(row).collect()
}

/// The effect of a response, in the table's words.
async fn taught(row: &Row<'_>, coding: Coding) -> String {
    let provider = provider(row.provider);
    let vault = MemoryVault::new();
    for label in ["a", "b"] {
        let tokens = OAuthTokens::new(format!("{label}-1")).refresh(format!("refresh-{label}"));
        vault.put(Credential::new(PoolKey::new(provider.name()), label, tokens)).await.unwrap();
    }
    let provider = std::sync::Arc::<dyn Provider>::from(provider);
    // The dates in the table are those of responses that arrived then.
    let clock = Clock::from_fn(|| UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let pool = Pool::builder(provider, vault).cooldowns(exact()).clock(clock).open().await.unwrap();
    let sent = Bytes::from(coding.encode(row.body.as_bytes()));
    let mut response = Canned::status(row.status).body(sent.clone());
    for (name, value) in &row.headers {
        response = response.header(name, value);
    }
    if let Some(name) = coding.header() {
        response = response.header("content-encoding", name);
    }
    let upstream = Upstream::new().answers("a-1", [response]);
    let calls = Journal::new();
    let layers = (
        CredentialsLayer::new(pool.clone()).refresher(renewing(&calls)),
        ErrorBodyLayer::new(pool.clone()),
    );
    let request = Request::post(format!("{ORIGIN}/v1/x")).extension(Scope::new("m"));
    let request = request.body(Full::from("a question")).unwrap();
    let response = stack(layers, upstream.clone()).oneshot(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let standing = learnt(&status_of(&pool, "a").standing);
    let is_well = standing == standing::Standing::default();
    match &upstream.tokens()[..] {
        [_] => {
            assert_eq!((status, &body), (row.status, &sent), "returned as it came");
            assert_eq!(headers.contains_key("content-encoding"), coding != Coding::Plain);
            assert!(calls.all().is_empty());
            match standing.health {
                Health::NeedsSignIn { .. } => return "stopped".to_owned(),
                _ => assert!(is_well, "{standing:?}"),
            }
            return "-".to_owned();
        }
        [_, again] if again == "a-2" => {
            assert_eq!((status, calls.all().len(), is_well), (200, 1, true));
            return "refused".to_owned();
        }
        tokens => assert_eq!(tokens, ["a-1", "b-1"]),
    }
    assert_eq!((status, calls.all().len()), (200, 0), "no refresh");
    match (&standing.health, &standing.cooldowns[..]) {
        (Health::Good, []) if is_well => "request".to_owned(),
        (Health::Dead { .. }, []) => "dead".to_owned(),
        (Health::Spent { .. }, []) => "spent".to_owned(),
        (Health::Good, [Cooldown { until, reason, scope, .. }]) => {
            let wait = until.since(pool.now());
            let is_guess = wait > seconds(30) && wait <= seconds(33) && wait.subsec_nanos() > 0;
            let wait = if is_guess { "~".to_owned() } else { wait.as_secs_f64().to_string() };
            let scope = if scope.is_some() { " m" } else { "" };
            match reason {
                Reason::Limited => format!("limit {wait}{scope}"),
                Reason::Spent => format!("spent {wait}{scope}"),
                reason => panic!("{reason:?}"),
            }
        }
        other => panic!("{other:?}"),
    }
}

async fn check(coding: Coding, rows: impl Iterator<Item = Row<'static>>) -> usize {
    let (mut wrong, mut count) = (Vec::new(), 0);
    // Whether an absent body is compressed means nothing.
    for row in rows.filter(|row| coding == Coding::Plain || !row.body.is_empty()) {
        let actual = taught(&row, coding).await;
        if actual != row.expected {
            wrong.push(format!(
                "{} {} {:?} {}: {actual}, not {}",
                row.provider, row.status, row.headers, row.body, row.expected
            ));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{coding:?}, {} of {count}: {wrong:#?}", wrong.len());
    count
}

#[tokio::test]
async fn every_response_has_the_expected_effect() {
    assert_eq!(check(Coding::Plain, rows().into_iter()).await, COUNT);
}

const COUNT: usize = 184;

#[tokio::test]
async fn every_compressed_response_has_the_same_effect_and_is_returned_unchanged() {
    assert!(check(Coding::Gzip, rows().into_iter()).await > 120);
}

#[tokio::test]
async fn every_coding_and_several_at_once_have_the_same_effect() {
    for coding in CODINGS {
        assert!(check(coding, rows().into_iter().step_by(5)).await > 20, "{coding:?}");
    }
}

#[tokio::test]
async fn a_truncated_compressed_body_is_read_as_far_as_it_goes() {
    let long = (0..4000).map(|number| (number * 7919_u32).to_string()).collect::<String>();
    let text = format!(r#"{{"error":{{"code":"token_invalidated","message":"{long}"}}}}"#);
    for coding in [Coding::Plain, Coding::Gzip, Coding::Zlib, Coding::Deflate, Coding::Brotli] {
        let length = coding.encode(text.as_bytes()).len();
        assert!(length > 17_000 || coding != Coding::Plain, "{length}");
        let body = Box::leak(text.clone().into_boxed_str());
        let row =
            Row { provider: "openai", status: 401, headers: Vec::new(), body, expected: "stopped" };
        assert_eq!(taught(&row, coding).await, "stopped", "{coding:?}");
    }
}

#[tokio::test]
async fn a_decompression_bomb_or_a_mislabelled_body_costs_nothing() {
    let bomb = Box::leak("[".repeat(50_000_000).into_boxed_str());
    for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd, Coding::Both] {
        let row = Row { provider: "openai", status: 403, headers: Vec::new(), body: bomb, expected: "" };
        assert_eq!(taught(&row, coding).await, "refused", "{coding:?}");
    }
    // Plain text under the name of a coding, an unknown coding, and too many of them.
    let body = r#"{"error":{"code":"token_invalidated"}}"#;
    for (coding, expected) in [
        ("gzip", "refused"),
        ("br", "refused"),
        ("zstd", "refused"),
        ("snappy", "stopped"),
        ("identity", "stopped"),
        ("gzip, gzip, gzip, gzip, gzip", "stopped"),
    ] {
        let headers = vec![("content-encoding", coding)];
        let row = Row { provider: "openai", status: 403, headers, body, expected };
        let actual = taught_as_it_is(&row).await;
        assert_eq!(actual, expected, "{coding}");
    }
}

/// Like [`taught`], for a row that says how its body is coded.
async fn taught_as_it_is(row: &Row<'_>) -> String {
    let [(name, coding)] = row.headers[..] else { panic!("one header") };
    let provider = provider(row.provider);
    let vault = MemoryVault::new();
    let tokens = OAuthTokens::new("a-1").refresh("refresh-a");
    vault.put(Credential::new(PoolKey::new(provider.name()), "a", tokens)).await.unwrap();
    let pool =
        Pool::builder(std::sync::Arc::<dyn Provider>::from(provider), vault).open().await.unwrap();
    let response = Canned::status(row.status).header(name, coding).body(row.body.to_owned());
    let upstream = Upstream::new().answers("a-1", [response]);
    let calls = Journal::new();
    let layers = (
        CredentialsLayer::new(pool.clone()).refresher(renewing(&calls)),
        ErrorBodyLayer::new(pool.clone()),
    );
    let request = Request::post(ORIGIN).body(Full::from("a question")).unwrap();
    stack(layers, upstream).oneshot(request).await.unwrap();
    if calls.all().is_empty() { "stopped".to_owned() } else { "refused".to_owned() }
}
