//! The response to a test, read to its end: a captive portal answers every request with success, and in HTML.

use std::pin::pin;
use std::time::{Duration, SystemTime};

use bytes::{Buf, BufMut};
use http::header::LOCATION;
use http::{HeaderMap, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::IgnoredAny;
use tokio::time::{Instant, timeout_at};
use tower_credentials::BoxError;
use tower_credentials::provider::{self, Assessment, Verdict};

/// How long to wait for the end of a response.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes of a response that are read.
const MOST: usize = 4 * 1024 * 1024;

/// The most bytes of an error response that are read, as in the layers.
const MOST_OF_REFUSAL: usize = 16 * 1024;

/// A complete response.
#[derive(Clone, Debug)]
pub(super) struct TestResponse {
    pub(super) status: StatusCode,
    /// The provider's verdict on an error response, as for the layers.
    pub(super) verdict: Option<Verdict>,
    /// Whether it may be a list of models: an object or an array of JSON (RFC 8259). False for an error response.
    pub(super) is_json: bool,
    /// The target of a redirect, without its query.
    pub(super) redirects_to: Option<String>,
}

impl TestResponse {
    /// Waits for the response to this request. If the account's token is renewed first, that has a timeout of its own.
    pub(super) async fn to<R>(
        request: impl Future<Output = Result<Response<R>, BoxError>>,
        is_renewing: impl Fn() -> bool,
        read: impl Fn(&provider::ResponseView<'_>) -> Assessment,
    ) -> Result<Self, BoxError>
    where
        R: Body<Error: Into<BoxError>>,
    {
        let mut request = pin!(request);
        let mut end = Instant::now() + TIMEOUT;
        let seconds = TIMEOUT.as_secs();
        let response = loop {
            match timeout_at(end, &mut request).await {
                Ok(response) => break response?,
                Err(_) if is_renewing() => end = Instant::now() + TIMEOUT,
                Err(_) => return Err(format!("there was no response within {seconds} s").into()),
            }
        };
        let (head, body) = response.into_parts();
        let status = head.status;
        if !status.is_success() {
            let mut prefix = Vec::new();
            // However much of it comes.
            let _ = timeout_at(end, read_prefix(body, &mut prefix)).await;
            let view = provider::ResponseView::new(status, &head.headers, SystemTime::now().into());
            let is_error = status.is_client_error() || status.is_server_error();
            let verdict = is_error.then(|| read(&view.body(&prefix)).verdict).flatten();
            let redirects_to = status.is_redirection().then(|| redirects_to(&head.headers)).flatten();
            return Ok(Self { status, verdict, is_json: false, redirects_to });
        }
        let body = timeout_at(end, Limited::new(body, MOST).collect())
            .await
            .map_err(|_| format!("the response began but did not end within {seconds} s"))?;
        let is_json = match body {
            Ok(body) => is_object_or_array(&body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => false,
            Err(error) => return Err(error),
        };
        Ok(Self { status, verdict: None, is_json, redirects_to: None })
    }
}

/// Returns the target of a redirect (RFC 9110, section 10.2.2), without its query, which may be secret.
fn redirects_to(headers: &HeaderMap) -> Option<String> {
    let location: Uri = headers.get(LOCATION)?.to_str().ok()?.parse().ok()?;
    let host = location.authority().map(|authority| {
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        format!("{}://{host}", location.scheme_str().unwrap_or("https"))
    });
    Some(format!("{}{}", host.unwrap_or_default(), location.path()))
}

/// Reads the beginning of a body, up to where it ends or breaks off.
async fn read_prefix(body: impl Body, prefix: &mut Vec<u8>) {
    let mut body = pin!(body);
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { return };
        prefix.put(data.take(MOST_OF_REFUSAL - prefix.len()));
        if prefix.len() == MOST_OF_REFUSAL {
            return;
        }
    }
}

fn is_object_or_array(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
        && serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{pending, ready};

    use bytes::Bytes;
    use http_body_util::{Channel, Full};

    use super::*;

    type Piece = Full<Bytes>;

    async fn is_json(body: impl Into<Bytes>) -> bool {
        let response = Response::new(Full::new(body.into()));
        TestResponse::to(ready(Ok(response)), || false, |_| Assessment::default()).await.unwrap().is_json
    }

    #[tokio::test]
    async fn only_an_object_or_an_array_may_be_a_list() {
        for body in ["{}", "[]", " \n{\"data\": [1, \"a\"]}\n"] {
            assert!(is_json(body).await, "{body:?}");
        }
        for body in ["", "null", "3", "\"{}\"", "<html>{}</html>", "{", "{} {}", "[}"] {
            assert!(!is_json(body).await, "{body:?}");
        }
        let string = |length: usize| format!("[\"{}\"]", "x".repeat(length - 4));
        assert!(is_json(string(MOST)).await);
        assert!(!is_json(string(MOST + 1)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_does_not_come_or_does_not_end_is_an_error() {
        let never = pending::<Result<Response<Piece>, BoxError>>();
        let error = TestResponse::to(never, || false, |_| Assessment::default()).await.unwrap_err();
        assert_eq!(error.to_string(), "there was no response within 30 s");

        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        sender.send_data(Bytes::from_static(b"{}")).await.unwrap();
        // Both have one bound together.
        let began = Instant::now();
        let late = async {
            tokio::time::sleep(TIMEOUT / 2).await;
            Ok(Response::new(body))
        };
        let error = TestResponse::to(late, || false, |_| Assessment::default()).await.unwrap_err();
        assert_eq!(error.to_string(), "the response began but did not end within 30 s");
        assert_eq!(began.elapsed(), TIMEOUT);
        drop(sender);
    }
}
