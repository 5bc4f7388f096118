//! A file for each command.

pub(crate) mod backup;
pub(crate) mod complete;
pub(crate) mod config;
pub(crate) mod headers;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod migrate;
pub(crate) mod models;
pub(crate) mod order;
pub(crate) mod providers;
pub(crate) mod rename;
pub(crate) mod shell;
pub(crate) mod show;
pub(crate) mod standing;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod vault;

use crate::args::{Args, Command};
use crate::context::Context;
use crate::failure::{Exit, Failure};

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let context = || Context::new(&args.global);
    match args.command {
        Command::Login(command) => command.run(&args.global).await,
        Command::List(command) => command.run(&context()?).await,
        Command::Status(command) => command.run(&context()?).await,
        Command::Show(command) => command.run(&context()?).await,
        Command::Rename(command) => command.run(&context()?).await,
        Command::Move(command) => command.run(&context()?).await,
        Command::Activate(command) => command.run(&context()?).await,
        Command::Tier(command) => command.run(&context()?).await,
        Command::Pause(command) => command.run(&context()?).await,
        Command::Resume(command) => command.run(&context()?).await,
        Command::Reset(command) => command.run(&context()?).await,
        Command::Logout(command) => command.run(&context()?).await,
        Command::Test(command) => command.run(&context()?).await,
        Command::Models(command) => command.run(&context()?).await,
        Command::Providers(command) => command.run(&context()?),
        Command::Headers(command) => command.run(&context()?).await,
        Command::Migrate(command) => command.run(&context()?).await,
        Command::Vault(command) => command.run(&args.global).await,
        Command::Backup(command) => command.run(&context()?).await,
        Command::Restore(command) => command.run(&context()?).await,
        Command::Config(command) => command.run(&args.global),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
        Command::OpenPage(command) => command.run(),
        Command::Complete(command) => command.run(&args.global).await,
    }
}
