//! The result of a test.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use tower_credentials::standing::Standing;
use tower_credentials::{BoxError, Metadata, Timestamp};

use super::response::TestResponse;
use super::verdict::{Renewal, Verdict};
use crate::account::{self, Identity};
use crate::table::{Overflow, table};
use crate::time::{brief, now, rfc3339};

/// An account and the result of its test.
pub(crate) struct Tested {
    pub(crate) credential: Metadata,
    pub(crate) verdict: Verdict,
    /// The status of the response, and how long it took.
    response: Option<(StatusCode, Duration)>,
    /// The end of its cooldown.
    cooling_until: Option<Timestamp>,
}

impl Tested {
    pub(super) fn without_request(credential: Metadata, verdict: Verdict) -> Self {
        Self { credential, verdict, response: None, cooling_until: None }
    }

    pub(super) fn new(
        credential: Metadata,
        response: Result<TestResponse, BoxError>,
        took: Duration,
        standing: &Standing,
        renewal: Renewal,
        now: Timestamp,
    ) -> Self {
        let cooldown = standing.cooldown(None).filter(|cooldown| cooldown.until > now);
        let verdict = Verdict::of(&response, &standing.health, cooldown, renewal);
        Self {
            credential,
            verdict,
            response: response.ok().map(|response| (response.status, took)),
            cooling_until: cooldown.map(|cooldown| cooldown.until),
        }
    }

    /// Returns the result without colours.
    #[cfg(feature = "tui")]
    pub(crate) fn in_words(&self) -> String {
        let result = self.verdict.describe();
        let result = console::strip_ansi_codes(&result);
        match self.response {
            Some((status, took)) => format!("{result} ({}, {} ms)", status.as_u16(), took.as_millis()),
            None => result.into_owned(),
        }
    }

    pub(super) fn json(&self) -> Json<'_> {
        let (result, reason) = self.verdict.word();
        Json {
            account: Identity::of(&self.credential),
            result,
            reason,
            status: self.response.map(|(status, _)| status.as_u16()),
            milliseconds: self.response.map(|(_, took)| took.as_millis()),
            cooling_until: self.cooling_until.map(rfc3339),
        }
    }
}

pub(super) fn shown(tested: &[Tested]) -> String {
    let now = now();
    let rows = tested.iter().map(|tested| {
        let (status, took) = match tested.response {
            Some((status, took)) => (status.as_u16().to_string(), format!("{} ms", took.as_millis())),
            None => Default::default(),
        };
        let ready = match (tested.cooling_until, tested.response) {
            (Some(until), _) => format!("in {}", brief(until.since(now))),
            (None, Some(_)) if tested.verdict.is_ready() => "now".to_owned(),
            (None, _) => String::new(),
        };
        [account::name(&tested.credential), status, took, ready, tested.verdict.describe()]
    });
    table(
        ["ACCOUNT", "STATUS", "TIME", "READY", "RESULT"],
        Overflow { wrapped: "RESULT", ..Overflow::default() },
        rows,
    )
}

/// A test in `--json`.
#[derive(Serialize)]
pub(super) struct Json<'a> {
    #[serde(flatten)]
    account: Identity<'a>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cooling_until: Option<String>,
}
