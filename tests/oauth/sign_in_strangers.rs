//! Strangers on the same machine, or in the same browser, during a sign-in.

#![cfg(feature = "oauth")]

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tower_credentials::oauth::{FlowKind, OAuthError, SignIn};
use url::Url;

use crate::authorization_server::{
    AuthorizationServer, Browser, Fetched, Rules, Vendor, browse, fetch, follow, get, page, start,
};

fn server() -> AuthorizationServer {
    AuthorizationServer::start(Rules::of(Vendor::OpenAi))
}

async fn begin(server: &AuthorizationServer) -> SignIn {
    server.client().sign_in(FlowKind::Loopback).await.unwrap()
}

/// A request for a page with this header.
async fn with_field(url: &str, name: &str, value: &str) -> Fetched {
    fetch(Request::get(url).header(name, value).body(Full::default()).unwrap()).await
}

#[tokio::test]
async fn a_browsers_arguments_say_nothing_about_the_vendors_page() {
    let server = server();
    let one = begin(&server).await;
    let vendor = Url::parse(&page(&one)).unwrap();
    for (name, value) in
        vendor.query_pairs().filter(|(name, _)| name == "state" || name == "code_challenge")
    {
        assert!(!start(&one).contains(&*value), "{name}");
    }
    assert!(!format!("{:?}", one.prompt()).contains("http"));
    let other = begin(&server).await;
    assert_ne!(Url::parse(&start(&one)).unwrap().path(), Url::parse(&start(&other)).unwrap().path());
    // The page redirects to the vendor's, with a cookie that is sent nowhere else, and without a referrer.
    let (url, mut one) = (start(&one), one);
    let first = tokio::select! {
        next = one.next() => panic!("{next:?}"),
        first = get(&url) => first,
    };
    assert_eq!((first.status, first.location()), (StatusCode::SEE_OTHER, vendor.to_string()));
    assert_eq!(first.headers["referrer-policy"], "no-referrer");
    assert_eq!(first.headers["cache-control"], "no-store");
    let cookie = first.headers["set-cookie"].to_str().unwrap();
    for part in ["; Path=/auth/callback;", "; HttpOnly", "; SameSite=Lax"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
}

#[tokio::test]
async fn a_callback_without_the_cookie_of_the_first_page_is_refused() {
    let server = server();
    let mut sign_in = begin(&server).await;
    let (url, vendor) = (start(&sign_in), page(&sign_in));
    let browser = async {
        let person = Browser::default();
        assert_eq!(person.get(&url).await.location(), vendor);
        // By somebody who knows the state, and has a code for the challenge.
        let theirs = get(&vendor).await.location();
        let denied = format!("{}&error=access_denied", theirs.replace("code=", "no="));
        let ours = person.cookies(&theirs).unwrap();
        let (name, value) = ours.split_once('=').unwrap();
        let mut refused = vec![get(&theirs).await, get(&denied).await];
        for cookie in [
            format!("{name}="),
            format!("{name}={}", &value[1..]),
            format!("other={value}"),
            value.to_owned(),
        ] {
            refused.push(with_field(&theirs, "cookie", &cookie).await);
        }
        for page in refused {
            assert_eq!(page.status, StatusCode::BAD_REQUEST);
            assert!(page.body.contains("first page"), "{}", page.body);
        }
        assert_eq!(person.open(&vendor).await.status, StatusCode::OK);
    };
    let ((), (story, end)) = tokio::join!(browser, follow(&mut sign_in));
    end.unwrap();
    let ignored =
        story.iter().filter(|line| line.contains("has not opened this sign-in's first page")).count();
    assert_eq!(ignored, 6, "{story:?}");
    assert_eq!(server.token_requests().len(), 1, "no code of a stranger's was exchanged");
}

#[tokio::test]
async fn a_second_browser_at_the_first_page_ends_the_sign_in() {
    let server = server();
    let mut sign_in = begin(&server).await;
    let url = start(&sign_in);
    let browsers = async {
        let stranger = Browser::default();
        let vendor = stranger.get(&url).await.location();
        let person = browse(&url).await;
        (person, stranger.open(&vendor).await)
    };
    let ((person, stranger), (_, end)) = tokio::join!(browsers, follow(&mut sign_in));
    assert!(matches!(end, Err(OAuthError::OpenedTwice)), "{end:?}");
    assert_eq!(person.status, StatusCode::BAD_REQUEST);
    assert!(person.body.contains("somebody else"), "{}", person.body);
    assert_eq!(stranger.status, StatusCode::BAD_REQUEST);
    assert!(server.token_requests().is_empty());
}

#[tokio::test]
async fn a_second_browser_ends_a_sign_in_whose_code_is_being_exchanged() {
    let server = server();
    let mut sign_in = begin(&server).await;
    let url = start(&sign_in);
    let gate = server.hold_before();
    let browsers = async {
        let stranger = browse(&url);
        tokio::pin!(stranger);
        tokio::select! {
            early = &mut stranger => panic!("before the tokens: {early:?}"),
            () = gate.arrived() => {}
        }
        let person = browse(&url).await;
        gate.let_go();
        (person, stranger.await)
    };
    let ((person, stranger), (_, end)) = tokio::join!(browsers, follow(&mut sign_in));
    assert!(matches!(end, Err(OAuthError::OpenedTwice)), "{end:?}");
    assert_eq!((person.status, stranger.status), (StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST));
}

#[tokio::test]
async fn the_same_browser_may_reload_the_first_page_and_any_may_prefetch_it() {
    let server = server();
    let mut sign_in = begin(&server).await;
    let url = start(&sign_in);
    let browser = async {
        for (name, value) in
            [("sec-purpose", "prefetch;prerender"), ("purpose", "prefetch"), ("x-moz", "prefetch")]
        {
            let ahead = with_field(&url, name, value).await;
            assert_eq!(ahead.status, StatusCode::SERVICE_UNAVAILABLE);
            assert!(!ahead.headers.contains_key("set-cookie"));
        }
        let person = Browser::default();
        person.get(&url).await.location();
        person.get(&url).await.location();
        person.open(&url).await
    };
    let (page, (_, end)) = tokio::join!(browser, follow(&mut sign_in));
    let account = end.unwrap();
    assert_eq!(page.status, StatusCode::OK);
    // The page says whose account it is: it may be a different one than intended.
    assert!(page.body.contains(account.name().unwrap()), "{}", page.body);
    assert!(page.body.contains("alice"), "{}", page.body);
}

#[tokio::test]
async fn idle_connections_do_not_keep_the_browser_out() {
    for (count, bytes) in
        [(200, &b""[..]), (500, b""), (200, b"GET /auth/callback HTTP/1.1\r\nhost: loc")]
    {
        let server = server();
        let mut sign_in = begin(&server).await;
        let (url, port) = (start(&sign_in), Url::parse(&page(&sign_in)).unwrap());
        let port = port.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
        let port = Url::parse(&port).unwrap().port().unwrap();
        let browser = async {
            let mut idle = Vec::new();
            for _ in 0..count {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                // It may be closed already.
                let _ = stream.write_all(bytes).await;
                idle.push(stream);
            }
            let page = browse(&url).await;
            drop(idle);
            page
        };
        let both = async { tokio::join!(browser, follow(&mut sign_in)) };
        let (page, (_, end)) = tokio::time::timeout(Duration::from_secs(8), both)
            .await
            .unwrap_or_else(|_| panic!("{count} connections kept the browser out"));
        end.unwrap();
        assert_eq!(page.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_pasted_address_without_a_state_is_refused_and_the_right_one_still_works() {
    let server = server();
    for flow in [FlowKind::Loopback, FlowKind::PastedCode] {
        let mut config = server.config();
        if flow == FlowKind::PastedCode {
            config.redirect_uri = config.redirect_uri.map(|uri| uri.replace(":0", ":54545"));
        }
        let http = tower_credentials::oauth::OAuthHttp::new(crate::authorization_server::client());
        let client = tower_credentials::oauth::OAuthClient::new("openai", config, http);
        let mut sign_in = client.sign_in(flow).await.unwrap();
        let address = get(&page(&sign_in)).await.location();
        let code = Url::parse(&address).unwrap();
        let code = code.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
        for text in [
            format!("http://localhost:1455/auth/callback?code={code}"),
            format!("?code={code}"),
            format!("code={code}&scope=x"),
            format!("https://localhost/?code={code}#state={code}"),
            "http://localhost:1455/auth/callback?error=access_denied".to_owned(),
        ] {
            assert!(matches!(sign_in.paste(&text), Err(OAuthError::NoState)), "{text}");
        }
        assert!(matches!(sign_in.paste("http://localhost/?scope=x"), Err(OAuthError::NoCode)));
        sign_in.paste(&address).unwrap();
        sign_in.finish().await.unwrap();
    }
}

/// Only root can act as two users.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_program_of_another_user_gets_no_response_and_does_not_end_the_sign_in() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let server = server();
    let mut sign_in = begin(&server).await;
    let url = start(&sign_in);
    let first = Url::parse(&url).unwrap();
    let script = format!(
        "for turn in 1 2 3; do exec 3<>/dev/tcp/127.0.0.1/{}; printf 'GET {} HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n' >&3; \
         cat <&3; done",
        first.port().unwrap(),
        first.path()
    );
    let mut stranger = tokio::process::Command::new("bash");
    stranger.args(["-c", &script]).uid(65534).gid(65534).current_dir("/");
    let (shown, told) = {
        let stranger = stranger.output();
        tokio::pin!(stranger);
        let mut told = Vec::new();
        loop {
            tokio::select! {
                progress = sign_in.next() => told.push(progress.unwrap().unwrap().to_string()),
                output = &mut stranger => break (output.unwrap(), told),
            }
        }
    };
    assert!(shown.stdout.is_empty(), "{shown:?}");
    // Once, however often they come.
    assert!(matches!(&told[..], [told] if told.contains("another user")), "{told:?}");
    // The first page still belongs to the person.
    let (signed_in, _) = tokio::join!(sign_in.finish(), browse(&url));
    signed_in.unwrap();
}
