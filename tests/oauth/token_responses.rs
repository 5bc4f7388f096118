//! The responses of token endpoints and their effects: a table, each row over a real socket.
//!
//! The rows are in `token_responses.tsv`: the source that documents the response, the status, the headers, the body,
//! and the effect. `\u{feff}` in a body stands for a byte order mark.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_credentials::oauth::{OAuthClient, OAuthConfig, OAuthError, OAuthHttp};
use tower_credentials::{OAuthTokens, RefreshError, Timestamp};

use crate::authorization_server::{client, refresh};

const TABLE: &str = include_str!("token_responses.tsv");

struct Row {
    line: usize,
    response: String,
    learnt: &'static str,
}

fn rows() -> Vec<Row> {
    let lines = TABLE.lines().enumerate().skip(1).filter(|(_, line)| !line.is_empty());
    let rows = lines.map(|(index, line)| {
        let columns: Vec<_> = line.split('\t').collect();
        let [_source, status, headers, body, learnt] = columns[..] else {
            panic!("line {}: {} columns", index + 1, columns.len())
        };
        let body = body.replace("\\u{feff}", "\u{feff}");
        let mut response = format!("HTTP/1.1 {status} Status\r\nconnection: close\r\n");
        for header in headers.split(" | ").filter(|header| !header.is_empty()) {
            response.push_str(&format!("{header}\r\n"));
        }
        response.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        Row { line: index + 1, response, learnt }
    });
    rows.collect()
}

/// A server that responds to every request like this.
async fn serve(response: Arc<Mutex<String>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_request(&mut stream).await;
            let response = response.lock().unwrap().clone();
            let _ = stream.write_all(response.as_bytes()).await;
        }
    });
    url
}

/// The body of a form that ends with the client's id.
async fn read_request(stream: &mut TcpStream) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&request).contains("client_id=the-client") {
        match stream.read(&mut buffer).await.unwrap() {
            0 => return,
            read => request.extend_from_slice(&buffer[..read]),
        }
    }
}

/// Returns the effect of a refresh, in the table's words.
fn learnt(result: Result<OAuthTokens, RefreshError>, asked: Timestamp) -> String {
    let error = match result {
        Ok(tokens) => {
            assert_eq!(tokens.access.expose(), "new-access");
            let refresh = match tokens.refresh.as_ref().map(|token| token.expose()) {
                Some("new-refresh") => "renewed",
                Some("old-refresh") => "kept",
                other => panic!("{other:?}"),
            };
            let lifetime = tokens.expires_at.expect("there is always one").since(asked).as_secs_f64();
            return format!("tokens {} {refresh}", (lifetime / 10.0).floor() * 10.0);
        }
        Err(RefreshError::Rejected { reason }) => return format!("verdict {reason}"),
        Err(RefreshError::Failed(error) | RefreshError::AskAgain { error, .. }) => error,
        // The response is kept.
        Err(RefreshError::Unread { error, .. }) => error,
        Err(other) => panic!("{other:?}"),
    };
    let error = error.downcast_ref::<OAuthError>().expect("an OAuthError");
    let is_transient = error.is_transient();
    let word = match error {
        OAuthError::Unavailable { retry_after: Some(after), .. } => {
            return format!("wait {}", after.as_secs_f64().round());
        }
        OAuthError::Unavailable { .. } => "unavailable".to_owned(),
        OAuthError::Malformed { is_page: true, .. } => "page".to_owned(),
        OAuthError::Malformed { .. } => "unreadable".to_owned(),
        OAuthError::Refused { code, .. } => {
            let text = error.to_string();
            let setting = ["client_id", "scopes", "token_encoding", "redirect_uri"]
                .into_iter()
                .find(|setting| text.contains(&format!("providers.test.oauth.{setting} ")));
            match setting {
                Some(setting) => format!("setting {setting} {code}"),
                None => format!("refused {code}"),
            }
        }
        other => panic!("{other:?}"),
    };
    if is_transient { format!("transient {word}") } else { word }
}

#[tokio::test]
async fn each_response_of_the_table_gives_the_expected_result() {
    let response = Arc::new(Mutex::new(String::new()));
    let mut config = OAuthConfig::default().client_id("the-client");
    config.token_url = Some(serve(response.clone()).await);
    let oauth = OAuthClient::new("test", config, OAuthHttp::new(client()));
    let old = OAuthTokens::new("old-access").refresh("old-refresh");
    let rows = rows();
    assert!(rows.len() >= 60, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for Row { line, response: text, learnt: expected } in rows {
        *response.lock().unwrap() = text;
        let asked = Timestamp::from(SystemTime::now());
        let result = tokio::time::timeout(Duration::from_secs(20), refresh(&oauth, &old)).await.unwrap();
        let learnt = learnt(result, asked);
        if learnt != expected {
            wrong.push(format!("line {line}: {learnt}\n    not: {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_received_part_of_a_truncated_response_is_passed_on() {
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1000\r\n\r\n";
    let half = r#"{"access_token":"new-access","refr"#;
    for (body, is_kept) in [(half, true), ("<html>token", false), ("", false)] {
        let response = Arc::new(Mutex::new(format!("{head}{body}")));
        let mut config = OAuthConfig::default().client_id("the-client");
        config.token_url = Some(serve(response).await);
        let oauth = OAuthClient::new("test", config, OAuthHttp::new(client()));
        let old = OAuthTokens::new("old-access").refresh("old-refresh");
        let error = refresh(&oauth, &old).await.unwrap_err();
        let shown = format!("{error:?} {error}");
        assert!(!shown.contains("new-access"), "{shown}");
        match error {
            RefreshError::Unread { received, error } if is_kept => {
                assert_eq!(received.expose(), half);
                assert!(matches!(error.downcast_ref(), Some(OAuthError::Unreachable { .. })), "{error}");
            }
            RefreshError::Failed(_) if !is_kept => {}
            other => panic!("{body}: {other:?}"),
        }
    }
}
