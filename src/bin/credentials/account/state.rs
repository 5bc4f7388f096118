//! The state of an account.

use tower_credentials::standing::{Health, Reason, Standing};
use tower_credentials::{Metadata, OAuthTokens, Secret, SecretString, Timestamp};

use super::left_out::{self, LeftOut};
use super::quota::QuotaOf;
use super::renewal::{LastRenewal, Unrenewable};
use crate::context::Context;
use crate::output;
use crate::time::brief;

/// An account with its state.
pub(crate) struct Account {
    pub(crate) credential: Metadata,
    pub(crate) standing: Standing,
    /// The tier that requests take it from, which is 0 unless there are several.
    pub(crate) tier: u8,
    /// The quota that it takes from.
    pub(crate) quota: QuotaOf,
    /// When its access token stops working.
    pub(crate) expires_at: Option<Timestamp>,
    /// Why nothing can renew that token, if it needs renewal.
    pub(crate) unrenewable: Option<Unrenewable>,
    /// Why the pool's mode leaves it out.
    pub(crate) left_out: Option<LeftOut>,
    /// Whether there is a provider of that name.
    pub(crate) is_known: bool,
    /// Whether the next request takes it.
    pub(crate) is_active: bool,
    /// Whether its token can be renewed: there is a refresh token, and no setting is missing.
    pub(crate) is_renewable: bool,
    /// The last renewal of its token, if that has stored nothing.
    pub(crate) last_renewal: Option<LastRenewal>,
    /// Whether it keeps a response of its token endpoint that could not be read.
    pub(crate) has_unread_response: bool,
}

/// Returns the status of an account's last response, if that refused the secret that it has now.
pub(crate) fn last_refusal(
    credential: &Metadata,
    standing: &Standing,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<u16> {
    let response = standing.last_response?;
    // A secret that was replaced since, or a token that the next request renews, has not been refused.
    // A key of the environment is as old as this process.
    let is_kept = !credential.label.starts_with('$');
    let is_of_another =
        (is_kept && credential.updated_at > response.at) || expires_at.is_some_and(|end| end <= now);
    // A 403 may be for want of a scope, and says nothing of the secret by itself.
    (response.status == 401 && !is_of_another).then_some(response.status)
}

/// Returns the response of the token endpoint that could not be read: its tokens are nowhere else.
pub(crate) fn unread_response(secret: &Secret) -> Option<&SecretString> {
    match secret {
        Secret::OAuth(tokens) | Secret::Mcp(tokens) => tokens.extra.get(OAuthTokens::UNREAD_RESPONSE),
        _ => None,
    }
}

/// Whether an account can be used now.
pub(crate) enum State {
    Ready,
    Paused,
    Cooling {
        until: Timestamp,
    },
    /// Out of money, or at a limit that its owner set: until this time, or until a person acts.
    Spent {
        reason: Option<String>,
        until: Option<Timestamp>,
    },
    /// The key was refused for good.
    Dead {
        reason: String,
    },
    NeedsSignIn {
        reason: String,
    },
    /// There is no provider of that name, so nothing uses it.
    UnknownProvider,
    /// Its token has expired, and nothing can renew it.
    Expired,
    /// The vendor refused its last request with this status. Requests still take it: only a comparison with another
    /// account shows whether the account or the request was at fault.
    Refused(u16),
}

impl Account {
    pub(crate) fn state(&self, now: Timestamp) -> State {
        if self.standing.paused {
            return State::Paused;
        }
        match &self.standing.health {
            Health::NeedsSignIn { reason, .. } => return State::NeedsSignIn { reason: reason.clone() },
            Health::Dead { reason, .. } => return State::Dead { reason: reason.clone() },
            Health::Spent { reason, .. } => {
                return State::Spent { reason: Some(reason.clone()), until: None };
            }
            _ => {}
        }
        match self.standing.cooldown(None) {
            Some(cooldown) if cooldown.until > now && cooldown.reason == Reason::Spent => {
                State::Spent { reason: None, until: Some(cooldown.until) }
            }
            Some(cooldown) if cooldown.until > now => State::Cooling { until: cooldown.until },
            _ if !self.is_known => State::UnknownProvider,
            _ if self.unrenewable.is_some() && self.expires_at.is_some_and(|end| end <= now) => {
                State::Expired
            }
            _ => self.last_refusal(now).map_or(State::Ready, State::Refused),
        }
    }

    /// Returns the status of its last response, if that refused the secret that it has now.
    fn last_refusal(&self, now: Timestamp) -> Option<u16> {
        last_refusal(&self.credential, &self.standing, self.expires_at, now)
    }

    /// Returns when it is ready again, if it rests until then.
    pub(crate) fn ready_at(&self, now: Timestamp) -> Option<Timestamp> {
        match self.state(now) {
            State::Cooling { until } | State::Spent { until: Some(until), .. } => Some(until),
            _ => None,
        }
    }

    /// Whether a request can use it now, or once its token is renewed.
    pub(crate) fn is_usable(&self, now: Timestamp) -> bool {
        matches!(self.state(now), State::Ready | State::Refused(_)) && self.left_out.is_none()
    }

    /// Whether requests use it although the vendor refused its last one.
    pub(crate) fn is_doubtful(&self, now: Timestamp) -> bool {
        matches!(self.state(now), State::Refused(_)) && self.left_out.is_none()
    }

    /// Returns the setting that lets requests use it, or its token be renewed, if one is missing.
    pub(crate) fn settings_way_out(&self, context: &Context) -> Option<String> {
        let credential = &self.credential;
        if !self.is_known {
            return Unrenewable::NoProvider.way_out(context, credential);
        }
        match (self.left_out, self.unrenewable) {
            (Some(_), _) => Some(left_out::way_out(context, &credential.pool)),
            (None, Some(why)) if why.is_of_settings() => why.way_out(context, credential),
            _ => None,
        }
    }

    /// Says what such a setting would change.
    pub(crate) fn settings_trouble(&self) -> String {
        match (self.left_out, self.unrenewable) {
            _ if !self.is_known => "the settings have no provider of that name".to_owned(),
            (Some(why), _) => format!("not used: {why}"),
            (None, Some(why)) => format!("can't be renewed: {why}"),
            (None, None) => String::new(),
        }
    }

    /// Describes the state in colour, and whether requests use the account at all.
    pub(crate) fn describe_state(&self, now: Timestamp) -> String {
        let Some(why) = self.left_out else { return self.describe_own_state(now) };
        let not_used = output::doubtful(format_args!("not used: {why}")).to_string();
        match self.state(now) {
            State::Ready => not_used,
            _ => format!("{}; {not_used}", self.describe_own_state(now)),
        }
    }

    fn describe_own_state(&self, now: Timestamp) -> String {
        match self.state(now) {
            State::NeedsSignIn { .. } => output::bad("needs sign-in").to_string(),
            State::Cooling { until } => {
                output::doubtful(format_args!("cooling down, {} left", brief(until.since(now))))
                    .to_string()
            }
            State::Dead { .. } => output::bad("dead, needs another key").to_string(),
            State::Spent { until: None, .. } => output::bad("spent").to_string(),
            State::Spent { until: Some(until), .. } => {
                output::bad(format_args!("spent, {} left", brief(until.since(now)))).to_string()
            }
            State::Paused => output::doubtful("paused").to_string(),
            State::UnknownProvider => output::doubtful("unknown provider").to_string(),
            State::Expired => output::bad(self.with_renewal("expired")).to_string(),
            State::Refused(status) => {
                output::bad(self.with_renewal(&format!("refused ({status})"))).to_string()
            }
            State::Ready => self.describe_ready(now),
        }
    }

    fn describe_ready(&self, now: Timestamp) -> String {
        let left = self.expires_at.map(|end| (end <= now, brief(end.since(now))));
        match (left, self.unrenewable) {
            (Some((_, left)), Some(_)) => {
                output::doubtful(self.with_renewal(&format!("ends in {left}"))).to_string()
            }
            (None, Some(_)) => output::doubtful(self.with_renewal("ready")).to_string(),
            (Some((true, _)), None) => output::good("ready, renewed when used").to_string(),
            (Some((false, left)), None) => {
                output::good(format_args!("ready, expires in {left}")).to_string()
            }
            (None, None) => output::good("ready").to_string(),
        }
    }

    /// Adds why its token can't be renewed.
    fn with_renewal(&self, state: &str) -> String {
        match self.unrenewable {
            Some(why) => format!("{state}, can't be renewed: {why}"),
            None => state.to_owned(),
        }
    }

    /// Returns the cooldowns of single scopes that have not ended: the scope, and until when.
    pub(crate) fn limited_scopes(&self, now: Timestamp) -> impl Iterator<Item = (&str, Timestamp)> {
        self.standing.cooldowns.iter().filter_map(move |cooldown| {
            let scope = cooldown.scope.as_ref()?;
            (cooldown.until > now).then(|| (scope.as_str(), cooldown.until))
        })
    }
}
