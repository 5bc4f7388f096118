//! `completions` and `man`, from the definition of the command line.

mod dynamic;
mod page;

use clap::Args;
use clap_complete::Shell;

use crate::failure::{Exit, Failure};
use crate::output;

/// Write completions for a shell to standard output
///
/// In bash, zsh and fish, they include the providers and the accounts of the vault, if its key is in a file or a variable: no
/// keyring and no key command is asked while you type.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials completions bash > ~/.local/share/bash-completion/completions/credentials
  credentials completions zsh > ~/.zfunc/_credentials
  credentials completions fish > ~/.config/fish/completions/credentials.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, mut definition: clap::Command) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut definition, "credentials", &mut script);
        script.extend_from_slice(dynamic::script(self.shell).as_bytes());
        output::print_bytes(&script)?;
        Ok(Exit::Done)
    }
}

/// Write the manual page to standard output
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials man | man -l -
  credentials man login | man -l -")]
pub(crate) struct Man {
    /// The command, for example `login` or `vault init`; the whole program if it is omitted
    command: Vec<String>,
}

impl Man {
    pub(crate) fn run(self, mut whole: clap::Command) -> Result<Exit, Failure> {
        // So that a command's page has its whole name and the global options.
        whole.build();
        let mut command = &whole;
        for name in &self.command {
            command = command.find_subcommand(name).ok_or_else(|| {
                Failure::not_found(format!("there is no command {}", self.command.join(" ")))
                    .way_out("credentials help")
            })?;
        }
        let page = page::page(command)
            .map_err(|error| Failure::failed("could not make the page").because(error))?;
        output::print_bytes(&page)?;
        Ok(Exit::Done)
    }
}
