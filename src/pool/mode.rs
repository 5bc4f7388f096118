//! Which kinds of credentials a pool uses.

use serde::{Deserialize, Serialize};

use crate::credential::Kind;

/// Which kinds of credentials a pool uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// OAuth accounts if there are any, else API keys.
    #[default]
    Auto,
    /// API keys only.
    Api,
    /// OAuth accounts only.
    Subscription,
    /// OAuth accounts and API keys alike. Their [tiers](crate::standing::Standing::tier) say which come first: the
    /// accounts, unless a person says otherwise.
    All,
}

impl Mode {
    /// All modes.
    pub const VALUES: [Self; 4] = [Self::Auto, Self::Api, Self::Subscription, Self::All];

    /// Returns the mode's name in settings: `auto`, `api`, `subscription` or `all`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Auto => "auto",
            Mode::Api => "api",
            Mode::Subscription => "subscription",
            Mode::All => "all",
        }
    }

    /// Returns whether requests use credentials of this kind. `has_oauth` says whether the pool holds OAuth accounts;
    /// one that is paused, needs a sign-in or can't be read counts, so that an API key is never billed in its place.
    pub fn allows(self, kind: Kind, has_oauth: bool) -> bool {
        let oauth = Self::is_oauth(kind);
        match self {
            Mode::Auto => oauth == has_oauth,
            Mode::Api => !oauth,
            Mode::Subscription => oauth,
            Mode::All => true,
        }
    }

    pub(crate) fn is_oauth(kind: Kind) -> bool {
        matches!(kind, Kind::OAuth | Kind::Mcp)
    }

    /// Returns what a pool of this mode looks for, in words.
    pub(crate) fn wanted(self) -> &'static str {
        match self {
            Mode::Auto | Mode::All => "credential",
            Mode::Api => "API key",
            Mode::Subscription => "OAuth account",
        }
    }
}
