//! Saying what was done with an account.

use tower_credentials::Metadata;
use tower_credentials::events::EventKind;
use tower_credentials::oauth::SignedIn;

use super::Login;
use crate::account;
use crate::shell::quoted;
use crate::{output, recorder};

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Stored,
    StoredAlready,
    Replaced,
    SignedIn,
    SignedInAgain,
}

impl Done {
    fn words(self) -> &'static str {
        match self {
            Self::Stored => "Stored",
            Self::StoredAlready => "Stored already",
            Self::Replaced => "Replaced",
            Self::SignedIn => "Signed in",
            Self::SignedInAgain => "Signed in again",
        }
    }
}

/// What became of the label that was asked for.
#[derive(Clone, Copy)]
pub(super) enum Label {
    /// A new account has it, or one like it if it was taken.
    Given,
    /// The account was there, and keeps its own.
    Kept,
    /// The same, and another account has this one.
    KeptSinceTaken,
}

impl Label {
    pub(super) fn kept(is_taken: bool) -> Self {
        if is_taken { Self::KeptSinceTaken } else { Self::Kept }
    }
}

impl Login {
    /// Says what was done with an account.
    pub(super) fn tell(&self, done: Done, metadata: &Metadata, outcome: Label) {
        if done != Done::StoredAlready {
            recorder::done(EventKind::SignedIn { account: metadata.into() });
        }
        let name = account::name(metadata);
        let strong = output::strong(&name);
        output::say(format_args!(
            "{}: {strong} ({})",
            output::good(done.words()),
            &metadata.id.to_string()[..8]
        ));
        let Some(label) = self.label.as_deref().filter(|label| *metadata.label != **label) else {
            return;
        };
        match outcome {
            Label::Given if metadata.label.starts_with(label) => output::say(format_args!(
                "The label {label} was taken. To replace the secret of that account instead, add --replace"
            )),
            Label::KeptSinceTaken => output::say(format_args!(
                "It keeps its label: {} is another account's",
                output::plain(label)
            )),
            Label::Given | Label::Kept => output::say(format_args!(
                "It keeps its label. To change it: credentials rename {} {}",
                quoted(&name),
                quoted(label)
            )),
        }
    }
}

/// Says whose account it is, if its label does not: it may be another one than intended.
pub(super) fn tell_whose(signed_in: &SignedIn, metadata: &Metadata) {
    if let Some(name) = signed_in.name().filter(|name| *name != &*metadata.label) {
        output::say(format_args!("The account is {}", output::plain(name)));
    }
}
