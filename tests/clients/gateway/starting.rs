//! How the gateway starts and ends.

use std::net::TcpListener;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use tokio::sync::mpsc;

use super::process::{Gateway, Home};
use crate::wire::{Wire, channel, full, piece, soon, wire_client};

#[tokio::test]
async fn a_bad_command_line_is_refused_and_the_error_names_what_is_wrong() {
    let home = Home::with_keys(&[]).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let not_toml = home.file("broken.toml", "providers = [");
    let not_known =
        home.file("unknown.toml", "[providers.x]\ntype = \"generic\"\nheadder = \"x-key\"\n");
    let (not_toml, not_known) = (not_toml.to_str().unwrap(), not_known.to_str().unwrap());
    let file = home.file("vault-is-a-file", "");
    let file = file.to_str().unwrap();
    let vault = home.vault();
    let usual = [
        ("--listen", "127.0.0.1:0"),
        ("--upstream", "http://127.0.0.1:9"),
        ("--provider", "x"),
        ("--vault", vault.to_str().unwrap()),
    ];
    // The change to a good command line, the exit code, and the message.
    for (flag, value, code, says) in [
        ("--listen", Some("nonsense"), 2, "--listen"),
        ("--listen", Some("0.0.0.0:0"), 2, "--allow-remote"),
        ("--listen", Some("[::]:0"), 2, "--allow-remote"),
        ("--listen", Some("192.0.2.1:0"), 2, "--allow-remote"),
        ("--listen", Some(&taken), 1, "--listen"),
        ("--upstream", None, 2, "--upstream"),
        ("--upstream", Some("http://api.example.com"), 2, "use https"),
        ("--upstream", Some("api.example.com"), 2, "--upstream"),
        ("--upstream", Some("https://user:planted@api.example.com"), 2, "--upstream"),
        ("--upstream", Some("https://api.example.com/v1?key=x"), 2, "--upstream"),
        ("--provider", None, 2, "--provider"),
        ("--provider", Some(""), 2, "--provider"),
        ("--vault", Some(file), 1, "vault-is-a-file"),
        ("--config", Some("/nowhere/credentials.toml"), 1, "/nowhere/credentials.toml"),
        ("--config", Some(not_toml), 1, "broken.toml"),
        ("--config", Some(not_known), 1, "headder"),
        ("--header", Some("no header"), 2, "--header"),
        ("--timeout", Some("0"), 2, "--timeout"),
        ("--timeout", Some("soon"), 2, "--timeout"),
        ("--drain", Some("-1"), 2, "--drain"),
        ("--connect-timeout", Some("1.5"), 2, "--connect-timeout"),
        ("--no-such-flag", Some("1"), 2, "--no-such-flag"),
    ] {
        let mut arguments = Vec::new();
        for (name, usual) in usual {
            if name != flag {
                arguments.extend([name, usual]);
            }
        }
        let changed = value.map(|value| format!("{flag}={value}"));
        arguments.extend(changed.as_deref());
        let output = soon("the end", home.command(&arguments).output()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{flag} {value:?}: {said}");
        assert!(said.contains(says), "{flag} {value:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("planted"), "{flag} {value:?}: {said}");
        assert!(output.stdout.is_empty(), "{flag} {value:?}: it has listened");
    }
}

#[tokio::test]
async fn a_malformed_or_wrong_key_is_refused_and_not_shown() {
    let home = Home::with_keys(&["a"]).await;
    let vault = home.vault();
    let arguments =
        ["--upstream", "http://127.0.0.1:9", "--provider", "x", "--vault", vault.to_str().unwrap()];
    let other = tower_credentials::vault::key::VaultKey::generate().to_base64();
    for key in ["planted-and-no-key", other.expose()] {
        let mut command = home.command(&arguments);
        command.args(["--listen", "127.0.0.1:0"]).env("TOWER_CREDENTIALS_VAULT_KEY", key);
        let output = soon("the end", command.output()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("key") && !said.contains(key), "{said}");
    }
}

#[tokio::test]
async fn the_gateway_listens_on_an_open_address_only_if_told_to() {
    let wire = Wire::start(async |_| Response::new(full("hi"))).await;
    let home = Home::with_keys(&["a"]).await;
    let gateway = home.gateway(&wire.origin(), &["--allow-remote", "--listen", "0.0.0.0:0"]).await;
    assert!(gateway.address.ip().is_unspecified());
    let uri = format!("http://127.0.0.1:{}/", gateway.address.port());
    let response = wire_client(false).request(Request::get(uri).body(full("")).unwrap()).await;
    assert_eq!(response.unwrap().status(), 200);
}

/// Starts a gateway without a vault or a key in its arguments. Returns its output up to its first line or its end.
async fn starts(home: &Home, wire: &Wire, more: &[&str]) -> (Option<String>, String) {
    let origin = wire.origin();
    let mut arguments = vec!["--listen", "127.0.0.1:0", "--upstream", &origin, "--provider", "x"];
    arguments.extend(more);
    let mut command = home.command(&arguments);
    let mut child = command.env_remove("TOWER_CREDENTIALS_VAULT_KEY").spawn().unwrap();
    let mut stdout = tokio::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    let first = tokio::io::AsyncBufReadExt::read_line(&mut stdout, &mut line);
    soon("its first line", first).await.unwrap();
    if line.is_empty() {
        let output = soon("its end", child.wait_with_output()).await.unwrap();
        return (None, String::from_utf8(output.stderr).unwrap());
    }
    (Some(line), String::new())
}

#[tokio::test]
async fn vault_and_key_are_made_together_in_the_usual_place() {
    let home = Home::with_keys(&[]).await;
    let wire = Wire::start(async |_| Response::new(full("hi"))).await;
    let directory = home.directory();
    let (vault, key) = (
        directory.join(".local/share/tower-credentials/vault"),
        directory.join(".config/tower-credentials/vault.key"),
    );
    let (line, said) = starts(&home, &wire, &[]).await;
    let line = line.expect(&said);
    assert!(line.starts_with("listening on http://127.0.0.1:"), "{line}");
    assert!(vault.join("records").is_dir());
    let first = std::fs::read_to_string(&key).unwrap();
    // Again, with the vault named: it uses the same key.
    let (line, said) = starts(&home, &wire, &["--vault", vault.to_str().unwrap()]).await;
    line.expect(&said);
    assert_eq!(std::fs::read_to_string(&key).unwrap(), first);
    assert!(!vault.with_extension("key").exists());
}

#[tokio::test]
async fn an_existing_vault_gets_no_new_key() {
    let home = Home::with_keys(&["a"]).await;
    let wire = Wire::start(async |_| Response::new(full("hi"))).await;
    let (directory, vault) = (home.directory().to_owned(), home.vault());
    let vault = ["--vault", vault.to_str().unwrap()];
    let (line, said) = starts(&home, &wire, &vault).await;
    assert_eq!(line, None);
    assert!(said.contains("the key of the vault") && said.contains("is missing"), "{said}");
    assert!(said.contains("vault.key") && !said.contains("key.json"), "{said}");
    let key = directory.join(".config/tower-credentials/vault.key");
    assert!(!key.exists() && !directory.join("vault.key").exists(), "a key was made");
    // With a wrong key, the error names the right one, and does not suggest to move anything away.
    tower_credentials::vault::key::VaultKey::load_or_create(&key).await.unwrap();
    let (line, said) = starts(&home, &wire, &vault).await;
    assert_eq!(line, None);
    assert!(said.contains("give the key ") && !said.contains("move"), "{said}");
}

#[tokio::test]
async fn help_describes_every_flag_and_exits_with_0() {
    let home = Home::with_keys(&[]).await;
    let output = home.command(&["--help"]).output().await.unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for word in ["--allow-remote", "--admin", "/.gateway/reset/", "x-should-retry", "Exit codes"] {
        assert!(text.contains(word), "{word} is not in:\n{text}");
    }
}

/// A gateway with a response in flight: the sender of its body, and the body.
async fn streaming(drain: &str) -> (Home, Gateway, mpsc::Sender<Frame<Bytes>>, hyper::body::Incoming) {
    let (bodies, mut made) = mpsc::unbounded_channel();
    let wire = Wire::start(move |_| {
        let (pieces, body) = channel();
        bodies.send(pieces).unwrap();
        async { Response::new(body) }
    })
    .await;
    let home = Home::with_keys(&["a"]).await;
    let gateway = home.gateway(&wire.origin(), &["--drain", drain]).await;
    let request = Request::get(gateway.url("/")).body(full("")).unwrap();
    let mut response = wire_client(false).request(request).await.unwrap();
    let pieces = made.recv().await.unwrap();
    pieces.send(Frame::data("first".into())).await.unwrap();
    assert_eq!(piece(response.body_mut()).await, "first");
    (home, gateway, pieces, response.into_body())
}

/// Waits until the gateway accepts no more connections.
async fn closed(gateway: &Gateway) {
    let closed = async {
        while tokio::net::TcpStream::connect(gateway.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of its listening", closed).await;
}

#[tokio::test]
async fn after_sigterm_responses_in_flight_finish_and_no_new_ones_begin() {
    for signal in ["TERM", "INT"] {
        let (_home, gateway, pieces, mut body) = streaming("600").await;
        gateway.signal(signal).await;
        closed(&gateway).await;
        pieces.send(Frame::data("second".into())).await.unwrap();
        assert_eq!(piece(&mut body).await, "second");
        drop(pieces);
        assert_eq!(crate::wire::length(body).await, 0);
        let (status, said) = gateway.ended().await;
        assert!(status.success(), "{status}: {said}");
        assert_eq!(said, "");
    }
}

#[tokio::test]
async fn a_response_without_an_end_is_broken_off_after_a_bound() {
    let (_home, gateway, pieces, body) = streaming("1").await;
    gateway.signal("TERM").await;
    let (status, said) = gateway.ended().await;
    assert!(status.success(), "{status}: {said}");
    assert!(said.contains("broken off"), "{said}");
    soon("the end of the upstream's body", pieces.closed()).await;
    assert!(http_body_util::BodyExt::collect(body).await.is_err());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (_home, gateway, _pieces, _body) = streaming("600").await;
    gateway.signal("TERM").await;
    closed(&gateway).await;
    gateway.signal("TERM").await;
    let (status, said) = gateway.ended().await;
    assert!(status.success(), "{status}: {said}");
    assert!(said.contains("broken off"), "{said}");
}

#[tokio::test]
async fn with_nothing_in_flight_it_ends_at_once_whatever_connections_are_open() {
    let wire = Wire::start(async |_| Response::new(full("hi"))).await;
    let home = Home::with_keys(&["a"]).await;
    let gateway = home.gateway(&wire.origin(), &["--drain", "600"]).await;
    let clients = [wire_client(false), wire_client(true)];
    for client in &clients {
        let request = Request::get(gateway.url("/")).body(full("")).unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!(crate::wire::whole(response.into_body()).await.0, "hi");
    }
    assert_eq!(gateway.stop().await, "");
}
