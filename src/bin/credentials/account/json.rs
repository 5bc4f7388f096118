//! An account in `--json`.

use std::collections::BTreeMap;

use serde::Serialize;
use tower_credentials::standing::QuotaName;
use tower_credentials::{CredentialId, Generation, Metadata, Timestamp};

use super::allowance::JsonWindow;
use super::quota::SaidBy;
use super::renewal::LastRenewal;
use super::state::{Account, State};
use crate::time::rfc3339;

impl Account {
    pub(crate) fn json(&self, now: Timestamp) -> Json<'_> {
        let credential = &self.credential;
        let (state, until, reason) = match self.state(now) {
            State::Ready => ("ready", None, None),
            State::Paused => ("paused", None, None),
            State::Cooling { until } => ("cooling", Some(rfc3339(until)), None),
            State::Spent { reason, until } => ("spent", until.map(rfc3339), reason),
            State::Dead { reason } => ("dead", None, Some(reason)),
            State::NeedsSignIn { reason } => ("needs_sign_in", None, Some(reason)),
            State::UnknownProvider => ("unknown_provider", None, None),
            State::Expired => ("expired", None, None),
            State::Refused(_) => ("refused", None, None),
        };
        Json {
            identity: Identity::of(credential),
            active: self.is_active,
            tier: self.standing.tier(credential.kind),
            quota: self.quota.shared.as_ref().map(QuotaName::as_str),
            quota_said_by: self.quota.said_by,
            state,
            cooling_until: until,
            cooling_scopes: self
                .limited_scopes(now)
                .map(|(scope, until)| CoolingScope { scope, cooling_until: rfc3339(until) })
                .collect(),
            reason,
            unread_response: self.has_unread_response,
            renewal_cut_off: matches!(self.last_renewal, Some(LastRenewal::CutOff)),
            renewal_failed: match &self.last_renewal {
                Some(LastRenewal::Failed(reason)) => Some(reason),
                _ => None,
            },
            not_used: self.left_out.map(|why| why.to_string()),
            not_renewable: self.unrenewable.map(|why| why.to_string()),
            expires_at: self.expires_at.map(rfc3339),
            failures: self.standing.failures,
            last_status: self.standing.last_response.map(|response| response.status),
            last_used_at: self.standing.last_response.map(|response| rfc3339(response.at)),
            allowance: self
                .standing
                .allowance
                .iter()
                .map(|window| JsonWindow::of(window, now))
                .collect(),
            created_at: rfc3339(credential.created_at),
            updated_at: rfc3339(credential.updated_at),
            generation: credential.generation,
            attributes: &credential.attributes,
        }
    }
}

/// Which account, in `--json`.
#[derive(Serialize)]
pub(crate) struct Identity<'a> {
    id: CredentialId,
    provider: &'a str,
    namespace: &'a str,
    label: &'a str,
    kind: &'static str,
}

impl<'a> Identity<'a> {
    pub(crate) fn of(credential: &'a Metadata) -> Self {
        Self {
            id: credential.id,
            provider: credential.pool.provider(),
            namespace: credential.pool.namespace(),
            label: &credential.label,
            kind: credential.kind.as_str(),
        }
    }
}

/// An account in `--json`.
#[derive(Serialize)]
pub(crate) struct Json<'a> {
    #[serde(flatten)]
    identity: Identity<'a>,
    active: bool,
    tier: u8,
    /// The quota that it shares, or would share with others.
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota_said_by: Option<SaidBy>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cooling_until: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cooling_scopes: Vec<CoolingScope<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unread_response: bool,
    /// Whether its new token may be lost.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    renewal_cut_off: bool,
    /// Why its last renewal failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    renewal_failed: Option<&'a str>,
    /// Why requests use others in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_used: Option<String>,
    /// Why nothing renews its token.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_renewable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowance: Vec<JsonWindow<'a>>,
    created_at: String,
    updated_at: String,
    generation: Generation,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: &'a BTreeMap<String, String>,
}

/// A scope of an account in `--json`, such as a model, that is limited alone.
#[derive(Serialize)]
struct CoolingScope<'a> {
    scope: &'a str,
    cooling_until: String,
}
