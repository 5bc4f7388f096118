//! `vault …`: the vault and its key.

mod attributes;
mod check;
mod check_engine;
mod damaged_key;
mod export;
mod import;
mod init;
mod look;
mod path;
mod restored;
mod revoke_key;
mod rotate_key;

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::Global;

/// Create, check and move the vault and its key
#[derive(Debug, Args)]
pub(crate) struct Vault {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Path(path::Path),
    Export(export::Export),
    Import(import::Import),
    RotateKey(rotate_key::RotateKey),
    RevokeKey(revoke_key::RevokeKey),
    Check(check::Check),
    Restored(restored::Restored),
}

impl Vault {
    pub(crate) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let context = Context::new(global)?;
        match self.command {
            Command::Init(command) => command.run(&context).await,
            Command::Path(command) => command.run(&context).await,
            Command::Export(command) => command.run(&context).await,
            Command::Import(command) => command.run(&context).await,
            Command::RotateKey(command) => command.run(&context).await,
            Command::RevokeKey(command) => command.run(&context).await,
            Command::Check(command) => command.run(&context).await,
            Command::Restored(command) => command.run(&context).await,
        }
    }
}
