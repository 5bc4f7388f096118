//! The address on this machine to which the browser is redirected.

#![cfg(feature = "oauth")]

use std::time::Duration;

use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_credentials::oauth::{FlowKind, OAuthClient, OAuthError, OAuthHttp, SignIn};
use url::Url;

use crate::authorization_server::{
    AuthorizationServer, Browser, Fault, Fetched, Rules, Vendor, browse, client, fetch, follow, get,
    page, start, with_method,
};

fn server() -> AuthorizationServer {
    AuthorizationServer::start(Rules::of(Vendor::OpenAi))
}

async fn begin(server: &AuthorizationServer) -> SignIn {
    server.client().sign_in(FlowKind::Loopback).await.unwrap()
}

fn parameter(url: &str, name: &str) -> String {
    let url = Url::parse(url).unwrap();
    url.query_pairs().find(|(known, _)| known == name).unwrap().1.into_owned()
}

/// Returns the address to which the browser is redirected, without parameters.
fn redirect(sign_in: &SignIn) -> String {
    parameter(&page(sign_in), "redirect_uri")
}

/// Lets a sign-in go on while a browser does this.
async fn meanwhile(
    sign_in: SignIn,
    browser: impl Future<Output = Vec<Fetched>>,
) -> (Vec<Fetched>, Vec<String>, Result<tower_credentials::oauth::SignedIn, OAuthError>) {
    let mut sign_in = sign_in;
    let (pages, (story, end)) = tokio::join!(browser, follow(&mut sign_in));
    (pages, story, end)
}

#[tokio::test]
async fn an_ephemeral_port_is_sent_to_the_vendor_and_listened_on_at_every_address_of_its_host() {
    for (host, has_v6) in [("localhost", true), ("127.0.0.1", false)] {
        let server = server();
        let config = server.config().redirect_uri(format!("http://{host}:0/auth/callback"));
        let client = OAuthClient::new("openai", config, OAuthHttp::new(client()));
        let sign_in = client.sign_in(FlowKind::Loopback).await.unwrap();
        let uri = Url::parse(&redirect(&sign_in)).unwrap();
        assert_eq!((uri.host_str(), uri.path()), (Some(host), "/auth/callback"));
        let port = uri.port().unwrap();
        assert_ne!(port, 0);
        TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // All of 127.0.0.0/8 is this machine, but the sign-in listens on only one address of it.
        assert!(TcpStream::connect(("127.0.0.2", port)).await.is_err());
        let v6 = TcpStream::connect(("::1", port)).await;
        assert_eq!(v6.is_ok(), has_v6 && has_ipv6().await, "{host}");
        // Both pages have the same host, so they have the same cookies.
        assert!(start(&sign_in).starts_with(&format!("http://{host}:{port}/auth/callback/")));
    }
}

/// Whether this machine has IPv6, which some containers do not.
async fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").await.is_ok()
}

#[tokio::test]
async fn a_port_of_localhost_that_somebody_has_on_ipv6_is_taken() {
    let Ok(taken) = TcpListener::bind("[::1]:0").await else { return };
    let server = server();
    let port = taken.local_addr().unwrap().port();
    let config = server.config().redirect_uri(format!("http://localhost:{port}/auth/callback"));
    let client = OAuthClient::new("openai", config, OAuthHttp::new(client()));
    let text = client.sign_in(FlowKind::Loopback).await.unwrap_err().to_string();
    assert!(text.contains(&format!("port {port} of ::1")), "{text}");
}

#[tokio::test]
async fn the_page_says_how_the_sign_in_ended_once_that_is_known() {
    let server = server();
    let sign_in = begin(&server).await;
    let url = start(&sign_in);
    let gate = server.hold_before();
    let (pages, story, end) = meanwhile(sign_in, async {
        let page = browse(&url);
        tokio::pin!(page);
        tokio::select! {
            early = &mut page => panic!("the page came before the tokens: {early:?}"),
            () = gate.arrived() => gate.let_go(),
        }
        vec![page.await]
    })
    .await;
    end.unwrap();
    assert_eq!(story, ["exchanging the code for tokens"]);
    assert_eq!(pages[0].status, StatusCode::OK);
    assert!(pages[0].body.contains("It worked"), "{}", pages[0].body);
    for (name, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("content-type", "text/html; charset=utf-8"),
    ] {
        assert_eq!(pages[0].headers[name], value);
    }
}

#[tokio::test]
async fn the_page_reports_a_failure_after_the_code() {
    let server = server();
    let sign_in = begin(&server).await;
    let url = start(&sign_in);
    server.fail_next([Fault::Text(StatusCode::BAD_GATEWAY, "<html>")]);
    let (pages, _, end) = meanwhile(sign_in, async { vec![browse(&url).await] }).await;
    assert!(matches!(end, Err(OAuthError::Unavailable { .. })));
    assert_eq!(pages[0].status, StatusCode::BAD_REQUEST);
    assert!(pages[0].body.contains("502 Bad Gateway"), "{}", pages[0].body);
}

#[tokio::test]
async fn a_request_that_does_not_complete_this_sign_in_neither_ends_nor_enters_it() {
    let server = server();
    let sign_in = begin(&server).await;
    let (url, uri) = (page(&sign_in), redirect(&sign_in));
    let root = Url::parse(&uri).unwrap().join("/").unwrap().to_string();
    let state = parameter(&url, "state");
    let (start, browser) = (start(&sign_in), Browser::default());
    let (pages, story, end) = meanwhile(sign_in, async {
        browser.get(&start).await;
        vec![
            browser.get(&root).await,
            browser.get(&format!("{root}favicon.ico")).await,
            browser.get(&format!("{uri}/?code=c&state={state}")).await,
            fetch(with_method(Method::POST, &format!("{uri}?code=c&state={state}"))).await,
            fetch(with_method(Method::HEAD, &format!("{uri}?code=c&state={state}"))).await,
            browser.get(&uri).await,
            browser.get(&format!("{uri}?code=forged")).await,
            browser.get(&format!("{uri}?code=forged&state=forged")).await,
            browser.get(&format!("{uri}?code=forged&state={}", &state[1..])).await,
            browser.get(&format!("{uri}?error=access_denied&state=forged")).await,
            browser.get(&format!("{uri}?error=access_denied")).await,
            browser.get(&format!("{uri}?state={state}")).await,
            browser.get(&format!("{uri}?code=&state={state}")).await,
            browser.open(&start).await,
        ]
    })
    .await;
    end.unwrap();
    let statuses: Vec<u16> = pages.iter().map(|page| page.status.as_u16()).collect();
    assert_eq!(statuses, [404, 404, 404, 405, 405, 400, 400, 400, 400, 400, 400, 400, 400, 200]);
    assert_eq!(pages[3].headers["allow"], "GET");
    assert!(!pages[7].body.contains("forged"), "{}", pages[7].body);
    let ignored = story.iter().filter(|line| line.starts_with("ignored")).count();
    assert_eq!(ignored, 8, "{story:?}");
    assert_eq!(server.token_requests().len(), 1, "no forged code was exchanged");
}

#[tokio::test]
async fn the_vendors_error_ends_the_sign_in_and_is_plain_text_on_the_page() {
    let server = server();
    server.says_yes(false);
    let sign_in = begin(&server).await;
    let url = start(&sign_in);
    let (pages, _, end) = meanwhile(sign_in, async { vec![browse(&url).await] }).await;
    let error = end.unwrap_err();
    assert_eq!(error.to_string(), "openai refuses: access_denied: <b>The person said no</b>");
    assert!(pages[0].body.contains("&lt;b&gt;The person said no&lt;/b&gt;"), "{}", pages[0].body);
    assert!(!pages[0].body.contains("<b>"), "{}", pages[0].body);
}

#[tokio::test]
async fn a_busy_port_is_an_error_that_offers_the_pasted_code() {
    let server = server();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = server.config().redirect_uri(format!("http://localhost:{port}/auth/callback"));
    let client = OAuthClient::new("openai", config, OAuthHttp::new(client()));
    let error = client.sign_in(FlowKind::Loopback).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, OAuthError::PortTaken { .. }), "{text}");
    for part in [
        &format!("port {port} of 127.0.0.1"),
        "pasted code",
        "TOWER_CREDENTIALS_OPENAI_OAUTH_REDIRECT_URI",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // And this one works.
    let mut sign_in = client.sign_in(FlowKind::PastedCode).await.unwrap();
    sign_in.paste(&get(&page(&sign_in)).await.location()).unwrap();
    sign_in.finish().await.unwrap();
}

#[tokio::test]
async fn a_redirect_uri_is_sent_as_written_and_its_port_is_listened_on() {
    let server = server();
    // A port that is free at the moment.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let uri = format!("http://localhost:{port}/auth/callback");
    let config = server.config().redirect_uri(&uri);
    let client = OAuthClient::new("openai", config, OAuthHttp::new(client()));
    let sign_in = client.sign_in(FlowKind::Loopback).await.unwrap();
    assert_eq!(redirect(&sign_in), uri);
    TcpStream::connect(("127.0.0.1", port)).await.unwrap();
}

#[tokio::test]
async fn a_redirect_uri_that_is_not_on_this_machine_is_an_error() {
    let server = server();
    for uri in [
        "https://example.com/callback",
        "http://example.com/",
        "http://0.0.0.0/",
        "http://[::1]/",
        "here",
    ] {
        let config = server.config().redirect_uri(uri);
        let client = OAuthClient::new("openai", config, OAuthHttp::new(client()));
        let error = client.sign_in(FlowKind::Loopback).await.unwrap_err();
        assert!(
            matches!(error, OAuthError::InvalidSetting { setting: "redirect_uri", .. }),
            "{uri}: {error}"
        );
    }
}

#[tokio::test]
async fn dropping_a_sign_in_closes_its_sockets() {
    let server = server();
    let mut sign_in = begin(&server).await;
    let port = Url::parse(&redirect(&sign_in)).unwrap().port().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    // Until the spare connection is served, which a response on another connection shows.
    let uri = redirect(&sign_in);
    tokio::select! {
        _ = sign_in.next() => panic!("there is nothing to tell"),
        page = async { get(Url::parse(&uri).unwrap().join("/").unwrap().as_ref()).await } => {
            assert_eq!(page.status, StatusCode::NOT_FOUND);
        }
    }
    drop(sign_in);
    let mut rest = Vec::new();
    // Closed or reset, but not open.
    assert_eq!(stream.read_to_end(&mut rest).await.unwrap_or(0), 0);
    TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free again");
}

#[tokio::test]
async fn dropping_a_sign_in_during_its_exchange_frees_its_port() {
    let server = server();
    let mut sign_in = begin(&server).await;
    let url = start(&sign_in);
    let gate = server.hold_before();
    let browser = tokio::spawn(async move {
        let person = Browser::default();
        let vendor = person.get(&url).await.location();
        let location = person.get(&vendor).await.location();
        let cookies = person.cookies(&location).unwrap();
        // The connection breaks when the sign-in is dropped.
        let port = Url::parse(&location).unwrap().port().unwrap();
        let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let path = &location[location.find("/auth").unwrap()..];
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\ncookie: {cookies}\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    });
    tokio::select! {
        () = gate.arrived() => {}
        end = async { loop { let next = sign_in.next().await; if !matches!(&next, Some(Ok(_))) { break next; } } } => {
            panic!("{end:?}")
        }
    }
    let port = Url::parse(&redirect(&sign_in)).unwrap().port().unwrap();
    drop(sign_in);
    TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free again");
    browser.abort();
    gate.let_go();
}

#[tokio::test]
async fn a_connection_that_sends_nothing_does_not_keep_the_browser_out() {
    let server = server();
    let sign_in = begin(&server).await;
    let (url, uri) = (start(&sign_in), Url::parse(&redirect(&sign_in)).unwrap());
    let (pages, _, end) = meanwhile(sign_in, async {
        let mut spare = Vec::new();
        for _ in 0..8 {
            spare.push(TcpStream::connect(("127.0.0.1", uri.port().unwrap())).await.unwrap());
        }
        let page = browse(&url).await;
        // All are closed at the end: nothing was requested on any of them.
        for mut stream in spare {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        vec![page]
    })
    .await;
    end.unwrap();
    assert_eq!(pages[0].status, StatusCode::OK);
}

/// Returns a server's response to these bytes.
async fn send(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    String::from_utf8_lossy(&response).into_owned()
}

#[tokio::test]
async fn a_refused_request_is_reported_and_the_wait_goes_on() {
    let server = server();
    let sign_in = begin(&server).await;
    let (url, port) = (start(&sign_in), Url::parse(&redirect(&sign_in)).unwrap().port().unwrap());
    let long = format!("GET /auth/callback?code={}", "x".repeat(1 << 20));
    let cookies = format!("GET /auth/callback HTTP/1.1\r\ncookie: {}\r\n\r\n", "x".repeat(1 << 20));
    let (pages, story, end) = meanwhile(sign_in, async {
        for (bytes, status) in
            [(long.as_bytes(), "4"), (cookies.as_bytes(), "431"), (b"\x16\x03\x01 \r\n\r\n", "400")]
        {
            let response = send(port, bytes).await;
            // The rest is not read, so the connection may be reset first.
            assert!(
                response.is_empty() || response.starts_with(&format!("HTTP/1.1 {status}")),
                "{response}"
            );
        }
        vec![browse(&url).await]
    })
    .await;
    end.unwrap();
    assert_eq!(pages[0].status, StatusCode::OK);
    let told = |words: &str| story.iter().filter(|line| line.contains(words)).count();
    assert_eq!((told("delete the cookies of localhost"), told("it is not HTTP")), (2, 1), "{story:?}");
}

#[tokio::test]
async fn a_browser_with_the_cookies_of_every_port_of_this_host_is_served() {
    let field = |size: usize| format!("cookie: session={}\r\n", "x".repeat(size));
    for cookies in
        [field(17 << 10), field(128 << 10), field(2 << 10).repeat(64), "cookie: a=b\r\n".repeat(500)]
    {
        let server = server();
        let sign_in = begin(&server).await;
        let (url, port) = (start(&sign_in), Url::parse(&redirect(&sign_in)).unwrap().port().unwrap());
        let (_, story, end) = meanwhile(sign_in, async {
            let person = Browser::default();
            let vendor = person.get(&url).await.location();
            let location = person.get(&vendor).await.location();
            let ours = person.cookies(&location).unwrap();
            let path = &location[location.find("/auth").unwrap()..];
            let request =
                format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{cookies}cookie: {ours}\r\n\r\n");
            let response = send(port, request.as_bytes()).await;
            assert!(response.starts_with("HTTP/1.1 200"), "{response}");
            Vec::new()
        })
        .await;
        end.unwrap_or_else(|error| panic!("{} bytes: {error}, {story:?}", cookies.len()));
    }
}

#[tokio::test]
async fn a_browser_that_prefetches_the_page_gets_it_each_time() {
    for says_yes in [true, false] {
        let server = server();
        server.says_yes(says_yes);
        let mut sign_in = begin(&server).await;
        let url = start(&sign_in);
        let port = Url::parse(&redirect(&sign_in)).unwrap().port().unwrap();
        let gate = server.hold_before();
        let browser = async {
            let person = Browser::default();
            let vendor = person.get(&url).await.location();
            let location = person.get(&vendor).await.location();
            // Twice before the end is known, and once after that.
            let ahead = async { tokio::join!(person.get(&location), person.get(&location)) };
            tokio::pin!(ahead);
            if says_yes {
                tokio::select! {
                    early = &mut ahead => panic!("before the tokens: {early:?}"),
                    () = gate.arrived() => gate.let_go(),
                }
            }
            let (first, second) = ahead.await;
            let after = person.get(&location).await;
            let forged = person.get(&location.replace("state=", "state=x")).await;
            ([first, second, after], forged)
        };
        let ((pages, forged), (_, end)) = tokio::join!(browser, follow(&mut sign_in));
        assert_eq!(end.is_ok(), says_yes);
        let expected = if says_yes { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        for page in &pages {
            assert_eq!((page.status, &page.body), (expected, &pages[0].body));
        }
        assert_eq!(forged.status, StatusCode::BAD_REQUEST);
        assert_eq!(server.token_requests().len(), usize::from(says_yes), "the code was exchanged once");
        // The response ends, and a client that reads on gets its end.
        assert!(sign_in.next().await.is_none());
        TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free again");
    }
}

#[tokio::test]
async fn dropping_a_sign_in_after_its_end_frees_its_port() {
    let server = server();
    let sign_in = begin(&server).await;
    let (url, port) = (start(&sign_in), Url::parse(&redirect(&sign_in)).unwrap().port().unwrap());
    let (page, end) = tokio::join!(browse(&url), sign_in.finish());
    end.unwrap();
    assert_eq!(page.status, StatusCode::OK);
    let free = async {
        while TcpListener::bind(("127.0.0.1", port)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_millis(500), free).await.expect("before the linger's end");
}

#[tokio::test(start_paused = true)]
async fn a_slow_connection_is_closed_in_time() {
    // Paused time jumps ahead while nothing happens, so the limit comes at once.
    let server = server();
    let mut sign_in = begin(&server).await;
    let port = Url::parse(&redirect(&sign_in)).unwrap().port().unwrap();
    let dawdles = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(b"GET /auth/callback HTTP/1.1\r\n").await.unwrap();
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response).await;
    };
    let bounded = tokio::time::timeout(Duration::from_secs(60), dawdles);
    tokio::select! {
        next = sign_in.next() => panic!("{next:?}"),
        closed = bounded => closed.expect("it was closed before a minute had passed"),
    }
}
