//! `credentials test`: what a response proves about an account, and what it does not.
#![cfg(feature = "cli")]

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::cli::Home;
use crate::cli::tested::{example, results, upstream};
use crate::support::{Canned, Server};

#[tokio::test(flavor = "multi_thread")]
async fn each_account_is_tested_once_and_what_the_response_says_is_shown_and_saved() {
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
    // Up to a hundredth is added to the ten minutes, so that not all accounts return in one instant.
    assert!(["in 9m", "in 10m"].iter().any(|wait| line("limited")[3].starts_with(wait)), "{shown}");
    assert!(line("lost")[4].contains("`models_url`"), "{shown}");
    assert!(line("silent")[1].starts_with("no response: "), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_is_for_what_needs_the_most_work() {
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
async fn a_page_for_every_request_does_not_count_as_a_provider() {
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
async fn a_response_that_is_not_the_vendors_says_nothing_about_an_account() {
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
async fn the_verdict_on_a_refusal_is_that_of_the_layers() {
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
async fn a_response_that_says_nothing_about_the_account_names_the_settings_to_check() {
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
async fn a_response_that_breaks_off_does_not_count() {
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
async fn a_vendors_verdict_is_shown_and_saved_and_a_missing_scope_is_none() {
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
