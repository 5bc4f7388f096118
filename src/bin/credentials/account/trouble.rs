//! What keeps an account from use, and how to fix it.

use tower_credentials::Timestamp;

use super::renewal::{LastRenewal, Unrenewable};
use super::state::{Account, State};
use super::way_out::renewal;
use crate::context::Context;
use crate::failure::Exit;
use crate::naming::{name, reset, resumption};
use crate::shell::quoted;
use crate::time::brief;

/// What keeps an account from use, or soon will.
pub(crate) struct Trouble {
    pub(crate) why: String,
    /// Usually a command.
    pub(crate) way_out: Option<String>,
    /// The exit code for it; `Done` for what a person has decided, and for what is yet to come.
    pub(crate) exit: Exit,
}

impl Account {
    /// Returns what keeps it from use, if anything.
    pub(crate) fn trouble(&self, context: &Context, now: Timestamp) -> Option<Trouble> {
        let credential = &self.credential;
        let command = |command: &str| format!("credentials {command} {}", quoted(name(credential)));
        let trouble = |why: String, way_out: Option<String>, exit| Some(Trouble { why, way_out, exit });
        match self.state(now) {
            State::Paused => trouble("paused".to_owned(), Some(resumption(credential)), Exit::Done),
            State::NeedsSignIn { reason } => {
                trouble(format!("needs sign-in: {reason}"), renewal(context, credential), Exit::Refused)
            }
            State::Dead { reason } => {
                trouble(format!("dead: {reason}"), renewal(context, credential), Exit::Refused)
            }
            State::Spent { reason, until } => {
                let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                let left = until.map(|until| format!(", {} left", brief(until.since(now))));
                let why = format!("spent{}{reason}", left.unwrap_or_default());
                trouble(why, Some(command("test")), Exit::Unavailable)
            }
            State::Cooling { until } => {
                let why = format!("cooling down, {} left", brief(until.since(now)));
                trouble(why, Some(reset(credential)), Exit::Unavailable)
            }
            State::UnknownProvider => {
                let way_out = Unrenewable::NoProvider.way_out(context, credential);
                trouble("the settings have no provider of that name".to_owned(), way_out, Exit::Usage)
            }
            State::Expired => {
                let why = self.unrenewable?;
                let exit = if why.is_of_settings() { Exit::Usage } else { Exit::Refused };
                let text = format!("expired, can't be renewed: {why}");
                trouble(text, why.way_out(context, credential), exit)
            }
            State::Refused(status) if self.left_out.is_none() => {
                let why = format!("its last request was refused ({status})");
                // That explains the refusal, and what it may have cost.
                if let Some(renewal) = &self.last_renewal {
                    return trouble(format!("{renewal}; {why}"), Some(command("test")), Exit::Refused);
                }
                // The vendor has not refused the refresh token yet.
                if self.is_renewable {
                    return trouble(why, Some(command("test")), Exit::Refused);
                }
                // As in `test`.
                match self.unrenewable.filter(|why| why.is_of_settings()) {
                    Some(unrenewable) => {
                        let why = format!("{why}, and its token can't be renewed: {unrenewable}");
                        trouble(why, unrenewable.way_out(context, credential), Exit::Unavailable)
                    }
                    None => trouble(why, renewal(context, credential), Exit::Refused),
                }
            }
            State::Ready | State::Refused(_) => self.trouble_ahead(context, now),
        }
    }

    /// For an account that is ready: why it is not used, or will not be for long.
    fn trouble_ahead(&self, context: &Context, now: Timestamp) -> Option<Trouble> {
        let done = |why, way_out| Some(Trouble { why, way_out, exit: Exit::Done });
        if let Some(why) = self.left_out {
            return done(format!("not used: {why}"), self.settings_way_out(context));
        }
        if let Some(why) = self.unrenewable {
            let ends = self.expires_at.map(|end| format!("ends in {}, ", brief(end.since(now))));
            let text = format!("{}can't be renewed: {why}", ends.unwrap_or_default());
            return done(text, why.way_out(context, &self.credential));
        }
        let renewal = self.last_renewal.as_ref()?;
        let way_out = Some(format!("credentials test {}", quoted(name(&self.credential))));
        match renewal {
            LastRenewal::Failed(_) if self.expires_at.is_some_and(|end| end <= now) => {
                Some(Trouble { why: renewal.to_string(), way_out, exit: Exit::Unavailable })
            }
            _ => done(renewal.to_string(), way_out),
        }
    }
}
