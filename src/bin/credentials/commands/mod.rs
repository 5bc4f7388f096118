//! A file for each command.

pub(crate) mod backup;
#[cfg(feature = "serve")]
pub(crate) mod client;
pub(crate) mod complete;
pub(crate) mod config;
#[cfg(feature = "serve")]
pub(crate) mod exec;
pub(crate) mod headers;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod migrate;
pub(crate) mod models;
pub(crate) mod order;
pub(crate) mod providers;
#[cfg(feature = "serve")]
mod proxy;
pub(crate) mod quota;
pub(crate) mod rename;
#[cfg(feature = "serve")]
pub(crate) mod serve;
pub(crate) mod shell;
pub(crate) mod show;
pub(crate) mod standing;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod token;
pub(crate) mod vault;
pub(crate) mod why;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::Global;

/// A command, in the order of the help.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Login(login::Login),
    List(list::List),
    Status(status::Status),
    Why(why::Why),
    Show(show::Show),
    Rename(rename::Rename),
    Move(order::Move),
    Activate(order::Activate),
    Tier(order::Tier),
    Quota(quota::Quota),
    Pause(standing::Pause),
    Resume(standing::Resume),
    Reset(standing::Reset),
    Logout(logout::Logout),
    Test(test::Test),
    Models(models::Models),
    Providers(providers::Providers),
    Headers(headers::Headers),
    Token(token::Token),
    Env(token::Env),
    #[cfg(feature = "serve")]
    Exec(exec::Exec),
    #[cfg(feature = "serve")]
    Serve(serve::Serve),
    #[cfg(feature = "serve")]
    Client(client::Client),
    History(history::History),
    Migrate(migrate::Migrate),
    Vault(vault::Vault),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Config(config::Config),
    #[cfg(feature = "tui")]
    Tui(crate::tui::Tui),
    Completions(shell::Completions),
    Man(shell::Man),
    #[command(hide = true)]
    OpenPage(login::OpenPage),
    /// Prints what may come next, for the scripts of `completions`.
    #[command(name = "__complete", hide = true)]
    Complete(complete::Complete),
}

impl Command {
    /// Whether Ctrl-C is how it is meant to end.
    pub(crate) fn ends_by_ctrl_c(&self) -> bool {
        matches!(self, Self::List(list) if list.is_watching())
    }

    /// Whether it does something else than to end when a signal comes.
    pub(crate) fn handles_signals(&self) -> bool {
        #[cfg(feature = "serve")]
        return match self {
            Self::Exec(_) => true,
            Self::Serve(command) => command.handles_signals(),
            _ => false,
        };
        #[cfg(not(feature = "serve"))]
        false
    }

    /// Runs it. `definition` makes the definition of the whole command line, for completions and the manual page.
    pub(crate) async fn run(
        self,
        global: &Global,
        definition: fn() -> clap::Command,
    ) -> Result<Exit, Failure> {
        let context = || Context::new(global);
        match self {
            Self::Login(command) => command.run(global).await,
            Self::List(command) => command.run(global, context()?).await,
            Self::Status(command) => command.run(&context()?).await,
            Self::Why(command) => command.run(&context()?).await,
            Self::Show(command) => command.run(&context()?).await,
            Self::Rename(command) => command.run(&context()?).await,
            Self::Move(command) => command.run(&context()?).await,
            Self::Activate(command) => command.run(&context()?).await,
            Self::Tier(command) => command.run(&context()?).await,
            Self::Quota(command) => command.run(&context()?).await,
            Self::Pause(command) => command.run(&context()?).await,
            Self::Resume(command) => command.run(&context()?).await,
            Self::Reset(command) => command.run(&context()?).await,
            Self::Logout(command) => command.run(&context()?).await,
            Self::Test(command) => command.run(&context()?).await,
            Self::Models(command) => command.run(&context()?).await,
            Self::Providers(command) => command.run(&context()?),
            Self::Headers(command) => command.run(&context()?).await,
            Self::Token(command) => command.run(&context()?).await,
            Self::Env(command) => command.run(&context()?).await,
            #[cfg(feature = "serve")]
            Self::Exec(command) => command.run(&context()?).await,
            #[cfg(feature = "serve")]
            Self::Serve(command) => command.run(global).await,
            #[cfg(feature = "serve")]
            Self::Client(command) => command.run(&context()?),
            Self::History(command) => command.run(&context()?).await,
            Self::Migrate(command) => command.run(&context()?).await,
            Self::Vault(command) => command.run(global).await,
            Self::Backup(command) => command.run(&context()?).await,
            Self::Restore(command) => command.run(&context()?).await,
            Self::Config(command) => command.run(global),
            #[cfg(feature = "tui")]
            Self::Tui(command) => command.run(global).await,
            Self::Completions(command) => command.run(definition()),
            Self::Man(command) => command.run(definition()),
            Self::OpenPage(command) => command.run(),
            Self::Complete(command) => command.run(global, definition()).await,
        }
    }
}
