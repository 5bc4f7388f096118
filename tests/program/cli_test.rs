//! `credentials test`: whether each account can be used, by one request with it.
#![cfg(feature = "cli")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Barrier, watch};
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::{Clock, OAuthTokens, PoolKey, Secret};

use crate::authorization_server::{AuthorizationServer, Fault, Kind, Rules, Vendor};
use crate::cli::Home;
use crate::support::{Canned, Server, Upstream};

/// A home whose provider `example` is at an upstream, with accounts of these labels and keys.
async fn example(upstream: &Upstream, accounts: &[(&str, &str)]) -> (Home, Server) {
    let server = Server::start(upstream).await;
    let home = Home::new();
    home.settings(&format!(
        "[providers.example]\ntype = \"generic\"\norigins = [{:?}]\nmodels_shape = \"openai\"\n",
        server.origin()
    ));
    for (label, key) in accounts {
        home.add("example", label, key).await;
    }
    (home, server)
}

/// An answer with no models, which is one all the same.
fn listing() -> Canned {
    Canned::ok().body(r#"{"data": []}"#)
}

/// An upstream that lists none to any of the tests' keys.
fn upstream() -> Upstream {
    let numbered = (1..=7).map(|number| number.to_string());
    let named = ["anthropic", "openai"].map(str::to_owned);
    numbered.chain(named).fold(Upstream::new(), |upstream, name| {
        upstream.answers(&format!("sk-secret-{name}"), [listing()])
    })
}

/// Each account's label and result.
fn results(json: &serde_json::Value) -> Vec<(&str, &str)> {
    json.as_array()
        .unwrap()
        .iter()
        .map(|account| (account["label"].as_str().unwrap(), account["result"].as_str().unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_account_is_tested_once_and_what_its_answer_says_is_told_and_kept() {
    let upstream = upstream()
        .answers("sk-secret-2", [Canned::limited(600)])
        .answers("sk-secret-3", [Canned::status(401)])
        .answers("sk-secret-4", [Canned::status(503)])
        .answers("sk-secret-5", [Canned::status(404)])
        .answers("sk-secret-6", [Canned::status(418)])
        .answers("sk-secret-7", [Canned::fails(std::io::ErrorKind::ConnectionReset)]);
    let accounts = [
        ("good", "sk-secret-1"),
        ("limited", "sk-secret-2"),
        ("refused", "sk-secret-3"),
        ("failing", "sk-secret-4"),
        ("lost", "sk-secret-5"),
        ("odd", "sk-secret-6"),
        ("silent", "sk-secret-7"),
    ];
    let (home, _server) = example(&upstream, &accounts).await;
    let run = home.run(["test", "--json"]).code(4);
    let run = run.says("6 of 7 accounts can't be used now");
    let run = run.says("try: credentials login example --label refused --api-key --replace\n");
    let json = run.json();
    let expected = [
        ("good", "works"),
        ("limited", "limited"),
        ("refused", "refused"),
        ("failing", "failing"),
        ("lost", "not_there"),
        ("odd", "unexpected"),
        ("silent", "unreachable"),
    ];
    assert_eq!(results(&json), expected);
    assert_eq!((&json[0]["status"], &json[1]["status"]), (&200.into(), &429.into()));
    assert!(json[0]["milliseconds"].is_u64() && json[6].get("milliseconds").is_none(), "{json}");
    assert!(json[1]["cooling_until"].is_string() && json[0].get("cooling_until").is_none(), "{json}");
    for (_, key) in accounts {
        // A connection that broke off may have been tried again.
        assert!(upstream.count(key) == 1 || key == "sk-secret-7", "{:?}", upstream.tokens());
    }
    let listed = home.run(["list", "--json"]).ok().json();
    let cooling: Vec<_> =
        listed.as_array().unwrap().iter().filter(|account| account["state"] == "cooling").collect();
    // The refused one was compared with nobody: each request is for one account.
    assert_eq!(cooling.len(), 1, "{listed}");

    let shown = home.run(["test"]).code(4).stdout;
    let line = |label: &str| {
        let line = shown.lines().find(|line| line.starts_with(&format!("example/{label} "))).unwrap();
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>()
    };
    assert!(shown.starts_with("ACCOUNT"), "{shown}");
    assert_eq!((line("good")[1], line("good")[3], line("good")[4]), ("200", "now", "works"), "{shown}");
    assert_eq!((line("limited")[1], line("limited")[4]), ("429", "limited"), "{shown}");
    assert!(line("limited")[3].starts_with("in 9m") || line("limited")[3] == "in 10m", "{shown}");
    assert!(line("lost")[4].contains("`models_url`"), "{shown}");
    assert!(line("silent")[1].starts_with("no response: "), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_says_what_is_most_to_be_done() {
    let upstream = upstream();
    let (home, server) = example(&upstream, &[("a", "sk-secret-1"), ("b", "sk-secret-2")]).await;
    home.run(["test"]).ok().prints("works");
    upstream.set("sk-secret-1", [Canned::status(404)]);
    home.run(["test"]).code(1).says("1 of 2 accounts");
    upstream.set("sk-secret-2", [Canned::status(500)]);
    home.run(["test"]).code(6).says("2 of 2 accounts");
    // Something listens no more.
    drop(server);
    home.settings(
        "[providers.example]\ntype = \"generic\"\norigins = [\"http://127.0.0.1:9\"]\nmodels_shape = \"openai\"\n",
    );
    let run = home.run(["test", "example/a", "--json"]).code(6);
    let reason = run.json()[0]["reason"].as_str().unwrap().to_lowercase();
    assert!(reason.contains("refused") || reason.contains("connect"), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_every_request_well_is_no_provider() {
    let page =
        Canned::ok().header("content-type", "text/html").body("<html>Sign in to the network</html>");
    let upstream = upstream().answers("sk-secret-2", [page]);
    let (home, _server) = example(&upstream, &[("a", "sk-secret-1"), ("b", "sk-secret-2")]).await;
    let json = home.run(["test", "--json"]).code(1).says("1 of 2 accounts").json();
    assert_eq!(results(&json), [("a", "works"), ("b", "not_json")]);
    assert_eq!(json[1]["status"], 200);
    home.run(["test", "example/b"]).code(1).prints("the response is not JSON: is the URL right?");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_the_vendors_proves_no_account() {
    let page = |status| Canned::status(status).header("content-type", "text/html").body("<html>Blocked");
    let upstream = upstream()
        .answers("sk-secret-1", [page(401)])
        .answers("sk-secret-2", [page(403)])
        .answers("sk-secret-3", [Canned::status(403).header("cf-mitigated", "challenge")])
        .answers("sk-secret-4", [Canned::status(503).header("x-vercel-mitigated", "challenge")])
        .answers("sk-secret-5", [Canned::limited(60).header("cf-mitigated", "challenge")]);
    let accounts = [
        ("a", "sk-secret-1"),
        ("b", "sk-secret-2"),
        ("c", "sk-secret-3"),
        ("d", "sk-secret-4"),
        ("e", "sk-secret-5"),
    ];
    let (home, _server) = example(&upstream, &accounts).await;
    let run = home.run(["test", "--json"]).code(6).says("5 of 5 accounts can't be used now");
    // A new sign-in would meet the same.
    assert!(!run.stderr.contains("login"), "{run:?}");
    assert_eq!(results(&run.json()), accounts.map(|(label, _)| (label, "not_the_vendor")));
    let run = home.run(["test", "example/b"]).code(6).prints("the response is not the vendor's");
    assert!(!run.stdout.contains(" now "), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verdict_on_a_refusal_is_the_layers_own() {
    const SPENT: &str = r#"{"error": {"code": "insufficient_quota"}}"#;
    let padding =
        format!("{{\"error\": {{\"code\": \"missing_scope\"}}, \"more\": \"{}\"}}", "x".repeat(40_000));
    let upstream = upstream()
        .answers("sk-secret-1", [Canned::status(403).header("retry-after", "60")])
        .answers("sk-secret-2", [Canned::status(429).body(SPENT)])
        .answers("sk-secret-3", [Canned::status(403).body(padding)]);
    let server = Server::start(&upstream).await;
    let home = Home::new();
    home.settings(&format!("[providers.openai]\norigins = [{:?}]\n", server.origin()));
    for (label, key) in [("limited", "sk-secret-1"), ("spent", "sk-secret-2"), ("narrow", "sk-secret-3")]
    {
        home.add("openai", label, key).await;
    }
    let json = home.run(["test", "--json"]).code(6).json();
    assert_eq!(results(&json), [("limited", "limited"), ("spent", "spent"), ("narrow", "not_allowed")]);
    assert!(json[0]["cooling_until"].is_string(), "{json}");
    let shown = home.run(["test", "openai/limited"]).code(6).stdout;
    assert!(
        shown.contains("limited") && (shown.contains("in 59s") || shown.contains("in 1m")),
        "{shown}"
    );
    let shown = home.run(["test", "openai/spent"]).code(6).stdout;
    assert!(shown.contains("spent: ") && !shown.contains(" now "), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_says_nothing_of_the_account_says_so_and_where_to_look() {
    let moved = |place: &str| Canned::status(302).header("location", place);
    let upstream = upstream()
        .answers("sk-secret-1", [moved("https://me:pw-secret@login.test/in?token=query-secret")])
        .answers("sk-secret-2", [moved("/v2/models"), moved("/v2/models")])
        .answers("sk-secret-3", [Canned::status(301)])
        .answers("sk-secret-4", [Canned::status(400).body("{\"error\": \"what?\"}")])
        .answers("sk-secret-5", [Canned::status(418)]);
    let expected = [
        ("a", "the server redirects to https://login.test/in, which is not followed; set `origins`"),
        ("b", "the server redirects to /v2/models, which is not followed"),
        ("c", "the server redirects (301 Moved Permanently) without saying where to"),
        (
            "d",
            "the server does not understand the request (400 Bad Request); set `origins` or `models_url`",
        ),
        ("e", "the server answers 418 I'm a teapot"),
    ];
    let keys = ["sk-secret-1", "sk-secret-2", "sk-secret-3", "sk-secret-4", "sk-secret-5"];
    let accounts: Vec<_> = expected.iter().map(|(label, _)| *label).zip(keys).collect();
    let (home, _server) = example(&upstream, &accounts).await;
    home.secret("pw-secret");
    home.secret("query-secret");
    let json = home.run(["test", "--json"]).code(1).json();
    for (place, (label, words)) in expected.iter().enumerate() {
        assert_eq!(
            (&json[place]["label"], &json[place]["result"]),
            (&(*label).into(), &"unexpected".into())
        );
        let reason = json[place]["reason"].as_str().unwrap();
        assert!(reason.starts_with("nothing was learnt about the account: "), "{reason}");
        assert!(reason.contains(words), "{reason}");
    }
    let shown = home.run(["test", "example/a"]).code(1).stdout;
    assert!(shown.contains("redirects to https://login.test/in") && !shown.contains(" now "), "{shown}");
    home.run(["models", "example"]).code(1).says("302 Found").says("set `models_url`");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            assert_ne!(stream.read(&mut head).await.unwrap(), 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}").await.unwrap();
        }
    });
    let (home, _server) = example(&upstream(), &[("a", "sk-secret-1")]).await;
    home.settings(&format!(
        "[providers.example]\ntype = \"generic\"\norigins = [{origin:?}]\nmodels_shape = \"openai\"\n"
    ));
    let json = home.run(["test", "--json"]).code(6).json();
    assert_eq!(results(&json), [("a", "unreachable")]);
    assert!(json[0]["reason"].is_string(), "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_tested_side_by_side_but_not_all_at_once() {
    const ACCOUNTS: usize = 12;
    let upstream = upstream();
    let under_way = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let seen = watch::Sender::new(0);
    let keys: Vec<_> = (0..ACCOUNTS).map(|number| format!("sk-secret-{number:02}")).collect();
    for key in &keys {
        let (under_way, most, seen) = (under_way.clone(), most.clone(), seen.clone());
        upstream.set(
            key,
            [listing().after(move || {
                let (under_way, most, seen) = (under_way.clone(), most.clone(), seen.clone());
                async move {
                    most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    seen.send_modify(|seen| *seen += 1);
                    // Nobody is answered before eight are there.
                    seen.subscribe().wait_for(|seen| *seen >= 8).await.unwrap();
                    under_way.fetch_sub(1, Ordering::SeqCst);
                }
            })],
        );
    }
    let accounts: Vec<_> =
        keys.iter().map(|key| (key.trim_start_matches("sk-"), key.as_str())).collect();
    let (home, _server) = example(&upstream, &accounts).await;
    let json = home.run(["test", "--json"]).ok().json();
    // In the order of the list, whoever has answered first.
    assert_eq!(results(&json), accounts.iter().map(|(label, _)| (*label, "works")).collect::<Vec<_>>());
    assert_eq!(most.load(Ordering::SeqCst), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_are_tested_side_by_side_too() {
    let barrier = Arc::new(Barrier::new(2));
    let waits = || {
        let barrier = barrier.clone();
        listing().after(move || {
            let barrier = barrier.clone();
            async move {
                barrier.wait().await;
            }
        })
    };
    let upstream = upstream().answers("sk-secret-1", [waits()]).answers("sk-secret-2", [waits()]);
    let (home, _server) = example(&upstream, &[("a", "sk-secret-1")]).await;
    let team = PoolKey::with_namespace("example", "team");
    home.add_to(team, "b", Secret::api_key("sk-secret-2")).await;
    home.run(["test", "example"]).ok().prints("example/a").prints("example/team/b");
    let json = home.run(["test", "example", "-n", "nowhere"]).code(3);
    assert_eq!(json.stdout, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_is_tested_alone_and_no_other_stands_in_for_it() {
    let upstream = upstream().answers("sk-secret-1", [Canned::limited(60)]);
    let (home, _server) = example(&upstream, &[("a", "sk-secret-1"), ("b", "sk-secret-2")]).await;
    let json = home.run(["test", "example/a", "--json"]).code(6).json();
    assert_eq!(results(&json), [("a", "limited")]);
    assert_eq!(upstream.tokens(), ["sk-secret-1"]);
    home.run(["test", "example/c"]).code(3).says("example has ");
    home.run(["test", "nobody"]).code(3);
    // One that is limited is tested all the same, and may be well again.
    upstream.set("sk-secret-1", [listing()]);
    home.run(["test", "example/a"]).ok().prints("works");
    assert_eq!(home.run(["show", "example/a", "--json"]).ok().json()["state"], "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_account_is_not_tested_and_that_is_said() {
    let upstream = upstream();
    let (home, _server) = example(&upstream, &[("a", "sk-secret-1"), ("b", "sk-secret-2")]).await;
    home.run(["pause", "example/a"]).ok();
    home.run(["test"]).ok().prints("paused, not tested").prints("works");
    // Where nothing else is tested, that is no success.
    let run = home.run(["test", "example/a", "--json"]).code(2);
    assert_eq!(results(&run.json()), [("a", "paused")]);
    run.says("example/a is paused").says("try: credentials resume example/a\n");
    home.run(["pause", "example/b"]).ok();
    let run = home.run(["test"]).code(2).says("no account was tested").says("try: credentials resume");
    run.prints("paused, not tested");
    assert_eq!(upstream.tokens(), ["sk-secret-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_account_has_its_own_way_out_and_no_more_than_three_are_told() {
    let upstream = Upstream::new();
    for name in ["1", "2", "3", "4", "5", "6"] {
        upstream.set(&format!("sk-secret-{name}"), [Canned::status(401)]);
    }
    let (home, server) = example(&upstream, &[("a", "sk-secret-1")]).await;
    let run = home.run(["test"]).code(4).says("error: example/a can't be used now\n");
    run.says("try: credentials login example --label a --api-key --replace\n");
    home.add("example", "b", "sk-secret-2").await;
    let team = PoolKey::with_namespace("example", "the team");
    home.add_to(team.clone(), "c", OAuthTokens::new("sk-secret-3")).await;
    let run = home.run(["test"]).code(4).says("3 of 3 accounts can't be used now");
    run.says(
        "  try: credentials login example --label a --api-key --replace
       credentials login example --namespace 'the team' --label c --replace
       and 1 more\n",
    );
    let vendor = |name: &str| format!("[providers.{name}]\norigins = [{:?}]\n", server.origin());
    let path = home.config_directory().join("config.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    home.settings(&format!("{settings}{}{}", vendor("anthropic"), vendor("openai")));
    home.add("anthropic", "d", "sk-secret-4").await;
    home.add("openai", "e", "sk-secret-5").await;
    home.add("openai", "f", "sk-secret-6").await;
    let run =
        home.run(["test"]).code(4).says("credentials login anthropic --label d --api-key --replace");
    assert_eq!(run.stderr.matches("credentials login").count(), 3, "{run:#?}");
    run.says("       and 3 more\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_environment_is_changed_where_it_is() {
    let upstream = Upstream::new().answers("sk-secret-1", [Canned::status(401)]);
    let (mut home, _server) = example(&upstream, &[]).await;
    let path = home.config_directory().join("config.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    home.settings(&format!("{settings}api_key_variable = \"KEY_OF_THE_TEST\"\n"));
    home.set("KEY_OF_THE_TEST", "sk-secret-1");
    home.secret("sk-secret-1");
    home.run(["test"]).code(4).says("try: set KEY_OF_THE_TEST to another key\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_tested_is_told_and_why() {
    let upstream = upstream();
    let (home, _server) = example(&upstream, &[]).await;
    home.run(["test"]).ok().says("There are no accounts");
    home.run(["test", "example"]).code(3).says("credentials login example");
    home.add("cursor", "work", "sk-secret-1").await;
    home.add("somebody-elses", "work", "sk-secret-2").await;
    let run = home.run(["test"]).code(2).says("no account could be tested");
    let run = run
        .prints("set providers.cursor.models_url in ")
        .prints("no provider is called \"somebody-elses\"");
    assert!(!run.stdout.contains("works"), "{run:?}");
    // What could be is what counts.
    home.add("example", "a", "sk-secret-3").await;
    home.run(["test"]).ok().prints("works");
    assert_eq!(upstream.tokens(), ["sk-secret-3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cheapest_request_that_a_vendor_knows_is_sent() {
    // Google's keys are in a header that the upstream does not know.
    let upstream = upstream().answers("", [listing()]);
    let server = Server::start(&upstream).await;
    let home = Home::new();
    let origins = format!("origins = [{:?}]\n", server.origin());
    let vendors = ["anthropic", "google", "openai"];
    home.settings(&vendors.map(|vendor| format!("[providers.{vendor}]\n{origins}")).concat());
    for vendor in vendors {
        home.add(vendor, "work", &format!("sk-secret-{vendor}")).await;
    }
    let json = home.run(["test", "--json"]).ok().json();
    assert_eq!(json.as_array().unwrap().len(), 3);
    let mut asked: Vec<_> = upstream.seen.all().iter().map(|seen| seen.uri.to_string()).collect();
    asked.sort();
    assert_eq!(asked, ["/v1/models", "/v1/models?limit=1", "/v1beta/models?pageSize=1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendors_verdict_is_told_and_kept_and_a_lack_of_rights_is_none() {
    let upstream = upstream()
        .answers(
            "sk-secret-1",
            [Canned::status(401).body(r#"{"error": {"code": "account_deactivated"}}"#)],
        )
        .answers("sk-secret-2", [Canned::status(403).body(r#"{"error": {"code": "missing_scope"}}"#)]);
    let server = Server::start(&upstream).await;
    let home = Home::new();
    home.settings(&format!("[providers.openai]\norigins = [{:?}]\n", server.origin()));
    home.add("openai", "ended", "sk-secret-1").await;
    home.add("openai", "narrow", "sk-secret-2").await;
    for _ in 0..2 {
        let json = home.run(["test", "--json"]).code(4).json();
        assert_eq!(results(&json), [("ended", "needs_sign_in"), ("narrow", "not_allowed")]);
        assert!(json[0]["reason"].as_str().unwrap().contains("account_deactivated"), "{json}");
    }
    // It is not asked again for what it has been refused for good.
    assert_eq!(upstream.count("sk-secret-1"), 1);
    home.run(["test", "openai/narrow"]).ok().prints("may not list models");
    for (label, state) in [("ended", "needs_sign_in"), ("narrow", "ready")] {
        assert_eq!(home.run(["show", label, "--json"]).ok().json()["state"], state);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_expired_is_renewed_first_and_one_that_can_not_be_is_told() {
    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    let home = Home::new();
    let more = "models_url = \"/resource\"\nmode = \"api\"\n[providers.openai.oauth]";
    home.settings(&server.settings(true).replace("[providers.openai.oauth]", more));
    let mut tokens = server.account().await.tokens.clone();
    tokens.expires_at = Some(Clock::system().now().before(Duration::from_secs(60)));
    let stored = home.add_to(PoolKey::new("openai"), "work", tokens.clone()).await;
    let json = home.run(["test", "--json"]).ok().json();
    assert_eq!(results(&json), [("work", "works")]);
    assert_eq!(server.granted(Kind::Refresh), 1);
    let Secret::OAuth(kept) = home.vault().await.get(stored.id).await.unwrap().secret else { panic!() };
    assert_ne!(kept.access.expose(), tokens.access.expose());
    home.secret(kept.access.expose());
    server.revoke_all();
    let run = home.run(["test", "--json"]).code(4).says("openai/work can't be used now");
    let run = run.says("try: credentials login openai --label work --replace\n");
    assert_eq!(results(&run.json()), [("work", "needs_sign_in")]);
    assert_eq!(home.run(["list", "--json"]).ok().json()[0]["state"], "needs_sign_in");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_token_could_not_be_renewed_is_said_and_no_sign_in_that_would_not_help() {
    for (status, answer, words) in [
        (StatusCode::SERVICE_UNAVAILABLE, "busy", "503 Service Unavailable"),
        (StatusCode::TOO_MANY_REQUESTS, "{}", "429 Too Many Requests"),
        (StatusCode::OK, "<html>Sign in to this network</html>", "is a web page"),
        (StatusCode::FORBIDDEN, "<!doctype html>", "is a web page"),
        (StatusCode::FOUND, "", "302 Found, a redirect, and nothing secret is sent on"),
        (StatusCode::FOUND, "<html>Moved</html>", "set that URL in the settings to the endpoint itself"),
        (StatusCode::BAD_REQUEST, "", "400 Bad Request, and gives no readable reason"),
        (StatusCode::BAD_REQUEST, r#"{"message": "no"}"#, "openai refuses with the status 400: no"),
        (
            StatusCode::FORBIDDEN,
            r#"{"error": {"code": "unsupported_country_region_territory", "message": "Country not supported"}}"#,
            "Country not supported",
        ),
        (StatusCode::UNAUTHORIZED, r#"{"error": "invalid_client"}"#, "providers.openai.oauth.client_id"),
    ] {
        let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
        let home = Home::new();
        let more = "models_url = \"/resource\"\n[providers.openai.oauth]";
        home.settings(&server.settings(true).replace("[providers.openai.oauth]", more));
        let mut tokens = server.account().await.tokens.clone();
        tokens.expires_at = Some(Clock::system().now().before(Duration::from_secs(60)));
        home.add_to(PoolKey::new("openai"), "work", tokens).await;
        server.advance(Duration::from_secs(9 * 3600));
        server.fail_next(vec![Fault::Text(status, answer); 8]);
        let run = home.run(["test", "--json"]).code(6).says("openai/work can't be used now");
        assert!(!run.stderr.contains("login"), "{run:?}");
        let json = run.json();
        assert_eq!(results(&json), [("work", "not_renewed")], "{answer}");
        let reason = json[0]["reason"].as_str().unwrap();
        assert!(reason.contains(words), "{reason}");
        home.run(["test"]).code(6).prints("its token could not be renewed: ").prints(words);
        let run = home.run(["headers", "openai/work"]).code(6).says("could not be renewed").says(words);
        assert!(!run.stderr.contains("login") && !run.stderr.contains("limited"), "{run:?}");
        let run = home.run(["headers", "openai"]).code(6);
        assert!(
            !run.stderr.contains("is limited") && !run.stderr.contains("is cooling down"),
            "{run:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_a_refresh_token_is_refused_as_it_is() {
    let upstream = upstream().answers("at-secret-1", [Canned::status(401)]);
    let (home, _server) = example(&upstream, &[]).await;
    home.add_to(PoolKey::new("example"), "work", OAuthTokens::new("at-secret-1")).await;
    let json = home.run(["test", "--json"]).code(4).json();
    assert_eq!(results(&json), [("work", "refused")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_does_not_open_keeps_no_other_from_being_tested() {
    let upstream = upstream().answers("sk-secret-1", [Canned::status(500)]);
    let (home, _server) = example(&upstream, &[("a", "sk-secret-1"), ("b", "sk-secret-2")]).await;
    // Accounts of another vault, and so of another key, as from a backup.
    let other = Home::new();
    for (provider, label, key) in [
        ("anthropic", "c", "sk-secret-3"),
        ("openai", "d", "sk-secret-4"),
        ("example", "e", "sk-secret-5"),
    ] {
        other.add(provider, label, key).await;
    }
    for record in std::fs::read_dir(other.vault_directory().join("records")).unwrap() {
        let record = record.unwrap();
        std::fs::copy(record.path(), home.vault_directory().join("records").join(record.file_name()))
            .unwrap();
    }
    let run = home.run(["test", "--json"]).code(5).says("4 of 5 accounts can't be used now");
    let json = run.json();
    let expected = [("c", "shut"), ("a", "failing"), ("b", "works"), ("e", "shut"), ("d", "shut")];
    assert_eq!(results(&json), expected);
    let key = VaultKey::load_or_create(other.key_file()).await.unwrap().id();
    for account in [0, 3, 4] {
        let reason = json[account]["reason"].as_str().unwrap();
        assert!(reason.contains(&format!("give the key {key}")), "{json}");
    }
    let mut asked = upstream.tokens();
    asked.sort();
    assert_eq!(asked, ["sk-secret-1", "sk-secret-2"]);
    home.run(["test", "openai"]).code(5).says("openai/d can't be used now").prints("give the key");
    home.run(["test", "example/b"]).ok();
    // A key that the vendor refuses is for a person, too, and before that.
    upstream.set("sk-secret-2", [Canned::status(401)]);
    home.run(["test"]).code(4).says("--label b --api-key --replace");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_which_accounts_are_waited_for() {
    let upstream = upstream();
    let (begun, answered) = (watch::Sender::new(false), watch::Sender::new(false));
    let held = {
        let (begun, answered) = (begun.clone(), answered.clone());
        listing().after(move || {
            let (begun, answered) = (begun.clone(), answered.clone());
            async move {
                begun.send_replace(true);
                answered.subscribe().wait_for(|is| *is).await.unwrap();
            }
        })
    };
    upstream.set("sk-secret-1", [held]);
    let (home, _server) = example(&upstream, &[("slow", "sk-secret-1")]).await;
    let mut terminal = home.terminal(["test"]);
    begun.subscribe().wait_for(|is| *is).await.unwrap();
    let shown = tokio::task::spawn_blocking(move || {
        terminal.exp_string("testing example/slow").unwrap();
        answered.send_replace(true);
        crate::cli::end_of(terminal)
    });
    let (shown, code) = shown.await.unwrap();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("works"), "{shown}");
}
