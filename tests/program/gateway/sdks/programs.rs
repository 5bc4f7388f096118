//! Programs for a terminal: `llm`, `codex` and `opencode`.

use std::ffi::OsStr;
use std::fs;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server;

use super::alone::Alone;
use super::apis::{Api, Said};
use super::vendor::Vendor;
use crate::cli::Home;
use crate::support::Journal;

#[tokio::test(flavor = "multi_thread")]
async fn llm() {
    let Some(alone) = Alone::of(llm).await else { return };
    let vendor = Vendor::start().await;
    let home = vendor.home(&["a", "b"]).await;
    let function = "def get_weather(city: str) -> str:\n    return 'sunny'\n";
    for (arguments, said) in [
        (&["hi"][..], "hello from b\n"),
        (&["--functions", function, "What is the weather in Paris?"], "It is sunny, says b\n"),
    ] {
        let arguments = [&["-m", "gpt-4o-mini"], arguments].concat();
        let run = alone.exec(&home, [alone.tool("python/bin/llm").as_os_str()], &arguments).await.ok();
        assert_eq!(run.stdout, said);
    }
    assert_eq!(vendor.count("a gpt-4o-mini"), 1);
}

/// What it sends home otherwise, and fetches.
const QUIET: &str =
    "check_for_update_on_startup = false\n[analytics]\nenabled = false\n[features]\nplugins = false\n";

/// Runs it with a configuration of these lines. `CODEX_API_KEY` is the key of its own provider.
async fn run_codex(alone: &Alone, home: &Home, lines: &str) -> String {
    let directory = home.path().join(".codex");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("config.toml"), format!("model = \"limited-for-a\"\n{lines}\n{QUIET}"))
        .unwrap();
    let script = "\
sed -i \"s|BASE_URL|$OPENAI_BASE_URL|\" .codex/config.toml
CODEX_API_KEY=$OPENAI_API_KEY exec \"$@\" exec --skip-git-repo-check --sandbox read-only hi";
    let codex = alone.tool("node/node_modules/.bin/codex");
    let run = alone.exec(
        home,
        ["sh", "-c", script, "sh"].map(OsStr::new).into_iter().chain([codex.as_os_str()]),
        &[],
    );
    run.await.ok().stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn codex() {
    let Some(alone) = Alone::of(codex).await else { return };
    let vendor = Vendor::start().await;
    let home = vendor.home(&["a", "b"]).await;
    let provider = "\
model_provider = \"gateway\"
[model_providers.gateway]
name = \"gateway\"
base_url = \"BASE_URL\"
env_key = \"OPENAI_API_KEY\"
";
    assert_eq!(run_codex(&alone, &home, provider).await, "hello from b\n");
    assert_eq!(vendor.seen.all(), ["a limited-for-a", "b limited-for-a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn codex_over_a_websocket() {
    let Some(alone) = Alone::of(codex_over_a_websocket).await else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let home = Home::new();
    home.settings(&format!(
        "[providers.openai]\norigins = [\"http://{}\"]\n",
        listener.local_addr().unwrap()
    ));
    for label in ["a", "b"] {
        home.add("openai", label, &format!("{label}-key")).await;
    }
    let seen = Journal::new();
    let journal = seen.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(respond(stream, journal.clone()));
        }
    });
    assert_eq!(run_codex(&alone, &home, "openai_base_url = \"BASE_URL\"").await, "hello from b\n");
    assert_eq!(seen.all(), ["a", "b"]);
}

/// Refuses the first account's handshake with a 429, and responds to what the second one asks.
#[allow(clippy::result_large_err, reason = "as tungstenite has it")]
async fn respond(stream: TcpStream, seen: Journal<String>) {
    let respond = |request: &server::Request, response: server::Response| {
        let key = request.headers()["authorization"].to_str().unwrap();
        let account = key.trim_start_matches("Bearer ").trim_end_matches("-key");
        seen.push(account.to_owned());
        if account != "a" {
            return Ok(response);
        }
        let limited = http::Response::builder().status(429).header("retry-after", "3600");
        Err(limited.header("content-length", "0").header("connection", "close").body(None).unwrap())
    };
    let Ok(mut websocket) = accept_hdr_async(stream, respond).await else { return };
    while let Some(Ok(message)) = websocket.next().await {
        if message.is_text() {
            for event in Api::Responses.events("limited-for-a", &Said::Text("hello from b".into())) {
                let (_, data) = event.trim_end().split_once("data: ").unwrap();
                // It closes the WebSocket once it has read the last.
                let _ = websocket.send(Message::text(data)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn opencode() {
    let Some(alone) = Alone::of(opencode).await else { return };
    let vendor = Vendor::start().await;
    let mut home = vendor.home(&["a", "b"]).await;
    // Only what is not its own to fetch. The rest is as a person has it.
    for variable in ["AUTOUPDATE", "MODELS_FETCH", "DEFAULT_PLUGINS", "LSP_DOWNLOAD"] {
        home.set(&format!("OPENCODE_DISABLE_{variable}"), "1");
    }
    home.set("npm_config_registry", "http://127.0.0.1:1/");
    let model = r#"{"models": {"limited-for-a": {}}}"#;
    home.set("OPENCODE_CONFIG_CONTENT", format!("{{\"provider\": {{\"openai\": {model}}}}}"));
    let program = alone.tool("node/node_modules/.bin/opencode");
    let arguments = ["run", "--title", "a title", "--model", "openai/limited-for-a", "hi"];
    let run = alone.exec(&home, [program.as_os_str()], &arguments).await.ok();
    assert_eq!(run.stdout.trim(), "hello from b");
    assert_eq!(vendor.seen.all(), ["a limited-for-a", "b limited-for-a"]);
}
