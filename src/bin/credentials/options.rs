//! The options and arguments that several commands have.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueHint};

use crate::output::Color;

/// The options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// The vault's directory
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) vault: Option<PathBuf>,
    /// The settings file
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// The file of the vault's key
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key_file: Option<PathBuf>,
    /// A command that prints the vault's key; no shell runs it
    #[arg(long, global = true, value_name = "COMMAND", value_hint = ValueHint::CommandString)]
    pub(crate) key_command: Option<String>,
    /// Take the vault's key from the system's keyring
    #[arg(long, global = true)]
    pub(crate) keyring: bool,
    /// When to write in colour
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_default_value = true
    )]
    pub(crate) color: Color,
    /// Tell more of what is being done, on standard error; twice, and yet more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// For commands that list something.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Json {
    /// Write JSON in place of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// For commands that are about one account.
#[derive(Clone, Debug, Args)]
pub(crate) struct OneAccount {
    /// PROVIDER/LABEL, PROVIDER/NAMESPACE/LABEL, a PROVIDER or LABEL of one account only, or an id
    #[arg(value_name = "ACCOUNT")]
    pub(crate) account: String,
    #[command(flatten)]
    pub(crate) namespace: Namespace,
}

/// For commands that are about some accounts.
#[derive(Clone, Debug, Args)]
pub(crate) struct SomeAccounts {
    /// PROVIDER/LABEL, PROVIDER/NAMESPACE/LABEL, a PROVIDER or LABEL of one account only, or an id; several of them
    #[arg(value_name = "ACCOUNT", required_unless_present = "all")]
    pub(crate) accounts: Vec<String>,
    #[command(flatten)]
    pub(crate) namespace: Namespace,
    /// Every account that ACCOUNT may mean, or every one that there is
    #[arg(long)]
    pub(crate) all: bool,
}

/// For commands that are about the accounts of one provider.
#[derive(Clone, Debug, Args)]
pub(crate) struct Namespace {
    /// Only accounts of this namespace
    #[arg(long, short, value_name = "NS")]
    pub(crate) namespace: Option<String>,
}
