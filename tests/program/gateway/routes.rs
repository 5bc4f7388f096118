//! The table `[serve]` of the settings: routes by path, host and model, and how they change while a gateway runs.

use http::{Request, Response, StatusCode};

use super::process::{Gateway, add_settings as add, client, home, home_of_x, upstream};
use crate::wire::{Wire, full, soon};

async fn post(gateway: &Gateway, token: &str, path: &str, body: &str) -> (StatusCode, String) {
    let request = Request::post(gateway.url(path)).header("x-api-key", token);
    let request =
        request.header("content-type", "application/json").body(full(body.to_owned())).unwrap();
    let (head, body) = gateway.response(request).await.into_parts();
    let body = http_body_util::BodyExt::collect(body);
    let body = soon("the body", body).await.unwrap().to_bytes();
    (head.status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_takes_the_most_specific_route_of_its_path_its_host_and_its_model() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    home.add("anthropic", "good-2", "good-2-key").await;
    let token = client(&home, &["laptop"]);
    let origin = upstream.origin();
    add(
        &home,
        &format!(
            "[[serve.route]]\npath = \"/team\"\nprovider = \"openai\"\n\
             [[serve.route]]\npath = \"/team/deep\"\nprovider = \"anthropic\"\nupstream = \"{origin}/base\"\n\
             [[serve.route]]\npath = \"/team\"\nprovider = \"anthropic\"\nhost = \"team.example\"\n\
             [[serve.route]]\npath = \"/any\"\nprovider = \"anthropic\"\nmodel = \"claude-*\"\n\
             [[serve.route]]\npath = \"/any\"\nprovider = \"openai\"\nmodel = \"gpt-*-mini\"\n\
             methods = [\"POST\"]\npaths = [\"/v1/chat/*\", \"/v1/responses\"]\n"
        ),
    );
    let gateway = Gateway::start(&home, &["--allow-host", "team.example"]).await;
    for (path, expected) in [
        ("/team/v1/x", "GET /v1/x Bearer good-1-key\n"),
        ("/team/deeper", "GET /deeper Bearer good-1-key\n"),
        ("/team/deep/x?a=1", "GET /base/x?a=1 good-2-key\n"),
        ("/team/deep", "GET /base/ good-2-key\n"),
        ("/openai/v1/x", "GET /v1/x Bearer good-1-key\n"),
    ] {
        assert_eq!(gateway.send(gateway.get(path, &token)).await.1, expected, "{path}");
    }
    let request = gateway.get("/team/v1/x", &token).header("host", "team.example:80");
    assert_eq!(gateway.send(request).await.1, "GET /v1/x good-2-key\n");
    assert_eq!(gateway.send(gateway.get("/teams", &token)).await.0, StatusCode::NOT_FOUND);

    for (path, model, status, expected) in [
        ("/any/v1/messages", "claude-opus", 200, "POST /v1/messages good-2-key\n"),
        ("/any/v1/chat/completions", "gpt-5-mini", 200, "POST /v1/chat/completions Bearer good-1-key\n"),
        ("/any/v1/responses", "gpt-5-mini", 200, "POST /v1/responses Bearer good-1-key\n"),
        ("/any/v1/files", "gpt-5-mini", 403, "does not allow POST /v1/files"),
        ("/any/v1/chat/completions", "gpt-5", 404, "no route is for the model"),
    ] {
        let (code, said) = post(&gateway, &token, path, &format!("{{\"model\":\"{model}\"}}")).await;
        assert_eq!(code.as_u16(), status, "{path} {model}: {said}");
        assert!(said.contains(expected), "{path} {model}: {said}");
    }
    let (code, _) = gateway.send(gateway.get("/any/v1/models", &token)).await;
    assert_eq!(code, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_table_is_refused_with_its_line_and_without_its_text() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let before = std::fs::read_to_string(home.settings_file()).unwrap();
    let route = "[[serve.route]]\nprovider = \"openai\"\npath = \"/x\"\n";
    for (table, says) in [
        ("[serve]\nlissten = \"127.0.0.1:0\"\n".to_owned(), "lissten"),
        ("[serve]\nlisten = \"planted\"\n".to_owned(), "an IP address and a port"),
        ("[serve]\nallow_origins = [\"https://*\"]\n".to_owned(), "every web page"),
        ("[[serve.route]]\npath = \"/x\"\n".to_owned(), "provider"),
        ("[[serve.route]]\nprovider = \"openai\"\npath = \"x\"\n".to_owned(), "no path of a route"),
        (
            "[[serve.route]]\nprovider = \"openai\"\npath = \"/.gateway/x\"\n".to_owned(),
            "does not use itself",
        ),
        ("[[serve.route]]\nprovider = \"opnai\"\npath = \"/x\"\n".to_owned(), "opnai"),
        (format!("{route}upstream = \"https://elsewhere.example\"\n"), "may not be sent to"),
        (format!("{route}methods = [\"G T\"]\n"), "method"),
        (format!("{route}hosst = \"a\"\n"), "hosst"),
        ("[srve]\n".to_owned(), "serve"),
    ] {
        home.settings(&format!("{before}{table}"));
        let run = home.run(["serve", "--listen", "127.0.0.1:0"]);
        assert!(matches!(run.code, Some(2 | 3)), "{table}: {run:?}");
        assert!(!run.stderr.contains("planted"), "{run:?}");
        run.says(says);
    }
    // Other commands pass over it, but for the one that checks the settings.
    home.settings(&format!("{before}[serve]\nlissten = 1\n"));
    home.run(["list"]).ok();
    home.run(["config", "check"]).code(2).says("lissten");
    home.settings(&format!("{before}[[serve.route]]\npath = \"/x\"\nprovider = \"opnai\"\n"));
    home.run(["config", "check"]).code(3).says("opnai");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_follows_its_settings_and_keeps_those_it_has_if_they_are_wrong() {
    let upstream: Wire = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let token = client(&home, &["laptop"]);
    let mut gateway = Gateway::start(&home, &[]).await;
    add(&home, "[[serve.route]]\npath = \"/first\"\nprovider = \"openai\"\n");
    assert_eq!(gateway.send(gateway.get("/first/x", &token)).await.0, StatusCode::NOT_FOUND);
    gateway.signal("HUP").await;
    gateway.becomes("/first/x", &token, StatusCode::OK).await;
    gateway.says("were read again").await;
    let new = gateway.says("  new: ").await;
    assert!(new.contains("/first  OPENAI_BASE_URL=http://"), "{new}");
    gateway.forget();

    add(&home, "[[serve.route]]\npath = \"/second\"\nprovider = \"openai\"\n");
    home.add("anthropic", "good-2", "good-2-key").await;
    home.run(["serve", "reload"]).ok().says("Gateways of this vault follow them within a second");
    gateway.becomes("/second/x", &token, StatusCode::OK).await;
    // What was there before is not told again.
    let anthropic = gateway.says("  new: ").await;
    let second = gateway.says("/second").await;
    assert!(anthropic.contains("/anthropic ") && second.starts_with("  new: "), "{anthropic} {second}");
    assert_eq!(gateway.send(gateway.get("/anthropic/x", &token)).await.0, StatusCode::OK);

    let good = std::fs::read_to_string(home.settings_file()).unwrap();
    add(&home, "[[serve.route]]\npath = \"third\"\nprovider = \"openai\"\n");
    home.run(["serve", "reload"]).code(2).says("no path of a route");
    gateway.signal("HUP").await;
    gateway.says("The settings so far stay in use").await;
    assert_eq!(gateway.send(gateway.get("/second/x", &token)).await.0, StatusCode::OK);
    home.settings(&good);
    let run = gateway.stop().await;
    home.check(&run.stderr);
}

#[tokio::test]
async fn the_upstreams_path_is_put_before_the_requests_own() {
    let wire = Wire::start(async |request: Request<hyper::body::Incoming>| {
        Response::new(full(request.uri().to_string()))
    })
    .await;
    let home = home_of_x(&wire.origin(), &["a"]).await;
    let upstream = format!("{}/base/v1/", wire.origin());
    add(
        &home,
        &format!("[[serve.route]]\npath = \"/deep\"\nprovider = \"x\"\nupstream = \"{upstream}\"\n"),
    );
    let gateway = Gateway::open(&home, &[]).await;
    for (asked, seen) in [
        ("", "/base/v1/"),
        ("/", "/base/v1/"),
        ("/models", "/base/v1/models"),
        ("/models?a=b&key=own", "/base/v1/models?a=b"),
        ("/models?key=own", "/base/v1/models"),
        ("/models?", "/base/v1/models?"),
        ("//x/.../y", "/base/v1//x/.../y"),
    ] {
        let (_, said) = gateway.send(Request::get(gateway.url(&format!("/deep{asked}")))).await;
        assert_eq!(said, seen);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leads_out_of_a_route() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let token = client(&home, &["laptop"]);
    let origin = upstream.origin();
    add(
        &home,
        &format!(
            "[[serve.route]]\npath = \"/team\"\nprovider = \"openai\"\nupstream = \"{origin}/v1\"\n\
             paths = [\"/chat/*\", \"/models\"]\n\
             [[serve.route]]\npath = \"/mini\"\nprovider = \"openai\"\nmodel = \"gpt-*-mini\"\n"
        ),
    );
    let gateway = Gateway::start(&home, &[]).await;
    for path in [
        "/team/chat/../../x",
        "/team/chat/..",
        "/team/chat/./x",
        "/team/chat/%2e%2e/embeddings",
        "/team/chat/.%2E/x",
        "/team/chat/..%2fx",
        "/team/chat/%2E%2E%2Fx",
        "/team/chat/..%5cx",
        "/team/chat/..;a=b/x",
        "/team/chat/%2e;a=..b%2fx",
        "/team/chat/a;b/.%2e",
        "/openai/../anthropic/v1",
        "/../openai/v1",
    ] {
        let (status, body) = gateway.send(gateway.get(path, &token)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
    }
    for method in ["TRACE", "TRACK"] {
        let request = gateway.get("/openai/v1/x", &token).method(method);
        assert_eq!(gateway.send(request).await.0, StatusCode::METHOD_NOT_ALLOWED);
    }
    for body in [
        "{\"model\":\"gpt-4-mini\",\"model\":\"gpt-5-max\"}",
        "{\"model\":\"gpt-5-max\",\"mod\\u0065l\":\"gpt-4-mini\"}",
        "{\"model\":\"gpt-4-mini\",\"model\":null}",
    ] {
        let (status, said) = post(&gateway, &token, "/mini/v1/chat", body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {said}");
    }
    assert_eq!(upstream.connections(), 0);
    for path in [
        "/team/chat/a..b",
        "/team/chat/...",
        "/team/models",
        "/team/chat/org%2Fmodel",
        "/team/chat/a;..",
        "/team/chat/..%252e",
    ] {
        let (status, body) = gateway.send(gateway.get(path, &token)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
    }
    let one = "{\"model\":\"gpt-4-mini\",\"metadata\":{\"model\":\"x\"}}";
    assert_eq!(post(&gateway, &token, "/mini/v1/chat", one).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_may_expect_the_version_in_anthropics_address_or_not() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    home.add("anthropic", "good-2", "good-2-key").await;
    let origin = upstream.origin();
    add(
        &home,
        &format!(
            "[[serve.route]]\npath = \"/deep\"\nprovider = \"anthropic\"\nupstream = \"{origin}/base/v1\"\n\
             [[serve.route]]\npath = \"/one\"\nprovider = \"anthropic\"\npaths = [\"/v1/messages\"]\n"
        ),
    );
    let gateway = Gateway::open(&home, &[]).await;
    for (asked, seen) in [
        ("/anthropic/messages", "/v1/messages"),
        ("/anthropic/messages/count_tokens?beta=true", "/v1/messages/count_tokens?beta=true"),
        ("/anthropic/v1/messages", "/v1/messages"),
        ("/anthropic/messages-2", "/messages-2"),
        ("/anthropic/api/messages", "/api/messages"),
        ("/deep/messages", "/base/v1/messages"),
        ("/one/messages", "/v1/messages"),
        ("/openai/messages", "/messages"),
    ] {
        let (_, said) = gateway.send(Request::post(gateway.url(asked))).await;
        assert_eq!(said.split(' ').nth(1), Some(seen), "{asked}: {said}");
    }
    let (status, _) = gateway.send(Request::post(gateway.url("/one/messages/batches"))).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_is_told_the_address_that_its_route_takes() {
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let origin = upstream.origin();
    add(
        &home,
        &format!(
            "[serve]\nallow_hosts = [\"team.example\"]\n\
             [[serve.route]]\npath = \"/team\"\nprovider = \"openai\"\nupstream = \"{origin}/v1\"\n\
             [[serve.route]]\npath = \"/h\"\nprovider = \"openai\"\nhost = \"team.example\"\n"
        ),
    );
    let mut gateway = Gateway::start(&home, &[]).await;
    let (address, port) = (gateway.address, gateway.address.port());
    for variable in [
        format!("OPENAI_BASE_URL=http://{address}/openai/v1 "),
        format!("OPENAI_BASE_URL=http://{address}/team "),
        format!("OPENAI_BASE_URL=http://team.example:{port}/h/v1 "),
    ] {
        gateway.says(&variable).await;
    }
}
