//! What is in front of the list: a text, a menu, a question, a line to type, a sign-in.

use tower_credentials::oauth::FlowKind;
use tower_credentials::standing::Quota;
use tower_credentials::{CredentialId, Mode, PoolKey, Timestamp};

use super::account::Level;
use super::job::{Failed, Job, Prompt};
use super::typing::Line;
use crate::tui::keys::Place;

/// What is in front of the list.
pub(in crate::tui) enum Front {
    Text(Reading),
    Menu(Menu),
    Question(Question),
    Line(Typing),
    SignIn(SignIn),
}

impl Front {
    pub(in crate::tui) fn place(&self) -> Place {
        match self {
            Self::Text(reading) if reading.find.is_some() => Place::Keys,
            Self::Text(_) => Place::Text,
            Self::Menu(_) => Place::Menu,
            Self::Question(_) => Place::Question,
            Self::Line(_) => Place::Line,
            Self::SignIn(_) => Place::SignIn,
        }
    }
}

/// A text to read.
pub(in crate::tui) struct Reading {
    pub(in crate::tui) title: String,
    pub(in crate::tui) about: About,
    /// The first line that is shown; the view keeps it within the text.
    pub(in crate::tui) top: usize,
    /// What a line must have in it to be shown, if one can look for something.
    pub(in crate::tui) find: Option<Line>,
}

/// What a text is about. It is written anew for each frame, since it may have countdowns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::tui) enum About {
    Keys(Place),
    Account(CredentialId),
    Why(CredentialId),
    Settings,
}

/// A list to choose from.
pub(in crate::tui) struct Menu {
    pub(in crate::tui) title: String,
    pub(in crate::tui) items: Vec<Item>,
    pub(in crate::tui) at: usize,
}

/// Something to choose.
pub(in crate::tui) struct Item {
    pub(in crate::tui) text: String,
    pub(in crate::tui) note: String,
    pub(in crate::tui) choice: Choice,
}

/// What is chosen.
#[derive(Clone)]
pub(in crate::tui) enum Choice {
    /// To add an account of this provider.
    Provider(PoolKey),
    /// To sign in, or to give a key.
    Way(Wanted, Option<FlowKind>),
    Mode(String, Mode),
    /// To type the name of the quota that an account shares.
    QuotaName(CredentialId),
    /// A quota without a name: the account's own, or what the vendor says.
    Quota(CredentialId, Option<Quota>),
}

/// The account that a secret is for.
#[derive(Clone)]
pub(in crate::tui) struct Wanted {
    pub(in crate::tui) pool: PoolKey,
    /// The label of the account that gets the new secret.
    pub(in crate::tui) replaced: Option<String>,
}

/// A question before something that can't be undone.
pub(in crate::tui) struct Question {
    pub(in crate::tui) text: String,
    pub(in crate::tui) note: String,
    pub(in crate::tui) job: Option<Job>,
}

/// A line to type.
pub(in crate::tui) struct Typing {
    pub(in crate::tui) title: String,
    pub(in crate::tui) note: String,
    pub(in crate::tui) line: Line,
    pub(in crate::tui) purpose: Purpose,
}

impl Typing {
    /// Whether it is not shown.
    pub(in crate::tui) fn is_secret(&self) -> bool {
        matches!(self.purpose, Purpose::Key(..))
    }
}

/// What a line is for.
pub(in crate::tui) enum Purpose {
    Filter,
    Rename(CredentialId),
    /// The name of the quota that an account shares.
    Quota(CredentialId),
    /// The label of a new account with a key.
    Label(Wanted),
    /// An API key, for the account with this label.
    Key(Wanted, Option<String>),
}

/// A sign-in.
pub(in crate::tui) struct SignIn {
    pub(in crate::tui) title: String,
    /// To begin it again.
    pub(in crate::tui) wanted: Wanted,
    pub(in crate::tui) flow: FlowKind,
    pub(in crate::tui) phase: Phase,
    pub(in crate::tui) line: Line,
    /// What was said meanwhile; of the same things only the last.
    pub(in crate::tui) notes: Vec<(Level, String)>,
}

/// How far a sign-in is.
pub(in crate::tui) enum Phase {
    Begins { since: Timestamp },
    Waits(Prompt),
    Failed(Failed),
}
