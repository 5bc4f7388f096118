//! What a test says about an account.

use http::StatusCode;
use tower_credentials::standing::{Cooldown, Health, Reason};
use tower_credentials::{BoxError, Error, provider};

use super::response::TestResponse;
use crate::account::Unrenewable;
use crate::failure::{Exit, chain};
use crate::output;

/// The verdict of a test on an account.
#[derive(Clone)]
pub(crate) enum Verdict {
    Works,
    /// The response is a success, but not JSON.
    NotJson,
    /// The account works, but may not make this request.
    NotAllowed,
    NeedsSignIn(String),
    /// Its token is refused and could not be renewed, for a reason that a new sign-in would meet, too.
    NotRenewed(String),
    /// Its token is refused, and can't be renewed with these settings.
    Unrenewable(Unrenewable),
    /// The key was refused for good.
    Dead(String),
    /// Out of money, or at a limit that its owner set.
    Spent(String),
    Refused,
    Limited,
    /// There are no models at the URL.
    NotThere,
    /// The vendor's server failed.
    Failing,
    /// The response is not the vendor's, so nothing was learnt about the account.
    Foreign,
    /// A status that says nothing about the account, and what to try.
    Unexpected(String),
    Unreachable(String),
    Paused,
    /// The secret could not be read from the vault.
    Shut(String),
    Untested(String),
}

/// The renewal of an account's token.
pub(super) struct Renewal {
    /// Why it failed.
    pub(super) failed: Option<String>,
    /// Why nothing can renew it.
    pub(super) unrenewable: Option<Unrenewable>,
    /// Whether the token that is there now has expired.
    pub(super) is_expired: bool,
}

impl Verdict {
    pub(super) fn of(
        response: &Result<TestResponse, BoxError>,
        health: &Health,
        cooldown: Option<&Cooldown>,
        renewal: Renewal,
    ) -> Self {
        match health {
            Health::NeedsSignIn { reason, .. } => return Self::NeedsSignIn(reason.clone()),
            Health::Dead { reason, .. } => return Self::Dead(reason.clone()),
            Health::Spent { reason, .. } => return Self::Spent(reason.clone()),
            _ => {}
        }
        let TestResponse { status, verdict: provider_verdict, is_json, redirects_to } = match response {
            Ok(response) => response,
            Err(error) => {
                return match error.downcast_ref() {
                    Some(Error::Paused { .. }) => Self::Paused,
                    _ => Self::Unreachable(chain(&**error)),
                };
            }
        };
        if matches!(status.as_u16(), 401 | 403) || (renewal.is_expired && status.is_success()) {
            // A success does not prove an expired token: some lists are public.
            match renewal {
                Renewal { unrenewable: Some(Unrenewable::NoRefreshToken), is_expired: true, .. } => {
                    let reason = "its token has expired, and it has no refresh token";
                    return Self::NeedsSignIn(reason.to_owned());
                }
                Renewal { unrenewable: Some(why), is_expired, .. }
                    if why.is_of_settings() && (is_expired || is_refusal(provider_verdict.as_ref())) =>
                {
                    return Self::Unrenewable(why);
                }
                Renewal { failed: Some(reason), .. } => return Self::NotRenewed(reason),
                Renewal { is_expired: true, .. } => {
                    let reason =
                        "its token has expired, and is too new to be renewed: test again in a minute";
                    return Self::NotRenewed(reason.to_owned());
                }
                _ => {}
            }
        }
        // The layers go by the provider's verdict, too, so it comes before the status.
        match provider_verdict {
            Some(provider::Verdict::NotTheAccount) => Self::Foreign,
            Some(provider::Verdict::Limited) => Self::Limited,
            Some(provider::Verdict::Spent { reason, .. }) => Self::Spent(reason.clone()),
            Some(provider::Verdict::Dead { reason }) => Self::Dead(reason.clone()),
            Some(provider::Verdict::Stopped { reason }) => Self::NeedsSignIn(reason.clone()),
            Some(provider::Verdict::InsufficientScope | provider::Verdict::ThisRequest) => {
                Self::NotAllowed
            }
            Some(provider::Verdict::Refused) => Self::Refused,
            _ => {
                let cools_for = cooldown.map(|cooldown| cooldown.reason);
                Self::of_status(*status, *is_json, redirects_to.as_deref(), cools_for)
            }
        }
    }

    /// Returns the verdict by the status alone.
    fn of_status(
        status: StatusCode,
        is_json: bool,
        redirects_to: Option<&str>,
        cools_for: Option<Reason>,
    ) -> Self {
        match status.as_u16() {
            _ if status.is_success() && is_json => Self::Works,
            _ if status.is_success() => Self::NotJson,
            _ if cools_for == Some(Reason::Spent) => {
                Self::Spent("it can be used again later".to_owned())
            }
            401 | 403 => Self::Refused,
            429 => Self::Limited,
            _ if cools_for == Some(Reason::Limited) => Self::Limited,
            404 | 405 | 410 => Self::NotThere,
            _ if status.is_server_error() => Self::Failing,
            _ => Self::Unexpected(unexpected(status, redirects_to)),
        }
    }

    /// Whether nothing is wrong.
    #[cfg(feature = "tui")]
    pub(crate) fn works(&self) -> bool {
        matches!(self, Self::Works)
    }

    /// Whether the response leaves the account usable.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self, Self::Works | Self::NotAllowed | Self::NotThere | Self::Failing)
    }

    /// Returns the exit code, if the account can't be used.
    pub(crate) fn failure(&self) -> Option<Exit> {
        match self {
            Self::Works | Self::NotAllowed | Self::Paused | Self::Untested(_) => None,
            Self::Shut(_) => Some(Exit::Vault),
            Self::NeedsSignIn(_) | Self::Dead(_) | Self::Refused => Some(Exit::Refused),
            Self::NotRenewed(_)
            | Self::Spent(_)
            | Self::Limited
            | Self::Failing
            | Self::Foreign
            | Self::Unrenewable(_)
            | Self::Unreachable(_) => Some(Exit::Unavailable),
            Self::NotJson | Self::NotThere | Self::Unexpected(_) => Some(Exit::Failed),
        }
    }

    /// Returns its name in `--json`, and the reason.
    pub(super) fn word(&self) -> (&'static str, Option<String>) {
        let (word, reason) = match self {
            Self::Works => ("works", None),
            Self::NotJson => ("not_json", None),
            Self::NotAllowed => ("not_allowed", None),
            Self::NeedsSignIn(reason) => ("needs_sign_in", Some(reason)),
            Self::NotRenewed(reason) => ("not_renewed", Some(reason)),
            Self::Unrenewable(why) => return ("not_renewed", Some(why.to_string())),
            Self::Dead(reason) => ("dead", Some(reason)),
            Self::Spent(reason) => ("spent", Some(reason)),
            Self::Refused => ("refused", None),
            Self::Limited => ("limited", None),
            Self::NotThere => ("not_there", None),
            Self::Failing => ("failing", None),
            Self::Foreign => ("not_the_vendor", None),
            Self::Unexpected(reason) => ("unexpected", Some(reason)),
            Self::Unreachable(reason) => ("unreachable", Some(reason)),
            Self::Paused => ("paused", None),
            Self::Shut(reason) => ("shut", Some(reason)),
            Self::Untested(reason) => ("untested", Some(reason)),
        };
        (word, reason.cloned())
    }

    /// Describes the verdict, in colour.
    pub(super) fn describe(&self) -> String {
        let with = |text: &str, reason: &str| format!("{text}: {}", output::plain(reason));
        match self {
            Self::Works => output::good("works").to_string(),
            Self::NotJson => output::bad("the response is not JSON: is the URL right?").to_string(),
            Self::NotAllowed => output::doubtful("is valid, but may not list models").to_string(),
            Self::NeedsSignIn(reason) => output::bad(with("needs sign-in", reason)).to_string(),
            Self::NotRenewed(reason) => {
                output::bad(with("its token could not be renewed", reason)).to_string()
            }
            Self::Unrenewable(why) => {
                output::bad(format_args!("its token is no longer valid, and can't be renewed: {why}"))
                    .to_string()
            }
            Self::Dead(reason) => output::bad(with("dead", reason)).to_string(),
            Self::Spent(reason) => output::bad(with("spent", reason)).to_string(),
            Self::Refused => output::bad("refused").to_string(),
            Self::Limited => output::doubtful("limited").to_string(),
            Self::NotThere => {
                output::bad("there are no models at this URL; set `models_url`").to_string()
            }
            Self::Failing => output::bad("the vendor's server failed").to_string(),
            Self::Foreign => {
                output::bad("the response is not the vendor's: a proxy or a firewall sent it")
                    .to_string()
            }
            Self::Unexpected(reason) => output::bad(output::plain(reason)).to_string(),
            Self::Unreachable(reason) => output::bad(with("no response", reason)).to_string(),
            Self::Paused => output::doubtful("not tested: paused").to_string(),
            Self::Shut(reason) => output::bad(with("not tested", reason)).to_string(),
            Self::Untested(reason) => output::doubtful(with("not tested", reason)).to_string(),
        }
    }
}

/// Describes a response that says nothing about the account, and the settings to check.
fn unexpected(status: StatusCode, redirects_to: Option<&str>) -> String {
    const ELSEWHERE: &str = "set `origins` or `models_url` to the address of the API";
    match (status.as_u16(), redirects_to) {
        (300..400, Some(place)) => {
            format!(
                "nothing was learnt about the account: the server redirects to {place}, which is not followed; {ELSEWHERE}"
            )
        }
        (300..400, None) => {
            format!(
                "nothing was learnt about the account: the server redirects ({status}) without saying where to; {ELSEWHERE}"
            )
        }
        (400, _) => format!(
            "nothing was learnt about the account: the server does not understand the request ({status}); {ELSEWHERE}, or \
             `models_shape`"
        ),
        _ => format!("nothing was learnt about the account: the server answers {status}; {ELSEWHERE}"),
    }
}

/// Whether a response with this verdict, and the status of a refusal, is about the account.
fn is_refusal(provider_verdict: Option<&provider::Verdict>) -> bool {
    matches!(provider_verdict, None | Some(provider::Verdict::Refused))
}
