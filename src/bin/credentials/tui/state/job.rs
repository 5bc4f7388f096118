//! What the screen asks for, and what comes of it.

use tower_credentials::oauth::FlowKind;
use tower_credentials::standing::Quota;
use tower_credentials::{CredentialId, Mode, PoolKey, Timestamp};
use zeroize::Zeroizing;

use super::account::{Level, Seen};
use super::history::Happened;
use super::why::Told;

/// Something to do. The vault is changed as by the commands.
pub(in crate::tui) enum Job {
    Pause(CredentialId),
    Resume(CredentialId),
    Reset(CredentialId),
    /// Makes an account the first of its tier.
    First(CredentialId),
    /// Puts an account at a place of its tier, counted from 1.
    Move(CredentialId, u32),
    Tier(CredentialId, u8),
    /// Sets the quota that an account takes from; `None` means what the vendor says.
    Quota(CredentialId, Option<Quota>),
    Rename(CredentialId, String),
    Remove(CredentialId),
    /// Tests one account, or all.
    Test(Option<CredentialId>),
    /// Renews the token of an account.
    Renew(PoolKey, CredentialId),
    /// Asks a pool which account its next request takes, and why no other.
    Why(PoolKey),
    /// Sets which kinds of accounts a provider takes.
    Mode(String, Mode),
    SignIn(Box<Request>),
    /// Hands a code, or the address at which a browser ended, to the sign-in.
    Paste(Zeroizing<String>),
    StopSignIn,
    OpenPage(String),
    Copy(String),
    Suspend,
    /// The program was stopped, and goes on.
    GoOn,
    Redraw,
}

/// An account to add, or to sign in to again.
pub(in crate::tui) struct Request {
    pub(in crate::tui) pool: PoolKey,
    pub(in crate::tui) label: Option<String>,
    /// Whether the account with that label gets the new secret.
    pub(in crate::tui) replaces: bool,
    pub(in crate::tui) way: Way,
}

/// A way to get a secret.
pub(in crate::tui) enum Way {
    Key(Zeroizing<String>),
    Flow(FlowKind),
}

/// What is new.
pub(in crate::tui) enum Update {
    /// The vault was read.
    Looked(Box<Look>),
    /// The history was read.
    Happened(Happened),
    /// What a pool has said of its accounts.
    Explained(PoolKey, Result<Told, Failed>),
    /// The vault, or the settings, could not be read.
    NotLooked(Failed),
    /// The account was tested, or a job is done that says nothing else.
    Tested(CredentialId, Level, String),
    /// A job has begun.
    Began(u64, Option<CredentialId>, &'static str),
    /// It has ended.
    Ended(u64, Result<(), Failed>),
    SignIn(Step),
    /// Something was said that a command would print.
    Said(String),
}

/// Why something failed, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tui) struct Failed {
    pub(in crate::tui) why: String,
    pub(in crate::tui) way_out: Option<String>,
}

/// What happens in a sign-in.
pub(in crate::tui) enum Step {
    /// It waits for a person.
    Waits(Prompt),
    /// Something that a person may want to know.
    Note(String),
    Done,
    Failed(Failed),
}

/// What a person needs to sign in.
#[derive(Clone)]
pub(in crate::tui) struct Prompt {
    pub(in crate::tui) address: String,
    /// For a browser on another machine.
    pub(in crate::tui) elsewhere: Option<String>,
    /// To be typed in on any device.
    pub(in crate::tui) code: Option<String>,
    pub(in crate::tui) expires_at: Option<Timestamp>,
    /// Whether a code, or an address, can be pasted.
    pub(in crate::tui) takes_paste: bool,
    /// Whether the address may be handed to a browser.
    pub(in crate::tui) can_open: bool,
}

/// A provider that one can sign in to.
#[derive(Clone)]
pub(in crate::tui) struct Provider {
    pub(in crate::tui) pool: PoolKey,
    pub(in crate::tui) flows: Vec<FlowKind>,
    pub(in crate::tui) takes_keys: bool,
    /// The setting that a sign-in needs and lacks.
    pub(in crate::tui) needs: Option<String>,
    pub(in crate::tui) mode: Mode,
}

/// The vault and the settings at one moment.
pub(in crate::tui) struct Look {
    pub(in crate::tui) accounts: Vec<Seen>,
    /// What could not be read.
    pub(in crate::tui) damaged: Vec<String>,
    pub(in crate::tui) providers: Vec<Provider>,
    /// Where the vault, its key and the settings are, and the settings in effect.
    pub(in crate::tui) settings: Vec<(String, String)>,
}
