//! The attributes of accounts in the first format of the vault.

use clap::Args;
use tower_credentials::vault::seal::UnboundAttributes;

/// What to do with attributes that are not authenticated.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Attributes {
    /// Keep the attributes of accounts in format version 1, which could have been tampered with: look at them first
    #[arg(long, conflicts_with = "drop_attributes")]
    keep_attributes: bool,
    /// Drop these attributes
    #[arg(long)]
    drop_attributes: bool,
}

impl Attributes {
    pub(super) fn unbound(self) -> UnboundAttributes {
        match (self.keep_attributes, self.drop_attributes) {
            (true, _) => UnboundAttributes::Keep,
            (_, true) => UnboundAttributes::Drop,
            _ => UnboundAttributes::Ask,
        }
    }
}
