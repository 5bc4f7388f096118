//! What a stranger gets from the gateway: a web page, another host name, another user, a proxy in front.

use http::{Request, StatusCode};

use super::process::{Gateway, client, home, upstream};

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_of_a_strangers_origin_gets_nothing_sent() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let gateway =
        Gateway::start(&home, &["--open", "--allow-origin", "app://obsidian.md,vscode-webview://*"])
            .await;
    let url = gateway.url("/openai/v1/models");
    let own = format!("http://{}", gateway.address);
    let own_elsewhere = format!("https://{}0", gateway.address);
    let refused = [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost:3000"),
        ("origin", "http://127.0.0.1"),
        ("origin", &own_elsewhere),
        ("origin", ""),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("host", "evil.example"),
        ("host", "localhost.evil.example:80"),
        ("host", "127.0.0.1.evil.example"),
        ("host", "192.0.2.1"),
        ("host", ""),
    ];
    for (name, value) in refused {
        for method in ["GET", "POST", "OPTIONS"] {
            let request = Request::builder().method(method).uri(&url).header(name, value);
            let (status, body) = gateway.send(request).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{method} {name}: {value}: {body}");
        }
    }
    assert_eq!(upstream.connections(), 0);
    let port = gateway.address.port();
    let (localhost, dotted) = (format!("localhost:{port}"), format!("LOCALHOST.:{port}"));
    for (name, value) in [
        ("origin", own.as_str()),
        ("origin", "app://obsidian.md"),
        ("origin", "vscode-webview://0a1b2c"),
        ("sec-fetch-site", "none"),
        ("sec-fetch-site", "same-origin"),
        ("host", &localhost),
        ("host", &dotted),
        ("host", "[::1]"),
    ] {
        let (status, body) = gateway.send(Request::get(&url).header(name, value)).await;
        assert_eq!(status, StatusCode::OK, "{name}: {value}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_others_reach_is_only_for_clients() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    home.run(["serve", "--listen", "0.0.0.0:0"]).code(2).says("--allow-remote");
    home.run(["serve", "--listen", "[::]:0", "--allow-remote", "--open"])
        .code(2)
        .says("leave out --open");
    let more = ["--allow-remote", "--allow-host", "gateway.example"];
    let gateway = Gateway::start(&home, &more).await;
    let token = client(&home, &["laptop"]);
    drop(gateway);
    let gateway = Gateway::start(&home, &more).await;
    for (host, expected) in [
        ("gateway.example:8080", StatusCode::OK),
        ("192.0.2.1:8080", StatusCode::OK),
        ("other.example", StatusCode::FORBIDDEN),
    ] {
        let request = gateway.get("/openai/x", &token).header("host", host);
        assert_eq!(gateway.send(request).await.0, expected, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn administration_is_for_clients_that_may_and_that_no_proxy_stands_before() {
    let upstream = upstream().await;
    let home = home(&upstream, &["limited-1", "good-2"]).await;
    let (token, admin) = (client(&home, &["laptop"]), client(&home, &["me", "--admin"]));
    let gateway = Gateway::start(&home, &[]).await;
    assert_eq!(gateway.send(gateway.get("/openai/x", &token)).await.0, StatusCode::OK);
    for path in ["/metrics", "/.gateway/accounts", "/.gateway/counters", "/.gateway/nothing"] {
        assert_eq!(gateway.send(Request::get(gateway.url(path))).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(gateway.send(gateway.get(path, &token)).await.0, StatusCode::FORBIDDEN, "{path}");
        for name in ["forwarded", "x-forwarded-for", "x-real-ip", "via"] {
            let request = gateway.get(path, &admin).header(name, "192.0.2.1");
            assert_eq!(gateway.send(request).await.0, StatusCode::FORBIDDEN, "{path} {name}");
        }
    }
    // An administrator sends no requests.
    assert_eq!(gateway.send(gateway.get("/openai/x", &admin)).await.0, StatusCode::FORBIDDEN);

    let json = async |path: &str| {
        let (status, body) = gateway.send(gateway.get(path, &admin)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        home.check(&body);
        serde_json::from_str::<serde_json::Value>(&body).unwrap()
    };
    let accounts = json("/.gateway/accounts").await;
    let limited = accounts[0]["accounts"].as_array().unwrap().iter();
    let limited = limited.clone().find(|account| account["label"] == "limited-1").unwrap();
    assert!(limited["ready_in_ms"].as_u64().unwrap() > 3_500_000, "{accounts}");
    assert_eq!(json("/.gateway/counters").await[0]["counters"]["attempts"], 2);
    let (_, metrics) = gateway.send(gateway.get("/metrics", &admin)).await;
    for line in [
        "tower_credentials_requests_total{provider=\"openai\",namespace=\"default\"} 1",
        "tower_credentials_attempts_total{provider=\"openai\",namespace=\"default\",outcome=\"limited\"} 1",
        "tower_credentials_cooling{provider=\"openai\",namespace=\"default\"} 1",
        "tower_credentials_attempt_duration_seconds_count{provider=\"openai\",namespace=\"default\"} 2",
    ] {
        assert!(metrics.lines().any(|known| known == line), "no {line} in {metrics}");
    }
    let id = limited["id"].as_str().unwrap();
    let act = async |action: &str| {
        let request = Request::post(gateway.url(&format!("/.gateway/accounts/{id}/{action}")));
        gateway.send(request.header("authorization", format!("Bearer {admin}"))).await
    };
    assert_eq!(act("reset").await.0, StatusCode::OK);
    let ready = json("/.gateway/accounts").await;
    let ready =
        ready[0]["accounts"].as_array().unwrap().iter().all(|account| account["ready_in_ms"] == 0);
    assert!(ready);
    assert_eq!(act("pause").await.0, StatusCode::OK);
    assert_eq!(home.run(["show", id, "--json"]).ok().json()["state"], "paused");
    assert_eq!(act("resume").await.0, StatusCode::OK);
    assert_eq!(act("remove").await.0, StatusCode::NOT_FOUND);
    let request = gateway.get(&format!("/.gateway/accounts/{id}/reset"), &admin);
    assert_eq!(gateway.send(request).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_for_this_user_alone_and_one_that_is_left_behind_is_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let token = client(&home, &["laptop"]);
    let socket = home.path().join("gateway.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let arguments = ["--unix", socket.to_str().unwrap()];
    let gateway = Gateway::start(&home, &arguments).await;
    let mode = std::fs::symlink_metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let output = std::process::Command::new("curl")
        .args(["-sS", "--unix-socket"])
        .arg(&socket)
        .args(["-H", &format!("authorization: Bearer {token}"), "http://localhost/openai/x"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "GET /x Bearer good-1-key\n");
    // That of a gateway that runs stays.
    home.run(["serve", "--listen", "127.0.0.1:0", "--unix", arguments[1]]).code(1).says("--unix");
    gateway.stop().await;
    assert!(!socket.exists());
    let file = home.path().join("a-file");
    std::fs::write(&file, "kept").unwrap();
    home.run(["serve", "--listen", "127.0.0.1:0", "--unix", file.to_str().unwrap()])
        .code(1)
        .says("a-file");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_a_line_without_its_query_and_without_a_secret() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let token = client(&home, &["laptop"]);
    let mut gateway = Gateway::start(&home, &["--access-log", "json"]).await;
    let account = home.run(["list", "--json"]).ok().json()[0]["id"].as_str().unwrap()[..8].to_owned();
    gateway.send(gateway.get("/openai/v1/models?private=1", &token)).await;
    let line = gateway.access().await;
    assert!(!line.contains("private"), "{line}");
    let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
    for (name, value) in [
        ("client", serde_json::json!("laptop")),
        ("route", "/openai".into()),
        ("method", "GET".into()),
        ("path", "/openai/v1/models".into()),
        ("status", 200.into()),
        ("account", account.into()),
        ("attempts", 1.into()),
        ("is_whole", true.into()),
    ] {
        assert_eq!(entry[name], value, "{line}");
    }
    gateway.send(Request::get(gateway.url("/openai/v1/models"))).await;
    let entry: serde_json::Value = serde_json::from_str(&gateway.access().await).unwrap();
    assert_eq!((&entry["status"], &entry["client"]), (&401.into(), &serde_json::Value::Null));
    let run = gateway.stop().await;
    home.check(&run.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_long_is_refused_and_a_connection_that_sends_nothing_is_closed() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let gateway = Gateway::start(&home, &["--open"]).await;
    let mut stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    let long = "a".repeat(1024 * 1024);
    let head = format!("GET /openai/x HTTP/1.1\r\nhost: localhost\r\nx-long: {long}\r\n\r\n");
    // It may close the connection before it has read all.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut said = Vec::new();
    let _ = crate::wire::soon("the response", stream.read_to_end(&mut said)).await;
    let said = String::from_utf8_lossy(&said);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431 "), "{said}");
    assert_eq!(upstream.connections(), 0);
    let mut silent = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    let mut said = Vec::new();
    crate::wire::soon("its end", silent.read_to_end(&mut said)).await.unwrap();
    assert!(said.is_empty());
}
